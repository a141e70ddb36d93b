/* platform.h - which manifests of an index are for a platform.
 *
 * "linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348": GOOS, GOARCH, variant and os.version of image-spec
 * image-index.md. Without a variant the default of the architecture is wanted (containerd's platforms.Default: arm/v7,
 * arm64/v8, amd64/v1); an older variant than the wanted one serves it, too. A wanted os.version must be a prefix of the
 * image's; without one, any will do.
 */
#ifndef ENTREPOT_BASE_PLATFORM_H
#define ENTREPOT_BASE_PLATFORM_H

#include <stdbool.h>

enum { PLATFORM_TEXT = 128 };

/* Translates the names of people and other tools ("x86_64", "linux/aarch64", "arm64", "windows(10.0.20348)/amd64") to
 * those of images; an architecture alone is Linux's. False: it is not a platform. */
bool platform_normalize(const char *text, char out[PLATFORM_TEXT]);
/* This machine's platform. */
const char *platform_of_host(char out[PLATFORM_TEXT]);
/* How well `has` suits `wants`; 0: not at all. */
int platform_score(const char *wants, const char *has);

#endif
