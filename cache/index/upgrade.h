/* upgrade.h - an index that another version of entrepot wrote.
 *
 * Schema 3 is the first that is brought forward in place, from 2 on; each later one gets its step here. What is older
 * than that is moved aside and the index rebuilt from the blobs; tags and pins are taken over, which is what the
 * blobs do not say. At the start, before there is traffic; blocks.
 *
 *     1        blob rows of 36 bytes; pins are of digests
 *     2        proofs, ranks; blob rows of 60 bytes in early builds, of 68 later
 *     3        whatever a manifest holds has the manifest's links (rows_link.c)
 */
#ifndef ENTREPOT_CACHE_INDEX_UPGRADE_H
#define ENTREPOT_CACHE_INDEX_UPGRADE_H

#include "cache/index/index.h"

/* Brings the index to INDEX_SCHEMA, in one transaction. Errors: ERR_OUTDATED (its rows are not what its schema says),
 * ERR_IO, ERR_NO_SPACE. */
bool upgrade_index(struct index *index, struct err *err);
/* Takes tags and pins from an outdated index in the folder `old`. Returns how many tags. Errors are logged. */
size_t upgrade_take_tags(struct index *index, const char *old);

#endif
