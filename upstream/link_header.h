/* link_header.h - the next page of a list, as a Link header names it (RFC 8288 §3). Any thread. */
#ifndef ENTREPOT_UPSTREAM_LINK_HEADER_H
#define ENTREPOT_UPSTREAM_LINK_HEADER_H

#include <stdbool.h>

/* The target of the first link in `value` whose relation types include "next", else of the first one without a `rel`:
 * some registries send none, and clients follow such a link. *named: whether it had one. The caller frees; NULL: there
 * is no next page. */
char *link_header_next(const char *value, bool *named);

#endif
