#include "cluster/etcd_json.h"

#include "base/array.h"
#include "base/base64.h"
#include "base/visible.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

enum {
    ERROR_TEXT_MAX = 200,
    /* codes of gRPC */
    GRPC_DEADLINE = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_DENIED = 7,
    GRPC_EXHAUSTED = 8,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

/* ---- requests ---- */

json_t *etcd_json_bytes(const void *data, size_t len)
{
    _cleanup_free_ char *text = xmalloc(len / 3 * 4 + 8);

    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return json_string(text);
}

json_t *etcd_json_number(int64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)n);
    return json_string(text);
}

json_t *etcd_json_end(const char *prefix)
{
    _cleanup_free_ char *end = xstrdup(prefix);
    size_t len = strlen(end);

    while (len > 0 && (unsigned char)end[len - 1] == 0xff)
        len--;
    if (len == 0)
        return etcd_json_bytes("", 1); /* a zero byte: to the end of all keys */
    end[len - 1]++;
    return etcd_json_bytes(end, len);
}

/* ---- answers ---- */

static int64_t etcd_read_number(const json_t *doc, const char *name)
{
    const json_t *value = json_object_get(doc, name);
    const char *text = json_string_value(value);
    char *end = NULL;

    if (json_is_integer(value))
        return json_integer_value(value);
    errno = 0;
    long long n = text ? strtoll(text, &end, 10) : 0;
    return text && *text && !*end && errno == 0 ? n : 0;
}

/* False: it is malformed, or too large. What is absent is empty. */
static bool read_bytes(const json_t *doc, const char *name, char **out, size_t *len)
{
    const json_t *value = json_object_get(doc, name);
    const char *text = json_string_value(value);

    *len = 0;
    *out = !value || (text && !*text) ? xstrdup("") : text ? base64_decode(text, len) : NULL;
    return *out && *len <= ETCD_VALUE_MAX;
}

static bool read_kv(const json_t *doc, struct etcd_kv *kv)
{
    bool ok = read_bytes(doc, "key", &kv->key, &kv->key_len) && kv->key_len > 0;

    ok = ok && read_bytes(doc, "value", &kv->value, &kv->value_len);
    kv->lease = etcd_read_number(doc, "lease");
    kv->mod_revision = etcd_read_number(doc, "mod_revision");
    return ok;
}

static void kv_clear(struct etcd_kv *kv)
{
    free(kv->key);
    free(kv->value);
}

struct kv_list {
    struct etcd_kv *list;
    size_t count, cap;
    int passed_over;
};

static void take_kv(struct kv_list *l, const json_t *doc, bool deleted)
{
    struct etcd_kv kv = {.deleted = deleted};

    if (read_kv(doc, &kv)) {
        *ARRAY_NEXT(l->list, l->count, l->cap) = kv;
        l->count++;
        return;
    }
    kv_clear(&kv);
    l->passed_over++;
}

static void take_kvs(struct kv_list *l, const json_t *answer)
{
    size_t i;
    const json_t *item;

    json_array_foreach(json_object_get(answer, "kvs"), i, item)
        take_kv(l, item, false);
}

void etcd_json_answer(const json_t *doc, struct etcd_answer *out)
{
    struct kv_list all = {0};
    const json_t *item;
    size_t i;

    *out = (struct etcd_answer){.revision = etcd_read_number(json_object_get(doc, "header"), "revision"),
                                .lease = etcd_read_number(doc, "ID"),
                                .ttl_s = etcd_read_number(doc, "TTL"),
                                .succeeded = json_is_true(json_object_get(doc, "succeeded")),
                                .more = json_is_true(json_object_get(doc, "more"))};
    take_kvs(&all, doc);
    json_array_foreach(json_object_get(doc, "responses"), i, item)
        take_kvs(&all, json_object_get(item, "response_range"));
    json_array_foreach(json_object_get(doc, "events"), i, item) {
        const json_t *type = json_object_get(item, "type");
        const char *name = json_string_value(type);
        bool deleted = (name && strcmp(name, "DELETE") == 0) || json_integer_value(type) == 1;
        take_kv(&all, json_object_get(item, "kv"), deleted);
    }
    out->kvs = all.list;
    out->count = (int)all.count;
    out->passed_over = all.passed_over;
}

void etcd_answer_clear(struct etcd_answer *a)
{
    for (int i = 0; i < a->count; i++)
        kv_clear(&a->kvs[i]);
    free(a->kvs);
    *a = (struct etcd_answer){0};
}

/* ---- errors ---- */

static enum err_code code_of(int64_t grpc, int status)
{
    switch (grpc) {
    case GRPC_NOT_FOUND:
        return ERR_NOT_FOUND;
    case GRPC_DENIED:
    case GRPC_UNAUTHENTICATED:
        return ERR_DENIED;
    case GRPC_EXHAUSTED:
        return ERR_BUSY;
    case GRPC_OUT_OF_RANGE:
        return ERR_OUTDATED;
    case GRPC_DEADLINE:
    case GRPC_UNAVAILABLE:
        return ERR_UPSTREAM;
    default:
        return status == 401 || status == 403                   ? ERR_DENIED
               : status == 429                                  ? ERR_BUSY
               : status >= 500 || status < 400 || status == 404 ? ERR_UPSTREAM
                                                                : ERR_INVALID;
    }
}

bool etcd_json_error(const json_t *doc, int status, struct err *err)
{
    const json_t *error = json_object_get(doc, "error"), *at = json_is_object(error) ? error : doc;
    const char *text = json_string_value(json_object_get(at, "message"));
    int64_t grpc = etcd_read_number(at, "code");

    if (status == 200 && !error)
        return false;
    if (!text)
        text = json_is_string(error) ? json_string_value(error) : "";
    if (grpc == 0)
        grpc = etcd_read_number(at, "grpc_code");
    _cleanup_free_ char *shown = visible_line(text);
    shown[text_whole(shown, MIN(strlen(shown), (size_t)ERROR_TEXT_MAX))] = '\0';
    if (*shown)
        err_set(err, code_of(grpc, status), "%s", shown);
    else
        err_set(err, code_of(grpc, status), "it answered %d", status);
    err->status = status;
    return true;
}

/* etcd's codes for these differ: by its texts (api/v3rpc/rpctypes). */
bool etcd_error_wants_login(const struct err *err)
{
    static const char *const texts[] = {"invalid auth token", "revision of auth store is old", "user name is empty"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strstr(err->msg, texts[i]))
            return true;
    return err->status == 401;
}
