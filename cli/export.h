/* export.h - between `entrepot export` (export.c: the command; blobs from the cache) and what it writes: a folder
 * (export_dir.c) or a tar archive (export_tar.c).
 *
 * Nothing has its name before it is whole and right: every blob is hashed on its way. What an interrupted export left
 * is gone on from.
 */
#ifndef ENTREPOT_CLI_EXPORT_H
#define ENTREPOT_CLI_EXPORT_H

#include "base/digest.h"
#include "cli/cli.h"

struct export_member {
    const char *name, *text; /* text NULL: a blob */
    struct digest digest;
    int64_t size;
};

struct export_job {
    const struct cli_options *options;
    const char *cache; /* the daemon's folder: where we may, blobs are taken from there */
    const char *output;
    struct export_member *members;
    size_t count;
    int64_t written, kept; /* bytes: of these the latter were there */
    void (*progress)(struct export_job *job, const struct export_member *m, const char *how);
};

/* Writes all of it. Errors: ERR_IO, ERR_NO_SPACE, ERR_DIGEST, what the daemon says. */
bool export_to_dir(struct export_job *job, struct err *err);
bool export_to_tar(struct export_job *job, struct err *err);

/* ---- export.c ---- */

/* Opens a blob's file in the cache's folder; -1: it is not for us to open. */
int export_open_blob(const struct export_job *job, const struct export_member *m);
/* Reads a blob, from its file or the daemon, and hands it on. Errors: ERR_DIGEST, what `take` sets. */
bool export_read_blob(const struct export_job *job, const struct export_member *m,
                      bool (*take)(void *arg, const void *data, size_t len, struct err *err), void *arg,
                      struct err *err);
/* Whether an open file is the blob. */
bool export_is_blob(int fd, const struct export_member *m);
bool export_write(int fd, const void *data, size_t len, struct err *err);

#endif
