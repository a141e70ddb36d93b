/* The two files of an authority: made, replaced together, completed after a crash. */
#include "base/authority_private.h"

#include "base/io.h"
#include "base/secret.h"
#include "base/writable.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { LOCK_TRIES = 100, LOCK_WAIT_US = 50000, CERT_MODE = 0644, KEY_MODE = 0600 };

/* One of them: its folder, its name there and the name it is written under. */
struct authority_place {
    int dir;
    const char *file;
    const char *name; /* within `file` */
    char *fresh;
};

static void place_close(struct authority_place *p)
{
    if (p->dir >= 0)
        close(p->dir);
    free(p->fresh);
}

#define _cleanup_place_ _cleanup_(place_close)
#define NO_PLACE        ((struct authority_place){.dir = -1})

static bool place_open(struct authority_place *p, const char *file, struct err *err)
{
    _cleanup_free_ char *folder = writable_folder_of(file);
    const char *slash = strrchr(file, '/');

    *p = (struct authority_place){.file = file, .name = slash ? slash + 1 : file};
    p->fresh = xasprintf("%s" AUTHORITY_FRESH, p->name);
    p->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->dir < 0)
        err_errno(err, errno == EACCES ? ERR_DENIED : ERR_IO, "the folder of %s", file);
    return p->dir >= 0;
}

static bool place_is_there(const struct authority_place *p)
{
    struct stat st;

    return fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Of all who make, replace and complete: a daemon and the command. */
static bool place_lock(const struct authority_place *p, struct err *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(p->dir, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(err, ERR_IO, "locking the folder of %s", p->file);
        usleep(LOCK_WAIT_US);
    }
    return err_set(err, ERR_BUSY, "%s: another process is making or replacing it", p->file);
}

/* The new file is its predecessor's owner's, with its mode; one that had none is its folder's owner's, when root makes
 * it: the daemon has to read it. Links are not followed: who owns the folder could lead root anywhere. */
static bool set_owner(int fd, const struct authority_place *p, mode_t mode)
{
    struct stat st;
    bool was = fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);

    if (!was && fstat(p->dir, &st) != 0)
        return false;
    if (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
        return false;
    return fchmod(fd, was ? st.st_mode & (mode == KEY_MODE ? 0770 : 0777) : mode) == 0;
}

static bool write_fresh(const struct authority_place *p, const struct buf *text, mode_t mode, struct err *err)
{
    if (unlinkat(p->dir, p->fresh, 0) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, "removing %s" AUTHORITY_FRESH, p->file);
    _cleanup_close_ int fd = openat(p->dir, p->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, KEY_MODE);
    if (fd >= 0 && set_owner(fd, p, mode) && io_write(fd, text->data, text->len) && fsync(fd) == 0)
        return true;
    err_errno(err, ERR_IO, "writing %s" AUTHORITY_FRESH, p->file);
    unlinkat(p->dir, p->fresh, 0);
    return false;
}

/* Makes the fresh file the one. */
static bool place_take(const struct authority_place *p, struct err *err)
{
    return (renameat(p->dir, p->fresh, p->dir, p->name) == 0 && fsync(p->dir) == 0) ||
           err_errno(err, ERR_IO, "replacing %s", p->file);
}

/* ---- what is in them ---- */

static bool take_text(BIO *bio, bool ok, struct buf *out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);

    if (!ok)
        abort(); /* as without memory anywhere */
    buf_add(out, data, (size_t)len);
    if (len > 0)
        OPENSSL_cleanse(data, (size_t)len);
    BIO_free(bio);
    return true;
}

static void add_cert(struct buf *out, X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());

    take_text(bio, bio && PEM_write_bio_X509(bio, cert) == 1, out);
}

static void add_key(struct buf *out, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    take_text(bio, bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, out);
}

/* Those that clients may still trust; NULL: there was none. */
static void add_those_before(struct buf *out, const struct authority *a)
{
    struct authority_about about;

    for (int i = 0; a && authority_describe(a, i, &about); i++)
        if (!authority_is_past(a, i))
            add_cert(out, sk_X509_value(a->certs, i));
}

/* Under the lock. The key first: between the two, authority_ensure() finds the certificate under its other name. */
static bool replace_both(const struct authority_place *cert, const struct authority_place *key,
                         const char *const *hosts, const struct authority *before, struct err *err)
{
    _cleanup_buf_ struct buf certs = {0};
    _cleanup_secret_buf_ struct buf secret = {0};
    EVP_PKEY *k = authority_new_key();
    X509 *root = authority_make_root(k, hosts);

    add_cert(&certs, root);
    add_those_before(&certs, before);
    add_key(&secret, k);
    X509_free(root);
    EVP_PKEY_free(k);
    if (!write_fresh(key, &secret, KEY_MODE, err))
        return false;
    if (!write_fresh(cert, &certs, CERT_MODE, err)) {
        unlinkat(key->dir, key->fresh, 0);
        return false;
    }
    return place_take(key, err) && place_take(cert, err);
}

static bool has_subtree(const char *const *hosts)
{
    for (; *hosts; hosts++)
        if (authority_subtree_of(*hosts))
            return true;
    return false;
}

static bool open_and_lock(struct authority_place *cert, struct authority_place *key, const struct authority_files *f,
                          const char *const *hosts, struct err *err)
{
    if (!has_subtree(hosts)) { /* without constraints it could speak for all */
        err_set(err, ERR_INVALID, "there is no host that an authority could be made for");
        return false;
    }
    return place_open(cert, f->cert, err) && place_open(key, f->key, err) && place_lock(key, err);
}

/* A crash may have come between the renames of key and certificate. */
static bool place_complete(const struct authority_files *f, const struct authority_place *cert, struct err *err)
{
    _cleanup_free_ char *fresh = xasprintf("%s" AUTHORITY_FRESH, f->cert);
    struct authority *a = authority_read(f, NULL);

    if (!a) {
        a = authority_read(&(struct authority_files){fresh, f->key}, NULL);
        if (a && !place_take(cert, err)) {
            authority_unref(a);
            return false;
        }
    }
    authority_unref(a);
    return true;
}

bool authority_rotate(const struct authority_files *f, const char *const *hosts, struct err *err)
{
    _cleanup_place_ struct authority_place cert = NO_PLACE, key = NO_PLACE;
    struct err unreadable;

    if (!open_and_lock(&cert, &key, f, hosts, err))
        return false;
    place_complete(f, &cert, NULL); /* else the key's certificate would go, and a crash would leave none */
    /* One that cannot be read is replaced, too: that is the way out. */
    struct authority *before = authority_load_certificates(f->cert, &unreadable);
    bool ok = replace_both(&cert, &key, hosts, before, err);
    authority_unref(before);
    return ok;
}

static bool has_past(const struct authority *a)
{
    struct authority_about about;
    bool any = false;

    for (int i = 0; authority_describe(a, i, &about); i++)
        any = any || authority_is_past(a, i);
    return any;
}

/* Removes those that were replaced long ago, if it may; where it may not, they only stay for longer. */
static void drop_past(const struct authority_files *f, const struct authority_place *cert)
{
    _cleanup_buf_ struct buf kept = {0};
    struct authority *a = authority_load_certificates(f->cert, NULL);

    if (a && has_past(a)) {
        add_those_before(&kept, a);
        if (write_fresh(cert, &kept, CERT_MODE, NULL))
            place_take(cert, NULL);
    }
    authority_unref(a);
}

/* Nothing is to be done. Their folders need not be readable then: those of others' keys often are not. */
static bool is_in_order(const struct authority_files *f)
{
    struct authority *a = authority_read(f, NULL);
    bool ok = a && !has_past(a);

    authority_unref(a);
    return ok;
}

bool authority_ensure(const struct authority_files *f, const char *const *hosts, bool *made, struct err *err)
{
    _cleanup_place_ struct authority_place cert = NO_PLACE, key = NO_PLACE;

    *made = false;
    if (is_in_order(f))
        return true;
    if (!open_and_lock(&cert, &key, f, hosts, err))
        return false;
    if (!place_is_there(&key) && !place_is_there(&cert)) {
        *made = replace_both(&cert, &key, hosts, NULL, err);
        return *made;
    }
    if (!place_complete(f, &cert, err))
        return false;
    if (place_is_there(&key) && place_is_there(&cert)) {
        drop_past(f, &cert);
        return true;
    }
    return err_set(err, ERR_INVALID, "there is %s without %s; restore it, or `entrepot ca --rotate` makes others",
                   place_is_there(&key) ? f->key : f->cert, place_is_there(&key) ? f->cert : f->key);
}
