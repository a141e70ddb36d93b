/* What nodes write into etcd:
 *
 *     <prefix>/nodes/10.0.0.7:5443
 *        {"address": "10.0.0.7:5443", "zone": "a", "version": "1.0.0", "since": 1767225600}
 *
 * The address is that of the key. Zone, version and since may be absent; what is not known here is for later versions.
 */
#include "cluster/members_private.h"

#include "base/array.h"
#include "base/visible.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <jansson.h>
#include <string.h>

/* ---- a node ---- */

char *members_write_node(const struct member *self)
{
    json_t *doc =
        json_pack("{s:o, s:o, s:o, s:I}", "address", visible_json(self->address), "zone", visible_json(self->zone),
                  "version", visible_json(self->version), "since", (json_int_t)self->since_s);
    char *text = json_dumps(doc, JSON_COMPACT);

    json_decref(doc);
    if (!text)
        abort(); /* as without memory anywhere */
    return text;
}

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");

    return len > 0 && len <= 5 && !text[len] && atoi(text) > 0 && atoi(text) <= 65535;
}

bool members_is_address(const char *address)
{
    const char *colon = strrchr(address, ':');
    char host[PEER_NAME_MAX + 1];
    struct in6_addr six;

    if (!colon || colon == address || strlen(address) > PEER_NAME_MAX || !is_port(colon + 1))
        return false;
    size_t len = (size_t)(colon - address);
    if (address[0] == '[') {
        snprintf(host, sizeof(host), "%.*s", (int)(len - 1), address + 1);
        char *end = strchr(host, ']');
        if (!end || end[1])
            return false;
        *end = '\0';
        return inet_pton(AF_INET6, host, &six) == 1;
    }
    for (const char *p = address; p < colon; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
            return false;
    return true;
}

/* A short text without anything that is not to be displayed; absent: "". */
static bool read_word(const json_t *doc, const char *name, char out[PEER_WORD_MAX + 1])
{
    const json_t *value = json_object_get(doc, name);
    const char *text = json_string_value(value);

    if (!value)
        return true;
    if (!text || strlen(text) > PEER_WORD_MAX || !text_is_simple(text, strlen(text)))
        return false;
    snprintf(out, PEER_WORD_MAX + 1, "%s", text);
    return true;
}

bool members_read_node(const char *address, const char *value, size_t len, struct member *out, struct err *err)
{
    json_t *doc = json_loadb(value, len, 0, NULL);
    const char *own = json_string_value(json_object_get(doc, "address"));
    const json_t *since = json_object_get(doc, "since");
    const char *fault = NULL;

    *out = (struct member){0};
    if (!members_is_address(address))
        fault = "its key is not an address";
    else if (!json_is_object(doc))
        fault = "it is not an object of JSON";
    else if (!own || strcmp(own, address) != 0)
        fault = "its address is not that of its key";
    else if (!read_word(doc, "zone", out->zone) || !read_word(doc, "version", out->version))
        fault = "its zone or version is malformed";
    else if (since && (!json_is_integer(since) || json_integer_value(since) < 0))
        fault = "its time is malformed";
    if (!fault) {
        snprintf(out->address, sizeof(out->address), "%s", address);
        out->since_s = json_integer_value(since);
    }
    json_decref(doc);
    return !fault || err_set(err, ERR_INVALID, "%s", fault);
}

/* ---- the table ---- */

/* Where it is, or would be. */
static size_t table_place(const struct members_table *t, const char *address, bool *found)
{
    size_t from = 0, to = t->count;

    *found = false;
    while (from < to && !*found) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(address, t->list[middle]->address);
        *found = order == 0;
        if (*found)
            from = middle;
        else if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

bool members_table_put(struct members_table *t, const struct member *m)
{
    bool found;
    size_t at = table_place(t, m->address, &found);

    if (!found) {
        if (t->count >= PEERS_MAX)
            return false;
        *ARRAY_NEXT(t->list, t->count, t->cap) = NULL;
        memmove(t->list + at + 1, t->list + at, (t->count - at) * sizeof(*t->list));
        t->count++;
        t->list[at] = xmalloc(sizeof(*m));
    }
    *t->list[at] = *m;
    return true;
}

void members_table_drop(struct members_table *t, const char *address)
{
    bool found;
    size_t at = table_place(t, address, &found);

    if (!found)
        return;
    free(t->list[at]);
    t->count--;
    memmove(t->list + at, t->list + at + 1, (t->count - at) * sizeof(*t->list));
}

bool members_table_has(const struct members_table *t, const char *address)
{
    bool found;

    table_place(t, address, &found);
    return found;
}

void members_table_publish(const struct members_table *t, struct peers *peers)
{
    _cleanup_free_ struct member *all = xcalloc(t->count + 1, sizeof(*all));

    for (size_t i = 0; i < t->count; i++)
        all[i] = *t->list[i];
    peers_set(peers, all, (int)t->count);
}

void members_table_clear(struct members_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->list[i]);
    free(t->list);
    *t = (struct members_table){0};
}
