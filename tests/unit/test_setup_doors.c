/* The other doors of `entrepot setup`: listeners with TLS, and the proxy. */
#include "tests/unit/unit.h"

#include "cli/setup/intercept.h"

#include <sys/stat.h>

static void place_file(const char *root, const char *path, const char *content)
{
    _cleanup_free_ char *full = xasprintf("%s%s", root, path);

    for (char *p = strchr(full + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = content ? fopen(full, "we") : NULL;
    assert_true(!content || (f && fputs(content, f) >= 0 && fclose(f) == 0));
}

/* A listener with TLS: https in each engine's file, and the certificate where the engine looks for it. */
static void tls_listeners(void **state UNUSED)
{
    static const struct {
        const char *engine, *path, *content; /* that is there; NULL: nothing */
        const char *certificate;             /* where it is put */
        const char *file, *has;              /* what is written */
        size_t left;
    } cases[] = {
        {"containerd", NULL, NULL, "/etc/containerd/certs.d/entrepot-ca.crt",
         "/etc/containerd/certs.d/ghcr.io/hosts.toml",
         "[host.\"https://h:1\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = "
         "\"/etc/containerd/certs.d/entrepot-ca.crt\"\n",
         0},
        {"docker", NULL, NULL, "/etc/docker/certs.d/h:1/entrepot.crt", "/etc/docker/daemon.json", "[\"https://h:1\"]",
         0},
        {"podman", NULL, NULL, "/etc/containers/certs.d/h:1/entrepot-podman.crt",
         "/etc/containers/registries.conf.d/050-entrepot-podman.conf", "location = \"h:1/ghcr.io\"\n", 0},
        {"crio", NULL, NULL, "/etc/containers/certs.d/h:1/entrepot-crio.crt",
         "/etc/containers/registries.conf.d/050-entrepot-crio.conf", "location = \"h:1/ghcr.io\"\n", 0},
        {"buildkit", NULL, NULL, "/etc/buildkit/entrepot-ca.crt", "/etc/buildkit/buildkitd.toml",
         "[registry.\"h:1\"]\n  ca = [\"/etc/buildkit/entrepot-ca.crt\"]\n", 0},
        {"k3s", NULL, NULL, "/etc/rancher/k3s/entrepot-ca.crt", "/etc/rancher/k3s/registries.yaml",
         "configs:\n  \"h:1\":\n    tls:\n      ca_file: \"/etc/rancher/k3s/entrepot-ca.crt\"\n", 0},
        {"k3s", "/etc/rancher/k3s/registries.yaml", "mirrors: {}", "/etc/rancher/k3s/entrepot-ca.crt",
         "/etc/rancher/k3s/registries.yaml", "\nconfigs:\n", 0},
        {"k3s", "/etc/rancher/k3s/registries.yaml", "configs:\n  a.lan: {tls: {ca_file: /a}}\n",
         "/etc/rancher/k3s/entrepot-ca.crt", "/etc/rancher/k3s/registries.yaml", "a.lan", 1},
        {"k3s", "/etc/rancher/k3s/registries.yaml",
         "configs: {\"h:1\": {tls: {ca_file: /etc/rancher/k3s/entrepot-ca.crt}}}\n", "/etc/rancher/k3s/entrepot-ca.crt",
         "/etc/rancher/k3s/registries.yaml", "https://h:1", 0},
    };
    char *registries[] = {(char *)(uintptr_t) "docker.io", (char *)(uintptr_t) "ghcr.io"};
    struct setup_text certificate = {.exists = true};
    const struct setup_target target = {"h:1", true, &certificate, .registries = registries, .count = 2};

    buf_adds(&certificate.bytes, "CERTIFICATE\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *root = make_folder();
        struct setup_view v = {.root = root};
        struct err err = {0};
        if (cases[i].path)
            place_file(root, cases[i].path, cases[i].content);
        if (!setup_engine_find(cases[i].engine)->plan(&v, &target, &err))
            fail_msg("%s: %s", cases[i].engine, err.msg);
        assert_int_equal(v.left, cases[i].left);
        const struct setup_file *put = setup_view_file(&v, cases[i].certificate, &err);
        assert_true(setup_text_same(&put->want, &certificate));
        const struct setup_file *file = setup_view_file(&v, cases[i].file, &err);
        if (!file->want.exists || !strstr(file->want.bytes.data, cases[i].has) ||
            strstr(file->want.bytes.data, "insecure") || strstr(file->want.bytes.data, "http:") ||
            strstr(file->want.bytes.data, "http ="))
            fail_msg("%s: %s", cases[i].engine, file->want.exists ? file->want.bytes.data : "nothing is written");
        setup_view_free(&v);
        remove_tree(root);
    }
    setup_text_free(&certificate);
}

/* A file that has more than certificates: nothing of that gets into engines' folders. */
static void certificates(void **state UNUSED)
{
    static const char ONE[] = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n";
    static const struct {
        const char *content, *want;
    } cases[] = {
        {ONE, ONE},
        {"Subject: x\n-----BEGIN CERTIFICATE-----\r\nQQ==\r\n-----END CERTIFICATE-----", ONE},
        {"-----BEGIN EC KEY-----\nQQ==\n-----END EC KEY-----\n-----BEGIN CERTIFICATE-----\nQQ==\n-----END "
         "CERTIFICATE-----\nx",
         ONE},
        {"-----BEGIN CERTIFICATE-----\nQQ==\n", NULL},
        {"", NULL},
        {NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *root = make_folder();
        struct setup_text out = {0};
        struct err err = {0};
        if (cases[i].content)
            place_file(root, "/ca", cases[i].content);
        assert_int_equal(setup_read_certificates(root, "/ca", &out, &err), cases[i].want != NULL);
        if (cases[i].want)
            assert_string_equal(out.bytes.data, cases[i].want);
        setup_text_free(&out);
        remove_tree(root);
    }
}

/* What sets an engine's proxy already, wherever it is: ours is set beside it, or the engine is left alone. */
static void proxies(void **state UNUSED)
{
    static const char DROP_IN[] = "/etc/systemd/system/docker.service.d/x.conf",
                      UNIT[] = "/lib/systemd/system/docker.service", CONF[] = "/etc/containers/containers.conf";
    static const struct {
        const char *engine, *path, *content;
        int line;         /* of another's proxy; 0: there is none */
        int left;         /* registries that go round it */
        const char *want; /* what is written; NULL: nothing */
    } cases[] = {
        {"docker", UNIT, "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n", 0, 0, "\"HTTPS_PROXY=http://h:1\""},
        {"docker", UNIT, "[Service]\nExecStart=/usr/bin/dockerd \\\n --https-proxy=http://p:1\n", 2, 0, NULL},
        {"docker", DROP_IN, "Environment=HTTPS_PROXY=http://h:1", 0, 0, NULL},
        {"docker", DROP_IN, "[Service]\r\nEnvironment='A=b c' \"https_proxy=http://p:1\"\r\n", 2, 0, NULL},
        {"docker", DROP_IN, "#Environment=HTTPS_PROXY=http://p:1\n;Environment=HTTPS_PROXY=x\n", 0, 0,
         "\"HTTPS_PROXY=http://h:1\""},
        {"docker", DROP_IN, "Environment=A=b \\\n# HTTPS_PROXY=x\n  B=c \\\n HTTPS_PROXY=http://p:1\n", 1, 0, NULL},
        {"docker", DROP_IN, "Environment=HTTPS_PROXY=http://p:1\nEnvironment=HTTPS_PROXY=http://h:1\n", 1, 0, NULL},
        {"docker", DROP_IN, "Environment=HTTPS_PROXY=http://h:1\nEnvironment=HTTPS_PROXY=\n", 2, 0, NULL},
        {"docker", DROP_IN, "Environment=HTTP_PROXY=http://p:1 NOT_HTTPS_PROXY=x\n", 0, 0,
         "\"HTTPS_PROXY=http://h:1\""},
        {"docker", DROP_IN, "Environment=NO_PROXY=localhost,.docker.io\n", 0, 1, "\"HTTPS_PROXY=http://h:1\""},
        {"docker", DROP_IN, "Environment=\"NO_PROXY=a.lan, ghcr.io\"\n", 0, 1, "\"HTTPS_PROXY=http://h:1\""},
        {"docker", DROP_IN, "Environment=no_proxy=*\n", 0, 2, "\"HTTPS_PROXY=http://h:1\""},
        {"docker", DROP_IN, "Environment=NO_PROXY=hcr.io,io.,x.ghcr.io,10.0.0.0/8\n", 0, 0,
         "\"HTTPS_PROXY=http://h:1\""},
        {"docker", "/etc/systemd/system/service.d/x.conf", "Environment=HTTPS_PROXY=http://p:1\n", 1, 0, NULL},
        {"docker", "/etc/systemd/system.conf", "[Manager]\nDefaultEnvironment=HTTPS_PROXY=http://p:1\n", 2, 0, NULL},
        {"docker", "/etc/docker/daemon.json", "{\n\"proxies\":{\"https-proxy\": \"http://p:1\"}}", 2, 0, NULL},
        {"docker", "/etc/docker/daemon.json", "{\"proxies\":{\"http-proxy\": \"http://p:1\"}}", 0, 0,
         "\"HTTPS_PROXY=http://h:1\""},
        {"containerd", DROP_IN, "Environment=HTTPS_PROXY=http://p:1\n", 0, 0, "\"HTTPS_PROXY=http://h:1\""},
        {"k3s", "/etc/systemd/system/k3s.service.d/x.conf", "Environment=HTTPS_PROXY=http://p:1", 1, 0, NULL},
        {"k3s", "/etc/systemd/system/k3s.service.d/x.conf", "Environment=CONTAINERD_HTTPS_PROXY=http://p:1", 1, 0,
         NULL},
        {"k3s", "/etc/systemd/system/k3s-agent.service", "", 0, 0, "\"CONTAINERD_HTTPS_PROXY=http://h:1\""},
        {"podman", CONF, "[containers]\nhttp_proxy = false\n", 0, 0, "env = [\"HTTPS_PROXY=http://h:1\"]\n"},
        {"podman", CONF, "[engine]\nenv = []\n", 0, 0, "http_proxy = false\n"},
        {"podman", CONF, "[engine]\nenv = [\n'https_proxy=http://p:1']\n", 2, 0, NULL},
        {"podman", CONF, "[engine]\nenv = ['A=b']\n", 0, 0, "http_proxy = false\n"},
        {"podman", CONF, "[engine]\nenv = ['HTTPS_PROXY=http://h:1']\n", 0, 0, "http_proxy = false\n"},
    };
    char *registries[] = {(char *)(uintptr_t) "docker.io", (char *)(uintptr_t) "ghcr.io"};
    const struct setup_target target = {.address = "h:1", .proxy = "http://h:1", .registries = registries, .count = 2};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *root = make_folder();
        struct setup_view v = {.root = root};
        struct err err = {0};
        place_file(root, cases[i].path, cases[i].content);
        bool ok = setup_plan_proxy(setup_engine_find(cases[i].engine), &v, &target, &err);
        _cleanup_free_ char *said = xasprintf("%s, line %d sets another proxy", cases[i].path, cases[i].line);
        if (ok != (cases[i].line == 0) || (!ok && strncmp(err.msg, said, strlen(said)) != 0))
            fail_msg("%s: %s", cases[i].content, ok ? "overlooked" : err.msg);
        assert_int_equal(v.left, cases[i].left);
        const struct setup_file *own = NULL;
        for (size_t k = 0; k < v.count; k++)
            if (setup_is_proxy_file(v.files[k]->path))
                own = v.files[k];
        if ((own != NULL) != (cases[i].want != NULL) || (own && !strstr(own->want.bytes.data, cases[i].want)))
            fail_msg("%s: %s", cases[i].content, own ? own->want.bytes.data : "nothing is written");
        setup_view_free(&v);
        remove_tree(root);
    }
}

/* A unit's EnvironmentFile=, with what its name may have. */
static void environment_files(void **state UNUSED)
{
    static const char *const names[] = {"/etc/default/docker", "-/etc/default/%p", "/etc/default/%N",
                                        "-/etc/default/d*", "\"/etc/default/docker\""};
    const struct setup_target target = {.address = "h:1", .proxy = "http://h:1"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *root = make_folder();
        struct setup_view v = {.root = root};
        struct err err = {0};
        _cleanup_free_ char *unit =
            xasprintf("[Service]\nEnvironmentFile=/etc/absent /etc\nEnvironmentFile=%s\n", names[i]);
        place_file(root, "/usr/lib/systemd/system/docker.service", unit);
        place_file(root, "/etc/default/docker", "# HTTPS_PROXY=x\nHTTPS_PROXY=\"http://p:1\"\n");
        assert_false(setup_plan_proxy(setup_engine_find("docker"), &v, &target, &err));
        assert_non_null(strstr(err.msg, "/etc/default/docker, line 2"));
        setup_view_free(&v);
        remove_tree(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_listeners),
        cmocka_unit_test(certificates),
        cmocka_unit_test(proxies),
        cmocka_unit_test(environment_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
