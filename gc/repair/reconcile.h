/* reconcile.h - at start, makes index and files agree again, in the background. Internal to gc/.
 *
 * Files that the index does not know are verified and adopted, or quarantined; entries without a file are dropped, so
 * that the blob is fetched again on its next use; parts that cannot be resumed are removed. Small files come first, so
 * that manifests are there to hold the layers that follow. Requests do not wait for any of it: what is requested before
 * its turn has come is verified at once (proxy/fetch/verify.c).
 */
#ifndef ENTREPOT_GC_REPAIR_RECONCILE_H
#define ENTREPOT_GC_REPAIR_RECONCILE_H

#include "cache/verify.h"

struct reconciled {
    int64_t adopted, damaged, missing, parts;
};

/* `stop` ends it soon. Blocks. */
void reconcile(struct cache *c, bool (*stop)(void *arg), void *arg, struct reconciled *sum);
/* The part of it that looks at files; also for `verify`. `small`: files up to the size of a manifest, or the others. */
void reconcile_files(struct cache *c, bool small, const struct verify_pace *pace, struct reconciled *sum);
/* Removes parts that no ingest has and that the index does not know, or that nothing refers to and that were not used
 * for seven days: what broke off may be resumed; and imports not written to for `import_age_s` seconds. Returns how
 * many parts. Others go when room is needed (gc/parts.h). */
int64_t reconcile_parts(struct cache *c, int64_t import_age_s);

#endif
