/* `entrepot export`: the command. */
#include "cli/archive/export.h"

#include "base/visible.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot export REF... -o FILE|DIR [--format oci|docker]\n"
    "                       [--platform OS/ARCH[/VARIANT][:VERSION]|all]... [--signatures include|separate|omit]\n"
    "                       [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Writes cached images to an OCI image layout that docker load, podman load, ctr images import, skopeo, crane,\n"
    "nerdctl, k3s and kind read: a folder, or a tar archive if the name ends in .tar, compressed if it ends in .gz,\n"
    ".tgz or .zst (-: stdout). Cached signatures, attestations and other referrers of an image are included. After\n"
    "an interruption the same command resumes where it stopped.\n\n"
    "  -o, --output PATH   the destination; a device or a pipe is written to directly\n"
    "  --format oci        an OCI image layout with docker's manifest.json beside its index.json (the default)\n"
    "  --format docker     the classic format of docker save, for one platform\n"
    "  --platform P        export the image for this platform from an index; may be repeated; all: every platform.\n"
    "                      The default is all platforms that are cached completely\n"
    "  --signatures HOW    include (the default): in the archive, for entrepot import; separate: as entries of\n"
    "                      index.json, for oras, skopeo and regclient (podman load and ctr reject these); omit\n\n"
    "Examples:\n"
    "  entrepot export nginx:1.27 redis:7 -o images.tar.zst\n"
    "  entrepot export nginx:1.27 -o - | docker load\n";

struct export_options {
    json_t *references;
    json_t *platforms;
    const char *output, *format, *signatures;
};

static bool export_take_reference(void *arg, const char *argument, struct err *err)
{
    return cli_take_reference(((struct export_options *)arg)->references, argument, err);
}

static bool export_take_format(void *arg, const char *value, struct err *err)
{
    bool known = strcmp(value, "oci") == 0 || strcmp(value, "docker") == 0;

    ((struct export_options *)arg)->format = value;
    return known || err_set(err, ERR_INVALID, "\"%s\" is neither oci nor docker", value);
}

static bool export_take_platform(void *arg, const char *value, struct err *err)
{
    return cli_take_platform(((struct export_options *)arg)->platforms, value, err);
}

static bool export_take_signatures(void *arg, const char *value, struct err *err)
{
    bool known = strcmp(value, "include") == 0 || strcmp(value, "separate") == 0 || strcmp(value, "omit") == 0;

    ((struct export_options *)arg)->signatures = value;
    return known || err_set(err, ERR_INVALID, "\"%s\" is neither include nor separate nor omit", value);
}

static void export_print_progress(struct export_job *job, const struct export_entry *m, const char *how)
{
    char size[CLI_TEXT];
    FILE *to = job->place.to_stdout ? stderr : stdout;

    if (m->text)
        return;
    if (job->options->json) {
        json_t *j = json_pack("{s:s, s:o, s:I, s:s}", "event", "blob", "name", visible_json(m->name), "size",
                              (json_int_t)m->size, "status", how);
        cli_print_event(to, j);
        json_decref(j);
        return;
    }
    cli_say(to, "%s: %s, %s", m->name, how, cli_size(m->size, size));
    fflush(to);
}

static bool export_take_members(struct export_job *job, const json_t *list, struct err *err)
{
    json_t *m;
    size_t i;

    job->count = json_array_size(list);
    job->members = xcalloc(job->count + 1, sizeof(*job->members));
    json_array_foreach(list, i, m) {
        struct export_entry *to = &job->members[i];
        const char *digest = json_string_value(json_object_get(m, "digest"));
        to->name = json_string_value(json_object_get(m, "name"));
        to->text = json_string_value(json_object_get(m, "text"));
        to->size = json_integer_value(json_object_get(m, "size"));
        /* The name becomes a path under the destination. */
        if (!to->name || to->name[0] == '/' || strstr(to->name, "..") ||
            (!to->text && (!digest || !digest_parse(&to->digest, digest, strlen(digest)))))
            return err_set(err, ERR_CORRUPT, "the daemon's answer is invalid: does it run another version?");
    }
    return true;
}

static void export_say_notes(const char *notes)
{
    while (*notes) {
        size_t len = strcspn(notes, "\n");
        cli_say(stderr, "entrepot: %.*s", (int)len, notes);
        notes += len + (notes[len] == '\n');
    }
}

static bool export_get_members(struct export_job *job, const struct export_options *opts, json_t **answer,
                               struct err *err)
{
    json_t *body = json_pack("{s:O, s:s, s:O, s:s}", "references", opts->references, "format", opts->format,
                             "platforms", opts->platforms, "signatures", opts->signatures);
    bool ok = cli_ask(job->options, "/v1/export", body, answer, err);

    json_decref(body);
    job->cache = cli_text(*answer, "cache");
    return ok && export_take_members(job, json_object_get(*answer, "members"), err);
}

static int export_run(const struct cli_options *o, const struct export_options *opts)
{
    struct export_job job = {.options = o, .progress = export_print_progress};
    char size[CLI_TEXT], kept[CLI_TEXT];
    json_t *answer = NULL;
    struct err err = {0};

    bool ok = export_find_place(&job.place, opts->output, &err);
    bool to_dir = job.place.kind == PLACE_FOLDER;
    if (ok && to_dir && strcmp(opts->format, "docker") == 0) {
        export_place_free(&job.place);
        return cli_usage(USAGE, "export: --format docker writes an archive: -o NAME.tar");
    }
    ok = ok && export_get_members(&job, opts, &answer, &err);
    if (ok)
        export_say_notes(cli_text(answer, "notes"));
    ok = ok && (to_dir ? export_to_dir(&job, &err) : export_to_tar(&job, &err));
    if (!ok && (job.written > 0 || job.kept > 0) && job.place.kind != PLACE_STREAM)
        err_wrap(&err, "exporting to %s (the same command resumes here)", opts->output);
    else if (!ok && err.code == ERR_BUSY)
        err_wrap(&err, "exporting to %s", opts->output);
    if (ok && !o->json && !job.place.to_stdout)
        cli_say(stdout, "%s: %s written, %s already there", opts->output, cli_size(job.written, size),
                cli_size(job.kept, kept));
    free(job.members);
    export_place_free(&job.place);
    json_decref(answer);
    return ok ? EXIT_DONE : cli_fail(&err);
}

/* Returns the exit status of wrong usage; -1: the usage is right. */
static int export_check_usage(const struct export_options *opts)
{
    if (json_array_size(opts->references) == 0)
        return cli_usage(USAGE, "export: which images?");
    if (!opts->output || !*opts->output)
        return cli_usage(USAGE, "export: where to? -o FILE.tar or -o DIR");
    return -1;
}

int cmd_export(int argc, char **argv)
{
    struct cli_options o = {0};
    struct export_options opts = {
        .references = json_array(), .platforms = json_array(), .format = "oci", .signatures = "include"};
    const struct cli_option options[] = {
        {"output", 'o', .value = &opts.output},
        {"format", .take = export_take_format},
        {"platform", .take = export_take_platform},
        {"signatures", .take = export_take_signatures},
        {0},
    };

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, export_take_reference, .arg = &opts}, argc, argv);
    if (rc < 0)
        rc = export_check_usage(&opts);
    if (rc < 0)
        rc = export_run(&o, &opts);
    json_decref(opts.references);
    json_decref(opts.platforms);
    return rc;
}
