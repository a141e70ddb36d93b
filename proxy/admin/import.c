/* `import`: the blobs of an archive, and then its images. The archive itself is read by the command
 * (cli/archive/import.c) as its own user. */
#include "proxy/admin/pages.h"

#include "cache/import.h"
#include "cache/verify.h"

#include <string.h>

/* ---- the blobs ---- */

static int64_t number_of(const struct admin_job *job, const char *key)
{
    const char *at = strstr(job->query, key);

    return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

static bool take_digest(struct admin_job *job, struct digest *d)
{
    const char *at = strstr(job->query, "digest=");
    size_t len = at ? strcspn(at + 7, "&") : 0;

    if (at && digest_parse(d, at + 7, len))
        return true;
    admin_error(job, 400, "which blob? ?digest=sha256:...");
    return false;
}

static void answer_state(struct admin_job *job, const struct digest *d)
{
    struct err err = {0};
    bool whole;
    int64_t received;

    /* Before the lookup, so that it cannot be evicted after it. */
    importing_hold(cache_importing(job->admin->puller.cache), d);
    if (import_look(job->admin->puller.cache, d, &whole, &received, &err))
        job->answer = json_pack("{s:b, s:I}", "whole", whole, "received", (json_int_t)received);
    else
        admin_fail(job, &err);
}

void admin_import_state(struct admin_job *job)
{
    struct digest d;

    if (take_digest(job, &d))
        answer_state(job, &d);
}

void admin_import_bytes(struct admin_job *job)
{
    int64_t offset = number_of(job, "offset="), size = number_of(job, "size=");
    struct cache *c = job->admin->puller.cache;
    struct digest d;
    struct err err = {0};

    if (!take_digest(job, &d))
        return;
    /* With the first bytes, room is checked for all that follow, so that nothing is sent in vain. What came before
     * is counted already. */
    int64_t rest = size > 0 ? size - MAX(offset, (int64_t)0) : 0;
    bool reserved = rest <= 0 || admin_reserve(job, rest, &err);
    if (reserved && rest > 0)
        ingests_book_room(cache_ingests(c), rest);
    bool ok = reserved && import_write(c, &d, offset, job->body, job->body_len, &err);
    if (reserved && !ok && err.code == ERR_NO_SPACE && admin_free_disk(job, (int64_t)job->body_len))
        ok = import_write(c, &d, offset, job->body, job->body_len, &err);
    if (ok)
        answer_state(job, &d);
    else
        admin_fail(job, &err);
}

void admin_import_blob(struct admin_job *job)
{
    const struct verify_pace pace = {.stop = admin_is_stopped, .arg = job};
    struct cache *c = job->admin->puller.cache;
    struct digest d;
    struct err err = {0};
    int64_t received;
    bool whole;

    if (!take_digest(job, &d))
        return;
    importing_hold(cache_importing(c), &d);
    bool ok = import_look(c, &d, &whole, &received, &err);
    bool ask = ok && !whole && received > 0;
    if (ask) { /* it is on the disk already */
        ingests_note_arriving(cache_ingests(c), received);
        ingests_note_parked(cache_ingests(c), -received);
    }
    bool asked = ask && admin_reserve(job, received, &err);
    ok = ok && (asked || whole || received == 0);
    if (ok && !whole)
        ok = cache_adopt_import(c, &d, &pace, &err);
    if (ok && whole)
        import_remove(c, &d);
    if (asked)
        ingests_book_room(cache_ingests(c), received);
    if (ask) {
        ingests_note_arriving(cache_ingests(c), -received);
        ingests_note_parked(cache_ingests(c), ok ? 0 : received);
    }
    if (ok)
        job->answer = json_pack("{s:b}", "whole", true);
    else
        admin_fail(job, &err);
}

/* ---- the images ---- */

static bool import_take_image(const json_t *item, struct import_image *to, struct ref *ref, struct err *err)
{
    const char *name = json_string_value(json_object_get(item, "name")),
               *digest = json_string_value(json_object_get(item, "digest"));
    char repo[REF_TEXT_MAX];

    if (!name || !digest || !digest_parse(&to->digest, digest, strlen(digest)))
        return err_set(err, ERR_INVALID, "an image has a name and a digest");
    if (!ref_parse(ref, name, err))
        return false;
    if (strlen(ref_name(ref, repo)) > REF_NAME_MAX)
        return err_set(err, ERR_INVALID, "%.64s... has too long a name", repo);
    memcpy(to->repo, repo, strlen(repo) + 1);
    ref_tag(ref, to->tag);
    return true;
}

/* The images, and those of their registries that are not configured: clients cannot pull from them. */
static json_t *imported(struct admin_job *job, const struct ref *refs, size_t count)
{
    json_t *done = json_array(), *unknown = json_array();

    for (size_t i = 0; i < count; i++) {
        char text[REF_TEXT_MAX];
        json_array_append_new(done, json_string(ref_format(&refs[i], text)));
        if (!sites_is_upstream(job->admin->puller.sites, refs[i].host))
            json_array_append_new(unknown, json_string(refs[i].host));
    }
    return json_pack("{s:o, s:o}", "imported", done, "not_configured", unknown);
}

/* All of them; none if there is something wrong with one. */
void admin_import(struct admin_job *job)
{
    const json_t *list = json_object_get(job->input, "images");
    bool pin = !json_is_false(json_object_get(job->input, "pin")), ok = true;
    size_t count = json_array_size(list), failed = 0;
    struct err err = {0};
    char text[REF_TEXT_MAX];

    if (count == 0 || count > ADMIN_IMAGES_MAX) {
        admin_error(job, 400,
                    "which images? {\"images\": [{\"name\": \"nginx:1.27\", \"digest\": \"sha256:...\"}]}, at most %d",
                    (int)ADMIN_IMAGES_MAX);
        return;
    }
    _cleanup_free_ struct import_image *images = xcalloc(count, sizeof(*images));
    _cleanup_free_ struct ref *refs = xcalloc(count, sizeof(*refs));
    for (size_t i = 0; i < count && ok; i++)
        ok = import_take_image(json_array_get(list, i), &images[i], &refs[i], &err);
    if (!ok)
        admin_error(job, 400, "%s", err.msg);
    else if (!import_images(job->admin->puller.cache, images, count, pin, &failed, &err))
        admin_error(job, admin_status_of(&err), "%s: %s", ref_format(&refs[failed], text), err.msg);
    else
        job->answer = imported(job, refs, count);
    if (ok && job->answer)
        importing_release_entered(cache_importing(job->admin->puller.cache));
}
