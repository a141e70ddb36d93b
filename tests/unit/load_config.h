/* load_config.h - a configuration out of a text, for the tests of it. */
#ifndef ENTREPOT_TESTS_LOAD_CONFIG_H
#define ENTREPOT_TESTS_LOAD_CONFIG_H

#include "tests/unit/unit.h"

#include "config/config.h"

#include <stdio.h>

__attribute__((noinline, unused)) static bool load(const char *text, struct config *c, struct err *err)
{
    char *dir = make_folder(), *file = xasprintf("%s/config.yaml", dir);
    struct config_overrides o = {.file = file};
    FILE *f = fopen(file, "w");

    fputs(text, f);
    fclose(f);
    memset(err, 0, sizeof(*err));
    bool ok = config_load(c, &o, err);
    free(file);
    remove_tree(dir);
    return ok;
}

#endif
