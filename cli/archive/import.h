/* import.h - between `entrepot import` (import.c: the command, the way of blobs to the daemon) and import_plan.c, which
 * reads out of an archive what images it has. */
#ifndef ENTREPOT_CLI_ARCHIVE_IMPORT_H
#define ENTREPOT_CLI_ARCHIVE_IMPORT_H

#include "cli/archive/archive.h"

#include <jansson.h>

/* A blob, in the archive or made here. */
struct import_blob {
    struct digest digest;
    const struct archive_file *file; /* NULL: `text` */
    char *text;
    size_t len;
};

struct import_plan {
    struct import_blob *blobs;
    size_t count, room;
    json_t *images;                        /* as POST /v1/import takes them */
    struct places digests, names, entered; /* of blobs; of images by their name, and by their digest */
    size_t parsed;                         /* bytes of documents, each as often as it was read */
    const char *too_much;                  /* why it is refused */
    const char *format;
};

/* `name` (or NULL) is for an archive of one image. What is passed over is said on stderr. The caller frees. */
bool import_plan(const struct archive_files *a, const char *name, struct import_plan *out, struct err *err);
void import_plan_free(struct import_plan *p);
/* NULL: it is not among them. */
const struct import_blob *import_find_blob(const struct import_plan *p, const struct digest *d);
int64_t import_blob_size(const struct import_blob *b); /* bytes */

/* Whether what the images name can be: see import_check.c. What is odd, but can be, is said on stderr. `blob_max`:
 * cache.blob_max in bytes, or 0. Errors: ERR_INVALID, with the image and the descriptor. */
bool import_check(const struct import_plan *p, const struct archive_files *a, int64_t blob_max, struct err *err);

#endif
