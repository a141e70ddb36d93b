/* platform.h - which manifests of an index are for a platform.
 *
 * "linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348": GOOS, GOARCH, variant and os.version of image-spec
 * image-index.md. Who asks without a variant takes the one that machines of this kind have (containerd's
 * platforms.Default: arm/v7, arm64/v8, amd64/v1); who asks for one is also served by what an older one needs. An
 * os.version that is asked for is the beginning of the one that serves it; one that is not asked for may be any.
 */
#ifndef ENTREPOT_BASE_PLATFORM_H
#define ENTREPOT_BASE_PLATFORM_H

#include <stdbool.h>

enum { PLATFORM_TEXT = 128 };

/* What people and other tools call it ("x86_64", "linux/aarch64", "arm64", "windows(10.0.20348)/amd64") in the words of
 * images; an architecture alone is Linux's. False: it is none. */
bool platform_normalize(const char *text, char out[PLATFORM_TEXT]);
/* This machine's, in the words of images. */
const char *platform_of_host(char out[PLATFORM_TEXT]);
/* How well `has` serves who wants `wants`; 0: not at all. */
int platform_score(const char *wants, const char *has);

#endif
