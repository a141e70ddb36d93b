/* private.h - shared by the files of this folder about blobs: store.c ◀ batch.c, tidy.c. */
#ifndef ENTREPOT_CACHE_STORE_PRIVATE_H
#define ENTREPOT_CACHE_STORE_PRIVATE_H

#include "cache/store/store.h"

#include <stdatomic.h>
#include <sys/stat.h>

#define STORE_IMPORT_SUFFIX ".import"

enum { NAME_CAP = 2 * DIGEST_RAW_MAX + 32 };

struct store {
    char *path;
    int lock;                    /* flock(2) on the oci-layout file */
    int blobs[3];                /* folder of each enum digest_alg */
    int ingest, quarantine;      /* folders */
    atomic_uint_fast64_t serial; /* for temporary names */
};

/* Sets *err from errno: ERR_NOT_FOUND for ENOENT, else ERR_IO or ERR_NO_SPACE. */
bool store_fail(struct err *err, const char *doing, const struct digest *d);
/* "<alg>-<hex><suffix>": files of the folders beside the blobs; returns `out`. */
const char *store_name(const struct digest *d, const char *suffix, char out[NAME_CAP]);

#endif
