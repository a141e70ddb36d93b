/* peer.h - requests of other nodes of the cluster, at the address for them (cluster/ask.h): manifests and blobs as for
 * any client, with the same rules of who may read what, and whether this node is alive. On the request's serve loop. */
#ifndef ENTREPOT_PROXY_REGISTRY_PEER_H
#define ENTREPOT_PROXY_REGISTRY_PEER_H

#include "cluster/ask.h"
#include "proxy/registry/note.h"
#include "proxy/registry/registry.h"

/* Whether it is from a node of the cluster; if not, it has been answered. Notes in the request how far it has come. */
bool peer_admit(struct registry *reg, struct http_request *req);
/* Answers a question whether this node is alive. False: it is another one. */
bool peer_answer_life(struct registry *reg, struct http_request *req);
/* Says in the answer that this is a node of the cluster. Of any other request nothing. */
void peer_mark(struct http_request *req);
/* Vouches for what the answer says of a tag: what it points to, and how long that has been known. Of any other request
 * nothing. */
void peer_vouch(struct registry *reg, struct http_request *req, const struct digest *d, int64_t age_s);
/* What it asks of a blob: its size as it says; 0: not known, or no node asks. */
int64_t peer_size(struct http_request *req);
/* It asks for a blob. True: it has been answered with the name of another node that has it. Else this one sends it. */
bool peer_name_another(struct registry *reg, struct http_request *req, const struct digest *d);
/* The request is complete: counts what was sent. */
void peer_note_sent(struct registry *reg, struct http_request *req);

#endif
