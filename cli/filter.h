/* filter.h - which images in the cache a command is about, and in which order: options of `ls`, `rm` and `du`. */
#ifndef ENTREPOT_CLI_FILTER_H
#define ENTREPOT_CLI_FILTER_H

#include "cli/lib/cli.h"

struct image_filter {
    const char *upstream, *unused_for, *larger; /* as typed; NULL: any */
    const char *sort;
    bool reverse;
    /* filter_read(): */
    int64_t used_before, bytes;
    int order;
};

/* In tables of options. */
/* clang-format off */
#define FILTER_OPTIONS(f) \
    {"upstream", .value = &(f)->upstream}, {"unused-for", .value = &(f)->unused_for}, \
    {"larger", .value = &(f)->larger}
#define FILTER_SORT_OPTIONS(f) {"sort", .value = &(f)->sort}, {"reverse", .flag = &(f)->reverse}
/* clang-format on */

bool filter_is_empty(const struct image_filter *f);
/* Errors: ERR_INVALID. */
bool filter_read(struct image_filter *f, struct err *err);
/* The images that pass, in the order of `sort`: a new reference to an array. */
json_t *filter_images(const struct image_filter *f, const json_t *images);

#endif
