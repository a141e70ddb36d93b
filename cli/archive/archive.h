/* archive.h - what `entrepot import` reads: an OCI image layout (a folder, or a tar archive, compressed or not), what
 * `docker save` writes, or a folder as skopeo writes it (dir:).
 *
 * An archive is read twice: first what there is (documents are kept, of other files the digest), then the content. What
 * comes through a pipe is put into a file without a name as it is looked at: what is no archive, or has no room there,
 * ends as soon as that is known. Names in an archive are only compared, never opened.
 */
#ifndef ENTREPOT_CLI_ARCHIVE_ARCHIVE_H
#define ENTREPOT_CLI_ARCHIVE_ARCHIVE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/places.h"

#include <sys/stat.h>

enum {
    ARCHIVE_FILES_MAX = 1 << 20,
    ARCHIVE_TEXT_MAX = 4 << 20,    /* bytes of a document: as large as a manifest may be */
    ARCHIVE_TEXTS_MAX = 256 << 20, /* and of all of them */
};

/* A file of the archive. */
struct archive_file {
    char *name;            /* without a leading "./" */
    char *target;          /* of a link: the name it stands for; NULL: none */
    int64_t size;          /* bytes */
    char *text;            /* of a document, NUL-terminated; NULL: it is none */
    struct digest digest;  /* sha256 of its content; DIGEST_NONE for blobs that are called by theirs */
    struct digest diff_id; /* the same of what it is unpacked, if it is packed with gzip or zstd */
    uint8_t magic[4];      /* its first bytes */
};

struct archive_files {
    struct archive_file *list;
    size_t count, room, texts;
    struct places names; /* of `list` */
    bool is_folder;
    const char *path; /* as it was given */
    char *opened;     /* where it is read from, if that is another */
    int fd;           /* of a file without a name, or of stdin; -1 */
    int pipe;         /* while it is read for the first time: what comes is kept in `fd`; -1 */
    char *piece;      /* of it */
};

/* Looks at everything; "-": stdin. The caller frees. Errors: ERR_NOT_FOUND, ERR_IO, ERR_INVALID (no archive),
 * ERR_TOO_LARGE. */
bool archive_list(struct archive_files *a, const char *path, struct err *err);
void archive_files_free(struct archive_files *a);
/* By name, through links; NULL: there is none. */
const struct archive_file *archive_find(const struct archive_files *a, const char *name);
/* "blobs/sha256/<hex>" */
bool archive_blob_digest(const char *name, struct digest *d);
/* "+gzip" (RFC 1952 §2.3.1), "+zstd" (RFC 8878 §3.1.1) or "". */
const char *archive_packing(const struct archive_file *f);

/* Opens a file of a folder; -1 with *err: there is none, it is no regular file, or a symlink is on the way. */
int archive_open_file(const struct archive_files *a, const char *name, struct stat *st, struct err *err);

/* Visits every file's content, in the archive's order: `begin` says whether a file is wanted (and sets *err otherwise,
 * or leaves it), `data` gets it, `end` is called after its last byte. */
struct archive_visit {
    bool (*begin)(void *arg, const struct archive_file *f, bool *wanted, struct err *err);
    bool (*data)(void *arg, const void *data, size_t len, struct err *err);
    bool (*end)(void *arg, struct err *err);
    void *arg;
};
bool archive_read(struct archive_files *a, const struct archive_visit *v, struct err *err);

#endif
