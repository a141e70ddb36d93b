#include "proxy/fetch/supply.h"

bool supply_is_on(const struct supply *s)
{
    return s->call || s->ask || s->get;
}

void supply_cancel(struct supply *s)
{
    if (s->call)
        upstream_cancel(s->call);
    if (s->ask)
        ask_cancel(s->ask);
    if (s->get)
        bucket_get_cancel(s->get);
    *s = (struct supply){0};
}

void supply_pause(const struct supply *s, bool pause)
{
    if (s->call)
        upstream_pause(s->call, pause);
    if (s->ask)
        ask_pause(s->ask, pause);
    if (s->get)
        bucket_get_pause(s->get, pause);
}
