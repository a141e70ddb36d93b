/* fuzz.h - what the fuzz targets share.
 *
 * A target is one file, which reads its input as the product reads it from outside, and says above its entry what has
 * to hold. `make fuzz` links it to libFuzzer, which makes the inputs up; `make test` links it to replay.c, which gives
 * it the seeds (seeds/NAME/) and what was found (found/NAME/). A target is deterministic, and what it allocates for an
 * input is freed with it. One thread.
 */
#ifndef ENTREPOT_TESTS_FUZZ_H
#define ENTREPOT_TESTS_FUZZ_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* libFuzzer's entry; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has to hold; ends the process otherwise. */
#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            fuzz_fail(#what, __FILE__, __LINE__);                                                                      \
    } while (0)

__attribute__((noreturn)) void fuzz_fail(const char *what, const char *file, int line);

/* The input up to its first NUL, in an allocation of its own size. The caller frees. */
char *fuzz_text(const uint8_t *data, size_t size);

/* A folder of this process, which goes when it exits. */
const char *fuzz_folder(void);
/* Writes a file there; returns its path, good until the next call. */
const char *fuzz_file(const char *name, const void *data, size_t size);

/* An input that is several files: each begins after a line "== NAME". What comes before the first such line has the
 * name "". */
struct fuzz_part {
    char name[256];
    const uint8_t *data; /* within the input */
    size_t size;
};

/* The next one; *at begins as 0. False: that was the last. */
bool fuzz_next(const uint8_t *data, size_t size, size_t *at, struct fuzz_part *out);

#endif
