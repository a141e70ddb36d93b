/* size.h - bytes for people: "1.2 GiB". Any thread. */
#ifndef ENTREPOT_BASE_SIZE_H
#define ENTREPOT_BASE_SIZE_H

#include <stdint.h>

enum { SIZE_TEXT = 32 };
/* "unknown" for a negative number. Returns `out`. */
const char *size_text(int64_t bytes, char out[SIZE_TEXT]);

#endif
