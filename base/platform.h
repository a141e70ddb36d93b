/* platform.h - which manifests of an index are for a platform.
 *
 * "linux/amd64", "linux/arm/v7": GOOS, GOARCH and variant of image-spec image-index.md. Who asks without a variant
 * takes the one that machines of this kind have (containerd's platforms.Default: arm/v7, arm64/v8, amd64/v1); who asks
 * for one is also served by what an older one needs.
 */
#ifndef ENTREPOT_BASE_PLATFORM_H
#define ENTREPOT_BASE_PLATFORM_H

#include <stdbool.h>

/* How well `has` serves who wants `wants`; 0: not at all. */
int platform_score(const char *wants, const char *has);
bool platform_is_valid(const char *text);

#endif
