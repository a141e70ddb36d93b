/* pull.h - pulling whole images into the cache: the manifest, for an index those of the wanted platforms, configs and
 * layers; on request also referrers (distribution-spec, "Listing
 * Referrers"), their fallback tag, and cosign's tags (sha256-<hex>.sig, .att, .sbom).
 *
 * Everything is fetched as for a client's requests (fetch.h), PULL_PARALLEL at a time, whatever the number of images.
 * Blocks: for an admin worker, not for a loop. What was fetched before a failure or a cancellation stays, and is not
 * fetched again.
 */
#ifndef ENTREPOT_PROXY_PULL_PULL_H
#define ENTREPOT_PROXY_PULL_PULL_H

#include "base/platform.h"
#include "proxy/pull/prefetch.h"

enum { PULL_PARALLEL = 6, PULL_PLATFORMS_MAX = 16 };

enum pull_kind { PULL_MANIFEST, PULL_CONFIG, PULL_LAYER, PULL_LISTING };
enum pull_status { PULL_WAITING, PULL_RUNNING, PULL_EXISTS, PULL_DONE, PULL_FAILED };

struct pull_blob {
    const char *reference; /* the image it is for */
    enum pull_kind kind;
    enum pull_status status;
    const struct digest *digest;
    const char *platform;   /* "" none */
    int64_t size, received; /* bytes; size -1 not known */
    const char *error;      /* PULL_FAILED */
};

struct pull_image {
    const char *reference;
    enum pull_status status; /* PULL_WAITING: its manifest is not here yet */
    struct digest digest;
    int64_t size, fetched; /* bytes */
    const char *error;
    const char *platform;  /* PULL_DONE: its platform, if that is none of the wanted ones; "": it is one */
    const char *unchecked; /* why upstream did not confirm its tag, so that the copy may be old; "": it did */
};

struct pull_wish {
    const struct ref *references;
    size_t count;
    char platforms[PULL_PLATFORMS_MAX][PLATFORM_TEXT]; /* "" ends them; none, or "all": all */
    bool referrers, pin;
    bool fresh; /* an image whose tag upstream does not confirm fails */
    /* On the calling thread. */
    bool (*stop)(void *arg);
    void (*on_blob)(void *arg, const struct pull_blob *b);
    void (*on_image)(void *arg, const struct pull_image *i);
    void (*on_note)(void *arg, const char *reference, const char *text);
    void *arg;
};

struct pull_sum {
    size_t images, failed, unchecked;
    int64_t size, fetched;
    bool stopped;
};

void pull_run(struct puller *p, struct loop *loop, const struct pull_wish *wish, struct pull_sum *sum);

#endif
