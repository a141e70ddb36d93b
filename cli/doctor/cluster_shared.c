/* The bucket: whether it answers, and takes the credentials. It is asked for a blob that it has not. */
#include "cli/doctor/cluster.h"

#include "cluster/bucket.h"

#include <stdlib.h>

enum { SHARED_THREADS = 2 };

struct shared_look {
    struct cluster_look *all;
    struct bucket *bucket;
};

static bool shared_take_head(void *arg UNUSED, const struct transfer_response *r UNUSED)
{
    return true;
}

static bool shared_take_data(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED)
{
    return true;
}

static int shared_open(void *arg UNUSED, const struct digest *d UNUSED, int64_t *size UNUSED)
{
    return -1; /* nothing is uploaded */
}

static void shared_take_answer(void *arg, const struct transfer_response *r UNUSED, const struct err *err)
{
    const struct shared_look *s = arg;
    const struct config_shared *c = &s->all->config->shared;
    _cleanup_free_ char *subject = xasprintf("%s/%s", c->s3, c->bucket);
    struct bucket_stats stats;

    bucket_get_stats(s->bucket, &stats);
    if (!stats.why[0] && (!err || err->code == ERR_NOT_FOUND))
        doctor_add_cluster(s->all->findings, DOCTOR_OK, subject, "the bucket answers", NULL, NULL);
    else
        doctor_add_cluster(s->all->findings, DOCTOR_WARNING, subject, "the bucket does not answer as it should",
                           stats.why[0] ? stats.why : err->msg,
                           "check cluster.shared: s3, bucket, region, credentials, ca; pulls go on without it");
    doctor_cluster_end(s->all);
}

void doctor_look_at_shared(struct cluster_look *all)
{
    static const struct bucket_files files = {shared_open, NULL};
    struct shared_look *s = xcalloc(1, sizeof(*s));
    struct bucket_range range = {all->engine, all->loop, .first = 0, .last = 0};
    struct err err = {0};
    struct cred_workers *workers = cred_workers_new(SHARED_THREADS, &err);

    s->all = all;
    s->bucket = workers ? bucket_start(&all->config->shared, workers, &files, &err) : NULL;
    if (!s->bucket) {
        doctor_add_cluster(all->findings, DOCTOR_UNKNOWN, NULL, "the bucket could not be asked", err.msg, NULL);
        return;
    }
    digest_of(DIGEST_SHA256, "entrepot doctor", 15, &range.digest);
    range.on_head = shared_take_head;
    range.on_data = shared_take_data;
    range.on_done = shared_take_answer;
    range.arg = s;
    all->waiting++;
    bucket_get_start(s->bucket, &range);
}
