#include "base/platform.h"
#include "cli/lib/cli.h"
#include "cli/images/list.h"
#include "cli/pull_progress.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot pull [REF]... [--platform OS/ARCH[/VARIANT][:VERSION]|all]... [--file LIST]...\n"
    "                     [--from-kubernetes FILE]... [--from-compose FILE]... [--referrers] [--pin] [--fresh]\n"
    "                     [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "Pulls images into the cache: manifests, configs, layers. Cached blobs are not fetched again, so an\n"
    "interrupted pull resumes where it stopped. REF is [REGISTRY/]NAME[:TAG][@DIGEST]; with both, the digest is\n"
    "pulled, and the tag is set to it.\n\n"
    "  --platform P            pull the image for this platform from an index; may be repeated. The default is\n"
    "                          this machine's; all: every platform. VERSION is a prefix of os.version, as in\n"
    "                          windows/amd64:10.0.20348\n"
    "  --file LIST             read references from a file, one per line; # begins a comment; -: stdin\n"
    "  --from-kubernetes FILE  pull the images of Kubernetes manifests (YAML or JSON)\n"
    "  --from-compose FILE     pull the images of a compose file\n"
    "  --referrers             pull signatures, attestations, SBOMs and other referrers, too\n"
    "  --pin                   pin the images\n"
    "  --fresh                 fail if the registry does not confirm a tag; without it, the cached image is kept,\n"
    "                          with a message that its tag could not be checked\n\n"
    "Examples:\n"
    "  entrepot pull nginx:1.27 --platform linux/arm64\n"
    "  helm template ./chart | entrepot pull --from-kubernetes -\n"
    "  entrepot pull --file images.txt --pin\n";

struct pull_job {
    struct image_list list;
    struct buf sources; /* the names of the files that were read */
    json_t *platforms;
    bool referrers, pin, fresh;
    /* while it runs */
    struct pull_progress *progress; /* NULL: events as JSON */
    json_t *failed, *other;         /* events of images: failed, for another platform */
};

static bool pull_read_source(struct pull_job *job,
                             bool (*read)(struct image_list *l, const char *file, struct err *err), const char *file,
                             struct err *err)
{
    buf_addf(&job->sources, "%s%s", job->sources.len ? ", " : "", strcmp(file, "-") == 0 ? "stdin" : file);
    return read(&job->list, file, err);
}

static bool pull_take_file(void *arg, const char *value, struct err *err)
{
    return pull_read_source(arg, image_list_read, value, err);
}

static bool pull_take_kubernetes(void *arg, const char *value, struct err *err)
{
    return pull_read_source(arg, image_list_read_kubernetes, value, err);
}

static bool pull_take_compose(void *arg, const char *value, struct err *err)
{
    return pull_read_source(arg, image_list_read_compose, value, err);
}

static bool pull_take_platform(void *arg, const char *value, struct err *err)
{
    return cli_take_platform(((struct pull_job *)arg)->platforms, value, err);
}

static bool pull_take_argument(void *arg, const char *argument, struct err *err)
{
    return image_list_add(&((struct pull_job *)arg)->list, argument, err);
}

static void pull_on_event(void *arg, const json_t *event)
{
    struct pull_job *job = arg;

    if (strcmp(cli_text(event, "event"), "image") == 0 && strcmp(cli_text(event, "status"), "failed") == 0)
        json_array_append(job->failed, (json_t *)event);
    if (json_object_get(event, "other_platform"))
        json_array_append(job->other, (json_t *)event);
    if (job->progress) {
        pull_progress_event(job->progress, event);
        return;
    }
    cli_print_event(stdout, event);
}

static void say_failed(const json_t *event)
{
    const char *reference = cli_text(event, "reference"), *why = cli_text(event, "error");
    bool named = strncmp(why, reference, strlen(reference)) == 0;

    cli_say(stderr, "entrepot: pulling %s%s%s%s", named ? "" : reference, named ? "" : ": ", why,
            json_integer_value(json_object_get(event, "fetched")) > 0 ? "; what was fetched is kept, and pulling it "
                                                                        "again resumes there"
                                                                      : "");
}

static void say_other_platform(const json_t *event)
{
    cli_say(stderr, "entrepot: %s is an image for %s, not for the requested platform: it has no other",
            cli_text(event, "reference"), cli_text(event, "other_platform"));
}

static void print_sum(const json_t *answer)
{
    char size[CLI_TEXT], fetched[CLI_TEXT];
    json_int_t images = json_integer_value(json_object_get(answer, "images")),
               failed = json_integer_value(json_object_get(answer, "failed"));

    cli_say(stdout, "%lld of %lld images are cached, %s, %s of it fetched", (long long)(images - failed),
            (long long)images, cli_size(cli_bytes(answer, "size"), size),
            cli_size(cli_bytes(answer, "fetched"), fetched));
}

static int pull_run(const struct cli_options *o, struct pull_job *job)
{
    json_t *references = json_array(), *answer = NULL, *e;
    char host[PLATFORM_TEXT];
    struct err err = {0};
    size_t i;

    for (i = 0; i < job->list.count; i++)
        json_array_append_new(references, json_string(job->list.references[i]));
    if (json_array_size(job->platforms) == 0)
        json_array_append_new(job->platforms, json_string(platform_of_host(host)));
    json_t *body = json_pack("{s:o, s:O, s:b, s:b, s:b}", "references", references, "platforms", job->platforms,
                             "referrers", job->referrers, "pin", job->pin, "fresh", job->fresh);
    job->progress = o->json ? NULL : pull_progress_new(pull_progress_is_live());
    bool ok = cli_ask_long(o, "/v1/pull", body, pull_on_event, job, &answer, &err);
    if (job->progress)
        pull_progress_free(job->progress);
    json_decref(body);
    json_array_foreach(job->failed, i, e)
        say_failed(e);
    json_array_foreach(job->other, i, e)
        say_other_platform(e);
    if (!ok)
        return cli_fail(&err);
    if (o->json) {
        cli_print_event(stdout, answer);
    } else if (pull_progress_is_live()) {
        print_sum(answer);
    }
    ok = json_is_true(json_object_get(answer, "ok"));
    json_decref(answer);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_pull(int argc, char **argv)
{
    struct cli_options o = {0};
    struct pull_job job = {.platforms = json_array(), .failed = json_array(), .other = json_array()};
    struct err err = {0};
    const struct cli_option options[] = {
        {"platform", .take = pull_take_platform},
        {"file", .take = pull_take_file},
        {"from-kubernetes", .take = pull_take_kubernetes},
        {"from-compose", .take = pull_take_compose},
        {"referrers", .flag = &job.referrers},
        {"pin", .flag = &job.pin},
        {"fresh", .flag = &job.fresh},
        {0},
    };

    int rc = cli_parse(&o, &(struct cli_syntax){USAGE, options, pull_take_argument, .arg = &job}, argc, argv);
    if (rc < 0 && job.list.count == 0 && job.sources.len > 0) {
        /* A failure rather than wrong usage: the command that wrote the list may have failed. */
        err_set(&err, ERR_NOT_FOUND, "pull: %s: no images found", job.sources.data);
        rc = cli_fail(&err);
    }
    if (rc < 0 && job.list.count == 0)
        rc = cli_usage(USAGE, "pull: which images?");
    if (rc < 0)
        rc = pull_run(&o, &job);
    image_list_free(&job.list);
    json_decref(job.platforms);
    json_decref(job.failed);
    json_decref(job.other);
    buf_free(&job.sources);
    return rc;
}
