/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cover.h"

/* What a few hundred runs must meet. Actions of scenario.c count themselves as
 * "did <action>" and are expected too. */
static const char *const cover_expected[] = {
    /* the world's */
    "world: read error",
    "world: write error",
    "world: sync error",
    "world: slow sync",
    "world: no space",
    "world: death at a disk call",
    "world: torn page",
    "world: lost page",
    "world: lost name",
    "world: early write-back",
    "world: flipped bit",
    "world: spike of delay",
    "world: split read",
    "world: reset",
    "world: reset that cut bytes",
    "world: half-open connection",
    "world: dial refused",
    "world: dial lost",
    "world: stalled connection",
    "world: blocked segment",
    /* named fault points */
    "point: store.send.drop",
    "point: store.send.twice",
    "point: store.send.late",
    "point: raftlog.batch_of_one",
    "point: raftlog.prepare",
    /* what stores say */
    "says: role",
    "says: replay",
    "says: log_fetch",
    "says: snapshot_wanted",
    "says: snapshot_sent",
    "says: snapshot_received",
    "says: snapshot_installed",
    "says: snapshot_failed",
    "says: clock_off",
    "says: clock_good",
    "says: disk_space",
    "says: damaged",
    /* engine and log */
    "engine: flush",
    "engine: compaction",
    "engine: table moved down",
    "engine: garbage dropped",
    "engine: edit",
    "engine: manifest rolled",
    "engine: retry",
    "engine: files in L0",
    "engine: files in L1",
    "engine: files in L2",
    "engine: files in L3",
    "log: segment dropped",
    "log: bytes rewritten",
    "log: prepare failed",
    "log: several in a batch",
    /* ranges at rest */
    "sleep: fell asleep",
    "sleep: woken by work",
    "sleep: woken by silence",
    "sleep: woken by a boot number",
    "sleep: woken after a start",
    "sleep: answered asleep",
    /* consensus */
    "raft: message dropped",
    /* clients */
    "client: CONDITION_FAILED",
    "client: UNAVAILABLE",
    "client: UNDETERMINED",
    "client: NO_SPACE",
    "client: sent again: not the leader",
    "client: sent again: busy",
    "client: late answer",
    "client: TOO_OLD",
    "sweep: key deleted",
    "read: at the leader",
    "read: any replica",
    "read: by lease",
    "read: stale",
    "read: of the past",
    "read: of a past that is gone",
    "twin: same result",
    "twin: too late to tell",
    "twin: one without a result",
    "twin: told what the first could not",
    "twin: sent while the first was open",
    /* watchers */
    "watch: change told",
    "watch: restarted",
    "watch: too slow",
    "watch: paused",
    /* operators */
    "admin: leader moved",
    "admin: flushed",
    "admin: digests compared",
    "admin: drained",
    /* the end */
    "core: node outside stayed away",
    "core: all in",
};

static struct cover_item *find(struct cover *cover, const char *name)
{
    for (uint32_t i = 0; i < cover->count; i++)
        if (strncmp(cover->items[i].name, name, COVER_NAME_MAX - 1) == 0)
            return &cover->items[i];
    if (cover->count == COVER_MAX)
        return NULL;
    struct cover_item *item = &cover->items[cover->count++];
    *item = (struct cover_item){0};
    snprintf(item->name, sizeof item->name, "%s", name);
    return item;
}

void cover_init(struct cover *cover)
{
    *cover = (struct cover){0};
    for (size_t i = 0; i < ARRAY_LEN(cover_expected); i++)
        find(cover, cover_expected[i]);
}

void cover_expect(struct cover *cover, const char *name)
{
    find(cover, name);
}

void cover_add(struct cover *cover, const char *name, uint64_t n)
{
    struct cover_item *item = n == 0 ? NULL : find(cover, name);
    if (item == NULL)
        return;
    item->total += n;
    item->runs = 1;
}

void cover_merge(struct cover *sum, const struct cover *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        struct cover_item *item = find(sum, run->items[i].name);
        if (item == NULL)
            continue;
        item->total += run->items[i].total;
        item->runs += run->items[i].runs;
    }
}

uint32_t cover_print(const struct cover *cover, FILE *out)
{
    uint32_t never = 0;
    uint32_t on_line = 0;
    for (uint32_t i = 0; i < cover->count; i++) {
        const struct cover_item *item = &cover->items[i];
        if (item->total == 0)
            continue;
        fprintf(out, "  %-36s %10llu in %5llu runs%s", item->name, (unsigned long long)item->total,
                (unsigned long long)item->runs, ++on_line % 2 == 0 ? "\n" : "");
    }
    fprintf(out, "%s", on_line % 2 == 0 ? "" : "\n");
    for (uint32_t i = 0; i < cover->count; i++) {
        if (cover->items[i].total != 0)
            continue;
        fprintf(out, "%s%s", never == 0 ? "  never: " : ", ", cover->items[i].name);
        never++;
    }
    fprintf(out, "%s", never == 0 ? "" : "\n");
    return never;
}
