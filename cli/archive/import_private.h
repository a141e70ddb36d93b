/* import_private.h - the files of cli/import_*.c among themselves: import_plan.c (which kind of archive it is,
 * docker's), import_layout.c (OCI image layouts), import_about.c (signatures in them), import_dir.c (skopeo's dir:),
 * import_check.c (what they name), import_batch.c (the way of small blobs), import_name.c (what images are to be
 * called). */
#ifndef ENTREPOT_CLI_ARCHIVE_IMPORT_PRIVATE_H
#define ENTREPOT_CLI_ARCHIVE_IMPORT_PRIVATE_H

#include "base/ref.h"
#include "cli/lib/cli.h"
#include "cli/archive/import.h"

#include <string.h>

/* A blob of the archive; one that is there already keeps its file. */
struct import_blob *import_add_blob(struct import_plan *p, const struct digest *d, const struct archive_file *file);
/* Unless the same one is there. */
void import_add_image(struct import_plan *p, const char *name, const struct digest *d);
/* The digest of the image that goes by this name; NULL: none does. */
const char *import_digest_of(const struct import_plan *p, const char *name);
/* A file that is JSON; the caller decrefs. NULL: it is none, or the archive has had more read than is sensible. */
json_t *import_document(struct import_plan *p, const struct archive_file *file);
/* A document of the archive; NULL with *err. */
json_t *import_parse(const struct archive_files *a, const char *name, struct err *err);

bool import_layout(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);
bool import_dir(struct import_plan *p, const struct archive_files *a, const char *given, struct err *err);

/* ---- import_batch.c: small blobs, many in one request ---- */

enum {
    IMPORT_PIECE = 1 << 20,  /* bytes of one request: as many as the daemon takes */
    IMPORT_SMALL = 64 << 10, /* bytes of the largest one: cache/import.h */
};

struct import_batch {
    struct buf body;
    const struct import_blob **blobs; /* borrowed */
    size_t count;
    size_t bad; /* of all that were sent, not what they are called */
};

/* Whether a blob of so many bytes goes into the same request. */
bool import_has_room(const struct import_batch *b, size_t len);
void import_add_small(struct import_batch *b, const struct import_blob *blob, const struct buf *bytes);
/* Sends what is in it, and empties it; `done` is called for each blob that is here then. Those that are not what they
 * are called are named, and counted. False: the daemon has kept none of them. */
bool import_send_batch(struct import_batch *b, const struct cli_options *o, const char *path,
                       void (*done)(void *arg, const struct import_blob *blob, bool there), void *arg, struct err *err);
void import_batch_free(struct import_batch *b);

/* ---- import_name.c ---- */

/* --name with {tag} or {name} in it, or one that is to be given to several images. */
bool import_is_template(const char *given);
/* What a template makes of a tag and a name ("" none); the name of the archive is there for it too. False with *err: no
 * reference. */
bool import_expand(const struct archive_files *a, const char *given, const char *tag, char out[REF_TEXT_MAX],
                   struct err *err);
/* The archive's own name, fit for a reference: of "/data/My app.tar.gz" it is "my-app". */
const char *import_own_name(const struct archive_files *a, char out[REF_TEXT_MAX]);
/* Whether it says of which repository an image is. What containerd's CRI calls its images, "sha256:<id>", does not, nor
 * does docker's "<none>". */
bool import_is_full(const char *name);

/* ---- import_layout.c, import_about.c ---- */

#define EXPORT_REFERRERS "io.entrepot.referrers" /* cache/export.h */

enum { LAYOUT_DEPTH_MAX = 4 };

/* An entry of index.json. */
struct layout_item {
    struct digest digest;
    const json_t *descriptor;
    const char *name;        /* full, or a tag alone; NULL: none */
    const char *suffix;      /* ".sig": it is that of cosign about the layout's image */
    bool about;              /* something about an image */
    char repo[REF_TEXT_MAX]; /* of an image that has been named */
};

/* What a document says; it is read once. */
struct layout_fact {
    bool known;
    struct digest subject; /* DIGEST_NONE: it has none */
};

struct layout {
    struct import_plan *plan;
    const struct archive_files *a;
    const char *given;
    struct layout_item *items;
    size_t count;
    int images, nameless;                 /* of the latter nobody knows whose they are */
    struct layout_fact *facts;            /* of the archive's files */
    struct places exact, within, configs; /* digest: the image it is, the first image it is in; config: its manifest */
    const struct layout_item *only;       /* the first image, if all are of one repository */
    struct err *err;
};

/* An annotation, or NULL. */
const char *layout_note(const json_t *descriptor, const char *key);
/* The full name, or a tag alone, or NULL. */
const char *layout_name(const json_t *descriptor);
/* `digest` of an object. */
bool layout_digest(const json_t *object, struct digest *d);
/* A blob that is JSON; the caller decrefs. NULL: it is none, or not there. */
json_t *layout_document(const struct layout *l, const struct digest *d);
bool layout_subject(const struct layout *l, const struct digest *d, struct digest *subject);
/* By its name it is about an image: that of a digest, or the tag (*tag) that stands for one ("sha256-<hex>.sig"). */
bool layout_is_named_about(const char *name, const char **tag);
/* Gives a digest, and all that it names if it is an index, the place `place` where they have none. */
void layout_spread(const struct layout *l, struct places *to, const struct digest *d, int64_t place);

/* It goes with its image, under whatever name that gets. */
bool layout_name_about(struct layout *l, const struct layout_item *it);
/* What our own export has beside an entry. */
void layout_add_referrers(struct layout *l, const struct layout_item *it);
/* Referrers that are in the layout and that no entry names. */
void layout_find_referrers(struct layout *l);

#endif
