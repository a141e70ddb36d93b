#include "base/platform.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { PART_MAX = 31, EXACT = 100 };

struct platform_parts {
    char os[PART_MAX + 1], arch[PART_MAX + 1], variant[PART_MAX + 1], version[PART_MAX + 1];
};

/* containerd's platforms/database.go, and what uname(1) says. */
static const struct {
    const char *name, *arch, *variant;
} ARCHS[] = {
    {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""},    {"aarch64", "arm64", ""},     {"i386", "386", ""},
    {"i686", "386", ""},     {"armhf", "arm", "v7"},     {"armel", "arm", "v6"},       {"armv7l", "arm", "v7"},
    {"armv6l", "arm", "v6"}, {"ppc64el", "ppc64le", ""}, {"mips64el", "mips64le", ""}, {"loongarch64", "loong64", ""},
};

static const char *const KNOWN_ARCHS[] = {"386",   "amd64",   "arm",   "arm64", "loong64", "mips64le",
                                          "ppc64", "ppc64le", "s390x", "wasm",  "riscv64"};

static bool copy_part(char out[PART_MAX + 1], const char *from, size_t len)
{
    if (len == 0 || len > PART_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)from[i]) && !strchr("_.-", from[i]))
            return false;
        out[i] = (char)tolower((unsigned char)from[i]);
    }
    out[len] = '\0';
    return true;
}

/* Up to three parts with slashes between them, then ":version"; or containerd's "os(version)/arch". */
static bool platform_split(const char *text, struct platform_parts *p)
{
    const char *rest = text, *colon = strchr(text, ':');
    char *parts[] = {p->os, p->arch, p->variant};
    size_t end = colon ? (size_t)(colon - text) : strlen(text);

    memset(p, 0, sizeof(*p));
    if (colon && !copy_part(p->version, colon + 1, strlen(colon + 1)))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(parts) && rest; i++) {
        size_t cap = end - (size_t)(rest - text), len = MIN(strcspn(rest, "/"), cap), name = strcspn(rest, "(");
        bool paren = i == 0 && !colon && name < len && rest[len - 1] == ')';
        if (paren && !copy_part(p->version, rest + name + 1, len - name - 2))
            return false;
        if (!copy_part(parts[i], rest, paren ? name : len))
            return false;
        rest = len < cap ? rest + len + 1 : NULL;
    }
    return !rest;
}

static void rename_parts(struct platform_parts *p)
{
    if (strcmp(p->os, "macos") == 0)
        snprintf(p->os, sizeof(p->os), "darwin");
    for (size_t i = 0; i < ARRAY_LEN(ARCHS); i++) {
        if (strcmp(p->arch, ARCHS[i].name) != 0)
            continue;
        snprintf(p->arch, sizeof(p->arch), "%s", ARCHS[i].arch);
        if (!p->variant[0])
            snprintf(p->variant, sizeof(p->variant), "%s", ARCHS[i].variant);
    }
    size_t len = strlen(p->variant);
    if (isdigit((unsigned char)p->variant[0]) && len < PART_MAX) {
        memmove(p->variant + 1, p->variant, len + 1);
        p->variant[0] = 'v';
    }
}

static bool is_arch(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(ARCHS); i++)
        if (strcmp(name, ARCHS[i].name) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(KNOWN_ARCHS); i++)
        if (strcmp(name, KNOWN_ARCHS[i]) == 0)
            return true;
    return false;
}

const char *platform_of_host(char out[PLATFORM_TEXT])
{
    struct utsname u;
    struct platform_parts p = {.os = "linux"};

    if (uname(&u) != 0 || !copy_part(p.arch, u.machine, strlen(u.machine)))
        snprintf(p.arch, sizeof(p.arch), "amd64");
    rename_parts(&p);
    snprintf(out, PLATFORM_TEXT, "linux/%s%s%s", p.arch, p.variant[0] ? "/" : "", p.variant);
    return out;
}

bool platform_normalize(const char *text, char out[PLATFORM_TEXT])
{
    struct platform_parts p;

    if (!platform_split(text, &p))
        return false;
    if (!p.arch[0]) { /* an architecture alone */
        if (!is_arch(p.os))
            return false;
        memcpy(p.arch, p.os, sizeof(p.arch));
        snprintf(p.os, sizeof(p.os), "linux");
    }
    rename_parts(&p);
    snprintf(out, PLATFORM_TEXT, "%s/%s%s%s%s%s", p.os, p.arch, p.variant[0] ? "/" : "", p.variant,
             p.version[0] ? ":" : "", p.version);
    return true;
}

/* The number of a variant ("v7": 7); the default's if there is none. */
static int version(const struct platform_parts *p)
{
    if (p->variant[0] == 'v')
        return atoi(p->variant + 1);
    if (p->variant[0])
        return -1;
    return strcmp(p->arch, "arm64") == 0 ? 8 : strcmp(p->arch, "arm") == 0 ? 7 : 1;
}

/* "10.0.20348" is a prefix of "10.0.20348.2700". */
static bool has_version(const char *wants, const char *has)
{
    size_t len = strlen(wants);

    return strncmp(wants, has, len) == 0 && (len == 0 || has[len] == '\0' || has[len] == '.');
}

int platform_score(const char *wants, const char *has)
{
    struct platform_parts w, h;

    if (!platform_split(wants, &w) || !platform_split(has, &h) || !w.arch[0] || !h.arch[0])
        return 0;
    rename_parts(&w);
    rename_parts(&h);
    if (strcmp(w.os, h.os) != 0 || strcmp(w.arch, h.arch) != 0 || !has_version(w.version, h.version))
        return 0;
    if (strcmp(w.variant, h.variant) == 0)
        return EXACT;
    int wanted = version(&w), there = version(&h);
    if (wanted < 0 || there < 0 || there > wanted)
        return 0;
    return MAX(EXACT - 1 - (wanted - there), 1);
}
