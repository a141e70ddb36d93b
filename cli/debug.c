/* `debug`: what a report of a bug needs. */
#include "cli/lib/cli.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/visible.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const char USAGE[] =
    "Usage: entrepot debug bundle|dump|log [-o FILE] [--json] [--socket PATH] [--cache DIR] [--config FILE]\n\n"
    "bundle: writes an archive for a report of a bug: configuration, status, metrics, the latest lines of the log, a\n"
    "  dump, and versions. No passwords, tokens or keys; names of images, registries and clients are in it.\n"
    "dump: prints what the daemon's loops, connections and downloads do and wait for.\n"
    "log: prints the latest lines of the daemon's log.\n\n"
    "  -o, --output FILE   the archive (default: entrepot-debug-TIME.tar.gz here; -: standard output)\n\n"
    "Examples:\n"
    "  entrepot debug bundle\n"
    "  entrepot debug dump | grep 'does not read'\n";

enum { ASK_TIMEOUT_S = 30 };

/* ---- the archive ---- */

struct bundle {
    const struct cli_options *o;
    struct archive *a;
    const char *folder;
    int missing; /* pages that the daemon did not give */
};

static bool bundle_add(struct bundle *b, const char *name, const char *text, size_t len, struct err *err)
{
    struct archive_entry *e = archive_entry_new();
    _cleanup_free_ char *path = xasprintf("%s/%s", b->folder, name);

    archive_entry_set_pathname(e, path);
    archive_entry_set_size(e, (la_int64_t)len);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_mtime(e, time(NULL), 0);
    bool ok = archive_write_header(b->a, e) == ARCHIVE_OK && archive_write_data(b->a, text, len) == (la_ssize_t)len;
    archive_entry_free(e);
    return ok || err_set(err, ERR_IO, "writing %s: %s", name, archive_error_string(b->a));
}

/* A page of the daemon; in its place why there is none. */
static bool bundle_add_page(struct bundle *b, const char *name, const char *path, struct err *err)
{
    _cleanup_free_ char *text = NULL;
    struct err why = {0};
    size_t len = 0;

    if (cli_ask_raw(b->o, path, &text, &len, &why))
        return bundle_add(b, name, text, len, err);
    _cleanup_free_ char *instead = xasprintf("not here: %s\n", why.msg);
    if (b->missing++ == 0) /* the others are missing for the same reason, in most cases */
        cli_say(stderr, "entrepot: %s: %s", name, why.msg);
    return bundle_add(b, name, instead, strlen(instead), err);
}

static void add_file(struct buf *out, const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[64 << 10];
    ssize_t n = fd < 0 ? -1 : io_read(fd, text, sizeof(text));

    buf_addf(out, "---- %s\n", path);
    if (n < 0)
        buf_addf(out, "%s\n", strerror(errno));
    else
        buf_add(out, text, (size_t)n);
}

static bool bundle_add_system(struct bundle *b, struct err *err)
{
    static const char *const files[] = {"/etc/os-release", "/proc/meminfo", "/proc/loadavg", "/proc/self/mountinfo"};
    _cleanup_buf_ struct buf out = {0};
    struct utsname u;

    buf_addf(&out, "entrepot %s\n", ENTREPOT_VERSION);
    if (uname(&u) == 0)
        buf_addf(&out, "%s %s %s %s, %ld processors\n", u.sysname, u.release, u.version, u.machine,
                 sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        add_file(&out, files[i]);
    return bundle_add(b, "system.txt", out.data, out.len, err);
}

static bool bundle_write(struct bundle *b, struct err *err)
{
    static const char *const pages[][2] = {
        {"status.json", "/v1/status"}, {"config.json", "/v1/config"}, {"metrics.txt", "/v1/metrics"},
        {"log.txt", "/v1/log"},        {"dump.txt", "/v1/dump"},
    };
    bool ok = bundle_add_system(b, err);

    for (size_t i = 0; ok && i < ARRAY_LEN(pages); i++)
        ok = bundle_add_page(b, pages[i][0], pages[i][1], err);
    return ok;
}

static int make_bundle(const struct cli_options *o, const char *output)
{
    char folder[64];
    time_t now = time(NULL);
    struct tm tm;
    struct err err = {0};

    strftime(folder, sizeof(folder), "entrepot-debug-%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
    _cleanup_free_ char *path = output ? xstrdup(output) : xasprintf("%s.tar.gz", folder);
    bool is_stdout = strcmp(path, "-") == 0;
    _cleanup_close_ int fd = is_stdout ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_errno(&err, ERR_IO, "creating %s", path);
        return cli_fail(&err);
    }
    struct bundle b = {.o = o, .a = archive_write_new(), .folder = folder};
    archive_write_set_format_pax_restricted(b.a);
    archive_write_add_filter_gzip(b.a);
    bool ok = archive_write_open_fd(b.a, fd) == ARCHIVE_OK || err_set(&err, ERR_IO, "writing %s", path);
    ok = ok && bundle_write(&b, &err);
    if (ok && archive_write_close(b.a) != ARCHIVE_OK)
        ok = err_set(&err, ERR_IO, "writing %s: %s", path, archive_error_string(b.a));
    archive_write_free(b.a);
    if (!ok && !is_stdout)
        unlink(path);
    if (!ok)
        return cli_fail(&err);
    if (!is_stdout && o->json) {
        json_t *j = json_pack("{s:o, s:i}", "file", visible_json(path), "missing", b.missing);
        cli_print_event(stdout, j);
        json_decref(j);
    } else if (!is_stdout) {
        cli_say(stdout, "%s%s", path, b.missing ? " (without what the daemon did not give)" : "");
    }
    return EXIT_DONE;
}

/* ---- the command ---- */

static int print_page(const struct cli_options *o, const char *path)
{
    _cleanup_free_ char *text = NULL;
    struct err err = {0};
    size_t len;

    if (!cli_ask_raw(o, path, &text, &len, &err))
        return cli_fail(&err);
    if (o->json) {
        json_t *j = json_pack("{s:o}", "text", visible_json(text));
        cli_print_json(j);
        json_decref(j);
    } else {
        cli_say_text(stdout, text, len);
    }
    return EXIT_DONE;
}

int cmd_debug(int argc, char **argv)
{
    struct cli_options o = {.timeout_s = ASK_TIMEOUT_S};
    const char *what = NULL, *output = NULL;
    const struct cli_option options[] = {{"output", 'o', .value = &output}, {0}};

    int rc =
        cli_parse(&o, &(struct cli_syntax){USAGE, options, .argument = cli_take_argument, .arg = &what}, argc, argv);
    if (rc >= 0)
        return rc;
    if (!what)
        return cli_usage(USAGE, "debug: bundle, dump or log?");
    if (strcmp(what, "bundle") == 0)
        return make_bundle(&o, output);
    if (output)
        return cli_usage(USAGE, "debug: --output is for bundle");
    if (strcmp(what, "dump") == 0)
        return print_page(&o, "/v1/dump");
    if (strcmp(what, "log") == 0)
        return print_page(&o, "/v1/log");
    return cli_usage(USAGE, "debug: \"%s\" is none of bundle, dump and log", what);
}
