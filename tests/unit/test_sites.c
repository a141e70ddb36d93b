#include "tests/unit/unit.h"

#include "proxy/fetch/site_view.h"
#include "upstream/registry_private.h"

#include "tests/unit/load_config.h"

static struct sites *begin(struct config *c)
{
    struct err err;

    assert_true(load("upstreams: [{name: fixed.test}, {name: '*.evil.test', insecure: true}]\n", c, &err));
    return sites_new(c, NULL, NULL, NULL);
}

static const struct site *find(struct sites *all, const char *kind, int n)
{
    char host[64];

    snprintf(host, sizeof(host), "%s%d.evil.test", kind, n);
    return sites_find(all, host);
}

static bool is_listed(struct sites *all, const char *host)
{
    _cleanup_sites_ struct site_list l;
    bool found = false;

    sites_list(all, &l);
    for (int i = 0; i < l.count; i++)
        found = found || strcmp(l.list[i]->host, host) == 0;
    return found;
}

static int count_listed(struct sites *all)
{
    _cleanup_sites_ struct site_list l;

    sites_list(all, &l);
    return l.count;
}

static void prove(const struct site *s)
{
    atomic_store(&s->upstream->is_registry, true);
}

static void note_leaving(void *arg, const struct site *s)
{
    char *left = arg;

    snprintf(left, REF_HOST_MAX + 1, "%s", s->host);
}

/* However many hosts are made up, those that have answered stay, and there is always room. */
static void made_up_hosts(void **state UNUSED)
{
    struct config c;
    struct sites *all = begin(&c);
    const struct site *s = find(all, "real", 0);
    int before = count_listed(all);

    prove(s);
    int id = s->id;
    site_unref(s);
    for (int i = 0; i < 2000; i++) {
        s = find(all, "made-up", i);
        assert_non_null(s);
        site_unref(s);
    }
    assert_int_equal(count_listed(all), before + 1);
    assert_true(is_listed(all, "real0.evil.test"));
    s = find(all, "real", 0);
    assert_int_equal(s->id, id);
    assert_true(upstream_is_registry(s->upstream));
    site_unref(s);
    sites_free(all);
    config_free(&c);
}

/* What is in use is nobody else's: held, or with a call that was cancelled. */
static void in_use(void **state UNUSED)
{
    struct config c;
    struct sites *all = begin(&c);
    const struct site *held[SITES_UNPROVEN_MAX];

    for (int i = 0; i < SITES_UNPROVEN_MAX; i++)
        held[i] = find(all, "held", i);
    assert_null(find(all, "more", 0));
    assert_true(sites_is_upstream(all, "more0.evil.test"));
    assert_false(sites_is_upstream(all, "elsewhere.test"));
    const struct site *fixed = sites_find(all, "fixed.test");
    assert_non_null(fixed);
    assert_ptr_equal(find(all, "held", 3), held[3]);
    site_unref(held[3]);
    assert_null(find(all, "more", 0)); /* there is one more who has it */
    atomic_fetch_add(&held[3]->upstream->users, 1);
    site_unref(held[3]);
    assert_null(find(all, "more", 0));
    atomic_fetch_sub(&held[3]->upstream->users, 1);
    const struct site *more = find(all, "more", 0);
    assert_non_null(more);
    assert_string_equal(more->host, "more0.evil.test");
    prove(more); /* leaves room among the unproven */
    assert_non_null(find(all, "more", 1));
    sites_free(all);
    config_free(&c);
}

/* The one that was used longest ago goes first, and the unproven before the proven. */
static void who_goes_first(void **state UNUSED)
{
    struct config c;
    struct sites *all = begin(&c);
    char left[REF_HOST_MAX + 1] = "";
    int fixed = count_listed(all), places = SITES_MAX - fixed;

    sites_on_leave(all, note_leaving, left);
    for (int i = 0; i < places; i++) {
        const struct site *s = find(all, "real", i);
        prove(s);
        site_unref(s);
    }
    assert_string_equal(left, "");
    site_unref(find(all, "real", 0));
    site_unref(find(all, "made-up", 0));
    assert_string_equal(left, "real1.evil.test");
    site_unref(find(all, "made-up", 1));
    assert_string_equal(left, "made-up0.evil.test");
    const struct site *s = find(all, "made-up", 1);
    site_unref(find(all, "made-up", 2));
    assert_string_equal(left, "real2.evil.test");
    site_unref(s);
    assert_int_equal(count_listed(all), SITES_MAX - 2);
    assert_true(is_listed(all, "real0.evil.test"));
    assert_true(is_listed(all, "fixed.test"));
    sites_free(all);
    config_free(&c);
}

/* Figures name what the configuration names: hosts of a pattern are one, proven or not, and all others another. */
static void what_figures_name(void **state UNUSED)
{
    static const struct {
        const char *host, *name;
    } cases[] = {
        {"fixed.test", "fixed.test"},       {"a.evil.test", "*.evil.test"},
        {"b.evil.test", "*.evil.test"},     {"123.dkr.ecr.eu-1.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"},
        {"us-docker.pkg.dev", "*.pkg.dev"}, {"made.up", "other"},
        {"made.up.too", "other"},
    };
    struct config c;
    struct err err;

    assert_true(load("upstreams: [{name: fixed.test}, {name: '*.evil.test'}]\nupstreams_any: true\n", &c, &err));
    struct sites *all = sites_new(&c, NULL, NULL, NULL);
    for (int proven = 0; proven < 2; proven++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            const struct site *s = sites_find(all, cases[i].host);
            assert_non_null(s);
            assert_string_equal(sites_group_name(all, s->group), cases[i].name);
            prove(s);
            site_unref(s);
        }
    assert_string_equal(sites_group_name(all, GROUP_LOCAL), "local");
    assert_null(sites_group_name(all, c.upstream_count));
    sites_free(all);
    config_free(&c);
}

/* A request goes on under what it has begun with; what has not changed keeps its struct upstream. */
static void another_configuration(void **state UNUSED)
{
    struct config first, second, third;
    char left[REF_HOST_MAX + 1] = "";
    struct sites *all = begin(&first);
    struct err err;

    sites_on_leave(all, note_leaving, left);
    const struct site *fixed = sites_find(all, "fixed.test"), *lent = find(all, "a", 1);
    prove(lent);
    struct upstream *upstream = fixed->upstream, *of_lent = lent->upstream;
    assert_true(load("upstreams: [{name: new.test}, {name: fixed.test, parallel: 9, tags: {ttl: 1s}}, "
                     "{name: '*.evil.test', insecure: true}]\n",
                     &second, &err));
    sites_replace(all, &second);
    assert_int_equal(fixed->config->parallel, 4);
    assert_ptr_equal(fixed->all, &first);
    const struct site *now = sites_find(all, "fixed.test"), *lent_now = find(all, "a", 1);
    assert_ptr_not_equal(now, fixed);
    assert_ptr_equal(now->all, &second);
    assert_int_equal(now->config->parallel, 9);
    assert_ptr_equal(now->upstream, upstream);
    assert_ptr_equal(lent_now->upstream, of_lent);
    assert_int_equal(now->group, fixed->group); /* though its place is another one */
    assert_true(sites_is_upstream(all, "new.test"));
    site_unref(fixed);
    site_unref(lent);
    sites_sweep(all);
    assert_string_equal(left, "");
    /* another endpoint, another registry */
    assert_true(load("upstreams: [{name: fixed.test, endpoints: ['https://other.test']}]\n", &third, &err));
    sites_replace(all, &third);
    const struct site *last = sites_find(all, "fixed.test");
    assert_ptr_not_equal(last->upstream, upstream);
    assert_null(find(all, "a", 1));
    assert_false(sites_is_upstream(all, "new.test"));
    site_unref(lent_now);
    sites_sweep(all);
    assert_string_equal(left, "a1.evil.test"); /* `now` is in use */
    site_unref(now);
    sites_sweep(all);
    assert_string_equal(left, "fixed.test");
    assert_string_equal(sites_group_name(all, last->group), "fixed.test");
    site_unref(last);
    sites_free(all);
    config_free(&first);
    config_free(&second);
    config_free(&third);
}

/* A loop's view finds what the configuration names, and follows it. */
static void a_view(void **state UNUSED)
{
    struct config first, second;
    struct err err;

    assert_true(load("upstreams: [{name: fixed.test}, {name: '*.evil.test', insecure: true}]\n", &first, &err));
    assert_true(load("upstreams: [{name: new.test}, {name: fixed.test, parallel: 9}]\n", &second, &err));
    struct sites *all = sites_new(&first, NULL, NULL, NULL);
    struct site_view view = {.sites = all};
    const struct site *fixed = site_view_find(&view, "fixed.test");
    assert_ptr_equal(fixed, sites_find(all, "fixed.test"));
    assert_int_equal(atomic_load(&fixed->users), 3); /* this one, the other, and the view */
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(site_view_find(&view, "fixed.test"), fixed);
        assert_ptr_equal(site_view_find_configured(&view, "fixed.test"), fixed);
        assert_null(site_view_find_configured(&view, "new.test"));
        assert_null(site_view_find(&view, "new.test"));
    }
    assert_int_equal(atomic_load(&fixed->users), 203);
    const struct site *lent = site_view_find(&view, "a.evil.test");
    assert_ptr_equal(site_view_find_configured(&view, "a.evil.test"), lent);
    assert_int_equal(atomic_load(&lent->users), 2); /* it is not kept */
    for (int i = 0; i < 202; i++)
        site_unref(fixed);
    sites_replace(all, &second);
    assert_int_equal(atomic_load(&fixed->users), 1);
    const struct site *now = site_view_find(&view, "fixed.test");
    assert_ptr_not_equal(now, fixed);
    assert_int_equal(now->config->parallel, 9);
    assert_int_equal(atomic_load(&fixed->users), 0);
    const struct site *added = site_view_find_configured(&view, "new.test");
    assert_non_null(added);
    site_view_clear(&view);
    assert_int_equal(atomic_load(&now->users), 1);
    site_unref(now);
    site_unref(added);
    site_unref(lent);
    site_unref(lent);
    sites_free(all);
    config_free(&first);
    config_free(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_configuration), cmocka_unit_test(made_up_hosts), cmocka_unit_test(in_use),
        cmocka_unit_test(who_goes_first),        cmocka_unit_test(a_view),        cmocka_unit_test(what_figures_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
