/* The configuration file. */
#include "config/config.h"
#include "tests/fuzz/fuzz.h"

static bool load(const void *text, size_t len, struct config *c)
{
    struct err err = {0};
    const struct config_overrides o = {
        .file = fuzz_file("config.yaml", text, len), .cache = "/nowhere", .no_secrets = true};

    if (config_load(c, &o, &err))
        return true;
    MUST(err.code != ERR_OK && err.msg[0]);
    return false;
}

/* What `config` shows of a configuration is one, and means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct config c, again;

    if (!load(data, size, &c))
        return 0;
    MUST(c.listen[0] && c.upstream_count <= CONFIG_UPSTREAMS_MAX);
    config_print(&c, &first);
    json_t *shown = config_json(&c);
    MUST(json_is_object(shown));
    json_decref(shown);
    config_free(&c);
    MUST(load(first.data, first.len, &again));
    config_print(&again, &second);
    config_free(&again);
    MUST(strcmp(first.data, second.data) == 0);
    return 0;
}
