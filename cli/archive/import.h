/* import.h - between `entrepot import` (import.c: the command, and sending blobs to the daemon) and the files that read
 * from an archive which images it has (import_private.h).
 */
#ifndef ENTREPOT_CLI_ARCHIVE_IMPORT_H
#define ENTREPOT_CLI_ARCHIVE_IMPORT_H

#include "cli/archive/archive.h"

#include <jansson.h>

/* A blob of the archive, or a manifest generated here. */
struct import_blob {
    struct digest digest;
    const struct archive_file *file; /* NULL: generated, in `text` */
    char *text;
    size_t len;
};

struct import_plan {
    struct import_blob *blobs;
    size_t count, cap;
    json_t *images;                         /* the images of POST /v1/import */
    struct key_map digests, names, entered; /* indexes of blobs by digest; of images by name, and by digest */
    size_t parsed;                          /* bytes of documents parsed so far, each as often as it was parsed */
    const char *too_much;                   /* why the archive is refused; NULL: it is not */
};

/* `name` (or NULL) is --name. Warns on stderr about entries that are left out. The caller frees. Errors: ERR_INVALID,
 * ERR_TOO_LARGE. */
bool import_plan(const struct archive_files *a, const char *name, struct import_plan *out, struct err *err);
void import_plan_free(struct import_plan *p);
/* NULL: not found. */
const struct import_blob *import_find_blob(const struct import_plan *p, const struct digest *d);
int64_t import_blob_size(const struct import_blob *b); /* bytes */

/* Checks the descriptors of all images, see import_check.c; warns on stderr about wrong sizes. `blob_max`:
 * cache.blob_max in bytes, or 0. Errors: ERR_INVALID, naming the image and the descriptor. */
bool import_check(const struct import_plan *p, const struct archive_files *a, int64_t blob_max, struct err *err);

#endif
