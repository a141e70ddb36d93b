/* archive.h - what `entrepot import` reads: an OCI image layout (a folder, or a tar archive, compressed or not), an
 * archive of `docker save`, or a folder as skopeo writes it (dir:).
 *
 * An archive is read twice: first its list of files (with the text of documents, and the digest of other files), then
 * the content. A pipe is copied into an unnamed temporary file during the first pass, which stops as soon as the input
 * is known not to be an archive or does not fit. Names in an archive are only compared, never opened. One thread.
 */
#ifndef ENTREPOT_CLI_ARCHIVE_ARCHIVE_H
#define ENTREPOT_CLI_ARCHIVE_ARCHIVE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/key_map.h"

#include <sys/stat.h>

enum {
    ARCHIVE_FILES_MAX = 1 << 20,
    ARCHIVE_TEXT_MAX = 4 << 20,    /* bytes of a document: as large as a manifest may be */
    ARCHIVE_TEXTS_MAX = 256 << 20, /* and of all of them */
};

/* A file of the archive. */
struct archive_file {
    char *name;            /* without a leading "./" */
    char *target;          /* of a link: the name that it leads to; NULL: not a link */
    int64_t size;          /* bytes */
    char *text;            /* of a JSON document, NUL-terminated; NULL: not a document */
    struct digest digest;  /* sha256 of its content; DIGEST_NONE for blobs, which are named by their digest */
    struct digest diff_id; /* sha256 of its decompressed content (gzip, zstd) */
    uint8_t magic[4];      /* its first bytes */
};

struct archive_files {
    struct archive_file *list;
    size_t count, cap, texts;
    struct key_map names; /* of `list` */
    bool is_folder;
    const char *path; /* as it was given */
    char *opened;     /* the path that is read in place of `path`; NULL: the same */
    int fd;           /* of the temporary file, or of stdin; -1 */
    int pipe;         /* during the first pass: the pipe that is copied to `fd`; -1 */
    char *piece;      /* of the pipe */
};

/* The first pass; path "-": stdin. The caller frees. Errors: ERR_NOT_FOUND, ERR_IO, ERR_INVALID (not an archive),
 * ERR_TOO_LARGE. */
bool archive_list(struct archive_files *a, const char *path, struct err *err);
void archive_files_free(struct archive_files *a);
/* By name, following links; NULL: not found. */
const struct archive_file *archive_find(const struct archive_files *a, const char *name);
/* The digest in a name such as "blobs/sha256/<hex>". */
bool archive_blob_digest(const char *name, struct digest *d);
/* The compression, by a file's first bytes: "+gzip" (RFC 1952 §2.3.1), "+zstd" (RFC 8878 §3.1.1) or "". */
const char *archive_packing(const struct archive_file *f);

/* Opens a file of a folder; -1 with *err: not found, not a regular file, or a symlink on the path. */
int archive_open_file(const struct archive_files *a, const char *name, struct stat *st, struct err *err);

/* The second pass, in the archive's order: `begin` says whether a file's content is wanted, `data` gets it, `end` is
 * called after its last byte. Each returns false with *err to stop. */
struct archive_visit {
    bool (*begin)(void *arg, const struct archive_file *f, bool *wanted, struct err *err);
    bool (*data)(void *arg, const void *data, size_t len, struct err *err);
    bool (*end)(void *arg, struct err *err);
    void *arg;
};
bool archive_read(struct archive_files *a, const struct archive_visit *v, struct err *err);

#endif
