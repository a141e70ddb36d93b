/* export.h - between `entrepot export` (export.c: the command; blobs from the cache), where it writes to
 * (export_place.c), and what it writes: a folder (export_dir.c, export_merge.c) or a tar archive (export_tar.c).
 *
 * Nothing has its name before it is whole and right: every blob is hashed on its way. What an interrupted export left
 * is gone on from, but what was compressed. Who exports to a place has it alone (flock).
 */
#ifndef ENTREPOT_CLI_ARCHIVE_EXPORT_H
#define ENTREPOT_CLI_ARCHIVE_EXPORT_H

#include "base/digest.h"
#include "cli/lib/cli.h"

struct export_member {
    const char *name, *text; /* text NULL: a blob */
    struct digest digest;
    int64_t size;
};

enum export_packing { PACK_NO, PACK_GZIP, PACK_ZSTD };

/* Where to. */
struct export_place {
    enum { PLACE_FOLDER, PLACE_FILE, PLACE_STREAM } kind;
    enum export_packing packing; /* of what is no folder */
    char *path;                  /* of a folder or file: what symlinks led to */
    int fd;                      /* of a stream */
    bool to_stdout;              /* it is what stdout is: nothing else may be said there */
};

struct export_job {
    const struct cli_options *options;
    const char *cache; /* the daemon's folder: where we may, blobs are taken from there */
    struct export_place place;
    struct export_member *members;
    size_t count;
    int64_t written, kept; /* bytes: of these the latter were there */
    void (*progress)(struct export_job *job, const struct export_member *m, const char *how);
};

/* Errors: ERR_IO, ERR_INVALID (a terminal), ERR_UNSUPPORTED (a compression that there is not). */
bool export_find_place(struct export_place *p, const char *output, struct err *err);
void export_place_free(struct export_place *p);
/* A symlink or a file of another user in a folder with the sticky bit is not used, on the way or at the end of a path,
 * whatever the kernel does (proc_sys_fs(5), protected_symlinks, protected_regular). Errors: ERR_DENIED. */
bool export_check_owner(const char *path, struct err *err);
/* Gives an open file, which nobody else may see yet, the owner and mode of the one that it will replace, as far as we
 * may; if there is none, those of a new one. */
bool export_take_after(int fd, const char *path);

/* Writes all of it. Errors: ERR_BUSY (another export to the same place), ERR_IO, ERR_NO_SPACE, ERR_DIGEST, what the
 * daemon says. */
bool export_to_dir(struct export_job *job, struct err *err);
bool export_to_tar(struct export_job *job, struct err *err);

/* export_merge.c: index.json or manifest.json of a folder with what it had before; the caller frees. */
char *export_merge(const struct export_job *job, const char *name, const char *fresh);

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
