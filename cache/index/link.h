/* link.h - links that are learnt from a registry's answer, one at a time (the rows themselves: rows_link.c). Any
 * thread. */
#ifndef ENTREPOT_CACHE_INDEX_LINK_H
#define ENTREPOT_CACHE_INDEX_LINK_H

#include "cache/index/index.h"

/* The repository's registry answered that it contains the blob. Unless `is_private`, everybody may read that
 * repository: the blob becomes public if this registry has sent its bytes, too. The arguments are copied; written in
 * the background, a failure is logged. */
void index_link(struct index *index, const char *repo, const struct digest *d, bool is_private);

#endif
