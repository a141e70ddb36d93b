/* `completion`: a script for a shell, made from the commands themselves. */
#include "cli/completion/completion.h"

#include <string.h>

static const char USAGE[] =
    "Usage: entrepot completion bash|zsh|fish\n\n"
    "Prints the completion for a shell: commands, options, their values, and the images in the cache, for which it\n"
    "asks the daemon. `make install` and the packages install it.\n\n"
    "Examples:\n"
    "  eval \"$(entrepot completion bash)\"\n"
    "  entrepot completion zsh >~/.zfunc/_entrepot\n"
    "  entrepot completion fish >~/.config/fish/completions/entrepot.fish\n";

int cmd_completion(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(struct buf *out, const struct completion_command *list);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    _cleanup_buf_ struct buf out = {0};
    const char *shell = NULL;

    int rc = cli_parse(NULL, &(struct cli_syntax){USAGE, .argument = cli_take_argument, .arg = &shell}, argc, argv);
    if (rc >= 0)
        return rc;
    for (size_t i = 0; shell && i < ARRAY_LEN(shells); i++) {
        if (strcmp(shells[i].name, shell) != 0)
            continue;
        struct completion_command *list = completion_look();
        shells[i].print(&out, list);
        completion_free(list);
        cli_write(out.data, out.len);
        return EXIT_DONE;
    }
    return cli_usage(USAGE, shell ? "completion: \"%s\" is none of bash, zsh and fish" : "completion: which shell?",
                     shell);
}
