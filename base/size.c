#include "base/size.h"

#include "base/mem.h"

const char *size_text(int64_t bytes, char out[SIZE_TEXT])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;

    if (bytes < 0) {
        snprintf(out, SIZE_TEXT, "unknown");
        return out;
    }
    while (n >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    snprintf(out, SIZE_TEXT, unit == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[unit]);
    return out;
}
