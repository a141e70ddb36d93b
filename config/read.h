/* read.h - between the files that read the configuration: values taken from their text into a struct config.
 * Main thread.
 *
 * A value that is not in the file (text NULL) leaves its destination as it is, at its default. All return false with
 * the error set, which names file, line and key, if the value cannot be.
 */
#ifndef ENTREPOT_CONFIG_READ_H
#define ENTREPOT_CONFIG_READ_H

#include "config/config.h"
#include "config/yaml.h"

struct config_reading {
    struct config *c;
    const char *file;
    struct yaml_config *yaml; /* what is in it */
    bool no_secrets;
    struct err *err;
};

/* Sets the error of a wrong value: of `key` ("low", "tags.ttl") in a section (NULL: the top), in its nth entry if the
 * section is a list. Always false. */
bool config_bad(struct config_reading *r, const char *section, int nth, const char *key, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* A host, or a pattern of hosts ("*.corp.example"). */
bool config_is_host_pattern(const char *text);
bool config_take_duration(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                          int64_t *ms);
/* One of a NULL-terminated list of words. */
bool config_take_fetch(struct config_reading *r, const char *section, int nth, const char *text,
                       enum config_fetch *out);
bool config_take_word(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                      const char *const *words, int *index);
bool config_take_int(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                     int least, int most, int *out);
bool config_take_bool(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                      bool *out);

bool config_take_policy(struct config_reading *r, const struct yaml_config *y);
void config_free_policy(struct config *c);

/* ---- environment.c ---- */

/* Sets in the YAML what the environment says (ENTREPOT_CACHE_MAX_SIZE). */
bool config_take_environment(struct config_reading *r);

/* ---- sources.c ---- */

/* Where each key that is given comes from. */
void config_note_sources(struct config *c, const struct yaml_config *y);
/* An option of the command line has replaced a key. */
void config_note_option(struct config *c, const char *path, const char *option);
void config_free_sources(struct config *c);

bool config_is_listened_on(const struct config *c, const char *address);
/* An address that is not taken yet. */
bool config_take_address(struct config_reading *r, const char *section, int nth, const char *text);
/* `listen.intercept` of the nth listener, and the section `intercept`. */
bool config_take_listen_intercept(struct config_reading *r, int nth, const struct yaml_listen *y);
bool config_take_intercept(struct config_reading *r, const struct yaml_config *y);
/* Its defaults, once the cache's folder is known. */
void config_finish_intercept(struct config *c);
void config_free_intercept(struct config *c);
/* `cluster`; after the listeners. */
bool config_take_cluster(struct config_reading *r, const struct yaml_config *y);
void config_free_cluster(struct config_cluster *c);
void config_copy_cluster(struct config_cluster *to, const struct config_cluster *from);
/* Adds the nth upstream of the file. */
bool config_take_upstream(struct config_reading *r, int nth, const struct yaml_upstream *y);
/* `tags`: for all, with the rules; and an upstream's own. */
bool config_take_tags(struct config_reading *r, const struct yaml_config *y);
bool config_take_upstream_tags(struct config_reading *r, int nth, const struct yaml_tags *y, struct config_tags *t);
/* Adds those of the built-in upstreams that the file does not have. */
void config_add_well_known(struct config *c);

/* Replaces a string that *to owns. */
static inline void config_set(char **to, const char *text)
{
    free(*to);
    *to = text ? xstrdup(text) : NULL;
}

#endif
