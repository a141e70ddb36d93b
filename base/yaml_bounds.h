/* yaml_bounds.h - whether a YAML text may be loaded.
 *
 * libyaml's time grows with the square of what is nested and of what has an anchor, and a loaded node takes many times
 * the memory of its text. So a text is first read event by event, up to what is too much. Any thread.
 */
#ifndef ENTREPOT_BASE_YAML_BOUNDS_H
#define ENTREPOT_BASE_YAML_BOUNDS_H

#include "base/err.h"

#include <stddef.h>

struct yaml_bounds {
    int depth, anchors, events; /* at the most; anchors: in each document */
};

/* What is not YAML passes up to there: the loader says what is wrong with it. Errors: ERR_TOO_LARGE, with the line. */
bool yaml_is_bounded(const char *text, size_t len, const struct yaml_bounds *most, struct err *err);

#endif
