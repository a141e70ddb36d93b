/* private.h - between the files that read archives. Each calls those to its right:
 *
 *     archive.c ▶ folder.c, tar.c ▶ files.c
 *                           tar.c ▶ pipe.c ◀ archive.c
 */
#ifndef ENTREPOT_CLI_ARCHIVE_PRIVATE_H
#define ENTREPOT_CLI_ARCHIVE_PRIVATE_H

#include "cli/archive/archive.h"

#include <archive.h>

/* ---- files.c ---- */

/* The content of a file while it is read for the first time. */
struct archive_content {
    struct archive_files *all;
    struct archive_file *f;
    struct hasher *hasher; /* NULL: the file's name is its digest */
    struct buf head;       /* everything so far while it may be a document, else the first bytes */
    bool may_be_text;
};

/* A name without "./" at its start; borrowed. */
const char *archive_plain_name(const char *name);
/* By its name alone, without following links; NULL: not found. */
struct archive_file *archive_find_exact(const struct archive_files *a, const char *name);
/* Appends a file. NULL with *err (ERR_TOO_LARGE): too many files. */
struct archive_file *archive_add(struct archive_files *a, const char *name, int64_t size, struct err *err);
void archive_take_content(struct archive_content *c, const void *data, size_t len);
/* Stores the text and the digest. Errors: ERR_TOO_LARGE. */
bool archive_end_content(struct archive_content *c, struct err *err);

/* ---- tar.c ---- */

bool archive_list_tar(struct archive_files *a, struct err *err);
bool archive_read_tar(struct archive_files *a, const struct archive_visit *v, struct err *err);

/* ---- folder.c ---- */

bool archive_list_folder(struct archive_files *a, struct err *err);
bool archive_read_folder(const struct archive_files *a, const struct archive_visit *v, struct err *err);

/* ---- pipe.c ---- */

/* Begins to read from `from` into a temporary file; `from` is closed at the end or on failure. */
bool archive_open_pipe(struct archive_files *a, int from, struct err *err);
/* Whether the temporary file may grow by so many bytes: a twentieth of its file system stays free. Errors:
 * ERR_NO_SPACE. */
bool archive_has_space(const struct archive_files *a, int64_t bytes, struct err *err);
/* The read callback of archive_read_open(3). */
la_ssize_t archive_read_pipe(struct archive *in, void *files, const void **out);
/* Reads what follows the archive (padding, the compressor's trailer), 4 MiB at most, and closes the pipe: a writer that
 * has more gets SIGPIPE. */
void archive_end_pipe(struct archive_files *a);

#endif
