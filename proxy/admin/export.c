/* `export`: which members an archive of these images has, and the bytes of blobs. The archive itself is written by the
 * command (cli/archive/export.c) as its own user: the daemon may not be allowed to write there, and must not on
 * behalf of another user. */
#include "proxy/admin/pages.h"

#include "base/visible.h"
#include "cache/export.h"
#include "cache/verify.h"

#include <string.h>

enum { EXPORT_PIECE = 32 << 10 /* bytes of the answer */ };

static json_t *member_json(const struct export_item *m)
{
    char text[DIGEST_TEXT_MAX];
    json_t *j = json_pack("{s:s, s:I}", "name", m->name, "size", (json_int_t)m->size);

    if (m->text)
        json_object_set_new(j, "text", json_string(m->text));
    else
        json_object_set_new(j, "digest", json_string(digest_format(&m->digest, text)));
    return j;
}

/* "platforms": a list, where "all" stands for every platform; "platform": one. */
static bool export_take_platforms(const json_t *input, struct export_wish *wish)
{
    const json_t *list = json_object_get(input, "platforms"), *one = json_object_get(input, "platform");
    json_t *item;
    int count = 0;
    size_t i;

    if (json_array_size(list) > EXPORT_PLATFORMS_MAX || (one && !json_is_string(one)))
        return false;
    if (one && strcmp(json_string_value(one), "all") == 0)
        wish->all = true;
    else if (one && !platform_normalize(json_string_value(one), wish->platforms[count++]))
        return false;
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(item);
        if (text && strcmp(text, "all") == 0)
            wish->all = true;
        else if (!text || count == EXPORT_PLATFORMS_MAX || !platform_normalize(text, wish->platforms[count++]))
            return false;
    }
    if (wish->all)
        memset(wish->platforms, 0, sizeof(wish->platforms));
    return true;
}

static bool take_signatures(const json_t *input, struct export_wish *wish)
{
    static const char *const names[] = {
        [SIGNATURES_INCLUDE] = "include", [SIGNATURES_SEPARATE] = "separate", [SIGNATURES_OMIT] = "omit"};
    const char *text = json_string_value(json_object_get(input, "signatures"));

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (text && strcmp(text, names[i]) != 0)
            continue;
        wish->signatures = (enum export_signatures)i;
        return true;
    }
    return false;
}

/* The answer is the list's members, some KiB at a time. */
struct export_answer {
    struct export_list list;
    size_t given;
};

static void export_answer_free(void *state)
{
    struct export_answer *a = state;

    export_list_free(&a->list);
    free(a);
}

static void add_json(struct buf *piece, json_t *j)
{
    _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

    json_decref(j);
    buf_adds(piece, text);
}

static enum admin_more add_members(struct admin_job *job, struct buf *piece)
{
    struct export_answer *a = job->state;

    if (a->given == 0) {
        buf_adds(piece, "{\"cache\":");
        add_json(piece, visible_json(job->admin->config->cache_path));
        buf_adds(piece, ",\"notes\":");
        add_json(piece, visible_json(a->list.notes ? a->list.notes : ""));
        buf_adds(piece, ",\"members\":[");
    }
    for (; a->given < a->list.count && piece->len < EXPORT_PIECE; a->given++) {
        buf_adds(piece, a->given > 0 ? ",\n" : "\n");
        add_json(piece, member_json(&a->list.members[a->given]));
    }
    if (a->given < a->list.count)
        return ADMIN_MORE;
    buf_adds(piece, "]}\n");
    return ADMIN_END;
}

void admin_export(struct admin_job *job)
{
    const json_t *input = job->input;
    const char *format = json_string_value(json_object_get(input, "format"));
    struct export_wish wish = {.docker = format && strcmp(format, "docker") == 0};
    struct err err = {0};

    if ((format && !wish.docker && strcmp(format, "oci") != 0) || !export_take_platforms(input, &wish) ||
        !take_signatures(input, &wish)) {
        admin_error(job, 400,
                    "formats are oci and docker, a platform is one such as linux/amd64, or all (at most %d), "
                    "signatures are include, separate or omit",
                    (int)EXPORT_PLATFORMS_MAX);
        return;
    }
    struct ref *refs = admin_references(job, json_object_get(input, "references"), &wish.count);
    if (!refs)
        return;
    wish.references = refs;
    struct export_answer *a = xcalloc(1, sizeof(*a));
    job->state = a;
    job->free_state = export_answer_free;
    if (export_plan(job->admin->puller.cache, &wish, &a->list, &err))
        job->produce = add_members;
    else
        admin_fail(job, &err);
    free(refs);
}

void admin_blob(struct admin_job *job)
{
    const char *text = job->rest;
    struct cache *c = job->admin->puller.cache;
    struct err err = {0};

    if (!digest_parse(&job->digest, text, strlen(text))) {
        admin_error(job, 400, "\"%s\" is not a digest", text);
        return;
    }
    job->fd = cache_open_blob(c, &job->digest, &job->size, &err);
    if (job->fd < 0 && err.code == ERR_UNVERIFIED &&
        cache_verify(c, &job->digest, NULL, NULL, &err) <= VERIFIED_ADOPTED)
        job->fd = cache_open_blob(c, &job->digest, &job->size, &err);
    if (job->fd < 0)
        admin_fail(job, &err);
}
