/* server.h - the daemon, from start to end. */
#ifndef ENTREPOT_PROXY_SERVER_H
#define ENTREPOT_PROXY_SERVER_H

#include "config/config.h"

/* Serves until SIGTERM or SIGINT, then drains: requests under way are finished (for at most half a minute), downloads
 * are paused as resumable parts. SIGHUP reloads the configuration. Main thread. Errors: why it could not start. */
bool server_run(const struct config *config, const struct config_overrides *overrides, struct err *err);

#endif
