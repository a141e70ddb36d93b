/* The cache's own identities at a registry: their names among budgets and tokens, and whether their logins are good. */
#include "upstream/registry_private.h"

#include "base/clock.h"

enum { REFUSED_MS = 60000 };

void identity_name(int n, char who[BUDGET_WHO_MAX + 1])
{
    if (n == 0) /* usually the only one */
        who[0] = '\0';
    else
        snprintf(who, BUDGET_WHO_MAX + 1, "own %d", n);
}

int identity_number(const char *who)
{
    int n;

    return who[0] == '\0' ? 0 : sscanf(who, "own %d", &n) == 1 ? n : -1;
}

int identity_count(const struct upstream *u, int endpoint)
{
    return u->endpoints[endpoint].trusted ? u->cred_count : 1;
}

struct cred *identity_cred(struct upstream *u, int endpoint, int n)
{
    return u->endpoints[endpoint].trusted ? u->creds[n] : u->nobody;
}

void identity_refused(struct upstream *u, int endpoint, int n, uint64_t number)
{
    atomic_store(&u->refused_number[endpoint][n], number);
    atomic_store(&u->refused_ms[endpoint][n], clock_mono_ms() + REFUSED_MS);
    if (number > 0) {
        atomic_fetch_add(&u->logins_refused, 1);
        if (!atomic_exchange(&u->login_is_refused, true))
            atomic_store(&u->login_refused_ms, clock_mono_ms());
    }
}

uint64_t identity_suspect(struct upstream *u, int endpoint, int n)
{
    return clock_mono_ms() < atomic_load(&u->refused_ms[endpoint][n]) ? atomic_load(&u->refused_number[endpoint][n])
                                                                      : 0;
}

void identity_accepted(struct upstream *u, int endpoint, int n)
{
    if (atomic_load_explicit(&u->refused_ms[endpoint][n], memory_order_relaxed) != 0)
        atomic_store(&u->refused_ms[endpoint][n], 0);
    if (atomic_load_explicit(&u->login_is_refused, memory_order_relaxed))
        atomic_store(&u->login_is_refused, false);
}
