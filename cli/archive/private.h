/* private.h - the files of cli/archive*.c among themselves: archive.c (what all have; tar archives),
 * folder.c, pipe.c. */
#ifndef ENTREPOT_CLI_ARCHIVE_PRIVATE_H
#define ENTREPOT_CLI_ARCHIVE_PRIVATE_H

#include "cli/archive/archive.h"

#include <archive.h>

/* A file that is being looked at. */
struct archive_content {
    struct archive_files *all;
    struct archive_file *f;
    struct hasher *hasher;
    struct buf head; /* all of it, as long as it may be a document */
    bool may_be_text;
};

/* NULL with *err: there are too many. */
struct archive_file *archive_add(struct archive_files *a, const char *name, int64_t size, struct err *err);
void archive_take_content(struct archive_content *c, const void *data, size_t len);
/* Its text, its digest. Errors: ERR_TOO_LARGE. */
bool archive_end_content(struct archive_content *c, struct err *err);

/* ---- folder.c ---- */

bool archive_list_folder(struct archive_files *a, struct err *err);
bool archive_read_folder(const struct archive_files *a, const struct archive_visit *v, struct err *err);

/* ---- pipe.c ---- */

/* `from` is read for the first time, and closed at the end or on failure. */
bool archive_open_pipe(struct archive_files *a, int from, struct err *err);
/* Whether so many more bytes may be kept: a twentieth of that file system is left to others. Errors: ERR_NO_SPACE. */
bool archive_has_room(const struct archive_files *a, int64_t bytes, struct err *err);
/* For archive_read_open(). */
la_ssize_t archive_read_pipe(struct archive *in, void *files, const void **out);
/* What is behind the archive: padding, and the end of what compressed it. Who writes more than that hears of it. */
void archive_end_pipe(struct archive_files *a);

#endif
