/* unit_request.h - requests without a connection. */
#ifndef ENTREPOT_TESTS_UNIT_UNIT_REQUEST_H
#define ENTREPOT_TESTS_UNIT_UNIT_REQUEST_H

#include "proxy/http/private.h"

#include <string.h>

/* A request as the parser leaves it: the texts lie in the arena. */
static inline void make_request(struct http_conn *c, const char *target, const char *host)
{
    const char *query = strchr(target, '?');

    memset(c, 0, sizeof(*c));
    buf_addf(&c->arena, "%.*s", (int)strcspn(target, "?"), target);
    c->req.conn = c;
    c->head_done = true;
    c->arena.len++;
    c->req.query = (uint32_t)c->arena.len;
    buf_adds(&c->arena, query ? query + 1 : "");
    c->arena.len++;
    c->req.host = (uint32_t)c->arena.len;
    buf_adds(&c->arena, host);
}

/* A header more, its name in lower case. */
static inline void add_header(struct http_conn *c, const char *name, const char *value)
{
    struct http_field *f = &c->req.fields[c->req.field_count++];

    c->arena.len++;
    f->name = (uint32_t)c->arena.len;
    buf_adds(&c->arena, name);
    c->arena.len++;
    f->value = (uint32_t)c->arena.len;
    buf_adds(&c->arena, value);
}

#endif
