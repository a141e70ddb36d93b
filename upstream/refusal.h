/* refusal.h - the code and message of a registry's refusal, fit to be passed on. Internal to this folder. Any
 * thread. */
#ifndef ENTREPOT_UPSTREAM_REFUSAL_H
#define ENTREPOT_UPSTREAM_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    REFUSAL_READ_MAX = 64 << 10, /* bytes of an error's body */
    REFUSAL_MAX = 1023,          /* bytes of text */
    REFUSAL_CODE_MAX = 31,
};

/* Reads errors[] (code, message, detail) of the registry API's error JSON (distribution-spec, "Error Codes"), or the
 * message of other JSON; "" if there is none. Control characters become spaces. A registry may echo what it was sent,
 * so the contents of `authorization` (the header's value, or NULL), `secret` (or NULL), other tokens, and the queries
 * of URLs, which may be signed, are removed, also where they are escaped or decoded. */
void refusal_text(char out[REFUSAL_MAX + 1], const void *body, size_t len, const char *authorization,
                  const char *secret);
/* The code of its first error; "" if it names none. */
void refusal_code(char out[REFUSAL_CODE_MAX + 1], const void *body, size_t len);
/* Whether it is about an expired token or signed URL. */
bool refusal_says_expired(const char *body, size_t len);

#endif
