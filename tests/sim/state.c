/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STATE_HEADER "holdfast-sim state 1"
enum { STATE_LINE_MAX = 1024, STATE_SEEDS_MAX = 50 * 1000 * 1000 };

void state_init(struct state *s, uint64_t first, uint64_t last, const char *args)
{
    ASSERT(last - first < STATE_SEEDS_MAX);
    *s = (struct state){.first = first, .last = last};
    s->done = calloc(last - first + 1, 1);
    ASSERT(s->done != NULL);
    snprintf(s->args, sizeof s->args, "%s", args);
}

void state_fini(struct state *s)
{
    free(s->done);
    *s = (struct state){0};
}

bool state_has(const struct state *s, uint64_t seed)
{
    return s->done[seed - s->first] != 0;
}

void state_note(struct state *s, uint64_t seed, bool is_failed)
{
    ASSERT(!state_has(s, seed));
    s->done[seed - s->first] = is_failed ? 2 : 1;
    s->done_count++;
}

static int refuse(const char *path, const char *why)
{
    fprintf(stderr, "holdfast-sim: %s: %s\n", path, why);
    return 2;
}

/* "done A..B", "failed S": seeds outside of this command's are passed over. */
static bool load_seeds(struct state *s, const char *line)
{
    uint64_t a;
    uint64_t b;
    bool is_failed = sscanf(line, "failed %" SCNu64, &a) == 1;
    if (is_failed)
        b = a;
    else if (sscanf(line, "done %" SCNu64 "..%" SCNu64, &a, &b) != 2 || a > b)
        return false;
    if (a < s->first || b > s->last)
        return false;
    for (uint64_t seed = a; seed <= b; seed++)
        if (!state_has(s, seed))
            state_note(s, seed, is_failed);
    return true;
}

static bool load_tally(const char *line, struct tally *t)
{
    return sscanf(line,
                  "tally %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                  " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                  &t->passed, &t->failed, &t->voids, &t->requests, &t->crashes, &t->spoiled,
                  &t->lost, &t->unknown, &t->events, &t->virtual_us) == 10;
}

static bool load_cover(const char *line, struct cover *cover)
{
    struct cover one = {.count = 1};
    struct cover_item *item = &one.items[0];
    int at = 0;
    if (sscanf(line, "cover %" SCNu64 " %" SCNu64 " %n", &item->total, &item->runs, &at) != 2)
        return false;
    snprintf(item->name, sizeof item->name, "%s", line + at);
    cover_merge(cover, &one);
    return true;
}

static int load_lines(struct state *s, FILE *file, const char *path, struct tally *sum)
{
    char line[STATE_LINE_MAX];
    bool has_end = false;
    if (fgets(line, sizeof line, file) == NULL || strcmp(line, STATE_HEADER "\n") != 0)
        return refuse(path, "not a state file of this version");
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "args ", 5) == 0) {
            if (strcmp(line + 5, s->args) != 0)
                return refuse(path, "it is of a command with other arguments");
            continue;
        }
        has_end = strcmp(line, "end") == 0;
        if (!has_end && !load_seeds(s, line) && !load_tally(line, sum) &&
            !load_cover(line, &sum->cover))
            return refuse(path, "a line of it is of other seeds, or damaged");
    }
    return has_end ? 0 : refuse(path, "its end is missing");
}

int state_load(struct state *s, const char *path, struct tally *sum)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return errno == ENOENT ? 0 : refuse(path, "cannot be read");
    int rv = load_lines(s, file, path, sum);
    fclose(file);
    return rv;
}

static void save_seeds(const struct state *s, FILE *file)
{
    uint64_t count = s->last - s->first + 1;
    for (uint64_t i = 0; i < count; i++) {
        if (s->done[i] == 2)
            fprintf(file, "failed %" PRIu64 "\n", s->first + i);
        if (s->done[i] != 1)
            continue;
        uint64_t from = i;
        while (i + 1 < count && s->done[i + 1] == 1)
            i++;
        fprintf(file, "done %" PRIu64 "..%" PRIu64 "\n", s->first + from, s->first + i);
    }
}

void state_save(const struct state *s, const char *path, const struct tally *t)
{
    char temp[4096];
    snprintf(temp, sizeof temp, "%s.new", path);
    FILE *file = fopen(temp, "w");
    if (file == NULL) {
        fprintf(stderr, "holdfast-sim: cannot write %s\n", temp);
        exit(2);
    }
    fprintf(file, "%s\nargs %s\n", STATE_HEADER, s->args);
    save_seeds(s, file);
    fprintf(file,
            "tally %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
            " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            t->passed, t->failed, t->voids, t->requests, t->crashes, t->spoiled, t->lost,
            t->unknown, t->events, t->virtual_us);
    for (uint32_t i = 0; i < t->cover.count; i++)
        fprintf(file, "cover %" PRIu64 " %" PRIu64 " %s\n", t->cover.items[i].total,
                t->cover.items[i].runs, t->cover.items[i].name);
    fprintf(file, "end\n");
    bool is_bad = ferror(file) != 0;
    is_bad |= fclose(file) != 0;
    if (is_bad || rename(temp, path) != 0) {
        fprintf(stderr, "holdfast-sim: cannot write %s\n", path);
        exit(2);
    }
}
