/* challenge.h - what a registry wants to see before it answers: WWW-Authenticate (RFC 9110 §11.6.1, and the
 * distribution project's token specification for Bearer). Any thread. */
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
    bool too_long; /* one that there was has a part that there is no room for: what it wants is not known */
};

/* Reads one or more challenges and keeps the best: Bearer, else Basic, else none. Never fails: what is malformed is no
 * challenge, and what is too long is not to be answered by another one. */
void challenge_parse(struct challenge *c, const char *text);
/* As a header's value; "" for none. */
struct buf;
void challenge_format(const struct challenge *c, struct buf *out);

/* Adds to a Bearer challenge that says nothing of it that a token was brought, and was none (RFC 6750 §3.1). Nothing is
 * done where that could be taken for a part of another challenge. */
void challenge_add_invalid_token(char *text, size_t room);

#endif
