/* pull_print.h - a pull, for people and for programs. Any thread. */
#ifndef ENTREPOT_PROXY_SEEN_PULL_PRINT_H
#define ENTREPOT_PROXY_SEEN_PULL_PRINT_H

#include "base/buf.h"
#include "proxy/seen/pulls.h"

#include <jansson.h>

/* "docker.io/library/nginx:1.27", with "@sha256:…" if there is no tag. Appends. */
void pull_print_image(struct buf *out, const struct pull_seen *s);
/* The line of the log. Appends. */
void pull_print_line(struct buf *out, const struct pull_seen *s);
/* The caller decrefs it. */
json_t *pull_json(const struct pull_seen *s);

#endif
