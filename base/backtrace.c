#include "base/backtrace.h"

#include "base/mem.h"

#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FRAMES_MAX = 64, ALT_STACK = 64 << 10, BUILD_ID_MAX = 20, CRASH_S = 5 };

/* The executable, as it is in memory and in its file. Set once; read in handlers of signals. */
static struct {
    uintptr_t from, end, bias;
    const char *file;
    size_t size;
    const ElfW(Sym) * symbols;
    size_t symbol_count;
    const char *names;
    size_t names_size;
    unsigned char build_id[BUILD_ID_MAX];
    size_t build_id_len;
} program;

static sem_t written; /* the frames that backtrace_of() asked for are */

/* ---- the symbol table ---- */

static void keep_build_id(const char *note, size_t size)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *n = (const void *)note;
        size_t name = (n->n_namesz + 3u) & ~3u, desc = (n->n_descsz + 3u) & ~3u;
        if (size - sizeof(*n) < name + desc)
            return;
        if (n->n_type == NT_GNU_BUILD_ID && n->n_descsz <= BUILD_ID_MAX) {
            memcpy(program.build_id, note + sizeof(*n) + name, n->n_descsz);
            program.build_id_len = n->n_descsz;
            return;
        }
        note += sizeof(*n) + name + desc;
        size -= sizeof(*n) + name + desc;
    }
}

/* The first object is the executable. */
static int look_at_program(struct dl_phdr_info *info, size_t size UNUSED, void *arg UNUSED)
{
    program.bias = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_NOTE)
            keep_build_id((const char *)at, p->p_memsz);
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        program.from = at;
        program.end = at + p->p_memsz;
    }
    return 1;
}

/* A section of the file; NULL: it is not all there. */
static const void *section_of(const ElfW(Shdr) * s)
{
    return s->sh_offset <= program.size && s->sh_size <= program.size - s->sh_offset ? program.file + s->sh_offset
                                                                                     : NULL;
}

static void find_symbols(void)
{
    const ElfW(Ehdr) *head = (const void *)program.file;

    if (program.size < sizeof(*head) || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_shentsize != sizeof(ElfW(Shdr)) || head->e_shoff > program.size ||
        (program.size - head->e_shoff) / sizeof(ElfW(Shdr)) < head->e_shnum)
        return;
    const ElfW(Shdr) *sections = (const void *)(program.file + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++) {
        const ElfW(Shdr) *s = &sections[i];
        if (s->sh_type != SHT_SYMTAB || s->sh_link >= head->e_shnum)
            continue;
        program.names = section_of(&sections[s->sh_link]);
        program.names_size = sections[s->sh_link].sh_size;
        program.symbols = section_of(s);
        program.symbol_count = program.symbols && program.names ? s->sh_size / sizeof(ElfW(Sym)) : 0;
    }
}

/* The file is mapped now: after an upgrade there may be another one under its name. */
static void map_program(void)
{
    _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat st;

    dl_iterate_phdr(look_at_program, NULL);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
        return;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return;
    program.file = map;
    program.size = (size_t)st.st_size;
    find_symbols();
}

static const char *function_at(uintptr_t at, uintptr_t *offset)
{
    const ElfW(Sym) *best = NULL;

    at -= program.bias;
    for (size_t i = 0; i < program.symbol_count; i++) {
        const ElfW(Sym) *s = &program.symbols[i];
        if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_value <= at && at - s->st_value < s->st_size)
            best = s;
    }
    if (!best || best->st_name >= program.names_size)
        return NULL;
    *offset = at - best->st_value;
    return program.names + best->st_name;
}

/* ---- writing, in a handler: only what signal-safety(7) allows, as far as a crash can be expected to ---- */

static void trace_put(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void trace_put_hex(uintptr_t n)
{
    char text[2 * sizeof(n) + 3];
    char *at = text + sizeof(text) - 1;

    *at = '\0';
    do
        *--at = "0123456789abcdef"[n & 15];
    while ((n >>= 4) > 0);
    *--at = 'x';
    *--at = '0';
    trace_put(at);
}

static void trace_put_thread(void)
{
    char name[16] = "?";

    pthread_getname_np(pthread_self(), name, sizeof(name));
    trace_put(name);
}

static void trace_put_frame(void *frame)
{
    uintptr_t at = (uintptr_t)frame, offset;

    if (at < program.from || at >= program.end) {
        trace_put("entrepot:   ");
        backtrace_symbols_fd(&frame, 1, STDERR_FILENO);
        return;
    }
    const char *name = function_at(at - 1, &offset); /* it is where a call returns to */
    trace_put("entrepot:   ");
    trace_put_hex(at - program.bias);
    if (name) {
        trace_put(" ");
        trace_put(name);
        trace_put("+");
        trace_put_hex(offset + 1);
    }
    trace_put("\n");
}

static void trace_put_build(void)
{
    trace_put("entrepot: version " ENTREPOT_VERSION ", build ");
    for (size_t i = 0; i < program.build_id_len; i++) {
        const char digits[] = {"0123456789abcdef"[program.build_id[i] >> 4],
                               "0123456789abcdef"[program.build_id[i] & 15], '\0'};
        trace_put(digits);
    }
    trace_put(program.build_id_len ? "\n" : "without an ID\n");
}

/* From the frame behind the handler and the kernel's. */
static void trace_put_frames(void)
{
    enum { OURS = 3 };
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);

    for (int i = OURS; i < count; i++)
        trace_put_frame(frames[i]);
}

/* ---- signals ---- */

static const char *name_of(int sig)
{
    switch (sig) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    default:
        return "SIGABRT";
    }
}

/* Its action has been reset: the fault happens again when this returns, and abort() goes on. */
static void on_crash(int sig, siginfo_t *info, void *context UNUSED)
{
    int error = errno;

    signal(SIGALRM, SIG_DFL); /* what is called here may hang in a process that is broken */
    alarm(CRASH_S);
    trace_put("entrepot: crash: ");
    trace_put(name_of(sig));
    if (sig == SIGSEGV || sig == SIGBUS) {
        trace_put(" at address ");
        trace_put_hex((uintptr_t)info->si_addr);
    }
    trace_put(" in thread ");
    trace_put_thread();
    trace_put("\n");
    trace_put_frames();
    trace_put_build();
    errno = error;
    if (info->si_code <= 0) /* sent by a process: it would not happen again */
        raise(sig);
}

static void on_ask(int sig UNUSED)
{
    int error = errno;

    trace_put("entrepot: thread ");
    trace_put_thread();
    trace_put(" is here:\n");
    trace_put_frames();
    sem_post(&written);
    errno = error;
}

bool backtrace_of(pthread_t thread, int ms)
{
    struct timespec until;

    if (program.end == 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    if (pthread_kill(thread, SIGURG) != 0)
        return false;
    while (sem_timedwait(&written, &until) < 0)
        if (errno != EINTR)
            return false;
    return true;
}

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return false;
}

void backtrace_install(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char stack[ALT_STACK];
    struct sigaction crash = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK};
    struct sigaction ask = {.sa_handler = on_ask, .sa_flags = SA_RESTART};
    void *first;

    if (is_sanitized())
        return;
    map_program();
    backtrace(&first, 1); /* loads what it needs: a handler could not */
    sem_init(&written, 0, 0);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL); /* a main thread without a stack left */
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &crash, NULL);
    sigaction(SIGURG, &ask, NULL); /* ignored by default: nothing else is ended by one that comes late */
}
