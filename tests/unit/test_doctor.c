/* What `entrepot doctor` concludes: whose clock is wrong; which engine asks. tests/e2e/doctor.sh has whole nodes. */
#include "tests/unit/unit.h"

#include "cli/doctor/registries.h"
#include "proxy/seen/engines.h"

#include <string.h>

/* "clock LEVEL" or "REGISTRY LEVEL" of each, in their order. */
static void clocks(void **state UNUSED)
{
    static const struct {
        int64_t ahead_s[4];
        size_t count;
        const char *findings;
    } cases[] = {
        {{0}, 0, ""},
        {{0}, 1, "clock ok;"},
        {{29, -2}, 2, "clock ok;"},
        {{90}, 1, "clock warning;"},
        {{-301}, 1, "clock broken;"},
        {{7200, 7201}, 2, "clock broken;"},
        {{1, 7200}, 2, "clock ok;b warning;"},
        {{-7200, 2}, 2, "clock ok;a warning;"},
        {{7200, 1, 7201}, 3, "clock broken;"},
        {{0, 86400, 1}, 3, "clock ok;b warning;"},
        {{-86400, 86400, 1, 2}, 4, "clock ok;a warning;b warning;"},
    };
    static const char *const names[] = {"a", "b", "c", "d"};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *findings = json_array(), *f;
        struct clock_sample samples[4];
        struct buf seen = {0};
        size_t k;
        for (k = 0; k < cases[i].count; k++)
            samples[k] = (struct clock_sample){names[k], cases[i].ahead_s[k]};
        doctor_look_at_clock(samples, cases[i].count, findings);
        buf_adds(&seen, "");
        json_array_foreach(findings, k, f) {
            const char *subject = json_string_value(json_object_get(f, "subject"));
            buf_addf(&seen, "%s %s;", subject ? subject : "clock", json_string_value(json_object_get(f, "level")));
        }
        assert_string_equal(seen.data, cases[i].findings);
        buf_free(&seen);
        json_decref(findings);
    }
}

static void agents(void **state UNUSED)
{
    static const struct {
        const char *agent;
        enum seen_engine engine;
    } cases[] = {
        {"containerd/1.6.20~ds1", SEEN_CONTAINERD},
        {"containerd/v1.7.22-k3s1", SEEN_CONTAINERD},
        {"docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1 os/linux arch/amd64 "
         "UpstreamClient(Docker-Client/20.10.24 \\(linux\\))",
         SEEN_DOCKER},
        {"containers/5.23.1 (github.com/containers/image)", SEEN_PODMAN},
        {"libpod/4.3.1", SEEN_PODMAN},
        {"Buildah/1.28.2", SEEN_PODMAN},
        {"skopeo/1.9.3", SEEN_PODMAN},
        {"cri-o/1.28.0 go/go1.20 os/linux arch/amd64", SEEN_CRIO},
        {"buildkit/v0.11", SEEN_BUILDKIT},
        {"curl/7.88.1", SEEN_OTHER},
        {"containerd", SEEN_OTHER},
        {"", SEEN_OTHER},
        {NULL, SEEN_OTHER},
    };
    struct engines_seen seen = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(seen_engine_of(cases[i].agent), cases[i].engine);
    seen_note(&seen, cases[0].agent);
    json_t *j = seen_json(&seen);
    assert_int_equal(json_object_size(j), 1);
    assert_non_null(json_object_get(json_object_get(j, "containerd"), "last_request_seconds"));
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks),
        cmocka_unit_test(agents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
