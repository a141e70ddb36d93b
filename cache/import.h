/* import.h - images that come from an archive in place of a registry.
 *
 * A blob is assembled in ingest/<alg>-<hex>.import, from its start; after an interruption the import resumes there.
 * Then it is verified and published (verify.h), like any other. An image is entered under its name when all of it is
 * stored. Files that no import resumes are removed a day later, like parts. Blocks: admin workers.
 */
#ifndef ENTREPOT_CACHE_IMPORT_H
#define ENTREPOT_CACHE_IMPORT_H

#include "cache/cache.h"

/* How much of it is here: `whole`, else so many bytes are. */
bool import_look(struct cache *c, const struct digest *d, bool *whole, int64_t *received, struct err *err);
/* Bytes at `offset`, which is at most what has been received. Errors: ERR_INVALID (a gap),
 * ERR_NOT_FOUND (another import has just ended, with these bytes or because they were wrong), ERR_BUSY (another import
 * writes or hashes it just now), ERR_IO, ERR_NO_SPACE. */
bool import_write(struct cache *c, const struct digest *d, int64_t offset, const void *data, size_t len,
                  struct err *err);

/* What has been received of it is not needed. */
void import_remove(struct cache *c, const struct digest *d);

/* A small blob, of which all bytes have come at once: `data`, borrowed. */
struct import_small {
    struct digest digest;
    const char *data;
    size_t len;
    bool there;  /* it was here */
    char *error; /* why it is not to be kept; owned. NULL: nothing is wrong with it */
};
enum { IMPORT_SMALL_MAX = 64 << 10, IMPORT_BATCH_MAX = 1024 };

/* Holds them (importing.h), and looks which are here and which are not what their digests say. Returns the bytes that
 * are to be stored: reserve room for them first. */
int64_t import_check_batch(struct cache *c, struct import_small *list, size_t count);
/* Stores those of them that are right and not stored yet, all or none: written and synced together
 * (store_write_blobs()), and entered in one transaction. Errors: ERR_IO, ERR_NO_SPACE. */
bool import_keep_batch(struct cache *c, struct import_small *list, size_t count, struct err *err);

/* One at a time writes to such a file, or hashes it and seals it. Held until it is closed. Errors: ERR_BUSY. */
bool import_lock(int fd, struct err *err);

struct import_image {
    char repo[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1];
    struct digest digest;
};

/* Enters images under repositories (full names) and tags ("sha256:…": by digest alone), pinned or not, as if their tags
 * had been checked just now; all or none. *failed is the first that could not be entered. Errors: ERR_NOT_FOUND: what
 * of it is not here (an index needs one of its images); ERR_INVALID: the repository, or something in the image, is
 * private here. */
bool import_images(struct cache *c, const struct import_image *images, size_t count, bool pin, size_t *failed,
                   struct err *err);

#endif
