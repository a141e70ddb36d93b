#include "base/ref.h"
#include "base/buf.h"
#include "cli/lib/cli.h"

#include <string.h>

enum { ID_MIN = 12 }; /* digits of an ID: as many as `ls` shows */

static const char USAGE[] =
    "Usage: entrepot rm REF|ID... [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Removes images: the tag, and every blob that no other image needs. REPOSITORY@DIGEST stands for every tag of\n"
    "the repository with that digest; ID is an image ID, or a digest, as ls shows it.\n";

static void rm_print(const json_t *answer)
{
    char size[CLI_TEXT];

    cli_say(stdout, "freed %s in %lld blobs", cli_size(cli_bytes(answer, "freed_bytes"), size),
            (long long)json_integer_value(json_object_get(answer, "freed_blobs")));
}

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

/* Replaces digests and IDs by the references that they stand for. */
static bool rm_resolve(const struct cli_options *o, json_t *references, struct err *err)
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

int cmd_rm(int argc, char **argv)
{
    return cli_for_references(argc, argv, USAGE, "/v1/rm", "removed", rm_resolve, rm_print);
}
