/* The command line, by getopt_long(3): `--opt value`, `--opt=value`, abbreviations, `--`. */
#include "cli/lib/cli.h"

#include "base/buf.h"
#include "base/platform.h"
#include "base/ref.h"

#include <getopt.h>
#include <string.h>
#include <sys/un.h>

/* The options of all clients of the daemon. */
static const char DAEMON_OPTIONS[] =
    "\n  --json                                      print the daemon's answer as JSON\n"
    "  --socket PATH, --cache DIR, --config FILE   the daemon: its admin socket, or the options it was started with\n";

const struct cli_command *cli_commands;
const struct cli_look *cli_look;

enum { OPTIONS_MAX = 24, LONG_FIRST = 256 /* what getopt_long() returns for the first option of the table */ };

struct option_table {
    struct cli_option list[OPTIONS_MAX];
    int count;
    struct option names[OPTIONS_MAX + 1];
    char letters[2 + 2 * OPTIONS_MAX + 1];
};

static void options_add(struct option_table *t, const struct cli_option *o)
{
    size_t len = strlen(t->letters);

    t->names[t->count] =
        (struct option){o->name, o->flag ? no_argument : required_argument, NULL, LONG_FIRST + t->count};
    t->list[t->count++] = *o;
    if (o->letter)
        snprintf(t->letters + len, sizeof(t->letters) - len, "%c%s", o->letter, o->flag ? "" : ":");
}

static void options_make_table(struct option_table *t, struct cli_options *o, bool *help, const struct cli_option *own)
{
    memset(t, 0, sizeof(*t));
    strcpy(t->letters, "-:"); /* arguments are returned in order, a missing value as ':' */
    options_add(t, &(struct cli_option){"help", 'h', .flag = help});
    if (o) {
        options_add(t, &(struct cli_option){"json", .flag = &o->json});
        options_add(t, &(struct cli_option){"socket", .value = &o->socket});
        options_add(t, &(struct cli_option){"cache", .value = &o->cache});
        options_add(t, &(struct cli_option){"config", .value = &o->config});
    }
    for (; own && own->name; own++)
        options_add(t, own);
}

static const struct cli_option *options_find(const struct option_table *t, int c)
{
    for (int i = 0; i < t->count; i++)
        if (c == LONG_FIRST + i || (c == t->list[i].letter && c))
            return &t->list[i];
    return NULL;
}

/* Explains why getopt_long() refused `argument`. */
static int options_refuse(const struct option_table *t, const char *usage, const char *command, int c,
                          const char *argument)
{
    size_t len = strncmp(argument, "--", 2) == 0 ? strcspn(argument + 2, "=") : 0;
    int like = 0;
    bool exact = false;

    for (int i = 0; i < t->count && len > 0; i++) {
        like += strncmp(t->list[i].name, argument + 2, len) == 0;
        exact = exact || (strlen(t->list[i].name) == len && strncmp(t->list[i].name, argument + 2, len) == 0);
    }
    if (c == ':')
        return cli_usage(usage, "%s: %s needs a value", command, argument);
    if (like > 1 && !exact)
        return cli_usage(usage, "%s: \"%s\" is ambiguous", command, argument);
    if (like > 0)
        return cli_usage(usage, "%s: \"%s\": this option takes no value", command, argument);
    return cli_usage(usage, "%s: \"%s\" is not an option", command, argument);
}

static int options_take(const struct cli_option *o, const struct cli_syntax *s, const char *command, const char *value)
{
    struct err err = {0};

    if (o->flag) {
        *o->flag = true;
        return -1;
    }
    if (!value[0])
        return cli_usage(s->usage, "%s: --%s needs a value", command, o->name);
    if (o->value)
        *o->value = value;
    if (o->take && !o->take(s->arg, value, &err) &&
        err.code != ERR_INVALID) { /* a failure, not wrong usage: an unreadable file */
        err_wrap(&err, "--%s", o->name);
        return cli_fail(&err);
    }
    if (err.code != ERR_OK)
        return cli_usage(s->usage, "%s: --%s: %s", command, o->name, err.msg);
    return -1;
}

static int options_take_argument(const struct cli_syntax *s, const char *command, const char *argument)
{
    struct err err = {0};

    if (!s->argument)
        return cli_usage(s->usage, "%s: unexpected argument \"%s\"", command, argument);
    return s->argument(s->arg, argument, &err) ? -1 : cli_usage(s->usage, "%s: %s", command, err.msg);
}

/* The argument that getopt(3) refused; of a cluster of letters such as "-jx", the letter: optind has not moved past the
 * cluster then. */
static const char *refused_argument(char **argv)
{
    static char letter[3] = "-?";
    const char *argument = argv[optind - 1];

    if (strncmp(argument, "--", 2) == 0 || optopt <= ' ' || optopt >= 0x7f)
        return argument;
    letter[1] = (char)optopt;
    return letter;
}

int cli_parse(struct cli_options *o, const struct cli_syntax *s, int argc, char **argv)
{
    bool help = false;
    struct option_table t;
    int rc = -1, c;

    options_make_table(&t, o, &help, s->options);
    if (cli_look) {
        cli_look->take(cli_look->arg, s->usage, t.list, t.count);
        return EXIT_DONE;
    }
    opterr = 0;
    optind = 0;
    while (rc < 0 && (c = getopt_long(argc, argv, t.letters, t.names, NULL)) != -1) {
        if (c == 1)
            rc = options_take_argument(s, argv[0], optarg);
        else if (c == '?' || c == ':')
            rc = options_refuse(&t, s->usage, argv[0], c, refused_argument(argv));
        else
            rc = options_take(options_find(&t, c), s, argv[0], optarg);
        if (help) {
            fputs(s->usage, stdout);
            if (o && !s->no_daemon)
                fputs(DAEMON_OPTIONS, stdout);
            return EXIT_DONE;
        }
    }
    for (; rc < 0 && optind < argc; optind++) /* after "--" */
        rc = options_take_argument(s, argv[0], argv[optind]);
    if (rc < 0 && o && o->socket && strlen(o->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        rc = cli_usage(s->usage, "%s: --socket: \"%s\" is too long for a socket", argv[0], o->socket);
    return rc;
}

bool cli_take_argument(void *arg, const char *argument, struct err *err)
{
    const char **to = arg;

    if (*to)
        return err_set(err, ERR_INVALID, "unexpected argument \"%s\"", argument);
    *to = argument;
    return true;
}

bool cli_is_reference(const char *text, struct err *err)
{
    struct ref ref;

    return ref_parse(&ref, text, err);
}

bool cli_take_reference(void *arg, const char *argument, struct err *err)
{
    return cli_is_reference(argument, err) && json_array_append_new(arg, json_string(argument)) == 0;
}

bool cli_take_platform(json_t *platforms, const char *value, struct err *err)
{
    char known[PLATFORM_TEXT];

    if (strcmp(value, "all") != 0 && !platform_normalize(value, known))
        return err_set(err, ERR_INVALID, "\"%s\" is not a platform such as linux/arm64 or linux/arm/v7, nor all",
                       value);
    return json_array_append_new(platforms, json_string(value)) == 0;
}

/* The synopsis, on one line. */
static void add_synopsis(struct buf *out, const char *usage)
{
    const char *end = strstr(usage, "\n\n");

    for (const char *p = usage; *p && p != end; p++) {
        bool space = *p == ' ' || *p == '\n';
        if (!space || (out->len > 0 && out->data[out->len - 1] != ' '))
            buf_add(out, space ? " " : p, 1);
    }
}

int cli_usage(const char *usage, const char *fmt, ...)
{
    _cleanup_buf_ struct buf synopsis = {0};
    va_list ap;
    char text[ERR_MSG_MAX + 256];

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    add_synopsis(&synopsis, usage);
    cli_say(stderr, "entrepot: %s; %s", text, synopsis.data);
    return EXIT_USAGE;
}
