/* The report of a collection. */
#include "gc/gc.h"

#include "base/array.h"

void gc_report_add(struct gc_report *r, const char *reference, bool gone, const char *why, int64_t bytes)
{
    *ARRAY_NEXT(r->images, r->count, r->cap) = (struct gc_image){xstrdup(reference), gone, why, bytes};
    r->count++;
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
    r->cap = 0;
}
