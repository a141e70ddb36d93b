/* The body of an answer with several ranges, in pieces of every length. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "proxy/fetch/byteranges.h"

static const struct body_case {
    const char *what, *body;
    const char *expected; /* "offset:bytes " for each part; NULL: it is refused */
} BODIES[] = {
    {"as RFC 9110 has it",
     "--THIS\r\nContent-Type: application/pdf\r\nContent-Range: bytes 3-5/20\r\n\r\nabc\r\n"
     "--THIS\r\ncontent-range:bytes 10-10/20\r\n\r\n-\r\n--THIS--\r\n",
     "3:abc 10:- "},
    {"a line end before the first delimiter, as nginx sends it",
     "\r\n--0001\r\nContent-Range: bytes 0-1/20\r\n\r\nxy\r\n--0001--\r\n", "0:xy "},
    {"bytes that look like a delimiter", "--b\r\nContent-Range: bytes 0-7/20\r\n\r\n\r\n--b--\n\r\n--b--\r\n",
     "0:\r\n--b--\n "},
    {"no bytes at all", "--b--\r\n", ""},
    {"another unit", "--b\r\nContent-Range: lines 0-1/20\r\n\r\nxy\r\n--b--\r\n", NULL},
    {"a part without a range", "--b\r\nContent-Type: x/y\r\n\r\nxy\r\n--b--\r\n", NULL},
    {"backwards", "--b\r\nContent-Range: bytes 5-4/20\r\n\r\nxy\r\n--b--\r\n", NULL},
    {"behind the end", "--b\r\nContent-Range: bytes 5-20/20\r\n\r\nxy\r\n--b--\r\n", NULL},
    {"a number that is none", "--b\r\nContent-Range: bytes 5-99999999999999999999/20\r\n\r\nxy\r\n--b--\r\n", NULL},
    {"of unknown length", "--b\r\nContent-Range: bytes 5-6/*\r\n\r\nxy\r\n--b--\r\n", NULL},
};

/* `step` bytes come at a time. */
static char *parts_of(const char *body, size_t step)
{
    struct byteranges p = {0};
    struct buf out = {0};
    size_t taken, len = strlen(body);
    int64_t offset, expected = -1;

    for (size_t at = 0; at < len;) {
        int64_t n = byteranges_read(&p, body + at, MIN(step, len - at), &taken, &offset);
        if (n < 0) {
            buf_free(&out);
            return NULL;
        }
        assert_true(taken > 0 && taken <= MIN(step, len - at) && n <= (int64_t)taken);
        at += taken;
        if (n > 0 && offset != expected)
            buf_addf(&out, "%s%lld:", out.len ? " " : "", (long long)offset);
        buf_add(&out, body + at - n, (size_t)n);
        if (n > 0)
            expected = offset + n;
    }
    buf_adds(&out, out.len ? " " : "");
    buf_add(&out, "", 1);
    return out.data;
}

static void bodies(void **state UNUSED)
{
    for (size_t k = 0; k < ARRAY_LEN(BODIES); k++)
        for (size_t step = 1; step <= strlen(BODIES[k].body); step++) {
            char *got = parts_of(BODIES[k].body, step);
            if (!BODIES[k].expected ? got != NULL : !got || strcmp(got, BODIES[k].expected) != 0)
                fail_msg("%s, %zu bytes at a time: \"%s\"", BODIES[k].what, step, got ? got : "refused");
            free(got);
        }
}

/* What never becomes a part is given up. */
static void endless_header(void **state UNUSED)
{
    struct byteranges p = {0};
    size_t taken;
    int64_t offset, n = 0;

    for (int k = 0; n >= 0 && k < 1000; k++)
        n = byteranges_read(&p, "no delimiter\n", 13, &taken, &offset);
    assert_true(n < 0);
    p = (struct byteranges){0};
    n = 0;
    for (int k = 0; n >= 0 && k < 1000; k++)
        n = byteranges_read(&p, "no end", 6, &taken, &offset);
    assert_true(n < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),
        cmocka_unit_test(endless_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
