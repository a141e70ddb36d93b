#include "tests/unit/unit.h"

#include "base/loop.h"
#include "cache/import.h"
#include "cache/ingest/private.h"
#include "cache/private.h"
#include "cache/verify.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A cache of this test's own. */
struct house {
    char *dir;
    struct pool *pool;
    struct cache *cache;
};

static bool enter_image(struct cache *c, const char *repo, const char *tag, const struct digest *d, bool pin,
                        struct err *err)
{
    struct import_image image = {.digest = *d};
    size_t failed;

    snprintf(image.repo, sizeof(image.repo), "%s", repo);
    snprintf(image.tag, sizeof(image.tag), "%s", tag);
    return import_images(c, &image, 1, pin, &failed, err);
}

static struct house begin(void)
{
    struct house h = {.dir = make_folder()};
    struct err err;

    h.pool = pool_new("io", 1, &err);
    h.cache = cache_open(h.dir, h.pool, NULL, &err);
    assert_non_null(h.cache);
    return h;
}

static void end(struct house *h)
{
    cache_close(h->cache);
    pool_free(h->pool);
    remove_tree(h->dir);
}

static struct digest bring(struct house *h, const char *text)
{
    struct digest d;
    struct err err = {0};

    digest_of(DIGEST_SHA256, text, strlen(text), &d);
    assert_true(import_write(h->cache, &d, 0, text, strlen(text), &err));
    if (!cache_adopt_import(h->cache, &d, NULL, &err))
        fail_msg("%s", err.msg);
    return d;
}

/* An image of one layer. */
static struct digest bring_image(struct house *h, const char *layer, bool with_layer)
{
    char text[2][DIGEST_TEXT_MAX];
    struct digest l, config = bring(h, "config");

    digest_of(DIGEST_SHA256, layer, strlen(layer), &l);
    if (with_layer)
        bring(h, layer);
    char *manifest =
        xasprintf("{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                  "\"config\":{\"digest\":\"%s\",\"size\":6},\"layers\":[{\"digest\":\"%s\",\"size\":%zu}]}",
                  digest_format(&config, text[0]), digest_format(&l, text[1]), strlen(layer));
    struct digest d = bring(h, manifest);
    free(manifest);
    return d;
}

static void an_image_is_entered_whole(void **state UNUSED)
{
    struct house h = begin();
    struct err err = {0};
    struct cache_hit hit;
    struct digest d = bring_image(&h, "layer one", true), half = bring_image(&h, "layer two", false), l;

    assert_true(enter_image(h.cache, "ghcr.io/a/b", "1", &d, true, &err));
    cache_find(h.cache, "ghcr.io/a/b", "1", NULL, &hit);
    assert_true(hit.stored && hit.linked && !hit.repo_private && digest_eq(&hit.digest, &d));
    assert_true(cache_is_pinned(h.cache, "ghcr.io/a/b", "1"));
    digest_of(DIGEST_SHA256, "layer one", 9, &l);
    cache_find(h.cache, "ghcr.io/a/b", NULL, &l, &hit);
    assert_true(hit.stored && hit.linked);
    assert_false(enter_image(h.cache, "ghcr.io/a/b", "2", &half, true, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    cache_find(h.cache, "ghcr.io/a/b", "2", NULL, &hit);
    assert_false(hit.tag_known);
    end(&h);
}

static void wrong_bytes_and_gaps(void **state UNUSED)
{
    struct house h = begin();
    struct err err = {0};
    struct digest d;
    int64_t received;
    bool whole;

    digest_of(DIGEST_SHA256, "right", 5, &d);
    assert_true(import_write(h.cache, &d, 0, "wro", 3, &err));
    assert_true(import_look(h.cache, &d, &whole, &received, &err) && !whole && received == 3);
    assert_false(import_write(h.cache, &d, 4, "g", 1, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_true(import_write(h.cache, &d, 3, "ng", 2, &err));
    assert_false(cache_adopt_import(h.cache, &d, NULL, &err));
    assert_int_equal(err.code, ERR_DIGEST);
    assert_false(store_has_blob(cache_store(h.cache), &d));
    assert_true(import_look(h.cache, &d, &whole, &received, &err) && !whole && received == 0);
    bring(&h, "right");
    assert_true(import_look(h.cache, &d, &whole, &received, &err) && whole);
    end(&h);
}

/* Who holds a file while it becomes a blob does not write to the blob. */
static void one_at_a_time(void **state UNUSED)
{
    struct house h = begin();
    struct err err = {0};
    struct digest d;

    digest_of(DIGEST_SHA256, "right", 5, &d);
    assert_true(import_write(h.cache, &d, 0, "right", 5, &err));
    int fd = store_open_import(cache_store(h.cache), &d, false, &err);
    assert_true(fd >= 0 && import_lock(fd, &err));
    assert_false(import_write(h.cache, &d, 0, "x", 1, &err));
    assert_int_equal(err.code, ERR_BUSY);
    assert_false(cache_adopt_import(h.cache, &d, NULL, &err));
    assert_int_equal(err.code, ERR_BUSY);
    close(fd);
    assert_true(cache_adopt_import(h.cache, &d, NULL, &err));
    end(&h);
}

static void note_unlocked(void *arg, const struct ingest_info *info)
{
    struct ingest *i = arg;

    assert_int_equal(info->received, 7);
    assert_int_equal(pthread_mutex_trylock(&i->all->lock), 0);
    pthread_mutex_unlock(&i->all->lock);
    assert_int_equal(pthread_mutex_trylock(&i->lock), 0);
    pthread_mutex_unlock(&i->lock);
    i->follower_count++;
}

/* Who tells a client what is on its way in may wait for that client: fetches do not. */
static void looking_holds_nothing(void **state UNUSED)
{
    struct house h = begin();
    struct ingest one = {.all = cache_ingests(h.cache), .size = -1, .received = 7};

    pthread_mutex_init(&one.lock, NULL);
    ingests_each(cache_ingests(h.cache), note_unlocked, &one);
    ingest_list(&one);
    ingests_each(cache_ingests(h.cache), note_unlocked, &one);
    assert_int_equal(one.follower_count, 1);
    ingest_unlist(&one);
    pthread_mutex_destroy(&one.lock);
    end(&h);
}

/* A file that an import from a folder has put there is its owner's, too. */
static void a_linked_file_is_not_written_into(void **state UNUSED)
{
    struct house h = begin();
    struct err err = {0};
    struct digest d;
    char hex[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, "right", 5, &d);
    char *to = xasprintf("%s/ingest/sha256-%s.import", h.dir, digest_hex(&d, hex)), *from = xasprintf("%s/own", h.dir);
    FILE *f = fopen(from, "we");
    assert_true(f && fputs("wrong", f) >= 0 && fclose(f) == 0 && link(from, to) == 0);
    assert_false(import_write(h.cache, &d, 0, "right", 5, &err));
    assert_int_equal(err.code, ERR_BUSY);
    f = fopen(from, "re");
    char text[6] = "";
    assert_true(f && fread(text, 1, 5, f) == 5 && fclose(f) == 0);
    assert_string_equal(text, "wrong");
    free(to);
    free(from);
    end(&h);
}

/* However many pieces it comes in; what is entered needs none. */
static void one_lease_for_a_blob(void **state UNUSED)
{
    struct house h = begin();
    struct digest d = bring_image(&h, "layer", true), other = bring(&h, "another");
    struct err err = {0};

    for (int i = 0; i < 1000; i++) {
        importing_hold(cache_importing(h.cache), &d);
        importing_hold(cache_importing(h.cache), &other);
    }
    cache_release(h.cache, &d);
    assert_false(cache_is_in_use(h.cache, &d)); /* there was one */
    leases_take(h.cache->leases, &d);
    assert_true(enter_image(h.cache, "ghcr.io/a/b", "1", &d, false, &err));
    importing_release_entered(cache_importing(h.cache));
    assert_false(cache_is_in_use(h.cache, &d));
    assert_true(cache_is_in_use(h.cache, &other));
    importing_hold(cache_importing(h.cache), &d); /* again, by a second import */
    assert_true(cache_is_in_use(h.cache, &d));
    end(&h);
}

/* All of a batch but what is not what its digest says; twice in it, or here already, is no matter. */
static void a_batch_is_kept_together(void **state UNUSED)
{
    enum { COUNT = 300, BAD = 150, TWICE = 200 };
    struct import_small list[COUNT] = {0};
    char text[COUNT][32];
    struct house h = begin();
    struct digest old = bring(&h, "blob 7");
    struct err err = {0};
    int64_t bytes = 0;

    for (int i = 0; i < COUNT; i++) {
        int n = snprintf(text[i], sizeof(text[i]), "blob %d", i == TWICE ? 100 : i);
        list[i] = (struct import_small){.data = text[i], .len = (size_t)n};
        digest_of(DIGEST_SHA256, text[i], list[i].len, &list[i].digest);
        bytes += i == BAD || i == 7 ? 0 : n;
    }
    text[BAD][0] = 'x';
    assert_int_equal(import_check_batch(h.cache, list, COUNT), bytes);
    if (!import_keep_batch(h.cache, list, COUNT, &err))
        fail_msg("%s", err.msg);
    assert_non_null(list[BAD].error);
    assert_true(list[7].there && digest_eq(&list[7].digest, &old));
    for (int i = 0; i < COUNT; i++) {
        assert_true(i == BAD || !list[i].error);
        assert_int_equal(cache_look(h.cache, &list[i].digest), i == BAD ? FILE_MISSING : FILE_KNOWN);
        assert_true(cache_is_in_use(h.cache, &list[i].digest));
    }
    free(list[BAD].error);
    assert_int_equal(import_check_batch(h.cache, list, 100), 0);
    assert_true(list[0].there && list[99].there);
    assert_int_equal(ingests_arriving(cache_ingests(h.cache)), 0);
    end(&h);
}

static unsigned mode_of(const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    free(path);
    return st.st_mode & 07777;
}

/* What is on its way may be one client's alone. */
static void nobody_else_sees_what_arrives(void **state UNUSED)
{
    char name[2][160], hex[DIGEST_TEXT_MAX];
    struct house h = begin();
    struct err err = {0};
    struct file_info info;
    struct digest d;

    digest_of(DIGEST_SHA256, "x", 1, &d);
    snprintf(name[0], sizeof(name[0]), "ingest/sha256-%s.part", digest_hex(&d, hex));
    snprintf(name[1], sizeof(name[1]), "ingest/sha256-%s.import", hex);
    assert_int_equal(mode_of(h.dir, "ingest"), 0700);
    char *ingest = xasprintf("%s/ingest", h.dir);
    assert_int_equal(chmod(ingest, 0755), 0); /* as it was */
    free(ingest);
    cache_close(h.cache);
    h.cache = cache_open(h.dir, h.pool, NULL, &err);
    assert_int_equal(mode_of(h.dir, "ingest"), 0700);
    int part = store_open_part(cache_store(h.cache), &d, true, &err);
    assert_true(part >= 0 && import_write(h.cache, &d, 0, "x", 1, &err));
    assert_int_equal(mode_of(h.dir, name[0]), 0600);
    assert_int_equal(mode_of(h.dir, name[1]), 0600);
    assert_true(write(part, "x", 1) == 1 && store_publish_part(cache_store(h.cache), &d, part, false, &info, &err));
    snprintf(name[0], sizeof(name[0]), "blobs/sha256/%s", hex);
    assert_int_equal(mode_of(h.dir, name[0]), 0444);
    close(part);
    end(&h);
}

static bool make_private(struct index_txn *t, void *arg, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, arg, &row))
        return err_set(err, ERR_NOT_FOUND, "the layer");
    row.flags |= BLOB_PRIVATE; /* what everybody may read stays so: it has to come in anew */
    return rows_drop_blob(t, arg, err) && rows_put_blob(t, arg, &row, err);
}

static bool make_repo_private(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    uint64_t repo;

    return rows_intern_repo(t, "ghcr.io/team/x", &repo, err) && rows_set_repo_private(t, repo, true, err);
}

/* An archive may name what it does not have. */
static void what_is_private_stays_so(void **state UNUSED)
{
    struct house h = begin();
    struct err err = {0};
    struct cache_hit hit;
    struct digest d = bring_image(&h, "a secret layer", true), l;

    digest_of(DIGEST_SHA256, "a secret layer", 14, &l);
    assert_true(index_write_wait(cache_index(h.cache), make_private, &l, &err));
    assert_false(enter_image(h.cache, "docker.io/evil/x", "1", &d, false, &err));
    assert_int_equal(err.code, ERR_INVALID);
    cache_find(h.cache, "docker.io/evil/x", NULL, &l, &hit);
    assert_false(hit.linked);
    cache_find(h.cache, "docker.io/evil/x", "1", NULL, &hit);
    assert_false(hit.tag_known);
    /* and a private repository gets nothing that is for everybody */
    d = bring_image(&h, "another layer", true);
    assert_true(index_write_wait(cache_index(h.cache), make_repo_private, NULL, &err));
    assert_false(enter_image(h.cache, "ghcr.io/team/x", "1", &d, false, &err));
    assert_int_equal(err.code, ERR_INVALID);
    cache_find(h.cache, "ghcr.io/team/x", "1", NULL, &hit);
    assert_true(!hit.tag_known && hit.repo_private);
    end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_entered_whole),
        cmocka_unit_test(wrong_bytes_and_gaps),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(looking_holds_nothing),
        cmocka_unit_test(a_linked_file_is_not_written_into),
        cmocka_unit_test(one_lease_for_a_blob),
        cmocka_unit_test(a_batch_is_kept_together),
        cmocka_unit_test(nobody_else_sees_what_arrives),
        cmocka_unit_test(what_is_private_stays_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
