/* An engine's configuration file as `entrepot setup` finds it: the engine's name in the first line, then the file. */
#include "cli/setup/lines.h"
#include "cli/setup/setup.h"
#include "tests/fuzz/fuzz.h"

static const char *path_of(const char *engine)
{
    static const char *const paths[][2] = {{"containerd", "/etc/containerd/config.toml"},
                                           {"docker", "/etc/docker/daemon.json"},
                                           {"podman", "/etc/containers/registries.conf"},
                                           {"k3s", "/etc/rancher/k3s/registries.yaml"},
                                           {"buildkit", "/etc/buildkit/buildkitd.toml"}};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (strcmp(paths[i][0], engine) == 0)
            return paths[i][1];
    return NULL;
}

/* A file of the view as if it were on the disk. */
static void put(struct setup_view *v, const char *path, const struct setup_text *text)
{
    struct setup_file *f = setup_view_file(v, path, NULL);

    MUST(f);
    setup_text_copy(&f->disk, text);
    setup_text_copy(&f->base, text);
    setup_text_copy(&f->want, text);
}

/* What was planned can be printed and taken back. */
static void check_back(const struct setup_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        struct setup_text back = {0};
        struct buf out = {0};
        char *why = NULL;
        setup_diff(&out, f->path, &f->disk, &f->want);
        MUST((out.len > 0) == !setup_text_same(&f->disk, &f->want));
        MUST(setup_take_back(&f->base, &f->want, &f->want, &back, &why) && setup_text_same(&back, &f->base));
        setup_text_free(&back);
        buf_free(&out);
    }
}

static void check_plan(const struct setup_engine *e, const char *path, const struct setup_text *text)
{
    static char docker[] = "docker.io", other[] = "r.example:5000";
    char *registries[] = {docker, other};
    const struct setup_target target = {.address = "127.0.0.1:5000", .registries = registries, .count = 2, .any = true};
    struct setup_view v = {.root = "/nonexistent"}, again = {.root = "/nonexistent"};
    struct err err = {0};

    put(&v, path, text);
    if (e->plan(&v, &target, &err)) {
        check_back(&v);
        for (size_t i = 0; i < v.count; i++)
            put(&again, v.files[i]->path, &v.files[i]->want);
        MUST(e->plan(&again, &target, &err));
        for (size_t i = 0; i < again.count; i++)
            MUST(setup_text_same(&again.files[i]->disk, &again.files[i]->want));
    } else {
        MUST(err.code != ERR_OK && err.msg[0]);
    }
    setup_view_free(&v);
    setup_view_free(&again);
}

/* It is refused with a reason, or planned: a second plan then finds nothing to do, and the first can be taken back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nl = memchr(data, '\n', size);
    char *name = nl ? xstrndup((const char *)data, (size_t)(nl - data)) : NULL;
    const struct setup_engine *e = name ? setup_engine_find(name) : NULL;
    struct setup_text text = {.exists = true};

    if (e && path_of(name)) {
        buf_adds(&text.bytes, "");
        buf_add(&text.bytes, nl + 1, size - (size_t)(nl + 1 - data));
        check_plan(e, path_of(name), &text);
    }
    setup_text_free(&text);
    free(name);
    return 0;
}
