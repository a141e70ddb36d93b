#include "upstream/reach.h"

#include "base/cidr.h"
#include "base/url.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static const struct {
    uint32_t net;
    int bits;
} NOT_PUBLIC[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared by carriers */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local: metadata services */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool is_public_4(uint32_t address)
{
    for (size_t i = 0; i < ARRAY_LEN(NOT_PUBLIC); i++)
        if ((address ^ NOT_PUBLIC[i].net) >> (32 - NOT_PUBLIC[i].bits) == 0)
            return false;
    return true;
}

static uint32_t four(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_public_6(const uint8_t a[16])
{
    static const uint8_t zeros[12], mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0x00, 0x64, 0xff, 0x9b};

    if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
        return is_public_4(four(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
        return is_public_4(four(a + 2));
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) /* 2001::/23: protocol assignments, tunnels, benchmarks */
        return false;
    if (memcmp(a, zeros, 12) == 0) /* unspecified, loopback, IPv4-compatible */
        return false;
    /* Global unicast is 2000::/3; unique local, link-local and multicast lie elsewhere. */
    return a[0] >> 5 == 1;
}

bool reach_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_public_4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family == AF_INET6)
        return is_public_6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return false;
}

bool reach_is_own(const struct sockaddr *address)
{
    const struct ip ip = ip_of(address);
    struct ifaddrs *all;
    bool found = false;

    if (getifaddrs(&all) != 0)
        return true; /* it is not known */
    for (const struct ifaddrs *one = all; one && !found; one = one->ifa_next) {
        const struct ip own = one->ifa_addr ? ip_of(one->ifa_addr) : (struct ip){0};
        found = own.bits > 0 && own.bits == ip.bits && memcmp(own.raw, ip.raw, (size_t)own.bits / 8) == 0;
    }
    freeifaddrs(all);
    return found;
}

enum { PLACES_MAX = 16 };
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sockaddr_storage places[PLACES_MAX];
static int place_count;

static in_port_t place_port(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                                          : ((const struct sockaddr_in *)(const void *)address)->sin_port;
}

void reach_set_places(const struct sockaddr_storage *bound, int count)
{
    pthread_mutex_lock(&places_lock);
    place_count = 0;
    for (int i = 0; i < count && place_count < PLACES_MAX; i++)
        if (bound[i].ss_family == AF_INET || bound[i].ss_family == AF_INET6)
            places[place_count++] = bound[i];
    pthread_mutex_unlock(&places_lock);
}

bool reach_is_circle(const struct sockaddr *address)
{
    static const uint8_t any[16];
    const struct ip ip = ip_of(address);
    struct sockaddr_storage now[PLACES_MAX];

    pthread_mutex_lock(&places_lock);
    int count = place_count;
    memcpy(now, places, (size_t)count * sizeof(*now));
    pthread_mutex_unlock(&places_lock);
    for (int i = 0; i < count; i++) {
        const struct sockaddr *place = (const struct sockaddr *)&now[i];
        const struct ip own = ip_of(place);
        if (place_port(place) != place_port(address))
            continue;
        if (own.bits == ip.bits && memcmp(own.raw, ip.raw, (size_t)ip.bits / 8) == 0)
            return true;
        bool is_loopback = ip.bits == 32 && ip.raw[0] == 127; /* of which an interface has but one address */
        if (memcmp(own.raw, any, (size_t)own.bits / 8) == 0 && (is_loopback || reach_is_own(address)))
            return true;
    }
    return false;
}

bool reach_is_public_text(const char *address)
{
    uint8_t raw[16];

    if (inet_pton(AF_INET, address, raw) == 1)
        return is_public_4(four(raw));
    return inet_pton(AF_INET6, address, raw) == 1 && is_public_6(raw);
}

bool reach_is_named(const char *url, const char *const *patterns)
{
    char host[256];

    if (!url_host(url, host, sizeof(host)))
        return false;
    for (; patterns && *patterns; patterns++)
        if (fnmatch(*patterns, host, FNM_CASEFOLD) == 0)
            return true;
    return false;
}
