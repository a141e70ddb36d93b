/* Pulls as they are recognised over scripted requests: what comes of what clients really send. */
#include "tests/unit/unit.h"

#include "base/log.h"
#include "proxy/seen/feed.h"
#include "proxy/seen/pull_print.h"

#include <string.h>

enum { QUIET = 30000 };

struct fixture {
    struct loop *loop;
    struct pulls *pulls;
    int64_t now;         /* monotonic and wall time of the script */
    bool known;          /* the cache knows what manifests consist of */
    const char *missing; /* names of blobs that are not here, as letters */
    struct pull_seen last;
    char cause[600];
    int ended, began;
};

/* Digests of the script are letters. */
static struct digest digest(char letter)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &letter, 1, &d);
    return d;
}

static const struct {
    char manifest;
    bool is_index;
    struct {
        char letter;
        int64_t size;
        const char *platform;
    } parts[3];
} SCRIPT[] = {
    {'t', true, {{'m', 1, "linux/amd64"}, {'n', 1, "linux/arm64"}}},
    {'m', false, {{'c', 10, ""}, {'a', 1000, ""}, {'b', 2000, ""}}},
    {'n', false, {{'d', 10, ""}}},
    {'o', false, {{'c', 10, ""}, {'a', 1000, ""}}},
};

static bool look(void *arg, const char *name UNUSED, const struct digest *manifest, struct pull_parts *out)
{
    struct fixture *f = arg;

    *out = (struct pull_parts){.list = xcalloc(3, sizeof(*out->list))};
    for (size_t i = 0; i < ARRAY_LEN(SCRIPT) && f->known; i++) {
        const struct digest d = digest(SCRIPT[i].manifest);
        for (int k = 0; digest_eq(&d, manifest) && k < 3 && SCRIPT[i].parts[k].letter; k++) {
            struct pull_part *p = &out->list[out->count++];
            out->is_index = SCRIPT[i].is_index;
            p->digest = digest(SCRIPT[i].parts[k].letter);
            p->size = SCRIPT[i].parts[k].size;
            p->here = !strchr(f->missing, SCRIPT[i].parts[k].letter);
            strcpy(p->platform, SCRIPT[i].parts[k].platform);
        }
    }
    return out->count > 0;
}

static void see(void *arg, enum pull_event event, const struct pull_seen *s)
{
    struct fixture *f = arg;

    f->began += event == PULL_BEGINS;
    if (event != PULL_ENDS)
        return;
    f->ended++;
    f->last = *s;
    snprintf(f->cause, sizeof(f->cause), "%s", s->cause ? s->cause : "");
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const struct pulls_options o = {
        .look = look, .arg = f, .quiet_ms = QUIET, .failed_ms = 5000, .done_ms = 1000, .most = 8};

    f->loop = loop_new("test", NULL);
    f->pulls = pulls_new(&o, f->loop);
    f->now = 1000000;
    f->known = true;
    f->missing = "";
    pulls_subscribe(f->pulls, see, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pulls_free(f->pulls);
    loop_free(f->loop);
    free(f);
    return 0;
}

static struct pull_request request(struct fixture *f, const char *client)
{
    struct pull_request r = {
        .at_ms = f->now, .ended_ms = f->now, .status = 200, .whole = true, .waited_ms = -1, .count = 1};

    strcpy(r.id, "id");
    strcpy(r.client, client);
    strcpy(r.agent, "containerd/2.1");
    strcpy(r.name, "docker.io/library/nginx");
    return r;
}

/* `name`: a tag of several letters, or a digest's one. */
static void manifest(struct fixture *f, const char *client, bool head, const char *name, char answer)
{
    struct pull_request r = request(f, client);

    r.head = head;
    if (strlen(name) > 1)
        strcpy(r.tag, name);
    else
        r.asked = digest(*name);
    r.digest = digest(answer);
    r.bytes = head ? 0 : 5;
    pulls_take(f->pulls, &r);
    f->now += 10;
}

static void begins(struct fixture *f, const char *client, char blob)
{
    struct pull_request r = request(f, client);

    r.blob = r.begins = true;
    r.asked = digest(blob);
    pulls_take(f->pulls, &r);
}

static void ends(struct fixture *f, const char *client, char blob, int64_t bytes, int status, bool upstream)
{
    struct pull_request r = request(f, client);

    r.blob = true;
    r.asked = digest(blob);
    r.bytes = bytes;
    r.status = status;
    r.from = upstream ? PULL_FROM_UPSTREAM : PULL_FROM_CACHE;
    r.duration_ms = 40;
    r.waited_ms = upstream ? 30 : -1;
    f->now += 40;
    r.ended_ms = f->now;
    pulls_take(f->pulls, &r);
}

static void blob(struct fixture *f, const char *client, char letter, int64_t bytes)
{
    begins(f, client, letter);
    ends(f, client, letter, bytes, 200, false);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->now += ms;
    pulls_look(f->pulls, f->now);
}

/* containerd: HEAD of the tag, the index and the image by digest, then the blobs. */
static void from_the_tag_to_the_last_layer(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf line = {0};
    int64_t begun = f->now;

    f->missing = "ab";
    manifest(f, "::1", true, "1.27", 't');
    manifest(f, "::1", false, "t", 't');
    manifest(f, "::1", false, "m", 'm');
    blob(f, "::1", 'c', 10);
    begins(f, "::1", 'a');
    begins(f, "::1", 'b');
    ends(f, "::1", 'a', 1000, 200, true);
    pass(f, 20000); /* a layer that takes long */
    assert_int_equal(f->ended, 0);
    ends(f, "::1", 'b', 2000, 200, false); /* it was read ahead: fetched for this pull all the same */
    pass(f, 500);
    assert_int_equal(f->ended, 0);
    pass(f, 600);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.result, PULLED_OK);
    assert_string_equal(f->last.tag, "1.27");
    assert_string_equal(f->last.platform, "linux/amd64");
    assert_int_equal(f->last.engine, SEEN_CONTAINERD);
    assert_int_equal(f->last.from[PULL_FROM_UPSTREAM], 3000);
    assert_int_equal(f->last.from[PULL_FROM_CACHE], 10 + 5 + 5);
    assert_int_equal(f->last.blobs_done, 3);
    assert_int_equal(f->last.size, 3010);
    assert_int_equal(f->last.begun_ms, begun);
    assert_true(f->last.ended_ms < f->now - 1000); /* the wait for more is not a part of it */
    pull_print_line(&line, &f->last);
    assert_non_null(strstr(line.data, "pull of docker.io/library/nginx:1.27 (linux/amd64) by ::1 containerd: ok, "));
}

/* What was fetched counts for the client whose request began it, or who came first. */
static void two_clients_of_the_same_image(void **state)
{
    struct fixture *f = *state;

    f->missing = "ab";
    manifest(f, "10.0.0.1", false, "1.27", 'm');
    manifest(f, "10.0.0.2", false, "1.27", 'm');
    begins(f, "10.0.0.1", 'a');
    begins(f, "10.0.0.2", 'a');
    ends(f, "10.0.0.1", 'a', 1000, 200, true);
    ends(f, "10.0.0.2", 'a', 1000, 200, false); /* collapsed */
    blob(f, "10.0.0.2", 'b', 2000);
    blob(f, "10.0.0.1", 'b', 2000);
    blob(f, "10.0.0.1", 'c', 10);
    pass(f, 1100);
    assert_int_equal(f->ended, 1);
    assert_string_equal(f->last.client, "10.0.0.1");
    assert_int_equal(f->last.from[PULL_FROM_UPSTREAM], 1000);
    assert_int_equal(f->last.from[PULL_FROM_CACHE], 5 + 2000 + 10);
    blob(f, "10.0.0.2", 'c', 10);
    pass(f, 1100);
    assert_int_equal(f->ended, 2);
    assert_int_equal(f->last.from[PULL_FROM_UPSTREAM], 2000);
    assert_int_equal(f->last.from[PULL_FROM_CACHE], 5 + 1000 + 10);
}

/* containerd 2.1 fetches a layer in parallel ranges. */
static void parallel_ranges_are_one_layer(void **state)
{
    struct fixture *f = *state;

    manifest(f, "c", false, "1.27", 'm');
    blob(f, "c", 'c', 10);
    blob(f, "c", 'a', 1000);
    for (int i = 0; i < 4; i++)
        begins(f, "c", 'b');
    for (int i = 0; i < 4; i++) {
        ends(f, "c", 'b', 500, 206, false);
        pass(f, 2000);
        assert_int_equal(f->ended, i == 3);
    }
    assert_int_equal(f->last.blobs_done, 3);
    assert_int_equal(f->last.result, PULLED_OK);
}

static void a_look_is_no_pull(void **state)
{
    struct fixture *f = *state;

    manifest(f, "c", true, "1.27", 't');
    pass(f, QUIET + 1);
    assert_int_equal(f->ended, 0);
    manifest(f, "c", false, "1.27", 't'); /* but one that finds all there is here already is */
    pass(f, QUIET + 1);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.result, PULLED_OK);
    assert_int_equal(f->last.requests, 1);
}

static void only_changed_layers_are_requested(void **state)
{
    struct fixture *f = *state;

    manifest(f, "c", false, "1.27", 'm');
    blob(f, "c", 'b', 2000);
    pass(f, QUIET - 1000);
    assert_int_equal(f->ended, 0);
    pass(f, 1000);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.result, PULLED_OK);
    assert_int_equal(f->last.blobs_done, 1);
    assert_int_equal(f->last.ended_ms - f->last.begun_ms, 10 + 40); /* the quiet time does not count */
}

static void a_changed_tag_is_another_pull(void **state)
{
    struct fixture *f = *state;
    const struct digest m = digest('m'), o = digest('o');

    manifest(f, "c", false, "latest", 'm');
    blob(f, "c", 'a', 1000);
    manifest(f, "c", false, "latest", 'o');
    assert_int_equal(f->ended, 1);
    assert_true(digest_eq(&f->last.digest, &m));
    blob(f, "c", 'a', 1000);
    blob(f, "c", 'c', 10);
    pass(f, 1100);
    assert_int_equal(f->ended, 2);
    assert_true(digest_eq(&f->last.digest, &o));
    manifest(f, "c", false, "latest", 'o');
    blob(f, "c", 'a', 1000);
    blob(f, "c", 'c', 10);
    manifest(f, "c", false, "latest", 'o'); /* and a second pull right behind a whole one */
    assert_int_equal(f->ended, 3);
}

static void a_client_leaves(void **state)
{
    struct fixture *f = *state;
    struct pull_request r;

    manifest(f, "c", false, "1.27", 'm');
    begins(f, "c", 'b');
    r = request(f, "c");
    r.blob = true;
    r.asked = digest('b');
    r.bytes = 700;
    r.whole = false;
    pulls_take(f->pulls, &r);
    pass(f, QUIET + 1);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.result, PULLED_CUT_OFF);
    assert_non_null(strstr(f->cause, "the client closed the connection after 700 of 2000 bytes"));
}

/* A failure counts, in upstream's words, unless the same thing was sent later. */
static void failures(void **state)
{
    static const char words[] = "upstream answered 503 [https://r.example/v2/ answered 503, x-request-id: abc]";
    struct fixture *f = *state;
    struct pull_request r;

    for (int healed = 0; healed < 2; healed++) {
        manifest(f, "c", false, "1.27", 'm');
        begins(f, "c", 'b');
        r = request(f, "c");
        r.blob = true;
        r.asked = digest('b');
        r.status = 503;
        r.failure = xstrdup(words);
        pulls_take(f->pulls, &r);
        assert_null(r.failure);
        if (healed)
            blob(f, "c", 'b', 2000);
        pass(f, QUIET + 1);
        assert_int_equal(f->ended, healed + 1);
        assert_int_equal(f->last.result, healed ? PULLED_OK : PULLED_FAILED);
        assert_true(healed ? !*f->cause : strstr(f->cause, words) != NULL);
    }
    r = request(f, "c");
    strcpy(r.tag, "none");
    r.status = 404;
    r.failure = xstrdup("upstream does not have it");
    pulls_take(f->pulls, &r);
    pass(f, 5000); /* of a manifest: engines go elsewhere */
    assert_int_equal(f->ended, 3);
    assert_int_equal(f->last.result, PULLED_FAILED);
    assert_string_equal(f->cause, "upstream does not have it");
    assert_int_equal(pulls_count(f->pulls, PULLED_FAILED), 2);
}

/* What it consists of is known late, or never: an image that was not stored. */
static void contents_that_are_not_known(void **state)
{
    struct fixture *f = *state;

    f->known = false;
    manifest(f, "c", false, "1.27", 'm');
    blob(f, "c", 'a', 1000);
    f->known = true;
    blob(f, "c", 'b', 2000);
    blob(f, "c", 'c', 10);
    pass(f, 1100);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.blobs_done, 3);
    f->known = false;
    manifest(f, "c", false, "1.27", 'm');
    blob(f, "c", 'a', 1000);
    pass(f, QUIET);
    assert_int_equal(f->ended, 2);
    blob(f, "d", 'a', 1000); /* nor is its manifest */
    pass(f, QUIET);
    assert_int_equal(f->ended, 3);
    assert_string_equal(f->last.tag, "");
    assert_int_equal(f->last.from[PULL_FROM_CACHE], 1000);
}

static void the_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    char client[16];

    for (int i = 0; i < 20; i++) {
        snprintf(client, sizeof(client), "10.0.0.%d", i);
        manifest(f, client, false, "1.27", 'm');
        begins(f, client, 'a');
        assert_int_equal(f->ended, MAX(0, i - 7));
    }
    ends(f, "10.0.0.0", 'a', 1000, 200, false); /* of a pull that was dropped */
    assert_int_equal(f->ended, 13);
    pulls_stop(f->pulls);
    assert_int_equal(f->ended, 21);
}

static void count(void *arg, const struct pull_seen *s UNUSED)
{
    ++*(int *)arg;
}

static void readers(void **state)
{
    struct fixture *f = *state;
    const struct digest b = digest('b');
    struct pull_seen s;
    int n = 0, nth;

    manifest(f, "c", false, "1.27", 'm');
    begins(f, "c", 'b');
    pulls_each(f->pulls, count, &n);
    assert_int_equal(n, 1);
    assert_true(pulls_find(f->pulls, &b, &s, &nth));
    assert_int_equal(nth, 3);
    assert_string_equal(s.tag, "1.27");
    ends(f, "c", 'b', 2000, 200, true);
    for (int i = 0; i < PULLS_KEPT + 50; i++)
        manifest(f, "c", false, i % 2 ? "odd" : "even", i % 4 < 2 ? 'm' : 'o');
    pulls_stop(f->pulls);
    n = 0;
    uint64_t number = 0, before;
    do {
        before = number;
        number = pulls_since(f->pulls, number, 0, 64, count, &n);
    } while (number > before);
    assert_int_equal(n, PULLS_KEPT);
    assert_int_equal(number, f->ended);
    n = 0;
    pulls_since(f->pulls, 0, f->last.ended_ms, 2000, count, &n);
    assert_true(n >= 1 && n < 10);
    json_t *j = pull_json(&f->last);
    assert_string_equal(json_string_value(json_object_get(j, "result")), "ok");
    json_decref(j);
}

static void feed(struct fixture *f, struct pull_feed *to, bool is_blob, const char *tag)
{
    struct pull_request *r = pull_feed_next(to);

    *r = request(f, "c");
    r->blob = is_blob;
    r->asked = r->digest = (struct digest){0};
    *(is_blob ? &r->asked : &r->digest) = digest(is_blob ? 'a' : 'm');
    r->bytes = 7;
    strcpy(r->tag, tag);
    pull_feed_add(to);
}

static void the_same_manifest_is_posted_once(void **state)
{
    struct fixture *f = *state;
    struct loop *from = loop_new("from", NULL);
    struct pull_feed *to = pull_feed_new(from, f->loop, f->pulls);

    feed(f, to, false, "first");
    assert_true(loop_settle(f->loop)); /* at once */
    assert_int_equal(f->began, 1);
    for (int i = 0; i < 1000; i++)
        feed(f, to, false, "first");
    assert_false(loop_settle(f->loop));
    pull_feed_flush(to);
    assert_true(loop_settle(f->loop));
    assert_int_equal(f->began, 1);
    feed(f, to, true, "");
    feed(f, to, false, "second"); /* takes what waits with it, in order */
    assert_true(loop_settle(f->loop));
    assert_int_equal(f->began, 2);
    pulls_stop(f->pulls);
    assert_string_equal(f->last.tag, "second");
    int n = 0;
    pulls_since(f->pulls, 0, 0, 10, count, &n);
    assert_int_equal(n, 2);
    pull_feed_free(to);
    loop_free(from);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORY(from_the_tag_to_the_last_layer),
        STORY(two_clients_of_the_same_image),
        STORY(parallel_ranges_are_one_layer),
        STORY(a_look_is_no_pull),
        STORY(only_changed_layers_are_requested),
        STORY(a_changed_tag_is_another_pull),
        STORY(a_client_leaves),
        STORY(failures),
        STORY(contents_that_are_not_known),
        STORY(the_table_is_bounded),
        STORY(readers),
        STORY(the_same_manifest_is_posted_once),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
