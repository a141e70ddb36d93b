/* The cache's file system, limits and index, as the daemon's user sees them. */
#include "cli/doctor/doctor.h"

#include "base/size.h"
#include "config/config.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xFF534D42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xFE534D42
#endif

/* Less than this is filled by one layer. */
enum { DISK_LITTLE = 64 << 20 };

static void disk_add(json_t *findings, enum doctor_level level, const char *path, const char *what, const char *why,
                     const char *advice)
{
    doctor_add(findings, &(struct doctor_finding){TOPIC_DISK, level, path, what, why, advice});
}

static void look_at_kind(const char *path, json_t *findings)
{
    static const char other[] = "choose a cache.path on a local disk";
    struct statfs fs;

    if (statfs(path, &fs) != 0)
        return;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
        disk_add(findings, DOCTOR_WARNING, path, "the cache is in memory (tmpfs): a reboot empties it", NULL, other);
        break;
    case NFS_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
        disk_add(findings, DOCTOR_BROKEN, path, "the cache is on a network file system",
                 "the index needs memory that is shared with its file", other);
        break;
    case OVERLAYFS_SUPER_MAGIC:
        disk_add(findings, DOCTOR_WARNING, path, "the cache is in a container's own layer: it ends with the container",
                 NULL, "mount a volume at cache.path");
        break;
    default:
        break;
    }
}

struct disk_limits {
    json_t *findings;
    const char *path;
    bool warned;
};

static void disk_take_warning(void *arg, const char *text)
{
    struct disk_limits *l = arg;

    l->warned = true;
    disk_add(l->findings, DOCTOR_WARNING, l->path, text, NULL, NULL);
}

static void look_at_room(const struct config *c, json_t *findings)
{
    struct disk_limits l = {findings, c->cache_path, false};
    char available[SIZE_TEXT], total[SIZE_TEXT], used[SIZE_TEXT];
    struct config_disk disk;

    if (!config_look_at_disk(c->cache_path, &disk)) {
        disk_add(findings, DOCTOR_UNKNOWN, c->cache_path, "its file system cannot be asked", strerror(errno), NULL);
        return;
    }
    _cleanup_free_ char *room = xasprintf("%s of %s are free; the cache uses %s", size_text(disk.available, available),
                                          size_text(disk.total, total), size_text(disk.used, used));
    if (disk.available < DISK_LITTLE) {
        bool evicts = disk.used >= DISK_LITTLE;
        disk_add(findings, evicts ? DOCTOR_WARNING : DOCTOR_BROKEN, c->cache_path, "the disk is full", room,
                 evicts ? "blobs are evicted for new ones: free some room, or move cache.path"
                        : "images are passed on without caching: free some room, or move cache.path");
        return;
    }
    config_check_limits(c, &disk, disk_take_warning, &l);
    if (!l.warned)
        disk_add(findings, DOCTOR_OK, c->cache_path, room, NULL, NULL);
}

static void look_at_index(const char *path, json_t *findings)
{
    _cleanup_free_ char *folder = xasprintf("%s/index", path), *mark = xasprintf("%s/damaged", folder);

    if (access(mark, F_OK) == 0)
        disk_add(findings, DOCTOR_BROKEN, path, "the index is marked as damaged", mark,
                 "systemctl restart entrepot rebuilds it from the blobs");
    else if (errno == ENOENT && access(folder, F_OK) == 0)
        disk_add(findings, DOCTOR_OK, path, "the index is not marked as damaged", NULL, NULL);
    else if (errno != ENOENT)
        disk_add(findings, DOCTOR_UNKNOWN, path, "the index cannot be looked at", strerror(errno), NULL);
}

void doctor_look_at_disk(const struct config *c, json_t *findings)
{
    look_at_kind(c->cache_path, findings);
    look_at_room(c, findings);
    look_at_index(c->cache_path, findings);
}
