/* What the commands take: the option tables say which options there are, the usage texts what their values are. */
#include "cli/completion/completion.h"

#include "cli/setup/setup.h"

#include <ctype.h>
#include <string.h>

/* ---- values: "check|show|diff", "[REF|ID]...", "OS/ARCH[/VARIANT]|all" ---- */

static void value_add_word(struct completion_value *v, const char *word, size_t len)
{
    buf_addf(&v->words, "%s%.*s", v->words.len ? " " : "", (int)len, word);
}

static bool has_text(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what)) != NULL;
}

static void value_add(struct completion_value *v, const char *text, size_t len)
{
    size_t lower = 0;

    while (lower < len && (islower((unsigned char)text[lower]) || isdigit((unsigned char)text[lower])))
        lower++;
    if (lower > 0 && (lower == len || text[lower] == '.'))
        value_add_word(v, text, lower);
    v->references = v->references || (len >= 3 && strncmp(text, "REF", 3) == 0);
    v->files = v->files || has_text(text, len, "FILE") || has_text(text, len, "LIST") || has_text(text, len, "PATH");
    v->folders = v->folders || has_text(text, len, "DIR");
    for (size_t i = 0; has_text(text, len, "COMMAND") && cli_commands[i].name; i++)
        value_add_word(v, cli_commands[i].name, strlen(cli_commands[i].name));
    for (size_t i = 0; has_text(text, len, "ENGINE") && i < SETUP_ENGINES_COUNT; i++)
        value_add_word(v, SETUP_ENGINES[i]->name, strlen(SETUP_ENGINES[i]->name));
}

/* Up to a blank, or the bracket that closes the option. Returns what is behind it. */
static const char *value_read(struct completion_value *v, const char *text)
{
    const char *p = text;
    int depth = 0;

    if (*p == '[') /* an argument that may be absent */
        text = ++p;
    for (; *p && *p != ' ' && *p != '\n' && (*p != ']' || depth > 0); p++) {
        depth += *p == '[' ? 1 : *p == ']' ? -1 : 0;
        if (*p == '|' && depth == 0) {
            value_add(v, text, (size_t)(p - text));
            text = p + 1;
        }
    }
    value_add(v, text, (size_t)(p - text));
    return p;
}

/* ---- the usage text ---- */

/* "--name" or "-o" as a whole, in the usage; behind it. */
static const char *usage_find(const char *usage, const char *option)
{
    size_t len = strlen(option);

    for (const char *p = usage; (p = strstr(p, option)); p += len)
        if (p > usage && !strchr("-abcdefghijklmnopqrstuvwxyz", p[-1]) && p[len] != '-' &&
            !islower((unsigned char)p[len]))
            return p + len;
    return NULL;
}

/* "  --name VALUE   the text, up to the end of its line or of what it says first" */
static char *usage_about(const char *usage, const char *option)
{
    const char *line = strstr(usage, "\n\n  -"), *text, *found;

    for (line = line ? line + 2 : NULL; line && *line; line = strchr(line, '\n') + 1) {
        text = strncmp(line, "  -", 3) == 0 ? strstr(line + 3, "  ") : NULL;
        found = text ? usage_find(line, option) : NULL;
        if (!found || found > text)
            continue;
        while (*text == ' ')
            text++;
        size_t len = strcspn(text, "\n;:(");
        for (size_t i = 0; i + 1 < len; i++)
            if (text[i] == '.' && text[i + 1] == ' ')
                len = i;
        while (len > 0 && strchr(" ,.", text[len - 1]))
            len--;
        return xasprintf("%.*s", (int)len, text);
    }
    return NULL;
}

static char *common_about(const char *name)
{
    static const char *const texts[][2] = {{"help", "print help"},
                                           {"json", "print JSON"},
                                           {"socket", "the daemon's admin socket"},
                                           {"cache", "the daemon's cache folder"},
                                           {"config", "the daemon's configuration"}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i][0], name) == 0)
            return xstrdup(texts[i][1]);
    return NULL;
}

/* Accepted from scripts that always pass it (`no_daemon` of struct cli_syntax), and not shown. */
static bool look_is_hidden(const char *name)
{
    return strcmp(name, "socket") == 0 || strcmp(name, "cache") == 0 || strcmp(name, "config") == 0;
}

static void look_option(struct completion_command *c, const char *usage, const struct cli_option *o)
{
    _cleanup_free_ char *name = xasprintf("--%s", o->name);
    const char letter[] = {'-', o->letter, '\0'};
    const char *found = usage_find(usage, name), *end = strstr(usage, "\n\n");

    if (!found && look_is_hidden(o->name))
        return;
    struct completion_option *to = &c->options[c->count++];
    *to = (struct completion_option){.name = o->name, .letter = o->letter, .valued = !o->flag};
    to->about = usage_about(usage, name);
    if (!to->about)
        to->about = common_about(o->name);
    if (found > end && o->letter) /* the synopsis has the letter alone */
        found = usage_find(usage, letter);
    if (to->valued && found && *found == ' ')
        to->repeated = strncmp(value_read(&to->value, found + 1), "]...", 4) == 0;
}

static void look_take(void *arg, const char *usage, const struct cli_option *options, int count)
{
    struct completion_command *c = arg;
    const char *p = usage + strlen("Usage: entrepot ") + strlen(c->name);

    if (*p == ' ' && p[1] != '-' && strncmp(p + 1, "[-", 2) != 0) {
        p = value_read(&c->argument, p + 1);
        c->many = strncmp(p, "]...", 4) == 0 || has_text(usage, (size_t)(p - usage), "...");
    }
    for (int i = 0; i < count; i++)
        look_option(c, usage, &options[i]);
}

struct completion_command *completion_look(void)
{
    size_t count = 0;

    while (cli_commands[count].name)
        count++;
    struct completion_command *list = xcalloc(count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        char *argv[] = {(char *)cli_commands[i].name, NULL};
        struct cli_look look = {look_take, &list[i]};
        list[i].name = cli_commands[i].name;
        list[i].does = cli_commands[i].does;
        cli_look = &look;
        cli_commands[i].run(1, argv);
        cli_look = NULL;
    }
    return list;
}

void completion_free(struct completion_command *list)
{
    for (struct completion_command *c = list; c->name; c++) {
        buf_free(&c->argument.words);
        for (int i = 0; i < c->count; i++) {
            buf_free(&c->options[i].value.words);
            free(c->options[i].about);
        }
    }
    free(list);
}
