/* Interception in the configuration, and the nets that it has there. */
#include "tests/unit/load_config.h"

#include <arpa/inet.h>
#include <sys/un.h>

static void nets(void **state UNUSED)
{
    static const struct {
        const char *net, *shown, *has, *not ;
    } cases[] = {
        {"127.0.0.0/8", "127.0.0.0/8", "127.255.0.1", "128.0.0.1"},
        {"10.1.2.3/8", "10.0.0.0/8", "10.9.9.9", "11.0.0.0"},
        {"10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.2"},
        {"0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"},
        {"192.168.0.128/25", "192.168.0.128/25", "192.168.0.255", "192.168.0.127"},
        {"::1", "::1", "::1", "::2"},
        {"fd00::/8", "fd00::/8", "fdff::1", "fe80::1"},
        {"fd00::ffff/121", "fd00::ff80/121", "fd00::ffff", "fd00::ff7f"},
        {"::/0", "::/0", "fe80::1", "127.0.0.1"},
    };
    static const char *const nonsense[] = {"",
                                           "/8",
                                           "10.0.0.0/",
                                           "10.0.0.0/33",
                                           "10.0.0.0/-1",
                                           "::/129",
                                           "10.1",
                                           "10.0.0.0/8x",
                                           "localhost/8",
                                           "[::1]",
                                           "10.0.0.0 /8",
                                           "::1%lo",
                                           "127.0.0.1:80",
                                           "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"};
    char shown[CIDR_TEXT];
    struct cidr net;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(cidr_parse(cases[i].net, &net));
        assert_string_equal(cidr_format(&net, shown), cases[i].shown);
        const struct ip has = ip_parse(cases[i].has), not = ip_parse(cases[i].not ), none = {0};
        if (!cidr_has(&net, &has) || cidr_has(&net, &not ) || cidr_has(&net, &none))
            fail_msg("%s", cases[i].net);
    }
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
        if (cidr_parse(nonsense[i], &net))
            fail_msg("%s", nonsense[i]);
}

/* Each names file, line and key. */
static void faults(void **state UNUSED)
{
    static const char *const cases[][3] = {
        {"intercept: {adress: \"127.0.0.1:1\"}\n", "line 1", "adress: unknown"},
        {"intercept:\n  address: localhost.example:1\n", "line 2", "intercept.address: \"localhost.example:1\" is not"},
        {"intercept:\n  address: unix:/x\n", "line 2", "cannot be a unix socket"},
        {"intercept:\n  address: 127.0.0.1:5000\n", "line 2", "listed twice"}, /* the default listener has it */
        {"listen:\n- address: 127.0.0.1:7\nintercept:\n  address: 127.0.0.1:7\n", "line 4", "listed twice"},
        {"intercept: {address: \"127.0.0.1:7\"}\nmetrics:\n  address: 127.0.0.1:7\n", "line 3", "listed twice"},
        {"intercept:\n  ca: {cert: /a}\n", "line 2", "intercept.ca: there is no key"},
        {"intercept:\n  ca:\n    key: /a\n", "line 2", "intercept.ca: there is no cert"},
        {"intercept:\n  ca:\n    cert: a\n    key: /b\n", "line 3", "\"a\" is not the full path"},
        {"intercept:\n  ca:\n    cert: /a\n    key: /b/\n", "line 4", "\"/b/\" is not the full path"},
        {"intercept:\n  ca:\n    cert: /a\n    key: /a\n", "line 4", "is the same file"},
        {"intercept:\n  hosts:\n  - ghcr.io\n  - '*'\n", "line 4", "hosts[1]: \"*\" is neither"},
        {"intercept:\n  hosts: ['*.']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['registry*']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['*ghcr.io']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['ghcr.*']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['10.0.0.1']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['[::1]']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['ghcr.io:443']\n", "line 2", "is neither"},
        {"intercept:\n  hosts: ['']\n", "line 2", "intercept.hosts: is empty"},
        {"intercept:\n  hosts: ghcr.io\n", "line 2", "intercept.hosts: a list"},
        {"intercept:\n  hosts: ['ghcr.io,DNS:evil.example']\n", "line 2", "is neither"},
        {"intercept:\n  tunnel: some\n", "line 2", "intercept.tunnel: \"some\" is none of any, none"},
        {"intercept:\n  allow:\n  - 10.0.0.0/8\n  - 10.0.0.0/33\n", "line 4", "allow[1]: \"10.0.0.0/33\" is neither"},
        {"listen:\n- address: 127.0.0.1:1\n  intercept: perhaps\n", "line 3", "listen.intercept: "},
        {"listen:\n- address: 127.0.0.1:1\n  intercept: true\n  upstream: ghcr.io\n", "line 3", "without upstream"},
        {"listen:\n- address: 127.0.0.1:1\n  intercept: true\n  tls: {cert: /a, key: /b}\n", "line 4", "tls.cert"},
        {"listen:\n- address: unix:/x\n  intercept: true\n", "line 3", "a unix socket has no TLS"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct err err;
        if (load(cases[i][0], &c, &err))
            fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(err.msg, "config.yaml") || !strstr(err.msg, cases[i][1]) || !strstr(err.msg, cases[i][2]))
            fail_msg("%s: %s", cases[i][0], err.msg);
    }
}

static void defaults_of_interception(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("cache: {path: /srv/c}\n", &c, &err));
    assert_false(config_intercepts(&c));
    _cleanup_buf_ struct buf shown = {0};
    config_print(&c, &shown);
    assert_null(strstr(shown.data, "intercept"));
    config_free(&c);

    assert_true(load("cache: {path: /srv/c}\nintercept: {address: '127.0.0.1:3128'}\n", &c, &err));
    assert_true(config_intercepts(&c) && c.intercept.tunnel);
    assert_string_equal(c.intercept.cert, "/srv/c/ca.crt");
    assert_string_equal(c.intercept.key, "/srv/c/ca.key");
    assert_int_equal(c.intercept.allow_count, 2);
    config_free(&c);
}

static void listed(const char *text, const char *all)
{
    _cleanup_buf_ struct buf list = {0};
    struct config c;
    struct err err;

    if (!load(text, &c, &err))
        fail_msg("%s", err.msg);
    char **hosts = config_intercept_hosts(&c);
    for (char **h = hosts; *h; h++)
        buf_addf(&list, "%s ", *h);
    const char *found = list.data ? list.data : "";
    if (!strstr(found, all))
        fail_msg("\"%s\" has no \"%s\"", found, all);
    config_free_hosts(hosts);
    config_free(&c);
}

/* What no certificate can be for is left out of the upstreams' names; a port is none of a certificate's business. */
static void hosts_of_interception(void **state UNUSED)
{
    listed("intercept: {hosts: [Docker.IO, '*.Example.com', docker.io]}\n", "docker.io *.example.com ");
    listed("upstreams:\n- name: Nexus.test:8083\n- name: nexus.test\n- name: 10.0.0.1\n- name: '*'\n- name: 'a*'\n",
           "nexus.test docker.io ghcr.io quay.io registry.k8s.io gcr.io mcr.microsoft.com public.ecr.aws "
           "registry.gitlab.com *.pkg.dev *.dkr.ecr.*.amazonaws.com *.azurecr.io ");
}

static bool may(const struct config *c, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return config_may_intercept(c, (const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return config_may_intercept(c, (const struct sockaddr *)&v6);
}

static void clients_of_the_proxy(void **state UNUSED)
{
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct config c;
    struct err err;

    assert_true(load("{}\n", &c, &err));
    assert_true(may(&c, "127.0.0.1") && may(&c, "::1") && may(&c, "::ffff:127.0.0.1"));
    assert_true(config_may_intercept(&c, (const struct sockaddr *)&local));
    assert_false(may(&c, "10.0.0.1") || may(&c, "::ffff:10.0.0.1") || may(&c, "fe80::1") || may(&c, "::2"));
    config_free(&c);

    assert_true(load("intercept: {allow: [10.0.0.0/8, 'fd00::/8']}\n", &c, &err));
    assert_true(may(&c, "10.255.0.1") && may(&c, "::ffff:10.1.1.1") && may(&c, "fd00::1"));
    assert_false(may(&c, "127.0.0.1") || may(&c, "::1") || may(&c, "fe80::1"));
    config_free(&c);
}

static void it_is_shown_and_read_again(void **state UNUSED)
{
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct config a, b;
    struct err err;

    if (!load("listen:\n- address: 127.0.0.1:5000\n- {address: '127.0.0.1:443', intercept: true}\n"
              "intercept:\n  address: '[::1]:3128'\n  ca: {cert: /etc/a.crt, key: /etc/a.key}\n"
              "  hosts: [ghcr.io, '*.example.com']\n  tunnel: none\n  allow: [10.1.0.0/8, '::1']\n",
              &a, &err))
        fail_msg("%s", err.msg);
    config_print(&a, &first);
    assert_non_null(strstr(first.data, "  tunnel: none\n"));
    assert_non_null(strstr(first.data, "  - 10.0.0.0/8\n"));
    assert_non_null(strstr(first.data, "    intercept: true\n"));
    if (!load(first.data, &b, &err))
        fail_msg("%s", err.msg);
    config_print(&b, &second);
    assert_string_equal(strchr(first.data, '\n'), strchr(second.data, '\n')); /* behind the file's name */
    config_free(&a);
    config_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nets),
        cmocka_unit_test(faults),
        cmocka_unit_test(defaults_of_interception),
        cmocka_unit_test(hosts_of_interception),
        cmocka_unit_test(clients_of_the_proxy),
        cmocka_unit_test(it_is_shown_and_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
