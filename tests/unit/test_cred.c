/* Identities: where they come from, that they are asked for once, kept, renewed and asked for anew. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "upstream/cred/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct fixture {
    char *dir;
    struct loop *loop;
    struct cred_workers *workers;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    f->dir = make_folder();
    f->loop = loop_new("test", &err);
    f->workers = cred_workers_new(2, &err);
    _cleanup_free_ char *path = xasprintf("%s:%s", f->dir, getenv("PATH"));
    setenv("PATH", path, 1);
    *state = f;
    return f->loop && f->workers && loop_start(f->loop, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    cred_workers_free(f->workers);
    loop_stop(f->loop);
    loop_join(f->loop);
    loop_free(f->loop);
    remove_tree(f->dir);
    free(f);
    return 0;
}

static char *write_file(struct fixture *f, const char *name, const char *text, mode_t mode)
{
    char *path = xasprintf("%s/%s", f->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

/* ---- asking, and waiting for the answer ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int count, failed;
    char username[100], secret[200];
    bool is_identity_token;
    uint64_t number;
    struct err err;
};

static void take(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err)
{
    struct answer *a = arg;

    pthread_mutex_lock(&a->lock);
    a->count++;
    if (err) {
        a->failed++;
        a->err = *err;
    } else {
        snprintf(a->username, sizeof(a->username), "%s", id->username ? id->username : "");
        snprintf(a->secret, sizeof(a->secret), "%s", id->secret ? id->secret : "");
        a->is_identity_token = id->is_identity_token;
        a->number = number;
    }
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
}

struct question {
    struct fixture *f;
    struct cred *c;
    const char *repository;
    int times;
    struct answer *to;
};

static void get(void *arg)
{
    const struct question q = *(struct question *)arg; /* it goes with the last answer */

    for (int i = 0; i < q.times; i++)
        cred_get(q.c, q.f->loop, q.repository, take, q.to);
}

static struct answer ask_many(struct fixture *f, struct cred *c, const char *repository, int times)
{
    struct answer a = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

    loop_post(f->loop, get, &(struct question){f, c, repository, times, &a});
    pthread_mutex_lock(&a.lock);
    while (a.count < times)
        pthread_cond_wait(&a.cond, &a.lock);
    pthread_mutex_unlock(&a.lock);
    return a;
}

static struct answer ask(struct fixture *f, struct cred *c, const char *repository)
{
    return ask_many(f, c, repository, 1);
}

/* A worker has a last look at it after its answer. */
static void forget(struct cred *c)
{
    while (!cred_is_idle(c))
        usleep(100);
    cred_free(c);
}

static int lines_of(struct fixture *f, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);
    FILE *file = fopen(path, "r");
    int n = 0, c;

    while (file && (c = fgetc(file)) != EOF)
        n += c == '\n';
    if (file)
        fclose(file);
    return n;
}

/* ---- config.json ---- */

static void docker_config(void **state)
{
    static const struct {
        const char *json, *host, *repository, *user, *secret;
        bool token;
    } cases[] = {
        /* "dTpw" is u:p */
        {"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"}}}", "docker.io", "library/x", "u", "p",
         false},
        {"{\"auths\":{\"docker.io\":{\"auth\":\"dTpw\"}}}", "docker.io", "library/x", "u", "p", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}}}", "ghcr.io", "o/x", "u", "p", false},
        {"{\"auths\":{\"https://ghcr.io/v2/\":{\"auth\":\"dTpw\"}}}", "ghcr.io", "o/x", "u", "p", false},
        {"{\"auths\":{\"ghcr.io\":{\"username\":\"u\",\"password\":\"p\"}}}", "ghcr.io", "o/x", "u", "p", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\",\"identitytoken\":\"t\"}}}", "ghcr.io", "o/x", "u", "t", true},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}}}", "quay.io", "o/x", "", "", false},
        {"{\"auths\":{\"ghcr.io.evil\":{\"auth\":\"dTpw\"}}}", "ghcr.io", "o/x", "", "", false},
        {"{\"auths\":{\"my.registry:5000\":{\"auth\":\"dTpw\"}}}", "my.registry:5000", "x", "u", "p", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"},\"ghcr.io/o\":{\"auth\":\"djpx\"}}}", "ghcr.io", "o/x", "v", "q",
         false},
        {"{\"auths\":{\"ghcr.io/o\":{\"auth\":\"djpx\"}}}", "ghcr.io", "other/x", "", "", false},
        {"{\"auths\":{\"ghcr.io\":{}},\"credsStore\":\"one\"}", "ghcr.io", "o/x", "ghcr.io", "from one", false},
        {"{\"credHelpers\":{\"ghcr.io\":\"one\"}}", "ghcr.io", "o/x", "ghcr.io", "from one", false},
        {"{\"credsStore\":\"one\"}", "docker.io", "library/x", "https://index.docker.io/v1/", "from one", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"!!\"}}}", "ghcr.io", "o/x", "", "", false},
        {"{\"auths\":{\"registry-1\":{\"auth\":\"dTpw\"}}}", "docker.io", "library/x", "", "", false},
        {"{\"auths\":{\"Registry-1.docker.io\":{\"auth\":\"dTpw\"}}}", "docker.io", "library/x", "u", "p", false},
        /* half a login is none */
        {"{\"auths\":{\"ghcr.io\":{\"username\":\"u\"}}}", "ghcr.io", "o/x", "", "", false},
        {"{\"auths\":{\"ghcr.io\":{\"username\":\"u\"}},\"credsStore\":\"one\"}", "ghcr.io", "o/x", "ghcr.io",
         "from one", false},
        {"{}", "ghcr.io", "o/x", "", "", false},
        /* the registry's own helper comes before an old login, the helper for all after it */
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}},\"credHelpers\":{\"ghcr.io\":\"one\"}}", "ghcr.io", "o/x",
         "ghcr.io", "from one", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}},\"credHelpers\":{\"quay.io\":\"one\"}}", "ghcr.io", "o/x", "u",
         "p", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}},\"credsStore\":\"one\"}", "ghcr.io", "o/x", "u", "p", false},
        /* no helper at all */
        {"{\"auths\":{},\"credsStore\":\"\"}", "ghcr.io", "o/x", "", "", false},
        {"{\"credHelpers\":{\"ghcr.io\":\"\"},\"credsStore\":\"one\"}", "ghcr.io", "o/x", "", "", false},
        {"{\"auths\":{\"ghcr.io\":{\"auth\":\"dTpw\"}},\"credHelpers\":{\"ghcr.io\":\"\"}}", "ghcr.io", "o/x", "u", "p",
         false},
        /* a namespace is no path of the API; a URL's path does not matter */
        {"{\"auths\":{\"quay.io/vendor\":{\"auth\":\"dTpw\"}}}", "quay.io", "other/x", "", "", false},
        {"{\"auths\":{\"quay.io/vendor\":{\"auth\":\"dTpw\"}}}", "quay.io", "vendor/x", "u", "p", false},
        {"{\"auths\":{\"quay.io/v2/\":{\"auth\":\"dTpw\"}}}", "quay.io", "other/x", "u", "p", false},
        {"{\"auths\":{\"https://quay.io/repository\":{\"auth\":\"dTpw\"}}}", "quay.io", "other/x", "u", "p", false},
        {"{\"auths\":{\"index.docker.io/org\":{\"auth\":\"dTpw\"}}}", "docker.io", "library/x", "", "", false},
        /* the login, not what docker login leaves beside it, in whatever order */
        {"{\"auths\":{\"https://index.docker.io/v1/access-token\":{\"auth\":\"djpx\"},"
         "\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"}}}",
         "docker.io", "library/x", "u", "p", false},
    };
    struct fixture *f = *state;

    free(write_file(f, "docker-credential-one",
                    "#!/bin/sh\nread -r s || true\nprintf '{\"Username\":\"%s\",\"Secret\":\"from one\"}' \"$s\"\n",
                    0755));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cred_options o = {.docker_config = write_file(f, "config.json", cases[i].json, 0600)};
        struct cred *c = cred_new(&o, cases[i].host, f->workers);
        struct answer a = ask(f, c, cases[i].repository);
        if (a.failed || strcmp(a.username, cases[i].user) != 0 || strcmp(a.secret, cases[i].secret) != 0 ||
            a.is_identity_token != cases[i].token)
            fail_msg("case %zu: \"%s\" \"%s\" %s", i, a.username, a.secret, a.err.msg);
        forget(c);
        free(o.docker_config);
    }
}

/* Whatever is wrong with it: what a file of secrets, or a helper, says is in no message. */
static void secrets_are_not_shown(void **state)
{
    static const char *const files[] = {
        "open-sesame",
        "open-sesame:{}",
        "{open-sesame",
        "{\"auths\": open-sesame}",
        "{\"auths\":{\"ghcr.io\":{\"auth\":\"open-sesame",
        "[\"open-sesame\"]",
        "\"open-sesame\"",
        "{\"credsStore\":\"/open-sesame\"}",
        "{\"credsStore\":\"open-sesame !\"}",
        "{\"credHelpers\":{\"ghcr.io\":\"a/open-sesame\"}}",
        "{\"credsStore\":\"says\"}",
        "{\"client_email\":\"open-sesame\"}",
        "{\"client_email\":\"a\",\"private_key\":\"open-sesame\"}",
        "{\"client_email\":\"a\",\"private_key\":\"open-sesame\",\"token_uri\":\"open-sesame\"}",
    };
    struct fixture *f = *state;
    int failed = 0;

    free(write_file(f, "docker-credential-says", "#!/bin/sh\necho '{\"Secret\": open-sesame}'\n", 0755));
    _cleanup_free_ char *provider = write_file(f, "provider", "#!/bin/sh\necho '{\"auth\": open-sesame}'\n", 0755);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        _cleanup_free_ char *file = write_file(f, "secrets", files[i], 0600);
        struct cred_options options[] = {{.docker_config = file},
                                         {.provider = "gcp", .key_file = file},
                                         {.provider = "kubelet", .command = provider},
                                         {.helper = "says"}};
        for (size_t k = 0; k < ARRAY_LEN(options); k++) {
            struct cred *c = cred_new(&options[k], "ghcr.io", f->workers);
            struct answer a = ask(f, c, "o/x");
            if (a.failed && (!a.err.msg[0] || strstr(a.err.msg, "sesame")))
                fail_msg("file %zu, option %zu: %s", i, k, a.err.msg);
            failed += a.failed;
            forget(c);
        }
    }
    assert_true(failed > (int)ARRAY_LEN(files) * 3);
}

/* ---- helpers ---- */

static void one_request_for_many(void **state)
{
    struct fixture *f = *state;
    struct cred_options o = {.helper = "counting"};
    _cleanup_free_ char *script =
        xasprintf("#!/bin/sh\necho x >>%s/asked\nsleep 0.2\nprintf '{\"Username\":\"u\",\"Secret\":\"p\"}'\n", f->dir);

    free(write_file(f, "docker-credential-counting", script, 0755));
    struct cred *c = cred_new(&o, "ghcr.io", f->workers);
    struct answer a = ask_many(f, c, "o/x", 200);
    assert_int_equal(a.failed, 0);
    assert_string_equal(a.secret, "p");
    ask(f, c, "o/another");
    assert_int_equal(lines_of(f, "asked"), 1);
    forget(c);
}

static void a_failure_is_remembered(void **state)
{
    struct fixture *f = *state;
    struct cred_options o = {.helper = "failing"};
    _cleanup_free_ char *script = xasprintf("#!/bin/sh\necho x >>%s/failed\necho a secret >&2\nexit 1\n", f->dir);

    free(write_file(f, "docker-credential-failing", script, 0755));
    struct cred *c = cred_new(&o, "ghcr.io", f->workers);
    for (int i = 0; i < 20; i++) {
        struct answer a = ask(f, c, "o/x");
        assert_int_equal(a.failed, 1);
        assert_non_null(strstr(a.err.msg, "ended with status 1"));
        assert_null(strstr(a.err.msg, "a secret"));
    }
    assert_int_equal(lines_of(f, "failed"), 1);
    forget(c);
}

static void helpers_that_misbehave(void **state)
{
    static const struct {
        const char *name, *script, *message; /* NULL: nobody, and no failure */
    } cases[] = {
        {"none", "#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n", NULL},
        {"text", "#!/bin/sh\necho hello\n", "no Username and Secret"},
        {"flood", "#!/bin/sh\nyes | head -c 3000000\n", "more than"},
        {"crash", "#!/bin/sh\nkill -9 $$\n", "status 137"},
        {"deaf", "#!/bin/sh\nexec <&-\nprintf '{\"Username\":\"u\",\"Secret\":\"p\"}'\n", NULL},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *program = xasprintf("docker-credential-%s", cases[i].name);
        struct cred_options o = {.helper = (char *)cases[i].name};
        free(write_file(f, program, cases[i].script, 0755));
        struct cred *c = cred_new(&o, "ghcr.io", f->workers);
        struct answer a = ask(f, c, "o/x");
        if (cases[i].message ? !a.failed || !strstr(a.err.msg, cases[i].message) : a.failed)
            fail_msg("%s: %d %s", cases[i].name, a.failed, a.err.msg);
        forget(c);
    }
    struct cred_options o = {.helper = "not-there"};
    struct cred *c = cred_new(&o, "ghcr.io", f->workers);
    assert_int_equal(ask(f, c, "o/x").failed, 1);
    forget(c);
}

static void renewed_before_it_ends(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *script =
        xasprintf("#!/bin/sh\ncat >/dev/null\nsleep 0.3\necho x >>%s/renewed\ncat "
                  "<<'X'\n{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":"
                  "\"credentialprovider.kubelet.k8s.io/"
                  "v1\",\"cacheKeyType\":\"Global\",\"cacheDuration\":\"3s\",\"auth\":{\"ghcr.io\":"
                  "{\"username\":\"u\",\"password\":\"line 1\\nline 2\"}}}\nX\n",
                  f->dir);
    struct cred_options o = {.provider = "kubelet", .command = write_file(f, "renewing", script, 0755)};
    struct cred *c = cred_new(&o, "ghcr.io", f->workers);

    assert_string_equal(ask(f, c, "o/x").secret, "line 1\nline 2");
    usleep(1400000);
    ask(f, c, "o/y");
    assert_int_equal(lines_of(f, "renewed"), 1);
    usleep(1100000);
    ask(f, c, "o/x"); /* in the last fifth of its life: served, and renewed behind our back */
    assert_int_equal(lines_of(f, "renewed"), 1);
    for (int i = 0; i < 500 && lines_of(f, "renewed") < 2; i++)
        usleep(10000);
    assert_int_equal(lines_of(f, "renewed"), 2);
    usleep(300000); /* the first one has ended by now */
    ask(f, c, "o/x");
    assert_int_equal(lines_of(f, "renewed"), 2);
    forget(c);
    free(o.command);
}

static void a_changed_secret(void **state)
{
    struct fixture *f = *state;
    struct cred_options o = {.username = "u", .password_file = write_file(f, "password", "old\n", 0600)};
    struct cred *c = cred_new(&o, "ghcr.io", f->workers);
    struct answer before = ask(f, c, "o/x");

    assert_string_equal(before.secret, "old");
    /* refused, and it has not changed: the same number says that there is nothing new to try */
    assert_true(cred_refused(c, "o/x", before.number, clock_mono_ms() + 1));
    assert_int_equal(ask(f, c, "o/x").number, before.number);
    free(write_file(f, "password", "new\n", 0600));
    assert_true(cred_refused(c, "o/x", before.number, clock_mono_ms() + 1));
    assert_true(cred_refused(c, "o/x", before.number, clock_mono_ms() + 1)); /* to two requests at once */
    struct answer after = ask(f, c, "o/x");
    assert_string_equal(after.secret, "new");
    assert_int_not_equal(after.number, before.number);
    assert_true(cred_refused(c, "o/x", before.number, 0)); /* somebody else had found out already */
    forget(c);
    free(o.password_file);
}

/* ---- kubelet ---- */

static void kubelet(void **state)
{
    static const struct {
        const char *auth, *host, *repository, *user;
    } cases[] = {
        {"{\"*.pkg.dev\":{\"username\":\"a\",\"password\":\"p\"}}", "eu.pkg.dev", "o/x", "a"},
        {"{\"*.pkg.dev\":{\"username\":\"a\",\"password\":\"p\"}}", "pkg.dev", "o/x", ""},
        {"{\"*.pkg.dev\":{\"username\":\"a\",\"password\":\"p\"}}", "a.b.pkg.dev", "o/x", ""},
        {"{\"ghcr.io/o\":{\"username\":\"a\",\"password\":\"p\"}}", "ghcr.io", "o/x", "a"},
        {"{\"ghcr.io/o\":{\"username\":\"a\",\"password\":\"p\"}}", "ghcr.io", "other/x", "a"}, /* as kubelet has it */
        {"{\"ghcr.io/o/\":{\"username\":\"a\",\"password\":\"p\"}}", "ghcr.io", "other/x", ""},
        {"{\"ghcr.io\":{\"username\":\"a\",\"password\":\"p\"},\"ghcr.io/o\":{\"username\":\"b\",\"password\":\"p\"}}",
         "ghcr.io", "o/x", "b"},
        {"{\"r.io:5000\":{\"username\":\"a\",\"password\":\"p\"}}", "r.io", "x", ""},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *script = xasprintf(
            "#!/bin/sh\ncat >/dev/null\ncat <<'X'\n{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":"
            "\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Image\",\"cacheDuration\":\"1h30m0s\","
            "\"auth\":%s}\nX\n",
            cases[i].auth);
        struct cred_options o = {.provider = "kubelet", .command = write_file(f, "provider", script, 0755)};
        struct cred *c = cred_new(&o, cases[i].host, f->workers);
        struct answer a = ask(f, c, cases[i].repository);
        if (a.failed || strcmp(a.username, cases[i].user) != 0)
            fail_msg("case %zu: \"%s\" %s", i, a.username, a.err.msg);
        forget(c);
        free(o.command);
    }
}

/* ---- Google ---- */

/* In a child without a terminal, where OpenSSL would read a passphrase from stdin: 0 if nobody is asked for one. */
static int use_locked_key(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    void *state;
    int ends[2];

    setsid();
    if (pipe2(ends, O_CLOEXEC) != 0 || dup2(ends[0], STDIN_FILENO) < 0 || setup(&state) != 0 ||
        !PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "locked", 6, NULL, NULL))
        return 2;
    size_t len = (size_t)BIO_get_mem_data(bio, &pem);
    json_t *doc = json_pack("{s:s, s:s%}", "client_email", "a@b.test", "private_key", pem, len);
    _cleanup_free_ char *text = json_dumps(doc, 0), *file = write_file(state, "key.json", text, 0600);
    struct cred *c = cred_new(&(struct cred_options){.provider = "gcp", .key_file = file}, "eu.pkg.dev",
                              ((struct fixture *)state)->workers);
    struct answer a = ask(state, c, "o/x");
    bool ok = a.failed == 1 && strstr(a.err.msg, "cannot be used to sign");
    forget(c);
    json_decref(doc);
    EVP_PKEY_free(key);
    BIO_free(bio);
    teardown(&state);
    return ok ? 0 : 1;
}

static void a_locked_key(void **state UNUSED)
{
    int status = -1;
    pid_t pid = fork(), ended = 0;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(use_locked_key());
    for (int i = 0; i < 1000 && (ended = waitpid(pid, &status, WNOHANG)) == 0; i++)
        usleep(10000);
    if (ended == 0) { /* it waits for a passphrase; of signals OpenSSL makes nothing then */
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(docker_config, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(one_request_for_many, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(helpers_that_misbehave, setup, teardown),
        cmocka_unit_test_setup_teardown(renewed_before_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_secret, setup, teardown),
        cmocka_unit_test_setup_teardown(kubelet, setup, teardown),
        cmocka_unit_test(a_locked_key),
    };

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
