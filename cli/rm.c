#include "base/ref.h"
#include "base/buf.h"
#include "cli/filter.h"
#include "cli/rm.h"

#include <string.h>

enum { ID_MIN = 12 }; /* digits of an ID: as many as `ls` shows */

static const char USAGE[] =
    "Usage: entrepot rm [REF|ID]... [--upstream HOST] [--unused-for TIME] [--larger SIZE] [--dry-run] [--json]\n"
    "                   [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Removes images: the tag, and every blob that no other image needs. REPOSITORY@DIGEST stands for every tag of\n"
    "the repository with that digest; ID is an image ID, or a digest, as ls shows it. In their place: all images that\n"
    "these options, together, apply to, but for pinned ones.\n\n"
    "  --upstream HOST     images of this registry\n"
    "  --unused-for TIME   images that were not used for so long (30d, 12h)\n"
    "  --larger SIZE       images that are larger (1GiB)\n"
    "  --dry-run           only print what would be removed, and how much that would free\n\n"
    "Examples:\n"
    "  entrepot rm nginx:1.27\n"
    "  entrepot rm --upstream ghcr.io --unused-for 30d --dry-run\n";

/* The hex digits of an argument that may be an ID or a prefix of one; NULL: it is not. */
static const char *digits_of(const char *argument)
{
    const char *hex = strncmp(argument, "sha256:", 7) == 0 ? argument + 7 : argument;
    size_t len = strlen(hex);

    return len >= ID_MIN && len <= 64 && strspn(hex, "0123456789abcdef") == len ? hex : NULL;
}

static bool begins_with(const json_t *image, const char *key, const char *hex)
{
    const char *text = cli_text(image, key), *colon = strchr(text, ':');

    return colon && strncmp(colon + 1, hex, strlen(hex)) == 0;
}

/* Whether an ID, or a reference with a digest, stands for this image. */
static bool rm_matches(const char *argument, const json_t *image)
{
    const char *hex = digits_of(argument);
    struct ref want, ref;
    char digest[DIGEST_TEXT_MAX];

    if (hex)
        return begins_with(image, "image_id", hex) || begins_with(image, "digest", hex);
    return ref_parse(&want, argument, NULL) && ref_parse(&ref, cli_text(image, "reference"), NULL) &&
           strcmp(want.host, ref.host) == 0 && strcmp(want.path, ref.path) == 0 &&
           (!want.tag[0] || strcmp(want.tag, ref.tag) == 0) &&
           strcmp(digest_format(&want.digest, digest), cli_text(image, "digest")) == 0;
}

/* Whether it is a reference without a digest. An argument that looks like an ID is one only if an image has that
 * name. */
static bool rm_is_plain(const char *argument, const json_t *images)
{
    char full[REF_TEXT_MAX];
    struct ref ref;
    json_t *image;
    size_t i;

    if (!ref_parse(&ref, argument, NULL) || (!digits_of(argument) && ref.digest.alg == DIGEST_NONE))
        return true;
    ref_format(&ref, full);
    json_array_foreach((json_t *)images, i, image)
        if (strcmp(cli_text(image, "reference"), full) == 0)
            return true;
    return false;
}

static bool rm_expand(const char *argument, const json_t *images, json_t *out, struct err *err)
{
    _cleanup_buf_ struct buf names = {0};
    json_t *found = json_array(), *image;
    size_t i;

    json_array_foreach((json_t *)images, i, image) {
        if (!rm_matches(argument, image))
            continue;
        json_array_append(found, json_object_get(image, "reference"));
        buf_addf(&names, " %s", cli_text(image, "reference"));
    }
    size_t count = json_array_size(found);
    json_array_extend(out, found);
    json_decref(found);
    if (count == 0)
        return err_set(err, ERR_NOT_FOUND, "%s is neither an image in the cache nor the ID of one; see entrepot ls",
                       argument);
    if (count > 1 && digits_of(argument))
        return err_set(err, ERR_INVALID, "%s is the ID of several images: entrepot rm%s", argument, names.data);
    return true;
}

bool rm_resolve(const struct cli_options *o, json_t *references, struct err *err)
{
    json_t *answer = NULL, *out = json_array(), *argument;
    bool ok = true, needed = false;
    size_t i;

    json_array_foreach(references, i, argument)
        needed |= !rm_is_plain(json_string_value(argument), NULL);
    ok = !needed || cli_ask(o, "/v1/images", NULL, &answer, err);
    const json_t *images = json_object_get(answer, "images");
    json_array_foreach(references, i, argument) {
        const char *text = json_string_value(argument);
        if (ok && rm_is_plain(text, images))
            json_array_append(out, argument);
        else
            ok = ok && rm_expand(text, images, out, err);
    }
    json_array_clear(references);
    json_array_extend(references, out);
    json_decref(out);
    json_decref(answer);
    return ok;
}

/* ---- by filter ---- */

/* The references of those that pass; pinned ones are added to `kept`. */
static bool rm_choose(const struct cli_options *o, const struct image_filter *f, json_t *references, json_t *kept,
                      struct err *err)
{
    json_t *answer, *image;
    size_t i;

    if (!cli_ask(o, "/v1/images", NULL, &answer, err))
        return false;
    json_t *list = filter_images(f, json_object_get(answer, "images"));
    json_array_foreach(list, i, image)
        json_array_append(json_is_true(json_object_get(image, "pinned")) ? kept : references,
                          json_object_get(image, "reference"));
    json_decref(list);
    json_decref(answer);
    return true;
}

/* ---- the command ---- */

struct rm_command {
    struct cli_options o;
    struct image_filter filter;
    bool dry;
    json_t *references, *kept;
};

static bool rm_take(void *arg, const char *argument, struct err *err)
{
    return cli_take_reference(((struct rm_command *)arg)->references, argument, err);
}

static void rm_print(const struct rm_command *c, const json_t *answer)
{
    char size[CLI_TEXT];
    json_t *r;
    size_t i;

    json_array_foreach(json_object_get(answer, "removed"), i, r)
        cli_say(stdout, "%s %s", c->dry ? "would remove" : "removed", json_string_value(r));
    json_array_foreach(c->kept, i, r)
        cli_say(stdout, "%s %s: pinned", c->dry ? "would keep" : "kept", json_string_value(r));
    cli_say(stdout, "%s %s in %lld blobs", c->dry ? "would free" : "freed",
            cli_size(cli_bytes(answer, "freed_bytes"), size),
            (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
}

static bool rm_run(struct rm_command *c, struct err *err)
{
    json_t *answer = NULL;
    bool by_filter = !filter_is_empty(&c->filter);

    if (!(by_filter ? rm_choose(&c->o, &c->filter, c->references, c->kept, err)
                    : rm_resolve(&c->o, c->references, err)))
        return false;
    json_t *body = json_pack("{s:O, s:b}", "references", c->references, "dry_run", c->dry);
    bool ok = true;
    if (json_array_size(c->references) > 0)
        ok = cli_ask(&c->o, "/v1/rm", body, &answer, err);
    else
        answer = json_pack("{s:[], s:i, s:i}", "removed", "freed_bytes", 0, "freed_blobs", 0);
    json_decref(body);
    if (ok && by_filter)
        json_object_set(answer, "kept", c->kept);
    if (ok && c->o.json)
        cli_print_json(answer);
    else if (ok)
        rm_print(c, answer);
    json_decref(answer);
    return ok;
}

static int rm_check_usage(struct rm_command *c)
{
    struct err err = {0};
    bool named = json_array_size(c->references) > 0;

    if (!filter_read(&c->filter, &err))
        return cli_usage(USAGE, "rm: %s", err.msg);
    if (!named && filter_is_empty(&c->filter))
        return cli_usage(USAGE, "rm: which images?");
    if (named && !filter_is_empty(&c->filter))
        return cli_usage(USAGE, "rm: references, or --upstream, --unused-for and --larger?");
    return -1;
}

int cmd_rm(int argc, char **argv)
{
    struct rm_command c = {.references = json_array(), .kept = json_array()};
    const struct cli_option options[] = {FILTER_OPTIONS(&c.filter), {"dry-run", .flag = &c.dry}, {0}};
    struct err err = {0};

    int rc = cli_parse(&c.o, &(struct cli_syntax){USAGE, options, rm_take, .arg = &c}, argc, argv);
    if (rc < 0)
        rc = rm_check_usage(&c);
    if (rc < 0)
        rc = rm_run(&c, &err) ? EXIT_DONE : cli_fail(&err);
    json_decref(c.references);
    json_decref(c.kept);
    return rc;
}
