/* unit.h - what the unit tests share. */
#ifndef ENTREPOT_TESTS_UNIT_H
#define ENTREPOT_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants these four before it. */
#include <cmocka.h>

#include "base/mem.h"

#include <ftw.h>
#include <string.h>

/* A folder of this test's own; the caller frees the name after remove_tree(). */
static inline char *make_folder(void)
{
    char *dir = xasprintf("%s/entrepot-unit.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline int remove_entry(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED)
{
    return remove(path);
}

static inline void remove_tree(char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

#endif
