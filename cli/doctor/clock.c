/* This node's clock against those of the registries: tokens and certificates are valid for a time. */
#include "cli/doctor/registries.h"

#include <stdlib.h>

enum { CLOCK_OFF_S = 300, CLOCK_LATE_S = 30 };

static int compare_samples(const void *a, const void *b)
{
    int64_t x = ((const struct clock_sample *)a)->ahead_s, y = ((const struct clock_sample *)b)->ahead_s;

    return (x > y) - (x < y);
}

static char *clock_text(int64_t s)
{
    int64_t n = s < 0 ? -s : s;

    if (n < 600)
        return xasprintf("%lld s", (long long)n);
    if (n < 7200)
        return xasprintf("%lld min", (long long)n / 60);
    return n < 2 * 86400 ? xasprintf("%lld h", (long long)n / 3600) : xasprintf("%lld d", (long long)n / 86400);
}

static bool clock_is_off(int64_t s)
{
    return s > CLOCK_OFF_S || s < -CLOCK_OFF_S;
}

static void clock_judge(int64_t ahead_s, json_t *findings)
{
    static const char advice[] = "synchronise it: timedatectl set-ntp true, or chrony";
    struct doctor_finding f = {TOPIC_CLOCK, DOCTOR_OK, NULL, "it agrees with those of the registries", NULL, NULL};
    _cleanup_free_ char *by = clock_text(ahead_s);
    _cleanup_free_ char *what =
        xasprintf("this node's clock is %s %s that of the registries", by, ahead_s > 0 ? "behind" : "ahead of");

    if (ahead_s > CLOCK_LATE_S || ahead_s < -CLOCK_LATE_S) {
        f.level = clock_is_off(ahead_s) ? DOCTOR_BROKEN : DOCTOR_WARNING;
        f.what = what;
        f.why = "tokens and certificates are valid for a time";
        f.advice = advice;
    }
    doctor_add(findings, &f);
}

void doctor_look_at_clock(const struct clock_sample *samples, size_t count, json_t *findings)
{
    struct clock_sample *sorted = xcalloc(count + 1, sizeof(*sorted));

    for (size_t i = 0; i < count; i++)
        sorted[i] = samples[i];
    qsort(sorted, count, sizeof(*sorted), compare_samples);
    /* Of two that differ, the one that agrees with us is right. */
    int64_t low = count > 0 ? sorted[(count - 1) / 2].ahead_s : 0, high = count > 0 ? sorted[count / 2].ahead_s : 0;
    int64_t middle = llabs(low) < llabs(high) ? low : high;
    if (count > 0)
        clock_judge(middle, findings);
    for (size_t i = 0; i < count; i++) {
        int64_t ahead_s = sorted[i].ahead_s;
        if (!clock_is_off(ahead_s) || clock_is_off(middle))
            continue;
        _cleanup_free_ char *by = clock_text(ahead_s);
        _cleanup_free_ char *what = xasprintf("its clock is %s %s", by, ahead_s > 0 ? "ahead" : "behind");
        doctor_add(findings, &(struct doctor_finding){TOPIC_REGISTRY, DOCTOR_WARNING, sorted[i].registry, what,
                                                      "other registries agree with this node", NULL});
    }
    free(sorted);
}
