/* unit_bucket.h - a store that does what the first segment of a path says. */
#ifndef ENTREPOT_TESTS_UNIT_BUCKET_H
#define ENTREPOT_TESTS_UNIT_BUCKET_H

#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SKEW_S = 3600,
    BLOB_SIZE = 1000,
};

static struct {
    int listener, port;
    atomic_int alive, puts, gets, fails; /* fails: so many requests are answered 503, probes included */
    atomic_int refusals;                 /* so many are answered 403, for the key */
    atomic_bool there;                   /* each blob */
    pthread_mutex_t lock;
    char heads[200000]; /* all that it was sent, but bodies */
    pthread_t thread;
} toy = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void toy_note(const char *head)
{
    size_t used;

    pthread_mutex_lock(&toy.lock);
    used = strlen(toy.heads);
    snprintf(toy.heads + used, sizeof(toy.heads) - used, "%s\n", head);
    pthread_mutex_unlock(&toy.lock);
}

static inline int toy_heads_with(const char *text)
{
    int n = 0;

    pthread_mutex_lock(&toy.lock);
    for (const char *p = toy.heads; (p = strstr(p, text)); p++)
        n++;
    pthread_mutex_unlock(&toy.lock);
    return n;
}

static inline void toy_answer(int fd, bool is_head, const char *status, const char *headers, const char *body)
{
    _cleanup_free_ char *text =
        xasprintf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), is_head ? "" : body);

    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static inline bool toy_is_skewed(const char *head)
{
    const char *at = strstr(head, "x-amz-date: ");
    struct tm tm = {0};

    return at && strptime(at + 12, "%Y%m%dT%H%M%SZ", &tm) && llabs((long long)timegm(&tm) - time(NULL)) < SKEW_S / 2;
}

static inline void toy_object(int fd, bool is_head)
{
    _cleanup_free_ char *body = xcalloc(BLOB_SIZE + 1, 1);

    memset(body, 'x', BLOB_SIZE);
    toy_answer(fd, is_head, "200 OK", "", body);
}

static inline void toy_serve(int fd, const char *head)
{
    const char *path = strchr(head, ' ') + 1;
    bool is_head = strncmp(head, "HEAD", 4) == 0, is_put = strncmp(head, "PUT", 3) == 0;
    char date[100];
    time_t there = time(NULL) + SKEW_S;
    struct tm tm;

    gmtime_r(&there, &tm);
    strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    atomic_fetch_add(is_put ? &toy.puts : &toy.gets, 1);
    if (atomic_load(&toy.fails) > 0 && atomic_fetch_sub(&toy.fails, 1) > 0)
        toy_answer(fd, is_head, "503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>");
    else if (atomic_load(&toy.refusals) > 0 && atomic_fetch_sub(&toy.refusals, 1) > 0)
        toy_answer(fd, is_head, "403 No", "", "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    else if (strncmp(path, "/container", 10) == 0)
        toy_answer(fd, is_head, "200 OK", "",
                   "{\"AccessKeyId\": \"ASIATEST\", \"SecretAccessKey\": \"topsecret\", \"Token\": \"TOKEN\", "
                   "\"Expiration\": \"2038-01-01T00:00:00Z\"}");
    else if (strncmp(path, "/skew/", 6) == 0 && toy_is_skewed(head))
        toy_answer(fd, is_head, "403 No", date, "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    else if (is_put && strncmp(path, "/bare/", 6) == 0 && strstr(head, "If-None-Match"))
        toy_answer(fd, is_head, "501 No", "", "<Error><Code>NotImplemented</Code></Error>");
    else if (is_put && strncmp(path, "/read-only/", 11) == 0)
        toy_answer(fd, is_head, "403 No", "", "<Error><Code>AccessDenied</Code></Error>");
    else if (is_put && strncmp(path, "/there/", 7) == 0)
        toy_answer(fd, is_head, "412 There", "", "<Error><Code>PreconditionFailed</Code></Error>");
    else if (is_put)
        toy_answer(fd, is_head, "200 OK", "ETag: \"x\"\r\n", "");
    else if (atomic_load(&toy.there) && !strstr(path, "/sha256/00/00"))
        toy_object(fd, is_head);
    else
        toy_answer(fd, is_head, "404 No", "", "<Error><Code>NoSuchKey</Code></Error>");
}

static inline void *toy_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char head[16384];
    size_t have = 0;
    ssize_t n = 1;

    while (n > 0) {
        char *end;
        while (!(head[have] = '\0', end = strstr(head, "\r\n\r\n")) &&
               (n = recv(fd, head + have, sizeof(head) - 1 - have, 0)) > 0)
            have += (size_t)n;
        if (!end)
            break;
        const char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length ? (size_t)atoll(length + 17) : 0, whole = (size_t)(end + 4 - head) + body;
        while (have < whole && (n = recv(fd, head + have, sizeof(head) - 1 - have, 0)) > 0)
            have += (size_t)n;
        *end = '\0';
        toy_note(head);
        toy_serve(fd, head);
        have = 0; /* nothing is pipelined */
    }
    close(fd);
    atomic_fetch_sub(&toy.alive, 1);
    return NULL;
}

static inline void *toy_run(void *arg UNUSED)
{
    pthread_t thread;
    int fd;

    while ((fd = accept(toy.listener, NULL, NULL)) >= 0) {
        atomic_fetch_add(&toy.alive, 1);
        assert_int_equal(pthread_create(&thread, NULL, toy_connection, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static inline int toy_start(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    toy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(toy.listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(toy.listener, 64), 0);
    getsockname(toy.listener, (struct sockaddr *)&a, &len);
    toy.port = ntohs(a.sin_port);
    return pthread_create(&toy.thread, NULL, toy_run, NULL);
}

static inline int toy_stop(void **state UNUSED)
{
    shutdown(toy.listener, SHUT_RDWR);
    pthread_join(toy.thread, NULL);
    close(toy.listener);
    for (int i = 0; i < 1000 && atomic_load(&toy.alive) > 0; i++)
        usleep(5000);
    return atomic_load(&toy.alive);
}

#endif
