/* Requests to the daemon over its admin socket, by libcurl. */
#include "cli/lib/cli.h"

#include "base/buf.h"
#include "config/config.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 << 20, CONNECT_TIMEOUT_S = 5, TIMEOUT_S = 600 };

/* ---- the admin socket ---- */

/* The path of the socket, by the first of: options, the environment, the service's default, the configuration. NULL:
 * the configuration cannot be read. */
static char *find_socket(const struct cli_options *o, struct err *err)
{
    const char *env = getenv("ENTREPOT_SOCKET");
    const struct config_overrides overrides = {.file = o->config, .cache = o->cache, .no_secrets = true};
    struct config config;

    if (o->socket)
        return xstrdup(o->socket);
    bool given = o->cache || o->config;
    if (!given && env && *env)
        return xstrdup(env);
    if (!given && access(CONFIG_DEFAULT_SOCKET, F_OK) == 0)
        return xstrdup(CONFIG_DEFAULT_SOCKET);
    if (!config_load(&config, &overrides, err)) {
        err_wrap(err, "looking for the daemon's socket (see --socket)");
        return NULL;
    }
    char *path = xstrdup(config.admin_socket);
    config_free(&config);
    return path;
}

static size_t daemon_take(char *data, size_t size UNUSED, size_t len, void *arg)
{
    struct buf *b = arg;

    if (b->len + len > ANSWER_MAX)
        return 0;
    buf_add(b, data, len);
    return len;
}

/* Why the request failed, and what to do. */
static bool daemon_explain(CURLcode rc, long os_errno, const char *socket, int timeout_s, struct err *err)
{
    if (rc == CURLE_COULDNT_CONNECT && (os_errno == EACCES || os_errno == EPERM))
        return err_set(err, ERR_DENIED, "no permission to use %s: be root or a member of the socket's group", socket);
    if (rc == CURLE_COULDNT_CONNECT)
        return err_set(err, ERR_UNREACHABLE,
                       "cannot connect to %s: is the daemon running (entrepot serve)? --socket gives another path",
                       socket);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "the daemon on %s did not answer within %d s; see its log", socket, timeout_s);
    if (rc == CURLE_WRITE_ERROR)
        return err_set(err, ERR_TOO_LARGE, "the answer of the daemon on %s exceeds %d MiB; narrow the request", socket,
                       (int)(ANSWER_MAX >> 20));
    if (rc == CURLE_PARTIAL_FILE || rc == CURLE_GOT_NOTHING || rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR)
        return err_set(err, ERR_UNREACHABLE,
                       "the daemon on %s closed the connection without a complete answer; see its log", socket);
    return err_set(err, ERR_UNREACHABLE, "request to the daemon on %s: %s; see its log", socket,
                   curl_easy_strerror(rc));
}

/* Receives an answer. `timeout_s`: seconds for the whole exchange; 0: no limit. */
struct daemon_sink {
    size_t (*take)(char *data, size_t size, size_t len, void *arg);
    void *arg;
    int timeout_s;
};

/* The connection is kept alive: an import sends a request for every MiB. */
static struct {
    CURL *curl;
    char *socket;
} daemon_link;

static bool find_daemon(const struct cli_options *o, struct err *err)
{
    if (daemon_link.socket)
        return true;
    char *socket = find_socket(o, err);
    if (!socket)
        return false;
    if (!*socket || strlen(socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        err_set(err, ERR_INVALID, "\"%s\" is not a valid socket path: it is empty or too long", socket);
        free(socket);
        return false;
    }
    daemon_link.socket = socket;
    daemon_link.curl = curl_easy_init();
    return true;
}

/* `body` NULL: GET. */
static bool daemon_exchange(const struct cli_options *o, const char *path, const void *body, size_t body_len,
                            const struct daemon_sink *sink, long *status, struct err *err)
{
    _cleanup_free_ char *url = xasprintf("http://entrepot%s", path);
    long os_errno = 0;

    if (!find_daemon(o, err))
        return false;
    CURL *h = daemon_link.curl;
    const char *socket = daemon_link.socket;
    curl_easy_reset(h);
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, sink->take);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, sink->arg);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, (long)sink->timeout_s);
    if (body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
    }
    CURLcode rc = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os_errno);
    return rc == CURLE_OK || daemon_explain(rc, os_errno, socket, sink->timeout_s, err);
}

static bool daemon_check(long status, const struct buf *answer, struct err *err)
{
    if (status < 400)
        return true;
    json_t *j = json_loadb(answer->data ? answer->data : "", answer->len, 0, NULL);
    const char *why = json_string_value(json_object_get(j, "error"));
    err_set(err,
            status == 404   ? ERR_NOT_FOUND
            : status == 423 ? ERR_BUSY
                            : ERR_INVALID,
            "%s", why ? why : "the daemon refused the request without a reason");
    json_decref(j);
    return false;
}

static bool daemon_ask_json(const struct cli_options *o, const char *path, const void *body, size_t len,
                            json_t **answer, struct err *err)
{
    _cleanup_buf_ struct buf text = {0};
    int timeout_s = o->timeout_s ? o->timeout_s : (int)TIMEOUT_S;
    long status = 0;

    if (!daemon_exchange(o, path, body, len, &(struct daemon_sink){daemon_take, &text, timeout_s}, &status, err) ||
        !daemon_check(status, &text, err))
        return false;
    *answer = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    if (json_is_object(*answer))
        return true;
    json_decref(*answer);
    *answer = NULL;
    return err_set(err, ERR_CORRUPT, "the answer is not from entrepot: is another program listening on that socket?");
}

bool cli_daemon_process(struct ucred *out)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    socklen_t len = sizeof(*out);

    return daemon_link.curl && curl_easy_getinfo(daemon_link.curl, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK &&
           fd != CURL_SOCKET_BAD && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &len) == 0;
}

bool cli_ask(const struct cli_options *o, const char *path, const json_t *body, json_t **answer, struct err *err)
{
    _cleanup_free_ char *out = body ? json_dumps(body, JSON_COMPACT) : NULL;

    return daemon_ask_json(o, path, out, out ? strlen(out) : 0, answer, err);
}

bool cli_send(const struct cli_options *o, const char *path, const void *data, size_t len, json_t **answer,
              struct err *err)
{
    return daemon_ask_json(o, path, data, len, answer, err);
}

struct daemon_stream {
    bool (*take)(void *arg, const void *data, size_t len);
    void *arg;
    bool refused;          /* by `take` */
    struct buf error_body; /* of a status of 400 or more */
    CURL *curl;
};

static size_t daemon_take_piece(char *data, size_t size UNUSED, size_t len, void *arg)
{
    struct daemon_stream *s = arg;
    long status = 0;

    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400)
        return daemon_take(data, 1, len, &s->error_body);
    s->refused = !s->take(s->arg, data, len);
    return s->refused ? 0 : len;
}

bool cli_fetch(const struct cli_options *o, const char *path,
               bool (*take_data)(void *arg, const void *data, size_t len), void *arg, struct err *err)
{
    struct daemon_stream s = {.take = take_data, .arg = arg};
    struct err why = {0};
    long status = 0;

    if (!find_daemon(o, err))
        return false;
    s.curl = daemon_link.curl;
    bool ok = daemon_exchange(o, path, NULL, 0, &(struct daemon_sink){daemon_take_piece, &s, 0}, &status, &why);
    if (!s.refused && !ok)
        *err = why; /* else `take` has set *err */
    ok = ok && daemon_check(status, &s.error_body, err);
    buf_free(&s.error_body);
    return ok;
}

struct daemon_lines {
    struct buf rest;
    void (*line)(void *arg, const json_t *line);
    void *arg;
};

/* Passes on every line except the last, which may be incomplete. */
static size_t daemon_take_lines(char *data, size_t size UNUSED, size_t len, void *arg)
{
    struct daemon_lines *l = arg;
    char *end;

    if (l->rest.len + len > ANSWER_MAX)
        return 0;
    buf_add(&l->rest, data, len);
    while ((end = memchr(l->rest.data, '\n', l->rest.len)) && end + 1 < l->rest.data + l->rest.len) {
        size_t n = (size_t)(end - l->rest.data) + 1;
        json_t *line = json_loadb(l->rest.data, n, 0, NULL);
        if (line)
            l->line(l->arg, line);
        json_decref(line);
        memmove(l->rest.data, l->rest.data + n, l->rest.len - n);
        l->rest.len -= n;
    }
    return len;
}

bool cli_ask_long(const struct cli_options *o, const char *path, const json_t *body,
                  void (*line)(void *arg, const json_t *line), void *arg, json_t **answer, struct err *err)
{
    struct daemon_lines l = {.line = line, .arg = arg};
    _cleanup_free_ char *out = json_dumps(body, JSON_COMPACT);
    long status = 0;

    bool ok =
        daemon_exchange(o, path, out, strlen(out), &(struct daemon_sink){daemon_take_lines, &l, 0}, &status, err) &&
        daemon_check(status, &l.rest, err);
    *answer = ok ? json_loadb(l.rest.data ? l.rest.data : "", l.rest.len, 0, NULL) : NULL;
    const char *why = json_string_value(json_object_get(*answer, "error"));
    if (ok && (why || !json_is_object(*answer))) {
        ok = err_set(err, ERR_INVALID, "%s", why ? why : "the daemon stopped before the work was done; see its log");
        json_decref(*answer);
        *answer = NULL;
    }
    buf_free(&l.rest);
    return ok;
}

bool cli_ask_raw(const struct cli_options *o, const char *path, char **text, size_t *len, struct err *err)
{
    struct buf answer = {0};
    long status = 0;

    if (!daemon_exchange(o, path, NULL, 0, &(struct daemon_sink){daemon_take, &answer, TIMEOUT_S}, &status, err) ||
        !daemon_check(status, &answer, err)) {
        buf_free(&answer);
        return false;
    }
    *text = answer.data;
    *len = answer.len;
    return true;
}

/* ---- a whole command ---- */

int cli_for_references(int argc, char **argv, const char *usage, const char *path, const char *done)
{
    struct cli_options o = {0};
    json_t *references = json_array(), *answer = NULL, *body, *r;
    const struct cli_syntax syntax = {usage, .argument = cli_take_reference, .arg = references};
    struct err err = {0};
    size_t i;
    int rc = cli_parse(&o, &syntax, argc, argv);

    if (rc < 0 && json_array_size(references) == 0)
        rc = cli_usage(usage, "%s: which images?", argv[0]);
    body = json_pack("{s:o}", "references", references);
    if (rc < 0 && !cli_ask(&o, path, body, &answer, &err))
        rc = cli_fail(&err);
    if (rc < 0 && o.json) {
        cli_print_json(answer);
    } else {
        json_array_foreach(rc < 0 ? json_object_get(answer, done) : NULL, i, r)
            cli_say(stdout, "%s %s", done, json_string_value(r));
    }
    json_decref(answer);
    json_decref(body);
    return rc < 0 ? EXIT_DONE : rc;
}

int cli_show(const char *usage, const char *path, void (*print)(const json_t *answer), int argc, char **argv)
{
    struct cli_options o = {0};
    struct err err = {0};
    json_t *answer;
    int rc = cli_parse(&o, &(struct cli_syntax){.usage = usage}, argc, argv);

    if (rc >= 0)
        return rc;
    if (!cli_ask(&o, path, NULL, &answer, &err))
        return cli_fail(&err);
    if (o.json)
        cli_print_json(answer);
    else
        print(answer);
    json_decref(answer);
    return EXIT_DONE;
}
