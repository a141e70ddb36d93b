/* Single values of the file, and the errors when they are wrong. */
#include "config/read.h"

#include <ctype.h>
#include <string.h>

bool config_bad(struct config_reading *r, const char *section, int nth, const char *key, const char *fmt, ...)
{
    bool list = section && (strcmp(section, "listen") == 0 || strcmp(section, "upstreams") == 0);
    char why[256], path[128];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    for (char *p = why; *p; p++) /* an error is one line, whatever the file has */
        *p = (unsigned char)*p < ' ' ? '?' : *p;
    if (list)
        snprintf(path, sizeof(path), "%s[%d].%s", section, nth, key);
    else
        snprintf(path, sizeof(path), "%s%s%s", section ? section : "", section ? "." : "", key);
    const struct yaml_given *given = config_yaml_given(r->yaml, path);
    if (given && given->variable[0])
        return err_set(r->err, ERR_INVALID, "%s: %s%s%s: %s", given->variable, section ? section : "",
                       section ? "." : "", key, why);
    return err_set(r->err, ERR_INVALID, "%s: line %d: %s%s%s: %s", r->file ? r->file : "the built-in defaults",
                   config_yaml_line(r->yaml, path), section ? section : "", section ? "." : "", key, why);
}

bool config_take_duration(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                          int64_t *ms)
{
    if (!text || config_parse_duration(text, ms))
        return true;
    return config_bad(r, section, nth, key, "\"%s\" is not a time such as 500ms, 30s, 5m, 1h, 30d", text);
}

const char *const CONFIG_FETCHES[] = {"auto", "whole", "lazy", NULL};

bool config_take_word(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                      const char *const *words, int *index)
{
    char all[128] = "";

    if (!text)
        return true;
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            *index = i;
            return true;
        }
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", i ? ", " : "", words[i]);
    }
    return config_bad(r, section, nth, key, "\"%s\" is none of %s", text, all);
}

bool config_take_int(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                     int least, int most, int *out)
{
    char *end;

    if (!text)
        return true;
    long n = strtol(text, &end, 10);
    if (isspace((unsigned char)*text) || end == text || *end || n < least || n > most)
        return config_bad(r, section, nth, key, "\"%s\" is not a whole number from %d to %d", text, least, most);
    *out = (int)n;
    return true;
}

bool config_take_bool(struct config_reading *r, const char *section, int nth, const char *key, const char *text,
                      bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
    int index = *out ? 1 : 0;

    if (!config_take_word(r, section, nth, key, text, words, &index))
        return false;
    *out = index % 2 == 1;
    return true;
}

bool config_take_fetch(struct config_reading *r, const char *section, int nth, const char *text, enum config_fetch *out)
{
    int index = (int)*out;

    if (!config_take_word(r, section, nth, "fetch", text, CONFIG_FETCHES, &index))
        return false;
    *out = (enum config_fetch)index;
    return true;
}

bool config_is_listened_on(const struct config *c, const char *address)
{
    const char *colon = strrchr(address, ':');

    if (!colon || strcmp(colon, ":0") == 0) /* port 0 is another one each time */
        return false;
    for (int i = 0; c->listen[i]; i++)
        if (strcmp(c->listen[i], address) == 0)
            return true;
    return c->intercept.address && strcmp(c->intercept.address, address) == 0;
}

bool config_take_address(struct config_reading *r, const char *section, int nth, const char *text)
{
    if (!config_is_address(text))
        return config_bad(r, section, nth, "address", "\"%s\" is not ADDR:PORT (in numbers) or unix:/path", text);
    if (config_is_listened_on(r->c, text))
        return config_bad(r, section, nth, "address", "\"%s\" is listed twice", text);
    return true;
}
