/* challenge.h - how a registry requests a login: WWW-Authenticate (RFC 9110 §11.6.1, and the distribution project's
 * token specification for Bearer). Any thread. */
#ifndef ENTREPOT_UPSTREAM_CHALLENGE_H
#define ENTREPOT_UPSTREAM_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

enum { CHALLENGE_MAX = 2048 /* bytes of all of them together */ };

struct challenge {
    enum challenge_scheme scheme;
    char realm[1024];
    char service[256];
    char scope[1024];
    bool too_long; /* a part of one exceeds its limit: what the registry requires is unknown */
};

/* Reads one or more challenges and keeps the best: Bearer, else Basic, else none. Never fails: a malformed one is
 * ignored, and where one is too long no other is answered in its place. */
void challenge_parse(struct challenge *c, const char *text);
/* As the value of a header; "" for none. */
struct buf;
void challenge_format(const struct challenge *c, struct buf *out);

/* Adds error="invalid_token" to a Bearer challenge that has no error (RFC 6750 §3.1). Nothing is done where that could
 * be read as a part of another challenge. */
void challenge_add_invalid_token(char *text, size_t cap);

#endif
