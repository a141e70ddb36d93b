/* cli.h - the commands of `entrepot`, one file each: thin clients of the admin socket. One thread, but for the progress
 * lines of `pull`. */
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
    int timeout_s; /* of cli_ask(); 0: as long as a collection may take */
};

int cmd_serve(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_peers(int argc, char **argv);
int cmd_pulls(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_du(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_offline(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_pin(int argc, char **argv);
int cmd_unpin(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_ca(int argc, char **argv);
int cmd_setup(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_debug(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_help(int argc, char **argv);

/* All of them, as main.c has them; ends with {0}. */
struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
};
extern const struct cli_command *cli_commands;
/* The list of them, as `entrepot --help` prints it. */
void cli_help(FILE *to);
/* NULL: there is none of this name. */
const struct cli_command *cli_command_find(const char *name);

/* ---- options.c ---- */

/* An option of one command: a flag, or an option whose value is stored in *value or passed to `take`, in the order of
 * the command line. */
struct cli_option {
    const char *name;
    char letter; /* 0: none */
    bool *flag;
    const char **value;
    bool (*take)(void *arg, const char *value, struct err *err);
};

struct cli_syntax {
    const char *usage;
    const struct cli_option *options; /* ends with {0}; NULL: none */
    bool (*argument)(void *arg, const char *argument,
                     struct err *err); /* takes an argument; NULL: the command has none */
    void *arg;
    bool no_daemon; /* --socket and so on are accepted, for scripts that always pass them, but not shown by --help */
};

/* For `completion`: while it is set, cli_parse() tells it what a command takes, and ends the command. */
struct cli_look {
    void (*take)(void *arg, const char *usage, const struct cli_option *options, int count);
    void *arg;
};
extern const struct cli_look *cli_look;

/* Parses the command line: the command's own options, those of all clients of the daemon such as --socket and --json
 * (unless `o` is NULL), and --help. Returns -1 to continue, else the exit status, after printing an error. */
int cli_parse(struct cli_options *o, const struct cli_syntax *s, int argc, char **argv);
/* For `argument` of struct cli_syntax: a single argument; arg is a const char *[1], NULL at first. */
bool cli_take_argument(void *arg, const char *argument, struct err *err);
/* The same for references; arg is a JSON array, to which they are appended. */
bool cli_take_reference(void *arg, const char *argument, struct err *err);
bool cli_is_reference(const char *text, struct err *err);
/* Appends the value of --platform: "all", or a platform. */
bool cli_take_platform(json_t *platforms, const char *value, struct err *err);
/* Prints the error and the synopsis on one line; returns EXIT_USAGE. */
int cli_usage(const char *usage, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A whole command: posts its references; prints "<done> REF" for each one in the answer's array `done`. */
int cli_for_references(int argc, char **argv, const char *usage, const char *path, const char *done);
/* A whole command without arguments: gets a page of the daemon and prints it, with --json as it is. */
int cli_show(const char *usage, const char *path, void (*print)(const json_t *answer), int argc, char **argv);

/* ---- say.c: all output goes through these functions, except constant texts ---- */

/* One line, without its newline; control characters are made visible (base/visible.h). */
void cli_say(FILE *to, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for a text of several lines. */
void cli_say_text(FILE *to, const char *text, size_t len);
/* One line to stdout, with a word of it in colour if it is a terminal that has colours, and NO_COLOR is not set. */
enum cli_colour { CLI_PLAIN, CLI_GREEN, CLI_YELLOW, CLI_RED };
void cli_say_marked(const char *before, enum cli_colour colour, const char *word, const char *after);
void cli_print_json(const json_t *j);
/* On one line, flushed. */
void cli_print_event(FILE *to, const json_t *j);
/* Write bytes to stdout unchanged; flush stdout. */
void cli_write(const void *data, size_t len);
void cli_flush(void);
/* Whether a write to stdout has failed; *why: an errno. */
bool cli_stdout_failed(int *why);
/* Prints it; returns EXIT_FAILED. */
int cli_fail(const struct err *err);

/* ---- daemon.c ---- */

/* Sends a request: POST with a JSON `body`, GET without (NULL). The caller decrefs *answer. Errors: ERR_UNREACHABLE
 * (the daemon is not running), the daemon's errors. */
bool cli_ask(const struct cli_options *o, const char *path, const json_t *body, json_t **answer, struct err *err);
/* The same for long-running work: `line` gets each line of the answer as it arrives, except the last, which is *answer.
 * No timeout. */
bool cli_ask_long(const struct cli_options *o, const char *path, const json_t *body,
                  void (*line)(void *arg, const json_t *line), void *arg, json_t **answer, struct err *err);
/* The process behind the admin socket, once it has answered. Its pid is 0 if it is in another PID namespace. */
struct ucred;
bool cli_daemon_process(struct ucred *out);
/* Posts bytes in place of JSON. */
bool cli_send(const struct cli_options *o, const char *path, const void *data, size_t len, json_t **answer,
              struct err *err);
/* GET of any number of bytes, piece by piece; `take` returns false, with an error of its own, to stop. No timeout. */
bool cli_fetch(const struct cli_options *o, const char *path, bool (*take)(void *arg, const void *data, size_t len),
               void *arg, struct err *err);
/* GET of an answer that is not JSON; the caller frees *text. */
bool cli_ask_raw(const struct cli_options *o, const char *path, char **text, size_t *len, struct err *err);

/* "1.2 GiB", "3 m ago"; return `out`. */
enum { CLI_TEXT = SIZE_TEXT };
/* A number of bytes in an answer; -1: not known. */
int64_t cli_bytes(const json_t *object, const char *key);
const char *cli_size(int64_t bytes, char out[CLI_TEXT]);
const char *cli_ago(int64_t unix_s, char out[CLI_TEXT]);
/* "sha256:0123456789ab" */
const char *cli_short(const char *digest, char out[CLI_TEXT]);
/* The text of a key, borrowed; "-" if it is missing. */
const char *cli_text(const json_t *j, const char *key);

/* A table: set columns, headings and `right` (the letters of right-aligned columns: "ac" is the first and the third),
 * add rows, print. Printing empties it. */
enum { CLI_COLUMNS_MAX = 12 };
struct cli_table {
    int columns; /* at most CLI_COLUMNS_MAX */
    const char *const *headings;
    const char *right;
    char **cells; /* this and what follows: the table's own */
    size_t count, cap;
};
void cli_table_add(struct cli_table *t, const char *const *cells);
void cli_table_print(struct cli_table *t);

#endif
