/* Pages of plain text, for reports of bugs. */
#include "proxy/admin/pages.h"

#include "base/log.h"

#include <string.h>

static void answer_text(struct admin_job *job, const struct buf *text)
{
    job->raw = body_new(text->len);
    if (text->len)
        memcpy(job->raw->data, text->data, text->len);
    snprintf(job->type, sizeof(job->type), "text/plain; charset=utf-8");
}

void admin_metrics(struct admin_job *job)
{
    _cleanup_buf_ struct buf text = {0};

    job->admin->print_metrics(job->admin->arg, &text);
    answer_text(job, &text);
}

void admin_log(struct admin_job *job)
{
    _cleanup_buf_ struct buf text = {0};

    log_recent(&text);
    answer_text(job, &text);
}

void admin_dump(struct admin_job *job)
{
    _cleanup_buf_ struct buf text = {0};

    job->admin->print_dump(job->admin->arg, &text);
    answer_text(job, &text);
}
