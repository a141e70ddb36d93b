/* cidr.h - IP addresses, and nets of them as people write them: "10.0.0.0/8", "fd00::/8", "::1". Plain values; any
 * thread. */
#ifndef ENTREPOT_BASE_CIDR_H
#define ENTREPOT_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>

enum { CIDR_TEXT = 52 };

struct sockaddr;

struct ip {
    int bits; /* 32, 128; 0: it is none */
    uint8_t raw[16];
};

struct cidr {
    struct ip net;
    int bits; /* of the prefix */
};

/* Without brackets and port. */
struct ip ip_parse(const char *text);
/* The address of a peer; what came over IPv4 to a socket of both families (::ffff:10.0.0.1) is IPv4. `bits` is 0 for
 * one that is neither, such as a unix socket's. */
struct ip ip_of(const struct sockaddr *address);

/* An address alone is the net of that one. Bits behind the prefix are cleared. False if it is neither. */
bool cidr_parse(const char *text, struct cidr *out);
/* False for an address of the other family, and for none. */
bool cidr_has(const struct cidr *net, const struct ip *ip);
/* "10.0.0.0/8", "::1"; returns `out`. */
const char *cidr_format(const struct cidr *net, char out[CIDR_TEXT]);

#endif
