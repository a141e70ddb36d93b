/* completion.h - what can be typed, from the commands' own option tables and usage texts, and as scripts for shells. */
#ifndef ENTREPOT_CLI_COMPLETION_COMPLETION_H
#define ENTREPOT_CLI_COMPLETION_COMPLETION_H

#include "base/buf.h"
#include "cli/lib/cli.h"

enum { COMPLETION_OPTIONS_MAX = 24 };

/* An argument, or an option's value. */
struct completion_value {
    struct buf words; /* "check show diff" */
    bool references, files, folders;
};

struct completion_option {
    const char *name;
    char letter; /* 0: none */
    bool valued, repeated;
    struct completion_value value;
    char *about; /* NULL: the usage does not say */
};

struct completion_command {
    const char *name, *does;
    struct completion_value argument;
    bool many; /* arguments */
    struct completion_option options[COMPLETION_OPTIONS_MAX];
    int count;
};

/* All commands; the last one has no name. */
struct completion_command *completion_look(void);
void completion_free(struct completion_command *list);

void completion_bash(struct buf *out, const struct completion_command *list);
void completion_zsh(struct buf *out, const struct completion_command *list);
void completion_fish(struct buf *out, const struct completion_command *list);

#endif
