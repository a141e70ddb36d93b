/* image_list_private.h - between the files that read lists of images. */
#ifndef ENTREPOT_CLI_IMAGE_LIST_PRIVATE_H
#define ENTREPOT_CLI_IMAGE_LIST_PRIVATE_H

#include "cli/image_list.h"

/* A whole file ("-": stdin), NUL-terminated. */
bool image_list_file(const char *file, struct buf *text, struct err *err);

#endif
