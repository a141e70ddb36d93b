/* unit_pass.h - an entrepot of which there is only what passes on, and a toy of a registry, for the tests of that. */
#ifndef ENTREPOT_TESTS_UNIT_UNIT_PASS_H
#define ENTREPOT_TESTS_UNIT_UNIT_PASS_H

#include "tests/unit/load_config.h"
#include "tests/unit/unit_http.h"
#include "tests/unit/unit_toy.h"

#include "base/clock.h"
#include "proxy/intercept/pass.h"
#include "upstream/registry_private.h"

enum { IDLE_MS = 2500 }; /* TRANSFER_EXPECT_MS is within it, also on a busy machine */

#define APP "reg.test/org/app"

/* An entrepot of which there is only what passes on. */
struct passing_test {
    struct fixture f; /* what client() needs of it */
    struct toy toy;
    pthread_t toy_thread;
    struct config config;
    struct pool *io;
    char *dir;
    struct cache *cache;
    struct sites *sites;
    struct fetchers *fetchers;
    struct passer *passer;
};

static inline void test_request(void *arg, struct http_request *req)
{
    struct passing_test *t = arg;
    const struct site *site = sites_find(t->sites, strstr(http_path(req), "/dead") ? "dead.test" : "reg.test");

    pass_through(t->passer, req, site->host, site);
    site_unref(site);
}

static inline bool test_streams(void *arg UNUSED, struct http_request *req UNUSED)
{
    return true;
}

static inline int pass_setup(void **state)
{
    struct passing_test *t = xcalloc(1, sizeof(*t));
    const struct http_limits limits = {
        .head_timeout_ms = 5000, .idle_timeout_ms = 5000, .write_timeout_ms = 5000, .gone_ms = 300};
    struct err err;

    t->toy_thread = toy_start(&t->toy);
    _cleanup_free_ char *text = xasprintf("upstreams: [{name: reg.test, endpoints: ['http://127.0.0.1:%d'], insecure: "
                                          "true}, {name: dead.test, endpoints: ['http://127.0.0.1:1'], insecure: "
                                          "true}]\n",
                                          t->toy.port);
    assert_true(load(text, &t->config, &err));
    t->dir = make_folder();
    t->io = pool_new("io", 2, NULL);
    t->cache = cache_open(t->dir, t->io, NULL, &err);
    assert_non_null(t->cache);
    t->sites = sites_new(&t->config, NULL, t->cache, NULL);
    t->fetchers = fetchers_new(t->cache, &t->config, NULL, 2, &err);
    t->f.loop = loop_new("test", NULL);
    t->f.forward = true;
    t->f.server = http_server_new(t->f.loop, &limits, test_request, NULL, t);
    http_server_set_streams(t->f.server, test_streams);
    t->passer = passer_new(&(struct passer_options){t->f.loop, t->cache, t->fetchers, IDLE_MS}, &err);
    assert_true(loop_start(t->f.loop, NULL));
    *state = t;
    return 0;
}

static inline void cut(void *arg)
{
    struct passing_test *t = arg;

    http_server_cut(t->f.server);
    passer_end(t->passer);
}

/* Whether what is passed through ends soon: the client may have its answer a moment before. */
static inline bool none_under_way(const struct passing_test *t)
{
    for (int i = 0; i < 300 && passer_under_way(t->passer) > 0; i++)
        usleep(10000);
    return passer_under_way(t->passer) == 0;
}

static inline int pass_teardown(void **state)
{
    struct passing_test *t = *state;

    loop_post(t->f.loop, cut, t);
    loop_stop(t->f.loop);
    loop_join(t->f.loop);
    fetchers_stop(t->fetchers);
    while (pool_settle(t->io) || loop_settle(t->f.loop) || fetchers_settle(t->fetchers) || cache_wait_written(t->cache))
        ;
    assert_int_equal(passer_under_way(t->passer), 0);
    http_server_free(t->f.server);
    passer_free(t->passer);
    fetchers_free(t->fetchers);
    for (int i = 0; i < 2; i++) {
        const struct site *s = sites_find(t->sites, i ? "dead.test" : "reg.test");
        assert_true(upstream_is_idle(s->upstream));
        site_unref(s);
    }
    sites_free(t->sites);
    cache_close(t->cache);
    pool_free(t->io);
    loop_free(t->f.loop);
    config_free(&t->config);
    remove_tree(t->dir);
    toy_stop(&t->toy, t->toy_thread);
    free(t);
    return 0;
}

#define HEX64 "1111111111111111111111111111111111111111111111111111111111111111"

static char answer[1 << 20];
static bool answer_ended; /* by the end of the connection */

/* The answer to a request, up to its end or `ms` without a byte. */
static inline const char *ask(struct passing_test *t, const char *request, int ms)
{
    int fd = client(&t->f);

    say(fd, request);
    hear(fd, answer, sizeof(answer) - 1, ms, &answer_ended);
    close(fd);
    return answer;
}

static inline bool has(const char *text)
{
    bool is_there = text && strstr(answer, text);

    if (!is_there)
        print_error("no \"%s\" in\n%s\n%s\n", text ? text : "(nothing)", answer,
                    answer_ended ? "(its end)" : "(no end)");
    return is_there;
}

#define CLOSE "Connection: close\r\n\r\n"

#define PASS(name) cmocka_unit_test_setup_teardown(name, pass_setup, pass_teardown)

#endif
