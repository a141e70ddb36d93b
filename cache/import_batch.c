/* Small blobs of an import, many at once: what each of them costs the disk is shared by all. */
#include "cache/import.h"

#include "base/assert.h"
#include "cache/verify.h"
#include "cache/private.h"

static void batch_check_digest(struct import_small *b)
{
    char got[DIGEST_TEXT_MAX], want[DIGEST_TEXT_MAX];
    struct digest seen;

    digest_of(b->digest.alg, b->data, b->len, &seen);
    if (!digest_eq(&seen, &b->digest))
        b->error = xasprintf("%zu bytes that hash to %s were to be imported as %s", b->len, digest_format(&seen, got),
                             digest_format(&b->digest, want));
}

int64_t import_check_batch(struct cache *c, struct import_small *list, size_t count)
{
    int64_t missing = 0;

    OFF_LOOPS;
    for (size_t i = 0; i < count; i++) {
        struct import_small *b = &list[i];
        importing_hold(c->importing, &b->digest); /* before it is looked for, so that it cannot go after that */
        b->there = cache_look(c, &b->digest) == FILE_KNOWN;
        if (!b->there)
            batch_check_digest(b);
        missing += b->there || b->error ? 0 : (int64_t)b->len;
    }
    return missing;
}

/* Written and entered; *written: bytes that room was given for, and that are on the disk by now. */
static bool batch_keep(struct cache *c, struct store_piece *pieces, size_t count, int64_t *written, struct err *err)
{
    bool ok = store_write_blobs(c->store, pieces, count, err);

    for (size_t i = 0; ok && i < count; i++)
        *written += (int64_t)pieces[i].len;
    ingests_note_arriving(c->ingests, *written);
    ok = ok && cache_enter_pieces(c, pieces, count, err);
    for (size_t i = 0; i < count; i++)
        if (ok) /* an import that was interrupted may have begun with it in another way */
            store_remove_import(c->store, &pieces[i].digest, NULL);
        else if (pieces[i].placed)
            store_remove_unlisted(c->store, c->index, &pieces[i].digest);
    return ok;
}

bool import_keep_batch(struct cache *c, struct import_small *list, size_t count, struct err *err)
{
    struct store_piece *pieces = xcalloc(count, sizeof(*pieces));
    size_t missing = 0;
    int64_t written = 0;

    OFF_LOOPS;
    importing_lock_writing(c->importing);
    for (size_t i = 0; i < count; i++) {
        struct import_small *b = &list[i];
        if (b->there || b->error)
            continue;
        if (cache_look(c, &b->digest) == FILE_KNOWN) /* another one has brought it meanwhile */
            b->there = true;
        else
            pieces[missing++] = (struct store_piece){.digest = b->digest, .data = b->data, .len = b->len};
    }
    for (size_t i = 0; i < missing; i++)
        leases_take(c->leases, &pieces[i].digest);
    bool ok = missing == 0 || batch_keep(c, pieces, missing, &written, err);
    for (size_t i = 0; i < missing; i++)
        leases_release(c->leases, &pieces[i].digest);
    importing_unlock_writing(c->importing);
    ingests_note_arriving(c->ingests, -written);
    free(pieces);
    return ok;
}
