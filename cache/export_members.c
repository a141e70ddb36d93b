/* The files of an archive. */
#include "cache/export_private.h"

#include "base/array.h"

#include <string.h>

void export_list_free(struct export_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->members[i].name);
        free(l->members[i].text);
    }
    free(l->members);
    text_set_free(&l->names);
    free(l->notes);
    memset(l, 0, sizeof(*l));
}

static struct export_item *add_member(struct export_list *l, const char *name)
{
    if (text_set_has(&l->names, name))
        return NULL;
    struct export_item *m = ARRAY_NEXT(l->members, l->count, l->cap);
    l->count++;
    memset(m, 0, sizeof(*m));
    m->name = xstrdup(name);
    text_set_add(&l->names, m->name);
    return m;
}

/* A text, and what ends it. */
static void put_text(struct export_list *l, const char *name, const char *text, const char *end)
{
    struct export_item *m = add_member(l, name);

    if (!m)
        return;
    m->text = xasprintf("%s%s", text, end);
    m->size = (int64_t)strlen(m->text);
}

void export_add_text(struct export_list *l, const char *name, json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT);

    json_decref(doc);
    put_text(l, name, text, "\n");
    free(text);
}

static char *blob_name(const struct digest *d)
{
    char hex[DIGEST_TEXT_MAX];

    return xasprintf("blobs/%s/%s", digest_alg_name(d), digest_hex(d, hex));
}

int64_t export_add_document(struct export_plan *p, json_t *doc, struct digest *out)
{
    char *text = json_dumps(doc, JSON_COMPACT);
    size_t len = strlen(text);

    json_decref(doc);
    digest_of(DIGEST_SHA256, text, len, out);
    _cleanup_free_ char *name = blob_name(out);
    put_text(p->out, name, text, "");
    free(text);
    return (int64_t)len;
}

void export_add_blob(struct export_plan *p, const struct digest *d, int64_t size, const char *name)
{
    _cleanup_free_ char *own = name ? NULL : blob_name(d);
    struct export_item *m = add_member(p->out, name ? name : own);

    if (!m)
        return;
    m->digest = *d;
    m->size = size;
}
