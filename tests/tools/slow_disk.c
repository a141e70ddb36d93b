/* slow_disk SOURCE MOUNTPOINT MILLISECONDS [HEADS]: SOURCE read-only at MOUNTPOINT, where each read takes that
 * long. As many reads at once as there are heads (16). What was read stays in the page cache, as that of a disk
 * does. Serves until it is unmounted. Speaks the protocol of /dev/fuse itself, of which <linux/fuse.h> is the
 * description; exits with 77 where there is no FUSE or it may not mount. Says each read on stderr. */
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NODES = 4096, REQUEST_MAX = 256 << 10, READ_MAX = 128 << 10, FOREVER = 3600 };

static int device, delay_ms;
static sem_t heads;
static char *paths[NODES]; /* by node; 1 is the root */
static int node_count = 2;

static uint64_t node_of(const char *path)
{
    for (int i = 1; i < node_count; i++)
        if (strcmp(paths[i], path) == 0)
            return (uint64_t)i;
    if (node_count == NODES)
        return 0;
    paths[node_count] = xstrdup(path);
    return (uint64_t)node_count++;
}

static void reply(uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + len), .error = -error, .unique = unique};
    struct iovec parts[] = {{&head, sizeof(head)}, {(void *)data, len}};

    (void)!writev(device, parts, len > 0 ? 2 : 1);
}

static void fill_attr(struct fuse_attr *a, const struct stat *st)
{
    *a = (struct fuse_attr){
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .blksize = 4096,
    };
}

static void do_init(uint64_t unique, const struct fuse_init_in *in)
{
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = MIN(in->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
        .max_readahead = READ_MAX,
        .flags = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_NO_OPEN_SUPPORT,
        .max_background = 64,
        .congestion_threshold = 64,
        .max_write = 4096,
    };

    reply(unique, 0, &out, sizeof(out));
}

static void do_lookup(uint64_t unique, const char *dir, const char *name)
{
    struct fuse_entry_out out = {.entry_valid = FOREVER, .attr_valid = FOREVER};
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
    struct stat st;

    if (lstat(path, &st) != 0) {
        reply(unique, errno, NULL, 0);
        return;
    }
    out.nodeid = node_of(path);
    fill_attr(&out.attr, &st);
    reply(unique, out.nodeid ? 0 : ENOMEM, &out, sizeof(out));
}

static void do_getattr(uint64_t unique, const char *path)
{
    struct fuse_attr_out out = {.attr_valid = FOREVER};
    struct stat st;

    if (!path || lstat(path, &st) != 0) {
        reply(unique, errno, NULL, 0);
        return;
    }
    fill_attr(&out.attr, &st);
    reply(unique, 0, &out, sizeof(out));
}

/* On a thread of its own, so that nothing but reads waits for reads. */
struct read_request {
    uint64_t unique;
    const char *path;
    struct fuse_read_in in;
};

static void *read_slowly(void *arg)
{
    _cleanup_free_ struct read_request *r = arg;
    const struct timespec wait = {delay_ms / 1000, delay_ms % 1000 * 1000000L};
    _cleanup_close_ int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    char data[READ_MAX];

    while (sem_wait(&heads) != 0)
        continue;
    fputs("read\n", stderr);
    nanosleep(&wait, NULL);
    sem_post(&heads);
    ssize_t n = pread(fd, data, MIN(r->in.size, (uint32_t)READ_MAX), (off_t)r->in.offset);
    reply(r->unique, n < 0 ? EIO : 0, data, n < 0 ? 0 : (size_t)n);
    return NULL;
}

static void do_read(uint64_t unique, const char *path, const struct fuse_read_in *in)
{
    struct read_request *r = xmalloc(sizeof(*r));
    pthread_t thread;

    *r = (struct read_request){unique, path, *in};
    if (pthread_create(&thread, NULL, read_slowly, r) == 0) {
        pthread_detach(thread);
        return;
    }
    free(r);
    reply(unique, EIO, NULL, 0);
}

/* All entries in one answer: the folders are small. */
static void do_readdir(uint64_t unique, const char *path, const struct fuse_read_in *in)
{
    char out[READ_MAX] = {0};
    size_t len = 0;
    DIR *d = path ? opendir(path) : NULL;
    struct dirent *e;

    for (uint64_t n = 1; d && (e = readdir(d)); n++) {
        size_t name = strlen(e->d_name);
        struct fuse_dirent entry = {e->d_ino, n, (uint32_t)name, e->d_type};
        if (n <= in->offset)
            continue;
        if (len + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name) > MIN(in->size, (uint32_t)READ_MAX))
            break;
        memcpy(out + len, &entry, FUSE_NAME_OFFSET);
        memcpy(out + len + FUSE_NAME_OFFSET, e->d_name, name);
        len += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name);
    }
    if (d)
        closedir(d);
    reply(unique, 0, out, len);
}

static void serve(const struct fuse_in_header *head, const void *body)
{
    static const struct fuse_open_out no_handle = {0};
    static const struct fuse_statfs_out statfs = {
        .st = {.blocks = 1 << 28, .bfree = 1 << 27, .bavail = 1 << 27, .bsize = 4096, .namelen = 255, .frsize = 4096}};
    const char *path = head->nodeid < NODES ? paths[head->nodeid] : NULL;
    const struct fuse_read_in *read_in = body;

    switch (head->opcode) {
    case FUSE_INIT:
        do_init(head->unique, body);
        break;
    case FUSE_LOOKUP:
        do_lookup(head->unique, path, body);
        break;
    case FUSE_GETATTR:
        do_getattr(head->unique, path);
        break;
    case FUSE_READ:
        do_read(head->unique, path, read_in);
        break;
    case FUSE_OPENDIR:
        reply(head->unique, 0, &no_handle, sizeof(no_handle));
        break;
    case FUSE_READDIR:
        do_readdir(head->unique, path, read_in);
        break;
    case FUSE_STATFS:
        reply(head->unique, 0, &statfs, sizeof(statfs));
        break;
    case FUSE_RELEASEDIR:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
        reply(head->unique, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break; /* have no answer */
    case FUSE_SETATTR:
    case FUSE_MKDIR:
    case FUSE_MKNOD:
    case FUSE_CREATE:
    case FUSE_UNLINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
        reply(head->unique, EROFS, NULL, 0);
        break;
    default: /* FUSE_OPEN, too, after which the kernel opens files without asking: no open(2) waits behind reads */
        reply(head->unique, ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static char request[REQUEST_MAX];
    char options[128];

    if (argc < 4)
        return 2;
    paths[1] = argv[1];
    delay_ms = atoi(argv[3]);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other,default_permissions",
             device, getuid(), getgid());
    if (device < 0 || mount("slow_disk", argv[2], "fuse.slow_disk", MS_NOSUID | MS_NODEV, options) != 0) {
        printf("cannot mount a FUSE file system here: %s\n", strerror(errno));
        return 77;
    }
    sem_init(&heads, 0, argc > 4 ? (unsigned)atoi(argv[4]) : 16);
    for (;;) {
        ssize_t n = read(device, request, sizeof(request));
        if (n < 0 && errno == ENODEV)
            return 0; /* unmounted */
        if (n >= (ssize_t)sizeof(struct fuse_in_header))
            serve((struct fuse_in_header *)request, request + sizeof(struct fuse_in_header));
        else if (n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
            return 1;
    }
}
