#include "cli/completion/completion.h"

static const char SCRIPT[] =
    "# bash completion for entrepot(1), as `entrepot completion bash` prints it.\n"
    "\n"
    "# PROGRAM TYPED...: the images in the cache of the daemon that the line names, by their full and short names.\n"
    "_entrepot_references() {\n"
    "    local program=${1/#\\~/$HOME} args=()\n"
    "    shift\n"
    "    while (($# > 0)); do\n"
    "        case $1 in\n"
    "        --socket=* | --cache=* | --config=*) args+=(\"$1\") ;;\n"
    "        --socket | --cache | --config) args+=(\"$1=${2-}\") ;;\n"
    "        esac\n"
    "        shift\n"
    "    done\n"
    "    timeout 2 \"$program\" ls --json \"${args[@]}\" 2>/dev/null </dev/null |\n"
    "        sed -n 's/^ *\"reference\": \"\\([^\"\\\\]*\\)\".*/\\1/; t found; d; : found; p\n"
    "            s,^docker\\.io/library/,,; t print; s,^docker\\.io/,,; t print; d; : print; p'\n"
    "}\n"
    "\n"
    "_entrepot() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} typed=() words='' values='' before='' keep='' kind='' current command "
    "word "
    "c\n"
    "    COMPREPLY=()\n"
    "    read -ra typed <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && typed+=('')\n"
    "    current=${typed[${#typed[@]} - 1]} command=${typed[1]-}\n"
    "    if ((${#typed[@]} <= 2)); then\n"
    "        values=$(_entrepot_options '')\n"
    "    elif [[ $current == --*=* ]]; then\n"
    "        before=${current%%=*}= values=$(_entrepot_values \"$command ${current%%=*}\")\n"
    "    elif values=$(_entrepot_values \"$command ${typed[${#typed[@]} - 2]}\"); then\n"
    "        :\n"
    "    elif [[ $current == -* ]]; then\n"
    "        values=$(_entrepot_options \"$command\")\n"
    "    else\n"
    "        values=$(_entrepot_values \"$command\")\n"
    "    fi\n"
    "    for word in $values; do\n"
    "        case $word in\n"
    "        '<references>') words+=$(_entrepot_references \"$1\" \"${typed[@]}\")$'\\n' ;;\n"
    "        '<files>') kind=-f ;;\n"
    "        '<folders>') kind=${kind:--d} ;;\n"
    "        *) words+=$word$'\\n' ;;\n"
    "        esac\n"
    "    done\n"
    "    while read -r word; do\n"
    "        [[ -n $word && $before$word == \"$current\"* ]] && COMPREPLY+=(\"$before$word\")\n"
    "    done <<<\"$words\"\n"
    "    if [[ -n $kind ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        while read -r word; do\n"
    "            [[ -n $word ]] && COMPREPLY+=(\"$before$word\")\n"
    "        done < <(compgen $kind -- \"${current#\"$before\"}\")\n"
    "    fi\n"
    "    # Readline takes what is behind the last of these characters for the word.\n"
    "    for c in : = @; do\n"
    "        [[ $COMP_WORDBREAKS == *$c* && $current == *$c* ]] || continue\n"
    "        word=${current%\"${current##*$c}\"}\n"
    "        ((${#word} > ${#keep})) && keep=$word\n"
    "    done\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$keep\"}\")\n"
    "}\n"
    "\n"
    "complete -F _entrepot entrepot\n";

static void bash_value(struct buf *out, const struct completion_value *v)
{
    buf_addf(out, ") echo '%s%s%s%s' ;;\n", v->words.data ? v->words.data : "", v->references ? " <references>" : "",
             v->files ? " <files>" : "", v->folders ? " <folders>" : "");
}

static void bash_option_value(struct buf *out, const char *command, const struct completion_option *o)
{
    if (!o->valued)
        return;
    buf_addf(out, "    '%s --%s'", command, o->name);
    if (o->letter)
        buf_addf(out, " | '%s -%c'", command, o->letter);
    bash_value(out, &o->value);
}

void completion_bash(struct buf *out, const struct completion_command *list)
{
    buf_adds(out, SCRIPT);
    buf_adds(out, "\n_entrepot_options() { # COMMAND\n    case $1 in\n    '') echo '");
    for (const struct completion_command *c = list; c->name; c++)
        buf_addf(out, "%s%s", c == list ? "" : " ", c->name);
    buf_adds(out, "' ;;\n");
    for (const struct completion_command *c = list; c->name; c++) {
        buf_addf(out, "    %s) echo '", c->name);
        for (int i = 0; i < c->count; i++)
            buf_addf(out, "%s--%s", i ? " " : "", c->options[i].name);
        buf_adds(out, "' ;;\n");
    }
    buf_adds(out,
             "    esac\n}\n\n_entrepot_values() { # COMMAND, or COMMAND OPTION; 1: there are none\n    case $1 in\n");
    for (const struct completion_command *c = list; c->name; c++) {
        buf_addf(out, "    '%s'", c->name);
        bash_value(out, &c->argument);
        for (int i = 0; i < c->count; i++)
            bash_option_value(out, c->name, &c->options[i]);
    }
    buf_adds(out, "    *) return 1 ;;\n    esac\n}\n");
}
