#include "proxy/server.h"

#include "base/backtrace.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/limits.h"
#include "proxy/private.h"

#include <systemd/sd-daemon.h>

enum { LOG_WAIT_MS = 1000 };

bool server_run(const struct config *config, const struct config_overrides *overrides, struct err *err)
{
    struct server *s = xcalloc(1, sizeof(*s));

    backtrace_install();
    limits_raise();
    log_setup(config->log_level, config->log_format);
    log_limit_wait(LOG_WAIT_MS);
    if (config->ignored)
        log_warn("the environment has variables that are no keys of the configuration: %s", config->ignored);
    pthread_mutex_init(&s->proxy.certificates.lock, NULL);
    s->proxy.config = config;
    s->overrides = overrides;
    s->proxy.started_s = clock_now_s();
    bool ok = stages_start(s, err);
    if (ok) {
        log_info("entrepot " ENTREPOT_VERSION " serves on %s with the cache in %s",
                 listener_address(s->proxy.places[0].listener), config->cache_path);
        sd_notify(0, "READY=1");
        loop_run(s->loop);
        server_take_no_stops(s);
        log_report_suppressed(true);
    }
    stages_stop(s);
    if (ok)
        log_info("stopped");
    if (ok && s->damaged)
        ok = err_set(err, ERR_CORRUPT, "the index is damaged: start again, and it is rebuilt");
    free(s);
    return ok;
}
