/* cli.h - the subcommands of `entrepot`: one file a command, thin clients of the admin socket. */
#ifndef ENTREPOT_CLI_CLI_H
#define ENTREPOT_CLI_CLI_H

#include "base/err.h"

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

/* Reads the words after the command: the options every client command has ("--socket X", "--json", "--help", ...), and
 * its own through `own` (may be NULL), which returns how many words it took, 0 if it does not know this one. Returns -1
 * to go on, else the status to exit with; what is wrong has been said. */
int cli_parse(struct cli_options *o, const char *usage, int argc, char **argv,
              int (*own)(void *arg, int argc, char **argv, int at), void *arg);
/* An `own` for cli_parse(): the one word that is no option; arg is a const char *[1], NULL at first. */
int cli_take_word(void *arg, int argc, char **argv, int at);
/* A whole command that posts the references it was given: prints a line "<done> REF" for each in the answer's array
 * `done`, then what `print` (may be NULL) makes of the answer. */
int cli_for_references(int argc, char **argv, const char *usage, const char *path, const char *done,
                       void (*print)(const json_t *answer));
int cli_usage(const char *usage, const char *fmt, ...) PRINTF_LIKE(2, 3);
int cli_fail(const struct err *err);

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
enum { CLI_TEXT = 32 };
const char *cli_size(int64_t bytes, char out[CLI_TEXT]);
const char *cli_ago(int64_t unix_s, char out[CLI_TEXT]);
/* "sha256:0123456789ab" */
const char *cli_short(const char *digest, char out[CLI_TEXT]);
void cli_print_json(const json_t *j);
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
