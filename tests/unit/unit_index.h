/* unit_index.h - an index of a test's own: the fixture of what tests rows. */
#ifndef ENTREPOT_TESTS_UNIT_INDEX_H
#define ENTREPOT_TESTS_UNIT_INDEX_H

#include "tests/unit/unit.h"

#include "cache/index/rows.h"

struct fixture {
    char *dir;
    struct index *index;
};

static inline int index_setup(void **state, size_t map_size)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    f->dir = make_folder();
    f->index = index_open(f->dir, map_size, NULL, &err);
    *state = f;
    return f->index ? 0 : -1;
}

static inline int index_teardown(void **state)
{
    struct fixture *f = *state;

    index_close(f->index);
    remove_tree(f->dir);
    free(f);
    return 0;
}

#endif
