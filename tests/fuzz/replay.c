/* Gives a fuzz target the inputs that are in files: replay FILE|FOLDER... Each is read into an allocation of its own
 * size, so that a sanitizer sees who reads past its end, and has little time. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { SECONDS_EACH = 20 /* of a loaded machine, under a sanitizer; libFuzzer allows 5 */ };

static int count;

static void replay_file(const char *path, size_t size)
{
    uint8_t *data = xmalloc(size > 0 ? size : 1);
    FILE *f = fopen(path, "re");

    if (!f || fread(data, 1, size, f) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    fclose(f);
    printf("%s\n", path);
    fflush(stdout); /* the last one named is the one that failed */
    alarm(SECONDS_EACH);
    LLVMFuzzerTestOneInput(data, size);
    alarm(0);
    free(data);
    count++;
}

static void replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *inner = xasprintf("%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay(inner);
        free(entries[i]);
    }
    free(n < 0 ? NULL : entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
