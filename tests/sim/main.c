#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* sim table [MOST_NODES]         the tables of docs/scale.md
 * sim run [OPTION]...            one run, as a line of name=value
 * sim check                      what must hold with 10 and 100 nodes; fails otherwise */

#define MAIN_GBIT 125e6 /* bytes a second */

static struct sim_options main_defaults(void)
{
    return (struct sim_options){
        .nodes = 100,
        .zones = 3,
        .layers = 8,
        .layers_at_once = 3,
        .image = 3e9,
        .link = MAIN_GBIT,
        .mirror_link = 10 * MAIN_GBIT,
        .registry_link = 10 * MAIN_GBIT,
        .registry_each = 50e6,
        .zone_rtt = 0.0002,
        .far_rtt = 0.0015,
        .registry_rtt = 0.03,
        .spread = true,
        .early = true,
    };
}

static const char *main_mode(const struct sim_options *o)
{
    return o->mode == SIM_PEERS ? "peers" : o->mode == SIM_ALONE ? "caches alone" : "a mirror";
}

static void main_row(const char *what, const struct sim_options *o)
{
    struct sim_result r;

    sim_run(o, &r);
    printf("| %s | %s | %d | %.2f | %lld | %.1f | %.1f | %.1f | %.0f %% | %.1f | %.1f |%s%s\n", what, main_mode(o),
           o->nodes + o->joins, r.upstream / o->image, (long long)r.requests, r.p50, r.p99, r.max, 100 * r.load,
           r.busiest / 1e9, r.between / o->image, r.conserved ? "" : " bytes are missing",
           r.unfinished ? " unfinished" : "");
    fflush(stdout);
}

static void main_title(const char *title)
{
    printf("\n%s\n\n| what | | nodes | upstream, x image | requests upstream | p50 s | p99 s | max s | busiest link | "
           "most sent, GB | between zones, x image |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
           title);
}

static void main_all_at_once(int most)
{
    static const int sizes[] = {10, 100, 1000, 10000};

    main_title("All at once, links of 1 Gbit");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && sizes[i] <= most; i++)
        for (int mode = SIM_PEERS; mode <= SIM_MIRROR; mode++) {
            struct sim_options o = main_defaults();
            o.nodes = sizes[i];
            o.mode = (enum sim_mode)mode;
            /* the others at 10 000 nodes take hours of the virtual clock: ten times what they take at 1000 */
            if (mode == SIM_PEERS || sizes[i] <= 1000)
                main_row("cold", &o);
        }
    main_title("All at once, links of 10 Gbit");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && sizes[i] <= (most < 1000 ? most : 1000); i++) {
        struct sim_options o = main_defaults();
        o.nodes = sizes[i];
        o.link = 10 * MAIN_GBIT;
        o.registry_each = 100e6;
        main_row("cold", &o);
    }
}

static void main_rules(int nodes)
{
    static const char *const names[] = {"stripes in order, nodes named when they have it",
                                        "each its own order",
                                        "nodes named while they receive",
                                        "both",
                                        "both, 64 nodes named of a stripe",
                                        "both, and the size is known by the manifest"};

    main_title("What the rules are worth, all at once, links of 1 Gbit");
    for (int i = 0; i < 6; i++) {
        struct sim_options o = main_defaults();
        o.nodes = nodes;
        o.sized = i == 5;
        o.spread = i == 1 || i >= 3;
        o.early = i >= 2;
        o.known = i == 4 ? 64 : 0;
        main_row(names[i], &o);
    }
}

static void main_changes(int nodes)
{
    struct sim_options o = main_defaults();

    main_title("Changes, links of 1 Gbit");
    o.nodes = nodes;
    o.waves = 20;
    o.wave_every = 40;
    main_row("rolling update, 20 parts, one each 40 s", &o);
    o = main_defaults();
    o.nodes = nodes;
    o.deaths = nodes / 50;
    o.joins = nodes / 50;
    o.churn_s = 20;
    main_row("2 % die and 2 % join within 20 s", &o);
    o.deaths = nodes / 5;
    o.joins = 0;
    main_row("20 % die within 20 s", &o);
    o = main_defaults();
    o.nodes = nodes;
    o.cut_at = 10;
    main_row("one of three zones is cut off after 10 s", &o);
}

static void main_limits(int nodes)
{
    main_title("An upstream with limits, links of 1 Gbit");
    for (int mode = SIM_PEERS; mode <= SIM_ALONE; mode++) {
        struct sim_options o = main_defaults();
        /* caches alone with 1000 nodes would take hours */
        o.nodes = mode == SIM_PEERS ? nodes : nodes < 100 ? nodes : 100;
        o.mode = (enum sim_mode)mode;
        o.registry_link = MAIN_GBIT;
        main_row("1 Gbit in all", &o);
        o.registry_link = 10 * MAIN_GBIT;
        o.registry_requests = 10;
        main_row("10 requests a second", &o);
    }
}

static void main_published(void)
{
    struct sim_options o = main_defaults();

    main_title("As others have measured");
    o.nodes = 2600;
    o.layers = 2;
    o.link = 300e6;
    o.registry_link = 5 * 10 * MAIN_GBIT;
    o.registry_each = 300e6;
    main_row("Kraken's: 3 GB, 2 layers, 300 MB/s", &o);
    o = main_defaults();
    o.nodes = 50;
    o.zones = 1;
    o.layers = 1;
    o.image = 1e9;
    o.link = 10 * MAIN_GBIT;
    o.registry_each = 36e6;
    main_row("Spegel's: 1 GB, 1 layer, 10 Gbit", &o);
}

static void main_table(int most)
{
    main_all_at_once(most);
    main_rules(most < 1000 ? most : 1000);
    main_changes(most < 1000 ? most : 1000);
    main_limits(most < 1000 ? most : 1000);
    if (most >= 1000)
        main_published();
}

static int main_check(void)
{
    int bad = 0;

    for (int nodes = 10; nodes <= 100; nodes *= 10) {
        struct sim_options o = main_defaults();
        struct sim_result r;
        o.nodes = nodes;
        sim_run(&o, &r);
        bool ok = r.conserved && r.unfinished == 0 && r.finished == nodes && r.upstream > 0.9999 * o.image &&
                  r.upstream < 1.0001 * o.image;
        printf("%d nodes: upstream %.4f x, %d finished, %s\n", nodes, r.upstream / o.image, r.finished,
               ok ? "as it must be" : "WRONG");
        bad += !ok;
        o.deaths = nodes / 10;
        o.churn_s = 10;
        sim_run(&o, &r);
        ok = r.conserved && r.unfinished == 0 && r.upstream < 2 * o.image;
        printf("%d nodes, some die: upstream %.4f x, %d finished, %s\n", nodes, r.upstream / o.image, r.finished,
               ok ? "as it must be" : "WRONG");
        bad += !ok;
    }
    return bad > 0;
}

static int main_run(int argc, char **argv)
{
    struct sim_options o = main_defaults();
    const struct {
        const char *name;
        int *whole;
        double *number, scale;
    } known[] = {
        {"nodes", &o.nodes, NULL, 1},
        {"zones", &o.zones, NULL, 1},
        {"layers", &o.layers, NULL, 1},
        {"layers-at-once", &o.layers_at_once, NULL, 1},
        {"waves", &o.waves, NULL, 1},
        {"deaths", &o.deaths, NULL, 1},
        {"joins", &o.joins, NULL, 1},
        {"mib", NULL, &o.image, 1 << 20},
        {"mbit", NULL, &o.link, 125e3},
        {"registry-mbit", NULL, &o.registry_link, 125e3},
        {"each-mbit", NULL, &o.registry_each, 125e3},
        {"requests", NULL, &o.registry_requests, 1},
        {"registry-ms", NULL, &o.registry_rtt, 1e-3},
        {"wave-every", NULL, &o.wave_every, 1},
        {"churn", NULL, &o.churn_s, 1},
        {"cut-at", NULL, &o.cut_at, 1},
        {"known", &o.known, NULL, 1},
        {"step-ms", NULL, &o.step, 1e-3},
    };
    struct sim_result r;

    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t k = 0, count = sizeof(known) / sizeof(*known);
        if (value != NULL)
            for (; k < count && (strlen(known[k].name) != (size_t)(value - argv[i]) ||
                                 strncmp(known[k].name, argv[i], strlen(known[k].name)) != 0);
                 k++)
                ;
        if (value != NULL && k < count && known[k].whole)
            *known[k].whole = atoi(value + 1);
        else if (value != NULL && k < count)
            *known[k].number = atof(value + 1) * known[k].scale;
        else if (strcmp(argv[i], "alone") == 0)
            o.mode = SIM_ALONE;
        else if (strcmp(argv[i], "mirror") == 0)
            o.mode = SIM_MIRROR;
        else if (strcmp(argv[i], "in-order") == 0)
            o.spread = false;
        else if (strcmp(argv[i], "sized") == 0)
            o.sized = true;
        else if (strcmp(argv[i], "late") == 0)
            o.early = false;
        else
            return fprintf(stderr, "sim: %s is not known\n", argv[i]), 1;
    }
    sim_run(&o, &r);
    printf("p50=%.2f p99=%.2f max=%.2f upstream=%.4f requests=%lld asks=%lld sent_on=%lld failures=%lld load=%.3f "
           "busiest=%.3f median=%.3f between=%.2f finished=%d unfinished=%d conserved=%d\n",
           r.p50, r.p99, r.max, r.upstream / o.image, (long long)r.requests, (long long)r.asks, (long long)r.sent_on,
           (long long)r.failures, r.load, r.busiest / o.image, r.median / o.image, r.between / o.image, r.finished,
           r.unfinished, r.conserved);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "table") == 0)
        return main_table(argc > 2 ? atoi(argv[2]) : 10000), 0;
    if (argc >= 2 && strcmp(argv[1], "check") == 0)
        return main_check();
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return main_run(argc - 2, argv + 2);
    fprintf(stderr, "usage: sim table [MOST_NODES] | check | run [NAME=VALUE]... [alone|mirror|in-order|late|sized]\n");
    return 1;
}
