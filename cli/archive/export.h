/* export.h - the files of `entrepot export`. Each calls those to its right:
 *
 *     export.c (the command) ▶ export_dir.c (a folder) ▶ export_merge.c (its index.json and manifest.json)
 *                            ▶ export_tar.c (a tar archive)
 *                              both writers ▶ export_place.c (where to), export_blob.c (blobs of the cache)
 *
 * A file gets its name only when it is complete, and every blob is hashed on its way. An interrupted export is resumed,
 * unless it is compressed. A place has one writer at a time (flock(2)).
 */
#ifndef ENTREPOT_CLI_ARCHIVE_EXPORT_H
#define ENTREPOT_CLI_ARCHIVE_EXPORT_H

#include "base/digest.h"
#include "cli/lib/cli.h"

/* A file of the layout, as the daemon lists it. */
struct export_entry {
    const char *name, *text; /* text NULL: a blob */
    struct digest digest;
    int64_t size; /* bytes */
};

enum export_packing { PACK_NO, PACK_GZIP, PACK_ZSTD };

/* Where to. */
struct export_place {
    enum { PLACE_FOLDER, PLACE_FILE, PLACE_STREAM } kind;
    enum export_packing packing; /* of a file or a stream */
    char *path;                  /* of a folder or a file, with symlinks resolved */
    int fd;                      /* of a stream */
    bool to_stdout;              /* the archive goes to stdout: progress goes to stderr */
};

struct export_job {
    const struct cli_options *options;
    const char *cache; /* the daemon's cache folder: blobs are read from it where permissions allow */
    struct export_place place;
    struct export_entry *members;
    size_t count;
    int64_t written, kept; /* bytes written; bytes that an earlier export had written already */
    void (*progress)(struct export_job *job, const struct export_entry *m, const char *how);
};

/* ---- export_place.c ---- */

/* Errors: ERR_IO, ERR_INVALID (a terminal), ERR_UNSUPPORTED (an unsupported compression). */
bool export_find_place(struct export_place *p, const char *output, struct err *err);
void export_place_free(struct export_place *p);
/* Refuses a symlink or a file of another user in a world-writable folder with the sticky bit, anywhere on the path,
 * whatever the kernel's settings are (proc_sys_fs(5), protected_symlinks, protected_regular). Errors: ERR_DENIED. */
bool export_check_owner(const char *path, struct err *err);
/* Gives an open file, which nobody else can read yet, the owner and mode of the file it will replace, as far as
 * permissions allow; without such a file, the mode of a new one. */
bool export_take_after(int fd, const char *path);

/* ---- export_dir.c, export_tar.c ---- */

/* Each writes all members. Errors: ERR_BUSY (another export writes to the same place), ERR_IO, ERR_NO_SPACE,
 * ERR_DIGEST, the daemon's errors. */
bool export_to_dir(struct export_job *job, struct err *err);
bool export_to_tar(struct export_job *job, struct err *err);

/* ---- export_merge.c ---- */

/* index.json or manifest.json (`name`) of a folder: its present entries and those of `fresh`. The caller frees. */
char *export_merge(const struct export_job *job, const char *name, const char *fresh);

/* ---- export_blob.c ---- */

/* Opens a blob's file in the cache folder; -1: not permitted, or not found. */
int export_open_blob(const struct export_job *job, const struct export_entry *m);
/* Reads a blob from its file or the daemon, piece by piece. Errors: ERR_DIGEST, what `take` sets. */
bool export_read_blob(const struct export_job *job, const struct export_entry *m,
                      bool (*take)(void *arg, const void *data, size_t len, struct err *err), void *arg,
                      struct err *err);
/* Whether an open file has the blob's size and digest. */
bool export_is_blob(int fd, const struct export_entry *m);
bool export_write(int fd, const void *data, size_t len, struct err *err);

#endif
