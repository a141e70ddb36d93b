/* toml.h - where the keys of a TOML file are, so that a line can be put beside them without touching the rest.
 *
 * Debian 12 has no TOML library for C (those of C++ and Python write files in a form of their own, without comments).
 * This one only finds: tables and keys with their names, and where values begin and end. It does not understand values
 * but plain texts and lists of them. It refuses what it does not know, so nothing is changed that was not understood.
 * One thread.
 */
#ifndef ENTREPOT_CLI_SETUP_TOML_H
#define ENTREPOT_CLI_SETUP_TOML_H

#include "cli/setup/text.h"

#include "base/err.h"

/* Between the keys of a path: `[plugins."io.containerd.cri.v1.images".registry]` is
 * "plugins" TOML_DOT "io.containerd.cri.v1.images" TOML_DOT "registry". */
#define TOML_DOT "\037"

enum toml_kind {
    TOML_TABLE,   /* [path] */
    TOML_ELEMENT, /* [[path]] */
    TOML_VALUE    /* path = value */
};

struct toml_entry {
    enum toml_kind kind;
    char *path;        /* of a value, with the path of its table */
    int table;         /* of a value: the entry of its table; -1: before the first one */
    int line;          /* from 1 */
    size_t begin, end; /* its lines, to behind the last line end */
    size_t value, value_end;
};

struct toml_file {
    const struct buf *text; /* borrowed */
    struct toml_entry *list;
    size_t count, cap;
};

/* Errors: ERR_INVALID, with the line. */
bool toml_read(struct toml_file *f, const struct setup_text *text, struct err *err);
void toml_free(struct toml_file *f);
#define _cleanup_toml_ _cleanup_(toml_free)

/* The first entry of this kind and path; NULL: there is none. */
const struct toml_entry *toml_find(const struct toml_file *f, enum toml_kind kind, const char *path);
/* Whether `path` is below `above`, or the same. */
bool toml_is_below(const char *path, const char *above);
/* A text without escapes; the caller frees it. NULL: it is another value. */
char *toml_text(const struct toml_file *f, const struct toml_entry *value);
/* A list of such texts: calls `each` until it returns false. False: it is something else. */
bool toml_each_text(const struct toml_file *f, const struct toml_entry *value,
                    bool (*each)(void *arg, const char *text), void *arg);
/* An entry that defines `path`, or a part of it, so that a section [path] cannot be added beside it, or extended by a
 * line: an inline table, a dotted key. NULL: there is none. */
const struct toml_entry *toml_find_closed(const struct toml_file *f, const char *path);

/* Appends the text with a line `key = value` as the first one of a table. */
void toml_add_key(struct buf *out, const struct setup_text *text, const struct toml_file *f,
                  const struct toml_entry *table, const char *line);
/* Appends the text with a section at its end: lines, each ended by "\n". */
void toml_add_section(struct buf *out, const struct setup_text *text, const char *lines);
/* Appends the text with `item` as the first of a list of texts. */
void toml_add_item(struct buf *out, const struct setup_text *text, const struct toml_entry *value, const char *item);

#endif
