#include "cli/completion/completion.h"

#include <string.h>

static const char HEAD[] =
    "#compdef entrepot\n"
    "# zsh completion for entrepot(1), as `entrepot completion zsh` prints it.\n"
    "\n"
    "# The images in the cache of the daemon that the line names, by their full and short names.\n"
    "_entrepot_references() {\n"
    "    local -a args found\n"
    "    local i\n"
    "    for ((i = 1; i <= $#typed; i++)); do\n"
    "        case $typed[i] in\n"
    "        --socket=* | --cache=* | --config=*) args+=(\"$typed[i]\") ;;\n"
    "        --socket | --cache | --config) args+=(\"$typed[i]=$typed[i+1]\") ;;\n"
    "        esac\n"
    "    done\n"
    "    found=(${(f)\"$(timeout 2 ${~typed[1]} ls --json $args 2>/dev/null </dev/null |\n"
    "        sed -n 's/^ *\"reference\": \"\\([^\"\\\\]*\\)\".*/\\1/p')\"})\n"
    "    found+=(${${(M)found:#docker.io/*}#docker.io/})\n"
    "    found+=(${${(M)found:#library/*}#library/})\n"
    "    compadd -a found\n"
    "}\n"
    "\n"
    "_entrepot() {\n"
    "    local state line context state_descr\n"
    "    local -a typed commands\n"
    "    typed=($words)\n"
    "    _arguments -C '(- *)'{-h,--help}'[print help]' '1:command:->command' '*::argument:->rest'\n"
    "    case $state in\n"
    "    command)\n"
    "        commands=(\n";

static const char REST[] = "        )\n"
                           "        _describe -t commands command commands\n"
                           "        ;;\n"
                           "    rest)\n"
                           "        case $words[1] in\n";

static const char TAIL[] = "        esac\n"
                           "        ;;\n"
                           "    esac\n"
                           "}\n"
                           "\n"
                           "if [[ $funcstack[1] == _entrepot ]]; then\n"
                           "    _entrepot \"$@\"\n"
                           "else\n"
                           "    compdef _entrepot entrepot\n"
                           "fi\n";

/* Inside of '...'. */
static void zsh_text(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addf(out, "%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
}

static void zsh_action(struct buf *out, const struct completion_value *v)
{
    if (v->references)
        buf_adds(out, ":reference:_entrepot_references");
    else if (v->files)
        buf_adds(out, ":file:_files");
    else if (v->folders)
        buf_adds(out, ":folder:_files -/");
    else if (v->words.len > 0)
        buf_addf(out, ":word:(%s)", v->words.data);
    else
        buf_adds(out, ":value: ");
}

static void zsh_option(struct buf *out, const struct completion_option *o)
{
    buf_addf(out, " \\\n                %s", o->repeated ? "'*'" : "");
    if (o->letter)
        buf_addf(out, "{-%c%s,--%s%s}'", o->letter, o->valued ? "+" : "", o->name, o->valued ? "=" : "");
    else
        buf_addf(out, "'--%s%s", o->name, o->valued ? "=" : "");
    buf_adds(out, "[");
    zsh_text(out, o->about ? o->about : "");
    buf_adds(out, "]");
    if (o->valued)
        zsh_action(out, &o->value);
    buf_adds(out, "'");
}

void completion_zsh(struct buf *out, const struct completion_command *list)
{
    buf_adds(out, HEAD);
    for (const struct completion_command *c = list; c->name; c++) {
        buf_addf(out, "            '%s:", c->name);
        zsh_text(out, c->does);
        buf_adds(out, "'\n");
    }
    buf_adds(out, REST);
    for (const struct completion_command *c = list; c->name; c++) {
        const struct completion_value *v = &c->argument;
        buf_addf(out, "        %s)\n            _arguments", c->name);
        for (int i = 0; i < c->count; i++)
            zsh_option(out, &c->options[i]);
        if (v->references || v->files || v->folders || v->words.len > 0) {
            buf_addf(out, " \\\n                '%s", c->many ? "*" : "1");
            zsh_action(out, v);
            buf_adds(out, "'");
        }
        buf_adds(out, "\n            ;;\n");
    }
    buf_adds(out, TAIL);
}
