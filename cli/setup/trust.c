/* The system's store of certificates that programs trust: certificates are put into a folder, and a program of the
 * system makes one file of all, which engines read when they start. */
#include "cli/setup/engines.h"
#include "cli/setup/intercept.h"
#include "cli/setup/journal.h"
#include "cli/setup/place.h"

#include "base/authority.h"

#include <string.h>
#include <unistd.h>

static const struct trust_store {
    const char *folder, *program, *bundle;
} STORES[] = {
    {"/etc/pki/ca-trust/source/anchors", "update-ca-trust", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
    {"/etc/ca-certificates/trust-source/anchors", "update-ca-trust",
     "/etc/ca-certificates/extracted/tls-ca-bundle.pem"},
    {"/etc/pki/trust/anchors", "update-ca-certificates", "/var/lib/ca-certificates/ca-bundle.pem"},
    {"/usr/local/share/ca-certificates", "update-ca-certificates", "/etc/ssl/certs/ca-certificates.crt"},
};
#define PEM_END "-----END CERTIFICATE-----"

/* That of the system below the root; Debian's, if there is none. */
static const struct trust_store *store_find(const char *root)
{
    size_t i = 0;

    for (; i + 1 < ARRAY_LEN(STORES); i++) {
        _cleanup_free_ char *full = place_resolve(root, STORES[i].folder, NULL);
        if (full && access(full, F_OK) == 0)
            break;
    }
    return &STORES[i];
}

/* ---- the certificates ---- */

static bool ca_text_read(const char *root, const char *ca, struct setup_text *out, struct err *err)
{
    _cleanup_free_ char *full = place_resolve(root, ca, err);
    struct authority *a = full ? authority_load_certificates(full, err) : NULL;

    authority_unref(a);
    if (!a && full && err->code == ERR_NOT_FOUND)
        err_append(err, ": the daemon makes it when it starts with interception on, `entrepot ca --rotate` now");
    return a && setup_read_certificates(root, ca, out, err);
}

/* One file each: programs that make links by the certificate's name take no more from a file. */
static bool trust_plan(struct setup_view *v, const struct setup_target *t, struct err *err)
{
    const char *folder = store_find(v->root)->folder;
    struct setup_text text = {0};
    bool ok = ca_text_read(v->root, t->ca, &text, err);
    const char *p = ok && text.bytes.len > 0 ? text.bytes.data : "", *end;

    for (int n = 1; ok && (end = strstr(p, PEM_END)); n++, p = end) {
        _cleanup_free_ char *path =
            n == 1 ? xasprintf("%s/entrepot.crt", folder) : xasprintf("%s/entrepot-%d.crt", folder, n);
        _cleanup_buf_ struct buf one = {0};
        end += strlen(PEM_END "\n");
        buf_add(&one, p, (size_t)(end - p));
        ok = setup_view_write(v, path, &one, 0644, err);
    }
    setup_text_free(&text);
    return ok;
}

/* ---- what programs read ---- */

static bool bundle_read(const char *root, struct setup_text *out)
{
    return place_read(root, store_find(root)->bundle, out, NULL) && out->exists && out->bytes.len > 0;
}

static bool bundle_has(const struct setup_text *bundle, const struct setup_text *one)
{
    return bundle->bytes.len > 0 && one->bytes.len > 0 && strstr(bundle->bytes.data, one->bytes.data) != NULL;
}

/* A certificate of ours is not in it, or one may still be (*removed). */
static bool bundle_is_old(const struct setup_view *v, bool *removed)
{
    struct setup_text bundle = {0};
    bool old = false;

    bundle_read(v->root, &bundle);
    for (size_t i = 0; i < v->count; i++) {
        const struct setup_file *f = v->files[i];
        old = old || (f->want.exists && !bundle_has(&bundle, &f->want));
        *removed = *removed || (f->ours && !f->want.exists);
    }
    setup_text_free(&bundle);
    return old || *removed;
}

/* Debian's program leaves links to files that are gone unless it is told to make all of them again. */
static bool store_update(const struct trust_store *store, bool removed, struct err *err)
{
    bool fresh = removed && strcmp(store->program, "update-ca-certificates") == 0;
    const char *const with[] = {store->program, "--fresh", NULL}, *const without[] = {store->program, NULL};
    struct err ignored = {0};

    return (fresh && setup_run_program(with, &ignored)) || setup_run_program(without, err);
}

static bool trust_settle(struct setup_view *v, struct err *err)
{
    const struct trust_store *store = store_find(v->root);
    struct err why = {0};
    bool removed = false;

    if (!bundle_is_old(v, &removed))
        return true;
    if (v->root[0]) {
        setup_note(v, "run %s in the system below %s: until then its programs do not know the change", store->program,
                   v->root);
        return true;
    }
    if (store_update(store, removed, &why))
        return true;
    if (why.code != ERR_NOT_FOUND)
        return err_set(err, why.code, "%s", why.msg);
    setup_note(v, "%s is not there (package ca-certificates): until it has run, programs do not know the change",
               store->program);
    return true;
}

bool bundle_check(const struct setup_target *t, const struct setup_run *r, struct err *err)
{
    const struct trust_store *store = store_find(r->root);
    struct setup_text bundle = {0}, first = {0};
    bool ok = ca_text_read(r->root, t->ca, &first, err);

    if (ok && first.bytes.len > 0) {
        strstr(first.bytes.data, PEM_END)[strlen(PEM_END)] = '\0';
        ok = bundle_read(r->root, &bundle) && strstr(bundle.bytes.data, first.bytes.data);
        if (!ok)
            err_set(err, ERR_NOT_FOUND, "%s%s does not have the certificate of %s: run %s", r->root, store->bundle,
                    t->ca, store->program);
    }
    setup_text_free(&bundle);
    setup_text_free(&first);
    return ok;
}

static const char *const *trust_reload(const char *path UNUSED)
{
    return NULL;
}

const struct setup_engine SETUP_TRUST = {
    .name = "trust", .plan = trust_plan, .reload = trust_reload, .settle = trust_settle};

/* ---- which engines need it ---- */

bool setup_has_proxy(const struct setup_engine *e, const char *root)
{
    _cleanup_view_ struct setup_view v = {.root = root};
    _cleanup_journal_ struct setup_journal j = {.lock = -1};
    bool has = false;

    if (!journal_exists(root, e->name))
        return false;
    if (!journal_open(&j, root, e->name, false, &v, NULL))
        return true; /* not known */
    for (size_t i = 0; i < v.count; i++)
        has = has || (v.files[i]->ours && setup_is_proxy_file(v.files[i]->path));
    return has;
}
