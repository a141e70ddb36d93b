#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/stat.h>

void fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, what);
    abort();
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    return xstrndup((const char *)data, strnlen((const char *)data, size));
}

/* ---- files ---- */

static char folder[64], path[400];
static char *names[16]; /* what is in it */

static void remove_folder(void)
{
    for (size_t i = 0; i < ARRAY_LEN(names) && names[i]; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
        free(names[i]);
    }
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0])
        return folder;
    /* In memory, if it can be: a disk would be what limits the inputs a second. */
    snprintf(folder, sizeof(folder), "%s/entrepot-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    MUST(mkdtemp(folder));
    atexit(remove_folder);
    return folder;
}

static void remember(const char *name)
{
    size_t i = 0;

    while (names[i] && strcmp(names[i], name) != 0)
        MUST(++i < ARRAY_LEN(names));
    if (!names[i])
        names[i] = xstrdup(name);
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "we");
    MUST(f && fwrite(data, 1, size, f) == size);
    MUST(fclose(f) == 0);
    remember(name);
    return path;
}

/* ---- parts ---- */

/* Where the next line "== NAME" begins. */
static size_t find_head(const uint8_t *data, size_t size, size_t at)
{
    for (; at + 3 <= size; at++)
        if (memcmp(data + at, "== ", 3) == 0 && (at == 0 || data[at - 1] == '\n'))
            return at;
    return size;
}

bool fuzz_next(const uint8_t *data, size_t size, size_t *at, struct fuzz_part *out)
{
    size_t begin = *at, n = 0;

    if (begin >= size)
        return false;
    if (find_head(data, size, begin) == begin) {
        for (begin += 3; begin < size && data[begin] != '\n'; begin++)
            if (n + 1 < sizeof(out->name) && data[begin])
                out->name[n++] = (char)data[begin];
        begin += begin < size;
    }
    out->name[n] = '\0';
    *at = find_head(data, size, begin);
    out->data = data + begin;
    out->size = *at - begin;
    return true;
}
