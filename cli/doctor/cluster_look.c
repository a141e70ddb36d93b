#include "cli/doctor/cluster.h"

void doctor_add_cluster(json_t *findings, enum doctor_level level, const char *subject, const char *what,
                        const char *why, const char *advice)
{
    doctor_add(findings, &(struct doctor_finding){TOPIC_CLUSTER, level, subject, what, why, advice});
}

void doctor_cluster_end(struct cluster_look *all)
{
    if (--all->waiting == 0)
        loop_stop(all->loop);
}
