#include "cli/completion/completion.h"

#include <string.h>

static const char HEAD[] =
    "# fish completion for entrepot(1), as `entrepot completion fish` prints it.\n"
    "\n"
    "# COMMAND: whether it is the one of the line; without an argument, whether the line has none yet.\n"
    "function __entrepot_is\n"
    "    set -l typed (commandline -opc)\n"
    "    test \"$typed[2]\" = \"$argv[1]\"\n"
    "end\n"
    "\n"
    "# The images in the cache of the daemon that the line names, by their full and short names.\n"
    "function __entrepot_references\n"
    "    set -l typed (commandline -opc)\n"
    "    set -l args\n"
    "    for i in (seq (count $typed))\n"
    "        switch $typed[$i]\n"
    "            case '--socket=*' '--cache=*' '--config=*'\n"
    "                set -a args $typed[$i]\n"
    "            case --socket --cache --config\n"
    "                set -a args $typed[$i]=$typed[(math $i + 1)]\n"
    "        end\n"
    "    end\n"
    "    set -l found (timeout 2 $typed[1] ls --json $args 2>/dev/null </dev/null |\n"
    "        string replace -rf '^ *\"reference\": \"([^\"\\\\\\\\]*)\".*' '$1')\n"
    "    printf '%s\\n' $found\n"
    "    printf '%s\\n' $found | string replace -rf '^docker\\.io/(library/)?' ''\n"
    "end\n"
    "\n"
    "complete -c entrepot -f\n";

/* Between quotes. */
static void fish_text(struct buf *out, const char *text)
{
    buf_adds(out, "'");
    for (; *text; text++)
        buf_addf(out, "%s%c", strchr("'\\", *text) ? "\\" : "", *text);
    buf_adds(out, "'");
}

static void fish_value(struct buf *out, const struct completion_value *v)
{
    if (v->files)
        buf_adds(out, " -F");
    else if (v->folders)
        buf_adds(out, " -a '(__fish_complete_directories)'");
    if (v->words.len > 0 || v->references)
        buf_addf(out, " -a '%s%s'", v->words.data ? v->words.data : "",
                 v->references ? " (__entrepot_references)" : "");
}

static void fish_option(struct buf *out, const char *command, const struct completion_option *o)
{
    buf_addf(out, "complete -c entrepot -n '__entrepot_is %s' -l %s", command, o->name);
    if (o->letter)
        buf_addf(out, " -s %c", o->letter);
    if (o->valued) {
        buf_adds(out, o->value.files ? " -r" : " -x");
        fish_value(out, &o->value);
    }
    if (o->about) {
        buf_adds(out, " -d ");
        fish_text(out, o->about);
    }
    buf_adds(out, "\n");
}

void completion_fish(struct buf *out, const struct completion_command *list)
{
    buf_adds(out, HEAD);
    for (const struct completion_command *c = list; c->name; c++) {
        const struct completion_value *v = &c->argument;
        buf_addf(out, "\ncomplete -c entrepot -n __entrepot_is -a %s -d ", c->name);
        fish_text(out, c->does);
        buf_adds(out, "\n");
        if (v->references || v->files || v->folders || v->words.len > 0) {
            buf_addf(out, "complete -c entrepot -n '__entrepot_is %s'", c->name);
            fish_value(out, v);
            buf_adds(out, "\n");
        }
        for (int i = 0; i < c->count; i++)
            fish_option(out, c->name, &c->options[i]);
    }
}
