/* private.h - shared by the files of this folder: history.c, asset.c, figures.c ◀ status_page.c. */
#ifndef ENTREPOT_PROXY_PAGE_PRIVATE_H
#define ENTREPOT_PROXY_PAGE_PRIVATE_H

#include "proxy/page/history.h"
#include "proxy/page/status_page.h"

/* asset.c: the HTML, and the Content-Security-Policy that lets its own script and style run, and nothing else. */
extern const char page_html[], page_html_end[];
/* A text that the caller frees. */
char *page_policy(void);

/* figures.c. On a worker. */
/* All but the images: a new reference. */
json_t *figures_json(const struct page_view *v, const struct history *h);
/* The public images, PAGE_IMAGES_MAX at most, and how many there are of private repositories. A new reference. */
json_t *figures_images(const struct page_view *v, int *private_images);
/* What history.h sums up. Any thread. */
void figures_sums(const struct page_view *v, struct history_sums *out);

#endif
