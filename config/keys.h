/* keys.h - the keys that the configuration file can have, as tables. Between yaml.c and keys.c. */
#ifndef ENTREPOT_CONFIG_KEYS_H
#define ENTREPOT_CONFIG_KEYS_H

#include "config/yaml.h"

#include <stddef.h>

enum field_kind {
    IS_TEXT,    /* numbers and truth values, too */
    IS_SECTION, /* a mapping */
    IS_LIST,    /* of mappings or, without `fields`, of texts */
};

struct yaml_field {
    const char *key;
    enum field_kind kind;
    size_t at;                       /* where it goes in the struct of its mapping */
    size_t shortest, longest;        /* of a text, or of each text in a list: bytes */
    bool required;                   /* of each mapping */
    const struct yaml_field *fields; /* of a section, or of a list's entries; ends with an empty one */
    size_t entry, entries, count;    /* of a list: size of an entry, how many there can be, where their number goes */
    bool is_list_of_one;             /* a mapping in place of the list is its only entry */
    bool is_first_field;             /* a text in place of an entry is that of the entry's first field */
};

/* Of the top. */
extern const struct yaml_field CONFIG_KEYS[];

#endif
