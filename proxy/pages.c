#include "proxy/pages.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <string.h>

/* Without brackets and port. False if it is neither a name nor an address. */
static bool pages_take_name(const char *host, char *name, size_t cap)
{
    bool brackets = *host == '[';
    size_t len = strcspn(host += brackets, brackets ? "]" : ":");
    const char *port = host + len + (brackets && host[len] == ']');

    if ((*port && (*port != ':' || port[1 + strspn(port + 1, "0123456789")])) || len >= cap)
        return false;
    memcpy(name, host, len);
    name[len] = '\0';
    return true;
}

static bool is_address(const char *name)
{
    unsigned char raw[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

bool pages_is_our_host(const struct config *c, const char *host)
{
    char name[256];

    if (!*host)
        return true;
    if (!pages_take_name(host, name, sizeof(name)))
        return false;
    if (is_address(name) || strcmp(name, "localhost") == 0)
        return true;
    for (int i = 0; i < c->upstream_count; i++) /* whose names may have ports */
        if (strcmp(c->upstreams[i].name, name) == 0 || strcmp(c->upstreams[i].name, host) == 0)
            return true;
    for (int i = 0; c->hosts[i]; i++)
        if (fnmatch(c->hosts[i], name, FNM_CASEFOLD) == 0)
            return true;
    return false;
}
