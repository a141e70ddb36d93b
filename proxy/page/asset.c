/* The page itself: one file, compiled in. */
#include "proxy/page/private.h"

#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

__asm__(".section .rodata\n"
        ".global page_html\n"
        "page_html:\n"
        ".incbin \"proxy/page/page.html\"\n"
        ".global page_html_end\n"
        "page_html_end:\n"
        ".byte 0\n"
        ".previous\n");

/* 'sha256-...' of what is between the first two of these tags (CSP Level 3 §8.4). */
static char *hash_between(const char *from, const char *to)
{
    const char *begin = strstr(page_html, from), *end = begin ? strstr(begin, to) : NULL;
    unsigned char hash[SHA256_DIGEST_LENGTH], text[2 * SHA256_DIGEST_LENGTH];

    if (!end)
        return xstrdup("'none'");
    begin += strlen(from);
    SHA256((const unsigned char *)begin, (size_t)(end - begin), hash);
    EVP_EncodeBlock(text, hash, sizeof(hash));
    return xasprintf("'sha256-%s'", (const char *)text);
}

char *page_policy(void)
{
    _cleanup_free_ char *script = hash_between("<script>", "</script>"), *style = hash_between("<style>", "</style>");

    return xasprintf("default-src 'none'; script-src %s; style-src %s; connect-src 'self'; base-uri 'none'; "
                     "form-action 'none'; frame-ancestors 'none'",
                     script, style);
}
