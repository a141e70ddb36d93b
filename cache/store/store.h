/* store.h - blob files, as a standard OCI image layout (image-spec image-layout.md).
 *
 *     <path>/oci-layout             {"imageLayoutVersion":"1.0.0"}
 *     <path>/index.json             tagged images
 *     <path>/blobs/<alg>/<hex>      one file a blob, mode 0444; 0400 if it came in under a
 *                                 client's own identity, so that this is known even if the index is lost
 *     <path>/ingest/<alg>-<hex>.part  blobs on their way in, 0600 in a folder of 0700:
 *                                 they may be of one client alone
 *     <path>/ingest/<alg>-<hex>.import  the same, from an archive (import.h)
 *     <path>/quarantine/<alg>-<hex>   what did not match its digest, the newest few, for inspection
 *     <path>/quarantine/<alg>-<hex>.lost  a note: this blob was here, was damaged or lost, and may be fetched again
 *
 * A blob file appears only by rename(2), after its digest was verified and its data synced; it never changes
 * afterwards, so an open file stays right even when GC unlinks it. Any thread; functions that sync say so and are for
 * io workers.
 */
#ifndef ENTREPOT_CACHE_STORE_STORE_H
#define ENTREPOT_CACHE_STORE_STORE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/ref.h"

struct index;
struct store;

/* Opens (creates) the layout under `path` and locks it against a second daemon. Errors: ERR_IO, ERR_INVALID (another
 * entrepot has it). */
struct store *store_open(const char *path, struct err *err);
/* Removes what a crash left in ingest/ that is of no use. Right after the store was opened, before it is used.
 */
void store_remove_leftovers(struct store *store);
void store_close(struct store *store);
const char *store_path(const struct store *store);

struct file_info {
    int64_t size;
    int64_t ctime_ns; /* st_ctim: changes with every write to the file, and cannot be set back */
    uint64_t inode;
    bool is_private; /* others may not read it: it came in under a client's own identity */
};

/* Opens a blob for reading; the caller closes it. `info` may be NULL. -1 and ERR_NOT_FOUND if there is none. */
int store_open_blob(struct store *store, const struct digest *d, struct file_info *info, struct err *err);
/* The same without opening. */
bool store_stat_blob(struct store *store, const struct digest *d, struct file_info *info, struct err *err);
/* Reads a whole blob of at most `max` bytes. Errors: ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_IO. */
bool store_read_blob(struct store *store, const struct digest *d, size_t max, struct buf *out, struct err *err);
bool store_has_blob(struct store *store, const struct digest *d);
/* Moves a blob's file to the trash, to be unlinked by store_empty_trash(); true also if there was none. Does not
 * wait for the disk, however large the file. */
bool store_trash_blob(struct store *store, const struct digest *d, struct err *err);
/* Takes it back, unless another file has come to its place. */
void store_untrash_blob(struct store *store, const struct digest *d);
void store_empty_trash(struct store *store);
/* Moves a blob's file that does not match its digest to quarantine/ (the oldest there goes when there are many), if it
 * still is the file with this inode. */
bool store_quarantine_blob(struct store *store, const struct digest *d, uint64_t inode, struct err *err);
/* The note that a blob was here, as a manifest or not, from this repository (full name; "": unknown), and is lost.
 * It stays until store_forget_lost(): the blob is stored again, or not needed any more (gc/repair/scrub.h). */
void store_note_lost(struct store *store, const struct digest *d, bool manifest, const char *repo);
bool store_is_lost(struct store *store, const struct digest *d);
bool store_read_lost(struct store *store, const struct digest *d, bool *manifest, char repo[REF_NAME_MAX + 1]);
void store_forget_lost(struct store *store, const struct digest *d);
void store_each_lost(struct store *store, bool (*fn)(void *arg, const struct digest *d), void *arg);
/* Unlinks a blob; true also if there was none. */
bool store_remove_blob(struct store *store, const struct digest *d, struct err *err);
/* The same, unless the index has an entry of it: a file that could be put in its place, but not entered. Blocks; the
 * caller has a lease on the blob. A failure is logged. */
void store_remove_unlisted(struct store *store, struct index *index, const struct digest *d);
/* Writes, syncs and publishes a small blob (a manifest) whose digest the caller has verified. Syncs. */
bool store_write_blob(struct store *store, const struct digest *d, const void *data, size_t len, bool is_private,
                      struct file_info *info, struct err *err);

/* One of several small blobs, for everybody, whose digests the caller has verified; `data` is borrowed. */
struct store_piece {
    struct digest digest;
    const char *data;
    size_t len;
    struct file_info info; /* of its file, when all are in their places */
    bool placed;
    /* while it is on its way */
    uint64_t serial;
    bool written;
};
/* Writes them, syncs them together where the file system can do that, and publishes them with one sync of each folder.
 * When it fails, some may be in their places (`placed`), whole. Syncs. */
bool store_write_blobs(struct store *store, struct store_piece *list, size_t count, struct err *err);

/* Opens (creates) the part file of a blob, read and write. */
int store_open_part(struct store *store, const struct digest *d, bool create, struct err *err);
bool store_remove_part(struct store *store, const struct digest *d, struct err *err);
/* When it was last written to, or touched, seconds since 1970, and what it takes of the disk, bytes; false if there is
 * none. */
bool store_stat_part(struct store *store, const struct digest *d, int64_t *written_s, int64_t *bytes);
/* Publishes a verified part: sync, mode 0444 (private: 0400), rename, sync of the folder, in this order. Syncs. */
bool store_publish_part(struct store *store, const struct digest *d, int fd, bool is_private, struct file_info *info,
                        struct err *err);

/* Opens the file of a blob that is being imported, for reading; or creates it, for both. Errors: ERR_NOT_FOUND, ERR_IO.
 */
int store_open_import(struct store *store, const struct digest *d, bool create, struct err *err);
bool store_remove_import(struct store *store, const struct digest *d, struct err *err);
/* What parts and imports take of the disk, in bytes; and how many parts there are, and what these take. Blocks. */
int64_t store_ingest_bytes(struct store *store, int64_t *parts, int64_t *part_bytes);
/* Removes imports that were not written to since (seconds since 1970). */
void store_remove_old_imports(struct store *store, int64_t before_s);
/* As store_publish_part(), for everybody to read. Syncs. */
bool store_publish_import(struct store *store, const struct digest *d, int fd, struct file_info *info, struct err *err);

/* Visits every file in blobs/ and every part, until fn returns false; names that are no digest are passed over.
 * store_each_part() also removes what a crash left in ingest/ that is of no use. */
void store_each_blob(struct store *store, bool (*fn)(void *arg, const struct digest *d, int64_t size), void *arg);
void store_each_part(struct store *store, bool (*fn)(void *arg, const struct digest *d), void *arg);
/* Size of the file system and what is free for this process, in bytes. */
bool store_space(struct store *store, int64_t *total, int64_t *available, struct err *err);

#endif
