#include "cli/cli.h"

#include "base/buf.h"

#include <ctype.h>
#include <string.h>

static const char USAGE[] =
    "Usage: entrepot inspect REF [--raw] [--json] [--socket PATH] [--cache DIR]\n\n"
    "The image as a tree: tags, platforms, config with image ID, layers with sizes and diff IDs,\n"
    "which of them are cached, and which images share them. --raw: the manifest's own bytes.\n";

static const char *cached(const json_t *j)
{
    return json_is_false(json_object_get(j, "cached")) ? "  (not cached)" : "";
}

static void print_sharers(const json_t *list, const char *indent)
{
    size_t i;
    json_t *s;

    json_array_foreach(list, i, s)
        printf("%s%s%s", i == 0 ? indent : ", ", i == 0 ? "shared with " : "", json_string_value(s));
    if (json_array_size(list) > 0)
        putchar('\n');
}

static void print_layers(const json_t *layers, const char *indent)
{
    char size[CLI_TEXT], diff[CLI_TEXT];
    size_t i;
    json_t *l;

    json_array_foreach(layers, i, l) {
        bool last = i + 1 == json_array_size(layers);
        char deeper[32];
        printf("%s%s layer   %s  %s  diff %s%s\n", indent, last ? "└─" : "├─", cli_text(l, "digest"),
               cli_size(json_integer_value(json_object_get(l, "size")), size), cli_short(cli_text(l, "diff_id"), diff),
               cached(l));
        snprintf(deeper, sizeof(deeper), "%s%s         ", indent, last ? "  " : "│ ");
        print_sharers(json_object_get(l, "shared_with"), deeper);
    }
}

static void print(const json_t *j)
{
    char size[CLI_TEXT], shared[CLI_TEXT];
    const json_t *platforms = json_object_get(j, "platforms"), *tags = json_object_get(j, "tags");
    size_t i;
    json_t *p;

    printf("%s\n", cli_text(j, "reference"));
    printf("digest    %s (%s)%s\n", cli_text(j, "digest"), cli_text(j, "kind"),
           json_is_false(json_object_get(j, "cached")) ? "  (not all of it cached)" : "");
    printf("image ID  %s\n", cli_text(j, "image_id"));
    fputs("tags     ", stdout);
    json_array_foreach(tags, i, p)
        printf(" %s", json_string_value(p));
    printf("\nsize      %s in the cache, %s of it shared\n",
           cli_size(json_integer_value(json_object_get(j, "size")), size),
           cli_size(json_integer_value(json_object_get(j, "shared_size")), shared));
    json_array_foreach(platforms, i, p) {
        bool last = i + 1 == json_array_size(platforms);
        const json_t *config = json_object_get(p, "config");
        const char *indent = last ? "   " : "│  ";
        printf("%s %s%s  %s%s\n", last ? "└─" : "├─", cli_text(p, "platform"),
               json_is_true(json_object_get(p, "attestation")) ? " (attestation)" : "", cli_text(p, "digest"),
               cached(p));
        if (json_is_object(config))
            printf("%s%s config  %s  %s%s\n", indent, json_array_size(json_object_get(p, "layers")) ? "├─" : "└─",
                   cli_text(config, "digest"), cli_size(json_integer_value(json_object_get(config, "size")), size),
                   cached(config));
        print_layers(json_object_get(p, "layers"), indent);
    }
}

static int print_raw(const struct cli_options *o, const char *path)
{
    struct err err = {0};
    char *body;
    size_t len;

    if (!cli_ask_raw(o, path, &body, &len, &err))
        return cli_fail(&err);
    fwrite(body, 1, len, stdout);
    free(body);
    return EXIT_DONE;
}

static void encode(struct buf *out, const char *ref)
{
    for (; *ref; ref++)
        if (isalnum((unsigned char)*ref) || strchr("-._~/:@", *ref))
            buf_add(out, ref, 1);
        else
            buf_addf(out, "%%%02X", (unsigned char)*ref);
}

struct wish {
    const char *ref;
    bool raw;
};

static int take_option(void *arg, int argc, char **argv, int at)
{
    struct wish *w = arg;

    if (strcmp(argv[at], "--raw") != 0)
        return cli_take_word(&w->ref, argc, argv, at);
    w->raw = true;
    return 1;
}

int cmd_inspect(int argc, char **argv)
{
    struct cli_options o = {0};
    _cleanup_buf_ struct buf path = {0};
    struct wish wish = {0};
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, USAGE, argc, argv, take_option, &wish);
    if (rc >= 0)
        return rc;
    if (!wish.ref)
        return cli_usage(USAGE, "inspect: which image?");
    buf_adds(&path, "/v1/images/");
    encode(&path, wish.ref);
    if (wish.raw) {
        buf_adds(&path, "?raw=1");
        return print_raw(&o, path.data);
    }
    if (!cli_ask(&o, path.data, NULL, &answer, &err))
        return cli_fail(&err);
    if (o.json)
        cli_print_json(answer);
    else
        print(answer);
    json_decref(answer);
    return EXIT_DONE;
}
