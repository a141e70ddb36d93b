/* The body of a registry's refusal, which is shown to clients and logged. */
#include "tests/fuzz/fuzz.h"
#include "upstream/refusal.h"

#define SECRET "not-a-secret-at-all"

/* Whatever the registry repeats of what it was sent, the text has none of the secret, and no control characters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[REFUSAL_MAX + 1], code[REFUSAL_CODE_MAX + 1];

    refusal_text(text, data, size, "Bearer " SECRET, SECRET);
    MUST(memchr(text, '\0', sizeof(text)) && !strstr(text, SECRET));
    for (const char *p = text; *p; p++)
        MUST((unsigned char)*p >= ' ' && *p != 0x7f);
    refusal_code(code, data, size);
    MUST(memchr(code, '\0', sizeof(code)));
    refusal_says_expired((const char *)data, size);
    return 0;
}
