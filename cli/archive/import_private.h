/* import_private.h - the files of `entrepot import`. Each calls those to its right:
 *
 *     import.c (the command) ▶ import_batch.c (small blobs)
 *                            ▶ import_check.c (descriptors)
 *                            ▶ import_format.c (which format) ▶ import_docker.c (docker save), import_dir.c (dir:)
 *                                                             ▶ import_layout.c (OCI) ▶ import_about.c (referrers)
 *     all formats ▶ import_name.c (references); import_document.c (documents of layouts) ▶ import_plan.c (the result)
 */
#ifndef ENTREPOT_CLI_ARCHIVE_IMPORT_PRIVATE_H
#define ENTREPOT_CLI_ARCHIVE_IMPORT_PRIVATE_H

#include "base/ref.h"
#include "cli/archive/import.h"
#include "cli/lib/cli.h"

#include <string.h>

/* ---- import_plan.c ---- */

/* Adds a blob of the archive; if its digest is in the plan already, returns that one unchanged. */
struct import_blob *import_add_blob(struct import_plan *p, const struct digest *d, const struct archive_file *file);
/* Does nothing if the same name with the same digest is in the plan. `name` is a valid reference. */
void import_add_image(struct import_plan *p, const char *name, const struct digest *d);
/* The digest of the image of this name; NULL: not found. */
const char *import_digest_of(const struct import_plan *p, const char *name);
/* Parses a file; the caller decrefs. NULL: not JSON, or the archive exceeds what may be parsed in all. */
json_t *import_document(struct import_plan *p, const struct archive_file *file);
/* Parses a file by name; the caller decrefs. NULL with *err. */
json_t *import_parse(const struct archive_files *a, const char *name, struct err *err);

/* ---- import_docker.c, import_layout.c, import_dir.c: `given` is --name, or NULL ---- */

bool import_docker(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);
bool import_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);
bool import_dir(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);

/* ---- import_batch.c: small blobs, many in one request ---- */

enum {
    IMPORT_PIECE = 1 << 20,  /* bytes of one request: the daemon's limit */
    IMPORT_SMALL = 64 << 10, /* bytes of the largest small blob: cache/import.h */
};

struct import_batch {
    struct buf body;
    const struct import_blob **blobs; /* borrowed */
    size_t count;
    size_t bad; /* blobs of all batches whose content does not match their digest */
};

/* Whether a blob of so many bytes fits into the current request. */
bool import_batch_takes(const struct import_batch *b, size_t len);
void import_add_small(struct import_batch *b, const struct import_blob *blob, const struct buf *bytes);
/* Sends the batch and empties it; calls `done` for each blob that the daemon has stored. Damaged blobs are named on
 * stderr and counted. False: the daemon stored none. */
bool import_send_batch(struct import_batch *b, const struct cli_options *o, const char *path,
                       void (*done)(void *arg, const struct import_blob *blob, bool there), void *arg, struct err *err);
void import_batch_free(struct import_batch *b);

/* ---- import_name.c ---- */

/* Whether --name has {tag} or {name} in it. */
bool import_is_template(const char *given);
/* Replaces {tag} by `tag` and {name} by the archive's own name. False with *err: the result is not a valid
 * reference. */
bool import_expand(const struct archive_files *a, const char *given, const char *tag, char out[REF_TEXT_MAX],
                   struct err *err);
/* The archive's own name as a repository: "my-app" for "/data/My app.tar.gz". */
const char *import_own_name(const struct archive_files *a, char out[REF_TEXT_MAX]);
/* Whether a name contains a repository. A tag alone does not, nor do "sha256:<id>", which containerd's CRI plugin uses,
 * and docker's "<none>". The name need not be a valid reference. */
bool import_is_full(const char *name);

/* ---- import_document.c ---- */

#define EXPORT_REFERRERS "io.entrepot.referrers" /* cache/export.h */

enum { LAYOUT_DEPTH_MAX = 4 };

/* An entry of index.json. */
struct layout_item {
    struct digest digest;
    const json_t *descriptor;
    const char *name;        /* a full reference, or a tag alone; NULL: none */
    const char *suffix;      /* ".sig": it is cosign's, about the layout's image */
    bool about;              /* it is a signature or another referrer of an image */
    char repo[REF_TEXT_MAX]; /* of an image, once it has a name */
};

/* The subject of a document, which is parsed once for it. */
struct layout_fact {
    bool known;
    struct digest subject; /* DIGEST_NONE: it has none */
};

struct layout {
    struct import_plan *plan;
    const struct archive_files *a;
    const char *given; /* --name, or NULL */
    struct layout_item *items;
    size_t count;
    int images, nameless;           /* images; entries without a name whose image is not known */
    struct layout_fact *facts;      /* one for each file of the archive */
    struct key_map exact;           /* digest of an image: its item */
    struct key_map within;          /* digest of a manifest: the first item whose index contains it */
    struct key_map configs;         /* digest of a config: its manifest's file */
    const struct layout_item *only; /* the first image, if all images are of one repository */
    struct err *err;
};

/* The value of an annotation, or NULL. */
const char *layout_note(const json_t *descriptor, const char *key);
/* The full reference of an entry, or its tag alone, or NULL. */
const char *layout_name(const json_t *descriptor);
/* The value of an object's `digest`. */
bool layout_digest(const json_t *object, struct digest *d);
/* The file of a blob; NULL: not in the archive. */
const struct archive_file *layout_file(const struct archive_files *a, const struct digest *d);
/* Parses a blob; the caller decrefs. NULL: not JSON, or not in the archive. */
json_t *layout_document(const struct layout *l, const struct digest *d);
/* Reads the subject of a manifest; false: it has none. */
bool layout_subject(const struct layout *l, const struct digest *d, struct digest *subject);
/* Whether a name is that of a referrer: a reference by digest alone, or a tag (*tag) such as "sha256-<hex>.sig". */
bool layout_is_named_about(const char *name, const char **tag);
/* Maps a digest, and everything that it lists if it is an index, to `place`, unless they are mapped already. */
void layout_spread(const struct layout *l, struct key_map *to, const struct digest *d, int64_t place);

/* ---- import_about.c ---- */

/* Names a referrer after its image. */
bool layout_name_about(struct layout *l, const struct layout_item *it);
/* Adds the referrers that `entrepot export` has listed for an entry. */
void layout_add_referrers(struct layout *l, const struct layout_item *it);
/* Adds the referrers in the layout that no entry lists. */
void layout_find_referrers(struct layout *l);

#endif
