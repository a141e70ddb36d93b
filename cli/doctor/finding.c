/* Findings, and how they are printed: one line each, what, why, what to do. */
#include "cli/doctor/doctor.h"

#include "base/buf.h"
#include "base/visible.h"

#include <string.h>
#include <unistd.h>

static const char *const TOPICS[] = {"configuration", "daemon", "listener", "authority", "engine",
                                     "disk",          "clock",  "registry", "cluster"};
static const struct {
    const char *name, *mark;
    enum cli_colour colour;
} LEVELS[] = {
    [DOCTOR_OK] = {"ok", "ok", CLI_GREEN},
    [DOCTOR_UNKNOWN] = {"unknown", "?", CLI_PLAIN},
    [DOCTOR_WARNING] = {"warning", "WARNING", CLI_YELLOW},
    [DOCTOR_BROKEN] = {"broken", "BROKEN", CLI_RED},
};

static json_t *finding_text(const char *text)
{
    return text ? visible_json(text) : json_null();
}

void doctor_add(json_t *findings, const struct doctor_finding *f)
{
    json_array_append_new(findings,
                          json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "topic", TOPICS[f->topic], "level",
                                    LEVELS[f->level].name, "subject", finding_text(f->subject), "what",
                                    finding_text(f->what), "why", finding_text(f->why), "do", finding_text(f->advice)));
}

static bool finding_has(const json_t *finding, const char *key, const char *text)
{
    const char *has = json_string_value(json_object_get(finding, key));

    return has && strcmp(has, text) == 0;
}

static size_t level_of(const json_t *finding)
{
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(LEVELS) && !finding_has(finding, "level", LEVELS[i].name))
        i++;
    return i;
}

static void finding_add_part(struct buf *line, const char *before, const json_t *finding, const char *key)
{
    const char *text = json_string_value(json_object_get(finding, key));

    if (text)
        buf_addf(line, "%s%s", before, text);
}

static void finding_print(const json_t *finding)
{
    size_t level = level_of(finding);
    _cleanup_buf_ struct buf line = {0};
    char mark[16];

    snprintf(mark, sizeof(mark), "%-7s", LEVELS[level].mark);
    finding_add_part(&line, " ", finding, "topic");
    finding_add_part(&line, " ", finding, "subject");
    finding_add_part(&line, ": ", finding, "what");
    finding_add_part(&line, ": ", finding, "why");
    finding_add_part(&line, "; ", finding, "do");
    cli_say_marked("", LEVELS[level].colour, mark, line.data ? line.data : "");
}

bool doctor_print(const json_t *findings, bool json)
{
    json_t *sorted = json_array(), *f;
    int count[ARRAY_LEN(LEVELS)] = {0};
    size_t i;

    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        json_array_foreach(findings, i, f) {
            if (!finding_has(f, "topic", TOPICS[t]))
                continue;
            json_array_append(sorted, f);
            count[level_of(f)]++;
        }
    json_t *all =
        json_pack("{s:b, s:i, s:i, s:i, s:O}", "good", count[DOCTOR_BROKEN] == 0, "broken", count[DOCTOR_BROKEN],
                  "warnings", count[DOCTOR_WARNING], "unknown", count[DOCTOR_UNKNOWN], "findings", sorted);
    if (json)
        cli_print_json(all);
    json_array_foreach(json ? NULL : sorted, i, f)
        finding_print(f);
    if (!json)
        cli_say(stdout, "%d broken, %d warnings%s", count[DOCTOR_BROKEN], count[DOCTOR_WARNING],
                count[DOCTOR_UNKNOWN] == 0 ? ""
                : geteuid() == 0           ? "; what has a ? could not be looked at"
                                           : "; what has a ? could not be looked at: run it as root");
    json_decref(all);
    json_decref(sorted);
    return count[DOCTOR_BROKEN] == 0;
}
