/* The configuration that is in use, and another one in its place. */
#include "proxy/admin/pages.h"

void admin_config(struct admin_job *job)
{
    struct err err = {0};

    job->answer = job->admin->configuration(job->admin->arg, &err);
    if (!job->answer)
        admin_fail(job, &err);
}

void admin_reload(struct admin_job *job)
{
    struct err err = {0};

    if (!job->admin->reload(job->admin->arg, &job->answer, &err))
        admin_fail(job, &err);
}
