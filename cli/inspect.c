#include "cli/lib/cli.h"

#include "base/url.h"

#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot inspect REF [--raw] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Shows an image as a tree: tags, platforms, config with image ID, layers with sizes and diff IDs, how much\n"
    "of them is cached, and which other images share them.\n\n"
    "  --raw   print the manifest's bytes\n\n"
    "Examples:\n"
    "  entrepot inspect nginx:1.27\n"
    "  entrepot inspect nginx:1.27 --raw | sha256sum\n";

static const char *cached(const json_t *j)
{
    return json_is_false(json_object_get(j, "cached")) ? "  (not cached)" : "";
}

/* The same of a layer, of which pieces may be cached. */
static const char *layer_cached(const json_t *j, char out[3 * CLI_TEXT])
{
    char part[CLI_TEXT], size[CLI_TEXT];

    if (cli_bytes(j, "partial_size") == 0)
        return cached(j);
    snprintf(out, 3 * CLI_TEXT, "  (partial, %s of %s)", cli_size(cli_bytes(j, "partial_size"), part),
             cli_size(cli_bytes(j, "size"), size));
    return out;
}

static void print_list(const char *before, const json_t *list, const char *between)
{
    _cleanup_buf_ struct buf line = {0};
    size_t i;
    json_t *s;

    buf_adds(&line, before);
    json_array_foreach(list, i, s)
        buf_addf(&line, "%s%s", i == 0 ? "" : between, json_string_value(s));
    cli_say(stdout, "%s", line.data);
}

static void print_layers(const json_t *layers, const char *indent)
{
    char size[CLI_TEXT], diff[CLI_TEXT], part[3 * CLI_TEXT];
    size_t i;
    json_t *l;

    json_array_foreach(layers, i, l) {
        bool last = i + 1 == json_array_size(layers);
        char deeper[48];
        cli_say(stdout, "%s%s layer   %s  %s  diff %s%s", indent, last ? "└─" : "├─", cli_text(l, "digest"),
                cli_size(cli_bytes(l, "size"), size), cli_short(cli_text(l, "diff_id"), diff), layer_cached(l, part));
        snprintf(deeper, sizeof(deeper), "%s%s         shared with ", indent, last ? "  " : "│ ");
        if (json_array_size(json_object_get(l, "shared_with")) > 0)
            print_list(deeper, json_object_get(l, "shared_with"), ", ");
    }
}

static void inspect_print(const json_t *j)
{
    char size[CLI_TEXT], shared[CLI_TEXT], part[CLI_TEXT];
    int64_t partial = cli_bytes(j, "partial_size");
    const json_t *platforms = json_object_get(j, "platforms"), *tags = json_object_get(j, "tags");
    size_t i;
    json_t *p;

    cli_say(stdout, "%s", cli_text(j, "reference"));
    cli_say(stdout, "digest    %s (%s)%s", cli_text(j, "digest"), cli_text(j, "kind"),
            json_is_false(json_object_get(j, "cached")) ? "  (not all of it cached)" : "");
    cli_say(stdout, "image ID  %s", cli_text(j, "image_id"));
    print_list("tags      ", tags, " ");
    cli_say(stdout, "size      %s in the cache, %s of it shared%s%s%s", cli_size(cli_bytes(j, "size"), size),
            cli_size(cli_bytes(j, "shared_size"), shared), partial > 0 ? ", " : "",
            partial > 0 ? cli_size(partial, part) : "", partial > 0 ? " in layers that are not whole" : "");
    json_array_foreach(platforms, i, p) {
        bool last = i + 1 == json_array_size(platforms);
        const json_t *config = json_object_get(p, "config");
        const char *indent = last ? "   " : "│  ";
        cli_say(stdout, "%s %s%s  %s%s", last ? "└─" : "├─", cli_text(p, "platform"),
                json_is_true(json_object_get(p, "attestation")) ? " (attestation)" : "", cli_text(p, "digest"),
                cached(p));
        if (json_is_object(config))
            cli_say(stdout, "%s%s config  %s  %s%s", indent,
                    json_array_size(json_object_get(p, "layers")) ? "├─" : "└─", cli_text(config, "digest"),
                    cli_size(cli_bytes(config, "size"), size), cached(config));
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
    if (isatty(STDOUT_FILENO))
        cli_say_text(stdout, body, len); /* control characters made visible; elsewhere the bytes */
    else
        cli_write(body, len);
    free(body);
    return EXIT_DONE;
}

int cmd_inspect(int argc, char **argv)
{
    struct cli_options o = {0};
    _cleanup_buf_ struct buf path = {0};
    const char *ref = NULL;
    bool raw = false;
    const struct cli_option options[] = {{"raw", .flag = &raw}, {0}};
    struct err err = {0};
    json_t *answer;

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, cli_take_argument, .arg = &ref}, argc, argv);
    if (rc >= 0)
        return rc;
    if (!ref)
        return cli_usage(USAGE, "inspect: which image?");
    if (!cli_is_reference(ref, &err))
        return cli_usage(USAGE, "inspect: %s", err.msg);
    buf_adds(&path, "/v1/images/");
    url_encode(&path, ref);
    if (raw) {
        buf_adds(&path, "?raw=1");
        return print_raw(&o, path.data);
    }
    if (!cli_ask(&o, path.data, NULL, &answer, &err))
        return cli_fail(&err);
    if (o.json)
        cli_print_json(answer);
    else
        inspect_print(answer);
    json_decref(answer);
    return EXIT_DONE;
}
