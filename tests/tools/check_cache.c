/* check_cache DIR [--settled]: does the index of a cache agree with itself and with the files? For tests, while no
 * daemon runs. Prints what is wrong; exit 1 if anything is. --settled: also every file must have an entry. */
#include "cache/index/rows.h"
#include "cache/store/store.h"

#include <stdio.h>

struct look {
    struct store *store;
    struct index *index;
    size_t wrong;
    int blobs, files;
    bool settled;
};

static bool check_entry(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct look *l = arg;
    char text[DIGEST_TEXT_MAX];
    struct file_info info = {.size = -1};
    int fd = store_open_blob(l->store, d, &info, NULL);

    l->blobs++;
    if (fd < 0 || info.size != row->size) {
        printf("entry without its file: %s (%lld bytes, the file %lld)\n", digest_format(d, text), (long long)row->size,
               (long long)info.size);
        l->wrong++;
    }
    if (fd >= 0)
        close(fd);
    return true;
}

static void complain(void *arg, const struct finding *f)
{
    char text[DIGEST_TEXT_MAX];

    (void)arg;
    printf("%s %s\n", digest_format(&f->digest, text), finding_text(f));
}

static void check_rows(struct index_txn *t, void *arg)
{
    struct look *l = arg;

    rows_each_blob(t, NULL, check_entry, l);
    l->wrong += rows_check(t, complain, NULL);
}

struct has {
    const struct digest *d;
    bool found;
};

static void find(struct index_txn *t, void *arg)
{
    struct has *h = arg;
    struct blob_row row;

    h->found = rows_get_blob(t, h->d, &row);
}

static bool check_file(void *arg, const struct digest *d, int64_t size)
{
    struct look *l = arg;
    struct has h = {.d = d};
    struct digest seen = {0};
    struct buf data = {0};
    char text[DIGEST_TEXT_MAX];

    l->files++;
    index_read(l->index, find, &h);
    if (!h.found && l->settled) {
        printf("file without an entry: %s\n", digest_format(d, text));
        l->wrong++;
    }
    if (store_read_blob(l->store, d, (size_t)size, &data, NULL))
        digest_of(d->alg, data.data ? data.data : "", data.len, &seen);
    if (!digest_eq(&seen, d)) {
        printf("file with wrong bytes: %s\n", digest_format(d, text));
        l->wrong++;
    }
    buf_free(&data);
    return true;
}

int main(int argc, char **argv)
{
    struct look l = {.settled = argc > 2};
    struct err err = {0};
    char dir[4096];

    if (argc < 2)
        return 2;
    snprintf(dir, sizeof(dir), "%s/index", argv[1]);
    l.store = store_open(argv[1], &err);
    l.index = l.store ? index_open(dir, 0, NULL, &err) : NULL;
    if (!l.index) {
        printf("%s\n", err.msg);
        return 1;
    }
    index_read(l.index, check_rows, &l);
    store_each_blob(l.store, check_file, &l);
    printf("%d entries, %d files, %zu wrong\n", l.blobs, l.files, l.wrong);
    index_close(l.index);
    store_close(l.store);
    return l.wrong ? 1 : 0;
}
