/* cli.h - the subcommands of `entrepot`: one file a command, thin clients of the admin socket. */
#ifndef ENTREPOT_CLI_LIB_CLI_H
#define ENTREPOT_CLI_LIB_CLI_H

#include "base/err.h"
#include "base/size.h"

#include <jansson.h>
#include <stdint.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Options every client command takes. */
struct cli_options {
    const char *socket, *cache, *config;
    bool json;
};

int cmd_serve(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_offline(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_pin(int argc, char **argv);
int cmd_unpin(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* ---- options.c ---- */

/* An option of a command's own: a flag, or one with a value, which is noted, or taken (in the order of the words). */
struct cli_option {
    const char *name;
    char letter; /* 0: none */
    bool *flag;
    const char **value;
    bool (*take)(void *arg, const char *value, struct err *err);
};

struct cli_syntax {
    const char *usage;
    const struct cli_option *options; /* NULL: none of its own; ends with {0} */
    bool (*word)(void *arg, const char *word,
                 struct err *err); /* takes a word that is no option; NULL: there is none */
    void *arg;
    bool
        no_daemon; /* the options that say which daemon are taken, for scripts that add them always, and not explained */
};

/* Reads the words after the command: its own options, and those that all who ask the daemon have (`o` NULL: it does
 * not): "--socket X", "--json", ...; "--help" always. Returns -1 to go on, else the status to exit with; what is wrong
 * has been said. */
int cli_parse(struct cli_options *o, const struct cli_syntax *s, int argc, char **argv);
/* Each a `word` of a struct cli_syntax. The only one; arg is a const char *[1], NULL at first. */
bool cli_take_word(void *arg, const char *word, struct err *err);
/* References; arg is the JSON array they go to. */
bool cli_take_reference(void *arg, const char *word, struct err *err);
bool cli_is_reference(const char *text, struct err *err);
/* Appends the value of --platform: "all", or a platform. */
bool cli_take_platform(json_t *platforms, const char *value, struct err *err);
/* Says what was wrong, and the usage's first paragraph on one line; returns EXIT_USAGE. */
int cli_usage(const char *usage, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A whole command that posts the references it was given, or what `resolve` (may be NULL) makes of them: prints a line
 * "<done> REF" for each in the answer's array `done`, then what `print` (may be NULL) makes of the answer. */
int cli_for_references(int argc, char **argv, const char *usage, const char *path, const char *done,
                       bool (*resolve)(const struct cli_options *o, json_t *references, struct err *err),
                       void (*print)(const json_t *answer));

/* ---- say.c: everything is printed through these; only texts of our own may go past them ---- */

/* One line, without its newline: whatever is in it that would not be seen is made visible (base/visible.h). */
void cli_say(FILE *to, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for a text of several lines. */
void cli_say_text(FILE *to, const char *text, size_t len);
void cli_print_json(const json_t *j);
/* On one line, at once. */
void cli_print_event(FILE *to, const json_t *j);
/* To stdout: bytes as they are; what is still in its buffer. */
void cli_write(const void *data, size_t len);
void cli_flush(void);
/* Whether something printed to stdout did not arrive; *why: an errno. */
bool cli_stdout_failed(int *why);
/* Prints it; returns EXIT_FAILED. */
int cli_fail(const struct err *err);

/* ---- daemon.c ---- */

/* Asks the daemon. The caller decrefs *answer. `body` may be NULL (GET). Errors: ERR_UNREACHABLE (it is not running),
 * or what the daemon says. */
bool cli_ask(const struct cli_options *o, const char *path, const json_t *body, json_t **answer, struct err *err);
/* Asks for long work: `line` gets each line of the answer but the last, as it comes; the last is *answer. No limit of
 * time. */
bool cli_ask_long(const struct cli_options *o, const char *path, const json_t *body,
                  void (*line)(void *arg, const json_t *line), void *arg, json_t **answer, struct err *err);
/* Posts bytes in place of JSON. */
bool cli_send(const struct cli_options *o, const char *path, const void *data, size_t len, json_t **answer,
              struct err *err);
/* Gets bytes, piece by piece; `take` returning false ends it, having set an error of its own. No limit of time or size.
 */
bool cli_fetch(const struct cli_options *o, const char *path, bool (*take)(void *arg, const void *data, size_t len),
               void *arg, struct err *err);
/* The same for an answer that is not JSON; the caller frees *text. */
bool cli_ask_raw(const struct cli_options *o, const char *path, char **text, size_t *len, struct err *err);

/* "1.2 GiB", "3 m ago"; return `out`. */
enum { CLI_TEXT = SIZE_TEXT };
/* A number of bytes in an answer; -1: it is not known. */
int64_t cli_bytes(const json_t *object, const char *key);
const char *cli_size(int64_t bytes, char out[CLI_TEXT]);
const char *cli_ago(int64_t unix_s, char out[CLI_TEXT]);
/* "sha256:0123456789ab" */
const char *cli_short(const char *digest, char out[CLI_TEXT]);
/* The text of a key, borrowed; "-" if there is none. */
const char *cli_text(const json_t *j, const char *key);

/* A table for people: set columns, headings and `right` (letters of the columns that line up on the right: "ac" is the
 * first and the third), add rows, print. Printing empties it. */
enum { CLI_COLUMNS_MAX = 12 };
struct cli_table {
    int columns; /* at most CLI_COLUMNS_MAX */
    const char *const *headings;
    const char *right;
    char **cells; /* owned by the table, as what follows */
    size_t count, room;
};
void cli_table_add(struct cli_table *t, const char *const *cells);
void cli_table_print(struct cli_table *t);

#endif
