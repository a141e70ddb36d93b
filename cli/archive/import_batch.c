/* A blob of its own request costs the daemon two fsync(2) and a commit; small blobs share them. The body is
 * "<digest> <size>\n" and the bytes, for each blob. */
#include "cli/archive/import_private.h"

enum {
    BLOBS_MAX = 1024,                /* per batch: IMPORT_BATCH_MAX of cache/import.h */
    NAMED_MAX = 20,                  /* damaged blobs that are named */
    HEAD_MAX = DIGEST_TEXT_MAX + 16, /* bytes of a blob's header line */
};

bool import_batch_takes(const struct import_batch *b, size_t len)
{
    return b->count < BLOBS_MAX && b->body.len + HEAD_MAX + len <= IMPORT_PIECE;
}

void import_add_small(struct import_batch *b, const struct import_blob *blob, const struct buf *bytes)
{
    char text[DIGEST_TEXT_MAX];

    if (!b->blobs)
        b->blobs = xcalloc(BLOBS_MAX, sizeof(*b->blobs));
    buf_addf(&b->body, "%s %zu\n", digest_format(&blob->digest, text), bytes->len);
    if (bytes->len > 0)
        buf_add(&b->body, bytes->data, bytes->len);
    b->blobs[b->count++] = blob;
}

/* Its name in the archive. */
static const char *batch_name_of(const struct import_blob *b, char text[DIGEST_TEXT_MAX])
{
    return b->file ? b->file->name : digest_format(&b->digest, text);
}

/* The rest of the batch is still stored: a repaired archive need not send it again. */
static void batch_note_bad(struct import_batch *b, const struct import_blob *blob, const char *path, const char *why)
{
    char text[DIGEST_TEXT_MAX];

    if (b->bad++ < NAMED_MAX)
        cli_say(stderr, "entrepot: %s: %s: %s", path, batch_name_of(blob, text), why);
}

bool import_send_batch(struct import_batch *b, const struct cli_options *o, const char *path,
                       void (*done)(void *arg, const struct import_blob *blob, bool there), void *arg, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    json_t *answer = NULL;

    if (b->count == 0)
        return true;
    bool ok = cli_send(o, "/v1/import/batch", b->body.data, b->body.len, &answer, err) ||
              err_wrap(err, "%s: %s%s", path, batch_name_of(b->blobs[0], text), b->count > 1 ? " and others" : "");
    for (size_t i = 0; answer && i < b->count; i++) {
        const json_t *blob = json_array_get(json_object_get(answer, "blobs"), i);
        const char *status = json_string_value(json_object_get(blob, "status")),
                   *why = json_string_value(json_object_get(blob, "error"));
        if (status)
            done(arg, b->blobs[i], strcmp(status, "there") == 0);
        else
            batch_note_bad(b, b->blobs[i], path, why ? why : "the daemon's answer has no status for it");
    }
    json_decref(answer);
    buf_clear(&b->body);
    b->count = 0;
    return ok;
}

void import_batch_free(struct import_batch *b)
{
    buf_free(&b->body);
    free(b->blobs);
}
