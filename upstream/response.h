/* response.h - parses response headers into struct transfer_response. Internal to this folder. */
#ifndef ENTREPOT_UPSTREAM_RESPONSE_H
#define ENTREPOT_UPSTREAM_RESPONSE_H

#include "upstream/transfer.h"

void response_reset(struct transfer_response *r);
/* Frees what it refers to, and resets it. */
void response_clear(struct transfer_response *r);
/* One header line as received; `len` includes the line's end. */
void response_header(struct transfer_response *r, const char *line, size_t len);

#endif
