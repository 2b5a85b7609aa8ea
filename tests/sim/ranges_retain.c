/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-ranges-sim --retain: how long old versions are kept changes at random, of single
 * ranges or, with --grow, of a keyspace and of all others. What was acknowledged is read
 * again at its version: that finds it, or hears that it is gone, and that only once no time
 * that was ever said covers it. The safe point of a range never goes back.
 *
 * Where watchers are, all times are longer than the run: no change of them may cut one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ranges.h"

enum { KEPT_MAX = 64, AT_READS_MAX = 4, WATCHED_LEAST_MS = 180000, TIMES_MAX = 8 };

/* An acknowledged value of a key without a time to live. */
struct kept {
    uint32_t number;
    uint64_t value;
    uint64_t version; /* 0: free */
};

struct at_read {
    struct rig_answer *answer; /* NULL: free */
    struct kept what;
    uint64_t deadline_us;
};

/* As a replica of a range had it, the furthest that was seen. */
struct safe {
    uint64_t index;
    uint64_t version;
};

struct ranges_retain {
    struct rng rng; /* apart from all else */
    uint64_t times_ms[TIMES_MAX];
    uint32_t time_count;
    uint64_t least_ms;
    struct kept kept[KEPT_MAX];
    uint32_t next;
    struct at_read reads[AT_READS_MAX];
    struct map safe; /* struct safe by range, owned */
    struct rig_answer *change;
    uint64_t change_ms, before_ms; /* asked for, and what it was */
    uint64_t set_ms, keyspace_ms;  /* in the end; 0: not said */
};

static const uint64_t short_ms[] = {1, 20, 200, 1000, 3000, 10000, 600000};
static const uint64_t grown_ms[] = {1000, 2000, 5000, 20000, 600000};
static const uint64_t watched_ms[] = {WATCHED_LEAST_MS, 300000, 600000, 7200000};

static uint64_t draw_ms(struct ranges_retain *r)
{
    return r->times_ms[rng_below(&r->rng, r->time_count)];
}

static void take_times(struct ranges_retain *r, const uint64_t *ms, size_t count)
{
    size_t from = rng_below(&r->rng, count - 1);
    ASSERT(count <= TIMES_MAX);
    for (size_t i = from; i < count; i++)
        r->times_ms[r->time_count++] = ms[i];
    r->least_ms = ms[from];
}

struct ranges_retain *ranges_retain_new(uint64_t seed, bool is_watched)
{
    struct ranges_retain *r = calloc(1, sizeof *r);
    if (r == NULL)
        die("out of memory");
    rng_init(&r->rng, seed * 7 + 3);
    map_init(&r->safe);
    if (is_watched)
        take_times(r, watched_ms, ARRAY_LEN(watched_ms));
    else if (run.is_grown)
        take_times(r, grown_ms, ARRAY_LEN(grown_ms));
    else
        take_times(r, short_ms, ARRAY_LEN(short_ms));
    run.rig.options.retention_ms = draw_ms(r);
    return r;
}

void ranges_retain_free(struct ranges_retain *r)
{
    uint32_t cursor = 0;
    void *safe;
    if (r == NULL)
        return;
    while ((safe = map_next(&r->safe, &cursor, NULL)) != NULL)
        free(safe);
    map_fini(&r->safe);
    free(r);
}

void ranges_retain_acked(struct ranges_retain *r, uint32_t number, uint64_t value, uint64_t version)
{
    if (r == NULL || key_expires(number))
        return;
    if (version == 0)
        die("an acknowledged write has no version");
    r->kept[r->next++ % KEPT_MAX] =
        (struct kept){.number = number, .value = value, .version = version};
}

/* ---- reads at versions ---------------------------------------------------------------- */

/* The greatest range time of any range that ever had the key, on any store. */
static uint64_t time_of(uint32_t number)
{
    key_times_note();
    return run.keys[number].time_ms;
}

static void settle_at_read(struct ranges_retain *r, struct at_read *read)
{
    const struct rig_answer *answer = read->answer;
    const struct kept *what = &read->what;
    uint64_t value = strtoull(answer->value, NULL, 10);
    uint64_t version_ms = what->version >> RANGE_VERSION_COUNTER_BITS;
    if (answer->count == 0 && sim_now_us(run.rig.sim) < read->deadline_us)
        return;
    read->answer = NULL;
    if (answer->count == 0)
        return;
    if (answer->status == 0 && value != what->value) {
        printf("key k%02u: %llu at %llu, it was %llu\n", what->number, (unsigned long long)value,
               (unsigned long long)what->version, (unsigned long long)what->value);
        die("a read at a version finds what was not there");
    }
    if (answer->status == 0)
        ranges_met("retain: read at a version");
    if (answer->status != ERR_VERSION_GONE)
        return;
    key_times_note();
    if (what->version < run.keys[what->number].seam) {
        ranges_met("retain: a version of before a merge");
        return;
    }
    ranges_met("retain: a version is gone");
    if (version_ms + r->least_ms >= time_of(what->number)) {
        printf("key k%02u: written at %llu, it is %llu, at least %llu are kept\n", what->number,
               (unsigned long long)version_ms, (unsigned long long)time_of(what->number),
               (unsigned long long)r->least_ms);
        die("a version is gone too early");
    }
}

static void read_at_some(struct ranges_retain *r)
{
    uint8_t raw[16];
    uint64_t range_id;
    struct at_read *read = NULL;
    const struct kept *what = &r->kept[rng_below(&r->rng, MAX(MIN(r->next, KEPT_MAX), 1))];
    for (size_t i = 0; i < AT_READS_MAX && read == NULL; i++)
        read = r->reads[i].answer == NULL ? &r->reads[i] : NULL;
    if (what->version == 0 || read == NULL || run.rig.asked + 64 > RIG_ASKED_MAX)
        return;
    size_t at = leader_at(key_of(what->number, raw), &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    struct request_read how = {.keyspace = key_keyspace(what->number),
                               .consistency = READ_AT,
                               .at_version = what->version,
                               .any_replica = rng_below(&r->rng, 2) == 0};
    *read = (struct at_read){.what = *what, .deadline_us = sim_now_us(run.rig.sim) + 3000 * RIG_MS};
    read->answer = rig_read_key(&run.rig, at, key_stored(what->number, raw), &how, 1000);
}

/* ---- changes ------------------------------------------------------------------------------ */

static void change_range(struct ranges_retain *r)
{
    uint8_t raw[16];
    uint64_t range_id;
    uint32_t number = (uint32_t)rng_below(&r->rng, KEYS);
    size_t at = leader_at(key_of(number, raw), &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    const struct range_meta *meta = range_meta(store_range_of(run.rig.stores[at], range_id));
    struct request request = {
        .kind = REQUEST_RETAIN,
        .range_id = range_id,
        .span_epoch = meta->descriptor.epoch.span,
        .retain = {.conf_epoch = meta->descriptor.epoch.conf, .retention_ms = draw_ms(r)},
    };
    r->before_ms = meta->retention_ms;
    r->change_ms = request.retain.retention_ms;
    r->change = rig_ask(&run.rig, at, &request);
}

/* "retention=…" of the keyspace, or the setting's value; `ms` 0: as else. */
static void fill_word(uint64_t ms, bool is_keyspace, char text[RETAIN_TEXT],
                      struct request_placement *word)
{
    snprintf(text, RETAIN_TEXT, "%s%llums", is_keyspace ? "retention=" : "",
             (unsigned long long)ms);
    *word = (struct request_placement){
        .verb = is_keyspace ? VERB_KEYSPACE_ALTER : VERB_SET,
        .name = slice_str(is_keyspace ? "hashed" : "retention"),
        .value = slice_str(text),
    };
}

static void change_word(struct ranges_retain *r)
{
    char text[RETAIN_TEXT];
    struct request request = {.kind = REQUEST_PLACEMENT};
    size_t at = rig_driver(&run.rig);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    uint64_t ms = rng_below(&r->rng, 6) == 0 ? 0 : draw_ms(r);
    fill_word(ms, rng_below(&r->rng, 3) != 0, text, &request.placement);
    r->before_ms = 0;
    r->change_ms = ms;
    r->change = rig_ask(&run.rig, at, &request);
}

static void note_change_of(struct ranges_retain *r)
{
    bool is_done = r->change != NULL && r->change->count == 1;
    if (is_done && r->change->status == 0 && run.is_grown)
        ranges_met("retain: a word");
    else if (is_done && r->change->status == 0)
        ranges_met(r->change_ms < r->before_ms ? "retain: shorter" : "retain: longer");
    r->change = NULL; /* nobody waits for one that is late */
}

void ranges_retain_act(struct ranges_retain *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < AT_READS_MAX; i++) {
        if (r->reads[i].answer != NULL)
            settle_at_read(r, &r->reads[i]);
    }
    for (int i = 0; i < 2; i++)
        read_at_some(r);
    if (rng_below(&r->rng, 12) != 0 || run.rig.asked + 64 > RIG_ASKED_MAX)
        return;
    note_change_of(r);
    if (run.is_grown)
        change_word(r);
    else
        change_range(r);
}

/* ---- what must be true --------------------------------------------------------------------- */

static void check_range(struct ranges_retain *r, uint64_t id, const struct range_meta *meta)
{
    struct safe *safe = map_get(&r->safe, id);
    if (safe == NULL) {
        safe = calloc(1, sizeof *safe);
        if (safe == NULL || map_put(&r->safe, id, safe) != 0)
            die("out of memory");
    }
    bool is_further = meta->applied_index >= safe->index;
    if (is_further ? meta->safe_version < safe->version : meta->safe_version > safe->version)
        die("the safe point of a range goes back");
    if (is_further)
        *safe = (struct safe){.index = meta->applied_index, .version = meta->safe_version};
}

void ranges_retain_check(struct ranges_retain *r)
{
    for (size_t i = 0; r != NULL && i < run.rig.count; i++) {
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++)
            check_range(r, id, range_meta(store_range_of(run.rig.stores[i], id)));
    }
}

void ranges_retain_last_words(struct ranges_retain *r,
                              void (*say)(const struct request_placement *))
{
    char text[RETAIN_TEXT];
    struct request_placement word;
    r->set_ms = rng_below(&r->rng, 3) == 0 ? 0 : draw_ms(r);
    r->keyspace_ms = rng_below(&r->rng, 3) == 0 ? 0 : draw_ms(r);
    fill_word(r->set_ms, false, text, &word);
    say(&word);
    fill_word(r->keyspace_ms, true, text, &word);
    say(&word);
}

bool ranges_retain_is_as_wanted(const struct ranges_retain *r, const struct range_meta *meta,
                                bool is_hashed)
{
    uint64_t else_ms = run.rig.options.retention_ms;
    if (r == NULL || !run.is_grown)
        return true;
    if (meta->descriptor.range_id != RANGE_ID_SYSTEM && r->set_ms != 0)
        else_ms = r->set_ms;
    return meta->retention_ms == (is_hashed && r->keyspace_ms != 0 ? r->keyspace_ms : else_ms);
}

void ranges_retain_expect(struct cover *cover)
{
    cover_expect(cover, "retain: read at a version");
    cover_expect(cover, "retain: a version is gone");
    if (run.is_grown) {
        cover_expect(cover, "retain: a word");
        return;
    }
    cover_expect(cover, "retain: shorter");
    cover_expect(cover, "retain: longer");
}
