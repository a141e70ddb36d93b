#include "proxy/registry/login_key.h"

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRESH LOGIN_KEY_FILE ".new"

void login_key_make(unsigned char key[LOGIN_KEY_BYTES])
{
    if (getrandom(key, LOGIN_KEY_BYTES, 0) != LOGIN_KEY_BYTES)
        abort(); /* no randomness, no secrets */
}

/* Why the file cannot be used; NULL: it can. */
static const char *find_fault(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "it is not a regular file";
    if (st.st_uid != geteuid())
        return "it belongs to another user";
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return "others may read or write it (its mode has to be 0600)";
    return st.st_size == LOGIN_KEY_BYTES ? NULL : "it is damaged";
}

/* False: no key can be read; *fault is NULL if there is no file. */
static bool read_key(int dir, unsigned char *key, const char **fault)
{
    _cleanup_close_ int fd = openat(dir, LOGIN_KEY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *fault = fd >= 0 ? find_fault(fd) : errno == ENOENT ? NULL : strerror(errno);
    if (fd < 0 || *fault)
        return false;
    if (io_read(fd, key, LOGIN_KEY_BYTES) == LOGIN_KEY_BYTES)
        return true;
    *fault = "it cannot be read";
    return false;
}

/* The file gets its name when it is complete and synced: a crash leaves the old one, or none. */
static bool write_key(int dir, const unsigned char *key)
{
    if (unlinkat(dir, FRESH, 0) != 0 && errno != ENOENT)
        return false;
    _cleanup_close_ int fd = openat(dir, FRESH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    if (io_write(fd, key, LOGIN_KEY_BYTES) && fsync(fd) == 0 && renameat(dir, FRESH, dir, LOGIN_KEY_FILE) == 0)
        return fsync(dir) == 0;
    int why = errno;
    unlinkat(dir, FRESH, 0);
    errno = why;
    return false;
}

void login_key_read_or_make(const char *folder, unsigned char key[LOGIN_KEY_BYTES])
{
    _cleanup_close_ int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *fault = NULL;

    if (dir >= 0 && read_key(dir, key, &fault))
        return;
    if (fault)
        log_warn("%s/" LOGIN_KEY_FILE ": %s: it is replaced, and clients have to log in again", folder, fault);
    login_key_make(key);
    if (dir < 0 || !write_key(dir, key))
        log_warn("%s/" LOGIN_KEY_FILE " cannot be written: %s: clients have to log in again after the next start",
                 folder, strerror(errno));
}
