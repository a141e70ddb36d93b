/* What one node says to another in a line: the value of Entrepot-Peer. */
#include "cluster/ask.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Digits alone, `max` at most; anything else is 0. */
static int64_t ask_number(const char *text, int64_t max)
{
    bool digits = *text && !text[strspn(text, "0123456789")];

    return digits ? MIN((int64_t)strtoll(text, NULL, 10), max) : 0;
}

static bool take_word(const char *word, size_t len, struct ask_head *out)
{
    char text[PEER_NAME_MAX + 6];

    if (len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)len, word);
    if (strncmp(text, "v=", 2) == 0)
        out->version = (int)ask_number(text + 2, INT_MAX);
    else if (strncmp(text, "hops=", 5) == 0)
        out->hops = (int)ask_number(text + 5, INT_MAX);
    else if (strncmp(text, "from=", 5) == 0)
        snprintf(out->from, sizeof(out->from), "%s", text + 5);
    else if (strncmp(text, "size=", 5) == 0)
        out->size = ask_number(text + 5, ASK_SIZE_MAX);
    else if (strncmp(text, "not=", 4) == 0)
        snprintf(out->failed, sizeof(out->failed), "%.*s", (int)PEER_NAME_MAX, text + 4);
    else if (strcmp(text, "have") == 0)
        out->have = true;
    else if (strcmp(text, "named") == 0)
        out->named = true;
    else if (strcmp(text, "insist") == 0)
        out->insist = true;
    return true; /* a later version may have more of them */
}

void ask_elsewhere(const char *value, char out[PEER_NAME_MAX + 1])
{
    const char *at = strstr(value, "elsewhere=");

    snprintf(out, PEER_NAME_MAX + 1, "%.*s", at ? (int)strcspn(at + strlen("elsewhere="), "; ") : 0,
             at ? at + strlen("elsewhere=") : "");
}

bool ask_parse(const char *value, struct ask_head *out)
{
    memset(out, 0, sizeof(*out));
    if (strlen(value) > ASK_PEER_MAX)
        return false;
    while (*value) {
        size_t len = strcspn(value, ";");
        if (!take_word(value, len, out))
            return false;
        value += len + (value[len] == ';');
        value += strspn(value, " ");
    }
    return out->version >= 1 && out->hops >= 1 && out->hops <= ASK_HOPS_MAX;
}
