/* What each folder below gets of the daemon. */
#include "proxy/private.h"

#include "proxy/page/status_page.h"

static void print_metrics(void *proxy, struct buf *out)
{
    metrics_print(proxy, out);
}

static void print_dump(void *proxy, struct buf *out)
{
    dump_print(proxy, out);
}

static void hand_out_folders(struct proxy *p)
{
    for (int i = 0; i < p->serve_loop_count; i++) {
        p->serve_loops[i].view.sites = p->sites;
        p->serve_loops[i].registry = (struct registry){
            .cache = p->cache,
            .sites = p->sites,
            .grants = p->grants,
            .login = p->login,
            .fetchers = p->fetchers,
            .readahead = p->readahead,
            .cluster = p->cluster,
        };
        reload_begin(&p->serve_loops[i], p->config);
    }
    p->admin = (struct admin){
        .config = p->config,
        .puller = {p->cache, p->sites, p->fetchers, p->gc, &p->ready},
        .admin_pool = p->admin_pool,
        .long_pool = p->long_pool,
        .started_s = p->started_s,
        .seen = &p->seen,
        .peers = p->peers,
        .bucket = p->bucket,
        .pulls = p->pulls,
        .figures = metrics_figures,
        .problems = health_each,
        .certificates = certificates_json,
        .reload = reload_ask,
        .last_reload = reload_describe,
        .configuration = reload_compare,
        .print_metrics = print_metrics,
        .print_dump = print_dump,
        .arg = p,
    };
}

static void start_page(struct server *s)
{
    struct proxy *p = &s->proxy;

    p->page = status_page_new(&(struct page_view){.admin = &p->admin, .pulls = p->pulls}, s->loop);
    for (int i = 0; i < p->serve_loop_count; i++)
        status_page_add_loop(p->page, p->serve_loops[i].loop);
}

void hand_out(struct server *s)
{
    certificates_note(&s->proxy);
    hand_out_folders(&s->proxy);
    start_page(s);
}
