/* `import`: small blobs, many in one request. Its body is "<digest> <bytes>\n" and so many bytes, for each. */
#include "proxy/admin/pages.h"

#include "cache/import.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = DIGEST_TEXT_MAX + 16 };

/* Parses one blob of the body. Returns where the next one begins; NULL: it is malformed. */
static const char *take_small(struct import_small *to, const char *at, const char *end)
{
    const char *line = memchr(at, '\n', (size_t)MIN(end - at, (ptrdiff_t)HEAD_MAX));
    const char *space = line ? memchr(at, ' ', (size_t)(line - at)) : NULL;
    char *after;

    if (!space || space[1] < '0' || space[1] > '9' || !digest_parse(&to->digest, at, (size_t)(space - at)))
        return NULL;
    to->len = strtoul(space + 1, &after, 10);
    if (after != line || to->len > IMPORT_SMALL_MAX + 1 || to->len > (size_t)(end - line - 1))
        return NULL;
    to->data = line + 1;
    return to->data + to->len;
}

static size_t take_all(const struct admin_job *job, struct import_small *list)
{
    const char *at = job->body, *end = job->body + job->body_len;
    size_t count = 0;

    while (at && at < end && count < IMPORT_BATCH_MAX) {
        at = take_small(&list[count], at, end);
        count += at != NULL;
    }
    return at == end ? count : 0;
}

/* The reserved room is booked here, whether the batch was stored or not. */
static bool keep(struct admin_job *job, struct import_small *list, size_t count, int64_t bytes, struct err *err)
{
    struct cache *c = job->admin->puller.cache;

    if (bytes > 0 && !admin_reserve(job, bytes, err))
        return false;
    bool ok = import_keep_batch(c, list, count, err);
    if (!ok && err->code == ERR_NO_SPACE && admin_free_disk(job, bytes))
        ok = import_keep_batch(c, list, count, err);
    if (bytes > 0)
        ingests_book_room(cache_ingests(c), bytes);
    return ok;
}

static json_t *tell(const struct import_small *list, size_t count)
{
    json_t *blobs = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(blobs, list[i].error
                                         ? json_pack("{s:s}", "error", list[i].error)
                                         : json_pack("{s:s}", "status", list[i].there ? "there" : "imported"));
    return json_pack("{s:o}", "blobs", blobs);
}

void admin_import_batch(struct admin_job *job)
{
    struct cache *c = job->admin->puller.cache;
    struct import_small *list = xcalloc(IMPORT_BATCH_MAX, sizeof(*list));
    size_t count = take_all(job, list);
    struct err err = {0};

    if (count == 0)
        admin_error(job, 400, "which blobs? \"sha256:... 5\\n\" and 5 bytes for each, at most %d of up to %d bytes",
                    (int)IMPORT_BATCH_MAX, (int)IMPORT_SMALL_MAX);
    else if (keep(job, list, count, import_check_batch(c, list, count), &err))
        job->answer = tell(list, count);
    else
        admin_fail(job, &err);
    for (size_t i = 0; i < count; i++)
        free(list[i].error);
    free(list);
}
