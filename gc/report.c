/* The report of a collection. */
#include "gc/gc.h"

void gc_report_add(struct gc_report *r, const char *reference, bool gone, const char *why, int64_t bytes)
{
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        r->images = xrealloc(r->images, r->room * sizeof(*r->images));
    }
    r->images[r->count++] = (struct gc_image){xstrdup(reference), gone, why, bytes};
}

void gc_report_clear(struct gc_report *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->images[i].reference);
    r->count = 0;
    r->freed_blobs = r->freed_bytes = 0;
}

void gc_report_free(struct gc_report *r)
{
    gc_report_clear(r);
    free(r->images);
    r->images = NULL;
    r->room = 0;
}
