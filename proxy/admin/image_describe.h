/* image_describe.h - images as `ls` and `inspect` show them: described from their manifests. Blocks (files are
 * read): admin workers. */
#ifndef ENTREPOT_PROXY_ADMIN_IMAGE_DESCRIBE_H
#define ENTREPOT_PROXY_ADMIN_IMAGE_DESCRIBE_H

#include "cache/cache.h"
#include "proxy/admin/image_page.h"

/* A row of `ls`: a new reference. */
json_t *image_describe(struct cache *c, struct cached_image *i);

/* False: it cannot be read, or is none. */
bool image_load_manifest(struct cache *c, const struct digest *d, int64_t size, struct manifest *m);
/* The config that a manifest names; empty where that is false. */
bool image_load_config(struct cache *c, const struct manifest *m, struct image_config *config);
/* null: there is none. */
json_t *image_digest_json(const struct digest *d);

#endif
