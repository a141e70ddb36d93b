/* `export` and `import`: the daemon knows what belongs together and keeps it; files of users are opened by their own
 * commands (cli/archive/export.c, cli/archive/import.c), for the daemon may not be allowed to, and should not on
 * anybody's behalf. */
#include "proxy/admin/admin.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/visible.h"
#include "cache/export.h"
#include "cache/import.h"
#include "cache/verify.h"
#include "proxy/pull/prefetch.h"

#include <pthread.h>
#include <string.h>

enum {
    ROOM_WAIT_MS = 30000,
    LOOK_MS = 1000,         /* between two looks whether the daemon stops */
    EXPORT_PIECE = 32 << 10 /* bytes of the answer */
};

int admin_status_of(const struct err *err)
{
    return err->code == ERR_NOT_FOUND   ? 404
           : err->code == ERR_BUSY      ? 423
           : err->code == ERR_NO_SPACE  ? 507
           : err->code == ERR_IO        ? 500
           : err->code == ERR_CANCELLED ? 503
                                        : 409;
}

/* ---- export ---- */

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

/* "platforms": a list, of which "all" is every one that there is; "platform": one. */
static bool take_platforms(const json_t *input, struct export_wish *wish)
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

/* What is answered is the list's members, some KiB at a time. */
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

void admin_export(struct admin_job *job, const json_t *input)
{
    const char *format = json_string_value(json_object_get(input, "format"));
    struct export_wish wish = {.docker = format && strcmp(format, "docker") == 0};
    struct err err = {0};

    if ((format && !wish.docker && strcmp(format, "oci") != 0) || !take_platforms(input, &wish) ||
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
        admin_error(job, admin_status_of(&err), "%s", err.msg);
    free(refs);
}

void admin_blob(struct admin_job *job, const char *text)
{
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
        admin_error(job, admin_status_of(&err), "%s", err.msg);
}

/* ---- import: the blobs ---- */

/* Held by who waits, and by the word that comes, or may not come any more when the loops have ended. */
struct asking {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int refs;
    bool answered, granted, given_up;
    struct cache *cache;
    int64_t bytes;
};

/* With the lock held. */
static void asking_unref(struct asking *a)
{
    bool last = --a->refs == 0;

    pthread_mutex_unlock(&a->lock);
    if (!last)
        return;
    pthread_cond_destroy(&a->cond);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static void take_word(void *arg, bool granted)
{
    struct asking *a = arg;

    pthread_mutex_lock(&a->lock);
    a->answered = true;
    a->granted = granted;
    if (granted && a->given_up)
        ingests_settle_room(cache_ingests(a->cache), a->bytes);
    pthread_cond_signal(&a->cond);
    asking_unref(a);
}

static bool say_refused(struct admin_job *job, const struct asking *a, int64_t bytes, struct err *err)
{
    if (a->answered)
        return err_set(err, ERR_NO_SPACE,
                       "there is no room for %lld bytes: cache.max_size or min_free stands against it, and everything "
                       "in the cache is in use, pinned or younger than gc.grace",
                       (long long)bytes);
    if (!atomic_load(job->admin->puller.serving))
        return err_set(err, ERR_CANCELLED, "the cache is being stopped; importing again goes on from here");
    return err_set(err, ERR_NO_SPACE, "no room was made for %lld bytes within %d s", (long long)bytes,
                   ROOM_WAIT_MS / 1000);
}

static bool wait_a_while(struct asking *a)
{
    cond_wait_until(&a->cond, &a->lock, clock_mono_ms() + LOOK_MS);
    return a->answered;
}

/* Waits for the collector's word about so many bytes; for a moment also while the daemon stops, since mostly it is on its
 * way already. */
static bool ask_for_room(struct admin_job *job, int64_t bytes, enum room_from from, struct err *err)
{
    struct asking *a = xcalloc(1, sizeof(*a));
    const int64_t until_ms = clock_mono_ms() + ROOM_WAIT_MS;

    a->refs = 2;
    a->cache = job->admin->puller.cache;
    a->bytes = from == ROOM_ON_DISK ? 0 : bytes;
    pthread_mutex_init(&a->lock, NULL);
    cond_init(&a->cond);
    if (!ingests_ask_for_room(cache_ingests(a->cache), bytes, from, take_word, a, job->loop))
        take_word(a, true); /* there is no limit */
    pthread_mutex_lock(&a->lock);
    while (!a->answered && (wait_a_while(a) || atomic_load(job->admin->puller.serving)) && clock_mono_ms() < until_ms)
        ;
    bool granted = a->answered && a->granted;
    a->given_up = !a->answered;
    if (!granted)
        say_refused(job, a, bytes, err);
    asking_unref(a);
    return granted;
}

/* The blob may be kept: room is made for it, and is its own until kept(). */
bool admin_reserve(struct admin_job *job, int64_t bytes, struct err *err)
{
    return ask_for_room(job, bytes, ROOM_MADE, err);
}

bool admin_free_disk(struct admin_job *job, int64_t bytes)
{
    return ask_for_room(job, bytes, ROOM_ON_DISK, NULL);
}

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

    importing_hold(cache_importing(job->admin->puller.cache),
                   d); /* before it is looked for, so that it cannot go after that */
    if (import_look(job->admin->puller.cache, d, &whole, &received, &err))
        job->answer = json_pack("{s:b, s:I}", "whole", whole, "received", (json_int_t)received);
    else
        admin_error(job, admin_status_of(&err), "%s", err.msg);
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
    /* The first bytes that are sent of so many: no use in sending the rest if they cannot be kept. What came before
     * counts already. */
    int64_t rest = size > 0 ? size - MAX(offset, (int64_t)0) : 0;
    bool room = rest <= 0 || admin_reserve(job, rest, &err);
    if (room && rest > 0)
        ingests_settle_room(cache_ingests(c), rest);
    bool ok = room && import_write(c, &d, offset, job->body, job->body_len, &err);
    if (room && !ok && err.code == ERR_NO_SPACE && admin_free_disk(job, (int64_t)job->body_len))
        ok = import_write(c, &d, offset, job->body, job->body_len, &err);
    if (ok)
        answer_state(job, &d);
    else
        admin_error(job, admin_status_of(&err), "%s", err.msg);
}

static bool is_stopped(void *arg)
{
    struct admin_job *job = arg;

    return atomic_load(&job->gone) || !atomic_load(job->admin->puller.serving);
}

void admin_import_blob(struct admin_job *job)
{
    const struct verify_pace pace = {.stop = is_stopped, .arg = job};
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
        ingests_settle_room(cache_ingests(c), received);
    if (ask) {
        ingests_note_arriving(cache_ingests(c), -received);
        ingests_note_parked(cache_ingests(c), ok ? 0 : received);
    }
    if (ok)
        job->answer = json_pack("{s:b}", "whole", true);
    else
        admin_error(job, admin_status_of(&err), "%s", err.msg);
}

/* ---- import: the images ---- */

static bool take_image(const json_t *item, struct import_image *to, struct ref *ref, struct err *err)
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

/* What was imported, and the registries of these images that nobody is served from. */
static json_t *imported(struct admin_job *job, const struct ref *refs, size_t count)
{
    json_t *done = json_array(), *nobodys = json_array();

    for (size_t i = 0; i < count; i++) {
        char text[REF_TEXT_MAX];
        json_array_append_new(done, json_string(ref_format(&refs[i], text)));
        if (!sites_is_upstream(job->admin->puller.sites, refs[i].host))
            json_array_append_new(nobodys, json_string(refs[i].host));
    }
    return json_pack("{s:o, s:o}", "imported", done, "not_configured", nobodys);
}

/* All of them or, if there is something wrong with one, none. */
void admin_import(struct admin_job *job, const json_t *input)
{
    const json_t *list = json_object_get(input, "images");
    bool pin = !json_is_false(json_object_get(input, "pin")), ok = true;
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
        ok = take_image(json_array_get(list, i), &images[i], &refs[i], &err);
    if (!ok)
        admin_error(job, 400, "%s", err.msg);
    else if (!import_images(job->admin->puller.cache, images, count, pin, &failed, &err))
        admin_error(job, admin_status_of(&err), "%s: %s", ref_format(&refs[failed], text), err.msg);
    else
        job->answer = imported(job, refs, count);
    if (ok && job->answer)
        importing_settle(cache_importing(job->admin->puller.cache));
}
