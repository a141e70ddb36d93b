/* Docker Engine: "registry-mirrors" of daemon.json, for Docker Hub alone. The key is put into the text, which otherwise
 * stays as it is; jansson then says whether the result is what it should be. */
#include "cli/setup/engines.h"
#include "cli/setup/intercept.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static const char DAEMON_JSON[] = "/etc/docker/daemon.json", MIRRORS[] = "registry-mirrors";

/* ---- the text, which jansson has found to be JSON ---- */

static size_t json_skip_blanks(const char *p, size_t at)
{
    return at + strspn(p + at, " \t\r\n");
}

static size_t json_skip_string(const char *p, size_t at)
{
    for (at++; p[at] && p[at] != '"'; at++)
        if (p[at] == '\\' && p[at + 1])
            at++;
    return at + (p[at] == '"');
}

static size_t json_skip_value(const char *p, size_t at)
{
    int depth = 0;

    do {
        if (p[at] == '"') {
            at = json_skip_string(p, at);
            continue;
        }
        depth += (p[at] == '{' || p[at] == '[') - (p[at] == '}' || p[at] == ']');
        at++;
    } while (p[at] && (depth > 0 || !strchr(",}] \t\r\n", p[at])));
    return at;
}

/* Where the value of a member begins; 0: it is not there. */
static size_t json_find_member(const char *p, const char *name)
{
    size_t at = json_skip_blanks(p, 0) + 1, len = strlen(name);

    for (;;) {
        at = json_skip_blanks(p, at);
        if (p[at] != '"')
            return 0;
        size_t key = at;
        at = json_skip_blanks(p, json_skip_string(p, at));
        at = json_skip_blanks(p, at + 1); /* the colon */
        if (strncmp(p + key + 1, name, len) == 0 && p[key + 1 + len] == '"')
            return at;
        at = json_skip_blanks(p, json_skip_value(p, at));
        if (p[at] != ',')
            return 0;
        at++;
    }
}

/* Puts `item` first into the list or the object that begins at `at`. */
static void json_put_first(struct buf *out, const struct setup_text *text, size_t at, const char *item)
{
    const char *p = text->bytes.data;
    size_t next = json_skip_blanks(p, at + 1);
    bool empty = p[next] == ']' || p[next] == '}';
    _cleanup_free_ char *between = xstrndup(p + at + 1, empty ? 0 : next - at - 1);
    _cleanup_free_ char *insert = empty ? xstrdup(item) : xasprintf("%s%s,%s", between, item, *between ? "" : " ");

    setup_splice(out, &text->bytes, at + 1, 0, insert);
}

/* ---- flags: dockerd does not start if a key of daemon.json is given as a flag, too ---- */

struct flag_search {
    const char *url;
    char *file;
    bool led;
};

static bool flag_search_file(void *arg, struct setup_view *v, const char *path, struct err *err)
{
    const struct setup_text *text = setup_view_read(v, path, err);
    struct flag_search *s = arg;
    const char *p = text && text->bytes.len > 0 ? text->bytes.data : "";

    while (*p) {
        size_t len = strcspn(p, "\n");
        _cleanup_free_ char *line = xstrndup(p, len);
        const char *at = line[strspn(line, " \t")] == '#' ? NULL : strstr(line, "--registry-mirror");
        if (at && !s->file) {
            s->file = xstrdup(path);
            s->led = strstr(at, s->url) != NULL;
        }
        p += len + (p[len] == '\n');
    }
    return text != NULL;
}

static bool find_flag(struct setup_view *v, struct flag_search *s, struct err *err)
{
    static const char *const files[] = {"/etc/default/docker", "/etc/sysconfig/docker",
                                        "/etc/systemd/system/docker.service"};

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (!flag_search_file(s, v, files[i], err))
            return false;
    return setup_view_list(v, "/etc/systemd/system/docker.service.d", "*.conf", flag_search_file, s, err);
}

/* ---- daemon.json ---- */

static bool is_mirror(const json_t *j, const char *url)
{
    const char *text = json_string_value(j);
    size_t len = strlen(url);

    return text && strncmp(text, url, len) == 0 && (text[len] == '\0' || strcmp(text + len, "/") == 0);
}

/* Go's encoding/json reads keys in any case. */
static bool has_other_case(json_t *doc)
{
    const char *key;
    json_t *value;

    json_object_foreach(doc, key, value) {
        if (strcasecmp(key, MIRRORS) == 0 && strcmp(key, MIRRORS) != 0)
            return true;
    }
    return false;
}

static void docker_edit(struct buf *out, const struct setup_text *text, const json_t *mirrors, const char *url)
{
    _cleanup_free_ char *item = xasprintf("\"%s\"", url);
    _cleanup_free_ char *member = xasprintf("\"%s\": [%s]", MIRRORS, item);
    const char *nl = setup_line_end(text);
    size_t at, next;

    if (!text->exists || text->bytes.len == 0) {
        buf_addf(out, "{\n  %s\n}\n", member);
    } else if (mirrors) {
        json_put_first(out, text, json_find_member(text->bytes.data, MIRRORS), item);
    } else {
        at = json_skip_blanks(text->bytes.data, 0);
        next = json_skip_blanks(text->bytes.data, at + 1);
        if (text->bytes.data[next] == '}') {
            _cleanup_free_ char *whole = xasprintf("{%s  %s%s}", nl, member, nl);
            setup_splice(out, &text->bytes, at, next + 1 - at, whole);
        } else {
            json_put_first(out, text, at, member);
        }
    }
}

/* Whether the text is what it was before, and the mirror. */
static bool docker_verify(const struct buf *out, const json_t *before, const char *url)
{
    json_t *want = before ? json_deep_copy(before) : json_object(), *got = json_loadb(out->data, out->len, 0, NULL);
    json_t *list = json_object_get(want, MIRRORS);

    if (!list) {
        list = json_array();
        json_object_set_new(want, MIRRORS, list);
    }
    json_array_insert_new(list, 0, json_string(url));
    bool same = json_equal(want, got);
    json_decref(want);
    json_decref(got);
    return same;
}

static bool docker_merge(struct setup_view *v, const struct setup_text *text, json_t *doc, const char *url,
                         struct err *err)
{
    const json_t *mirrors = json_object_get(doc, MIRRORS), *one;
    _cleanup_buf_ struct buf out = {0};
    size_t i;

    if (mirrors && !json_is_array(mirrors))
        return err_set(err, ERR_INVALID, "%s: %s is not a list", DAEMON_JSON, MIRRORS);
    if (has_other_case(doc))
        return err_set(err, ERR_UNSUPPORTED, "%s: write %s in lower case first", DAEMON_JSON, MIRRORS);
    json_array_foreach(mirrors, i, one) {
        if (is_mirror(one, url) && i > 0)
            setup_leave(v, "%s: %s has another mirror before %s, which is left as it is", DAEMON_JSON, MIRRORS, url);
        if (is_mirror(one, url))
            return true;
    }
    docker_edit(&out, text, mirrors, url);
    if (!docker_verify(&out, doc, url))
        return err_set(err, ERR_UNSUPPORTED, "%s is not understood: add \"%s\": [\"%s\"] by hand", DAEMON_JSON, MIRRORS,
                       url);
    return setup_view_write(v, DAEMON_JSON, &out, 0644, err);
}

static bool docker_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    _cleanup_free_ char *url = setup_url_of(t);
    _cleanup_free_ char *certificate = xasprintf("/etc/docker/certs.d/%s/entrepot.crt", t->address);
    struct flag_search flag = {url, NULL, false};
    json_error_t why;

    if (!setup_target_has(t, "docker.io"))
        return err_set(err, ERR_UNSUPPORTED,
                       "Docker Engine has mirrors for docker.io only: pull %s/%s/NAME for other registries", t->address,
                       t->registries[0]);
    if (!find_flag(v, &flag, err))
        return false;
    _cleanup_free_ char *file = flag.file;
    if (file)
        return flag.led ? setup_plan_certificate(v, t, certificate, err)
                        : err_set(err, ERR_BUSY,
                                  "%s gives dockerd --registry-mirror, with which it refuses %s in %s: put %s into the "
                                  "flag by hand; nothing was changed",
                                  file, MIRRORS, DAEMON_JSON, url);
    const struct setup_text *text = setup_view_read(v, DAEMON_JSON, err);
    if (!text)
        return false;
    bool empty = !text->exists || text->bytes.len == 0;
    json_t *doc = empty ? NULL : json_loadb(text->bytes.data, text->bytes.len, JSON_REJECT_DUPLICATES, &why);
    bool ok = empty || json_is_object(doc)
                  ? docker_merge(v, text, doc, url, err)
                  : err_set(err, ERR_INVALID, "%s, line %d: %s; dockerd does not read it either", DAEMON_JSON,
                            doc ? 1 : why.line, doc ? "not an object" : why.text);
    json_decref(doc);
    return ok && setup_plan_certificate(v, t, certificate, err);
}

/* "proxies" counts more than dockerd's environment (23.0 and later). */
static bool docker_plan_proxy(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    const struct setup_text *text = setup_view_read(v, DAEMON_JSON, err);
    struct proxy_search s = {.url = t->proxy, .prefix = ""};
    json_error_t why = {.line = 0};

    if (!text)
        return false;
    json_t *doc = text->bytes.len == 0 ? json_object() : json_loadb(text->bytes.data, text->bytes.len, 0, &why);
    const char *url = json_string_value(json_object_get(json_object_get(doc, "proxies"), "https-proxy"));
    bool ok = doc || err_set(err, ERR_INVALID, "%s, line %d: %s; dockerd does not read it either", DAEMON_JSON,
                             why.line, why.text);
    if (url && url[0]) {
        const char *at = strstr(text->bytes.data, "\"https-proxy\"");
        int line = 1;
        for (const char *p = text->bytes.data; at && p < at; p++)
            line += *p == '\n';
        _cleanup_free_ char *as_variable = xasprintf("HTTPS_PROXY=%s", url);
        proxy_take(&s, as_variable, DAEMON_JSON, line);
    }
    ok = ok && proxy_check(&s, v, t, err);
    proxy_search_free(&s);
    json_decref(doc);
    return ok;
}

/* Certificates are read at each pull. */
static const char *const *docker_reload(const char *path)
{
    static const char *const command[] = {"reload", "docker", NULL}; /* SIGHUP: it reads its mirrors again */

    return strcmp(path, DAEMON_JSON) == 0 ? command : NULL;
}

static const char *const DOCKER_PROGRAMS[] = {"dockerd", NULL};

static const char *const DOCKER_UNITS[] = {"docker.service", NULL};
static const char *const DOCKER_RESTART[] = {"restart", "docker", NULL};

const struct setup_engine SETUP_DOCKER = {.name = "docker",
                                          .way = SETUP_BY_DEFAULT,
                                          .programs = DOCKER_PROGRAMS,
                                          .plan = docker_plan,
                                          .reload = docker_reload,
                                          .plan_proxy = docker_plan_proxy,
                                          .units = DOCKER_UNITS,
                                          .restart = DOCKER_RESTART};
