#include "base/cidr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ip ip_parse(const char *text)
{
    struct ip ip = {0};

    if (inet_pton(AF_INET, text, ip.raw) == 1)
        ip.bits = 32;
    else if (inet_pton(AF_INET6, text, ip.raw) == 1)
        ip.bits = 128;
    return ip;
}

struct ip ip_of(const struct sockaddr *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip ip = {0};

    if (address->sa_family == AF_INET) {
        ip.bits = 32;
        memcpy(ip.raw, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const uint8_t *raw = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
        bool is_four = memcmp(raw, mapped, sizeof(mapped)) == 0;
        ip.bits = is_four ? 32 : 128;
        memcpy(ip.raw, is_four ? raw + 12 : raw, is_four ? 4 : 16);
    }
    return ip;
}

static void clear_behind(struct cidr *net)
{
    for (int bit = net->bits; bit < net->net.bits; bit++)
        net->net.raw[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

bool cidr_parse(const char *text, struct cidr *out)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    char *end;

    if (len >= sizeof(address))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    out->net = ip_parse(address);
    out->bits = out->net.bits;
    if (slash) {
        long bits = strtol(slash + 1, &end, 10);
        if (!isdigit((unsigned char)slash[1]) || *end || bits > out->net.bits)
            return false;
        out->bits = (int)bits;
    }
    clear_behind(out);
    return out->net.bits > 0;
}

bool cidr_has(const struct cidr *net, const struct ip *ip)
{
    int whole = net->bits / 8, rest = net->bits % 8;

    if (ip->bits == 0 || ip->bits != net->net.bits || net->bits < 0 || net->bits > ip->bits)
        return false;
    return memcmp(ip->raw, net->net.raw, (size_t)whole) == 0 &&
           (rest == 0 || (ip->raw[whole] ^ net->net.raw[whole]) >> (8 - rest) == 0);
}

const char *cidr_format(const struct cidr *net, char out[CIDR_TEXT])
{
    char address[INET6_ADDRSTRLEN] = "";

    inet_ntop(net->net.bits == 32 ? AF_INET : AF_INET6, net->net.raw, address, sizeof(address));
    if (net->bits == net->net.bits)
        snprintf(out, CIDR_TEXT, "%s", address);
    else
        snprintf(out, CIDR_TEXT, "%s/%d", address, net->bits);
    return out;
}
