/* The keys and values of budgets.h. */
#include "cluster/budgets.h"

#include "base/visible.h"

#include <jansson.h>
#include <string.h>

enum { WINDOW_MOST_S = 31 * 86400 };

static const char *const SUFFIXES[LEDGER_KINDS] = {
    [LEDGER_LEFT] = "", [LEDGER_HELD_MANIFESTS] = "-manifests", [LEDGER_HELD_BLOBS] = "-blobs"};

char *budgets_write_key(const char *prefix, const struct ledger_key *key)
{
    return xasprintf("%s%s/%s%s", prefix, key->registry, key->identity, SUFFIXES[key->kind]);
}

bool budgets_read_key(const char *prefix, const char *text, size_t len, struct ledger_key *out)
{
    size_t at = strlen(prefix);
    const char *slash = len > at && strncmp(text, prefix, at) == 0 ? strchr(text + at, '/') : NULL;
    size_t host = slash ? (size_t)(slash - text) - at : 0;

    *out = (struct ledger_key){0};
    if (strlen(text) != len || host == 0 || host > LEDGER_REGISTRY_MAX ||
        strspn(slash + 1, "0123456789abcdef") != LEDGER_IDENTITY_LEN)
        return false;
    snprintf(out->registry, sizeof(out->registry), "%.*s", (int)host, text + at);
    snprintf(out->identity, sizeof(out->identity), "%.*s", (int)LEDGER_IDENTITY_LEN, slash + 1);
    for (int i = 0; i < LEDGER_KINDS; i++)
        if (strcmp(slash + 1 + LEDGER_IDENTITY_LEN, SUFFIXES[i]) == 0) {
            out->kind = i;
            return true;
        }
    return false;
}

char *budgets_write_value(enum ledger_kind kind, const struct ledger_value *v, const char *node, int64_t now_ms)
{
    _cleanup_free_ char *name = xasprintf("%.*s", (int)LEDGER_NODE_MAX, node);
    json_t *doc = json_pack("{s:o}", "node", visible_json(name));

    if (kind == LEDGER_LEFT) {
        json_object_set_new(doc, "limit", json_integer(v->limit));
        json_object_set_new(doc, "remaining", json_integer(ledger_left(v, now_ms)));
        if (v->window_s > 0)
            json_object_set_new(doc, "window", json_integer(v->window_s));
    } else {
        json_object_set_new(doc, "held_ms", json_integer(MAX(v->at_ms + v->held_ms - now_ms, (int64_t)0)));
    }
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text)
        abort(); /* as without memory anywhere */
    return text;
}

/* A number from `least` to `most`; absent: `absent`, which may be less. */
static bool budgets_read_number(const json_t *doc, const char *name, int64_t least, int64_t most, int64_t absent,
                                int64_t *out)
{
    const json_t *j = json_object_get(doc, name);

    *out = j ? json_integer_value(j) : absent;
    return j ? json_is_integer(j) && *out >= least && *out <= most : absent >= -1;
}

bool budgets_read_value(enum ledger_kind kind, const char *text, size_t len, int64_t now_ms, struct ledger_value *out)
{
    enum { MUST_BE = -2 };
    json_t *doc = len <= BUDGETS_VALUE_MAX ? json_loadb(text, len, 0, NULL) : NULL;
    const char *node = json_string_value(json_object_get(doc, "node"));

    *out = (struct ledger_value){.at_ms = now_ms};
    bool ok = node && *node && strlen(node) <= LEDGER_NODE_MAX && text_is_simple(node, strlen(node));
    if (ok && kind == LEDGER_LEFT)
        ok = budgets_read_number(doc, "limit", 0, LEDGER_COUNT_MAX, MUST_BE, &out->limit) &&
             budgets_read_number(doc, "remaining", 0, LEDGER_COUNT_MAX, MUST_BE, &out->remaining) &&
             budgets_read_number(doc, "window", 1, WINDOW_MOST_S, -1, &out->window_s);
    else if (ok)
        ok = budgets_read_number(doc, "held_ms", 0, LEDGER_WINDOW_MAX_S * INT64_C(1000), MUST_BE, &out->held_ms);
    if (ok)
        snprintf(out->node, sizeof(out->node), "%s", node);
    json_decref(doc);
    return ok;
}
