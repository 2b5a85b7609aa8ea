/* SPDX-License-Identifier: Apache-2.0
 *
 * Random entries on three replicas that differ in all that must not matter (size of
 * memtables and cache, flushes, crashes with replay), against the model.
 */
#include "range_model.h"

#include <stdlib.h>

#include "wire/response.h"

enum { ENTRIES = 400, REPLICAS = 3, PAST = 16 };

struct run {
    struct rng rng;
    struct world worlds[REPLICAS];
    struct model model;
    struct model past[PAST]; /* a ring of states that were */
    uint32_t past_count;
    struct slice log[ENTRIES]; /* payloads, from index WORLD_BIRTH + 1 */
    uint32_t log_count;
};

static struct run *run_new(uint64_t seed)
{
    struct run *r = calloc(1, sizeof *r);
    const struct world_options options[REPLICAS] = {
        {.seed = seed, .replica_id = 1},
        {.seed = seed + 1, .replica_id = 2, .memtable_bytes = 4096, .cache_bytes = 1},
        {.seed = seed + 2, .replica_id = 3, .memtable_bytes = 16384},
    };
    rng_init(&r->rng, seed);
    for (int i = 0; i < REPLICAS; i++)
        world_open(&r->worlds[i], &options[i]);
    return r;
}

static void run_free(struct run *r)
{
    for (int i = 0; i < REPLICAS; i++)
        world_close(&r->worlds[i]);
    for (uint32_t i = 0; i < r->log_count; i++)
        free((void *)r->log[i].data);
    free(r);
}

static void apply_next(struct run *r)
{
    struct model_entry entry;
    struct world_results results;
    int want[MODEL_COMMANDS_MAX];
    model_draw(&r->model, &r->rng, &entry);
    model_apply(&r->model, &entry, want);
    r->log[r->log_count++] = entry.payload;
    for (int i = 0; i < REPLICAS; i++) {
        world_apply(&r->worlds[i], entry.payload, i == 2 ? NULL : &results);
        if (i == 2)
            continue;
        assert_int_equal(results.count, entry.count);
        for (uint32_t c = 0; c < entry.count; c++)
            assert_int_equal(results.all[c].status, want[c]);
    }
    const struct range_meta *m = range_meta(r->worlds[0].range);
    assert_true(m->last_version == r->model.last_version);
    assert_true(m->time_ms == r->model.time_ms);
    assert_true(m->safe_version == r->model.safe_version);
    r->past[r->past_count++ % PAST] = r->model;
}

static void check_same(struct run *r, bool is_deep)
{
    uint64_t hashes[REPLICAS];
    for (int i = 0; i < REPLICAS; i++) {
        const struct range_meta *m = range_meta(r->worlds[i].range);
        assert_true(m->history_hash == range_meta(r->worlds[0].range)->history_hash);
        if (!is_deep)
            continue;
        assert_int_equal(range_hash(r->worlds[i].range, &hashes[i], NULL), 0);
        assert_true(hashes[i] == hashes[0]);
    }
}

/* The worlds live on, flush, die; what was lost is replayed from the log. */
static void trouble(struct run *r)
{
    struct world *w = &r->worlds[rng_below(&r->rng, REPLICAS)];
    if (rng_chance(&r->rng, 1, 15))
        world_flush(w);
    if (rng_chance(&r->rng, 1, 10))
        sim_run_until(w->sim, sim_now_us(w->sim) + rng_below(&r->rng, 20000));
    if (!rng_chance(&r->rng, 1, 20))
        return;
    uint64_t flushed = range_flushed_index(w->range);
    world_crash(w, rng_chance(&r->rng, 1, 2) ? SIM_CRASH_POWER : SIM_CRASH_KILL);
    uint64_t index = range_meta(w->range)->applied_index;
    assert_true(index >= flushed);
    assert_true(index == range_flushed_index(w->range));
    for (uint64_t i = index - WORLD_BIRTH; i < r->log_count; i++)
        world_apply(w, r->log[i], NULL);
}

static void check_row(const struct model *m, const struct row *row, int key)
{
    const struct model_key *k = &m->keys[key];
    assert_int_equal(row->status, 0);
    assert_true(row->version == k->version);
    assert_true(slice_equal(row->value, slice_of(k->value, k->len)));
    assert_true(row->ttl_ms == (k->expiry_ms == 0 ? 0 : k->expiry_ms - m->time_ms));
}

/* All pages of a scan, as of the state `m`. */
static void check_scan(struct run *r, struct world *w, const struct model *m, bool is_latest)
{
    struct range_read read;
    uint8_t cursor[8];
    bool is_reverse = rng_chance(&r->rng, 1, 2);
    int key = is_reverse ? MODEL_KEYS - 1 : 0;
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.is_reverse = is_reverse;
    read.limit_keys = (uint32_t)rng_between(&r->rng, 1, 10);
    read.at_version = is_latest ? 0 : m->last_version;
    do {
        int rv = world_read(w, &read);
        if (m->last_version < r->model.safe_version && !is_latest) {
            assert_int_equal(rv, ERR_VERSION_GONE);
            range_read_fini(&read);
            return;
        }
        assert_int_equal(rv, 0);
        assert_true(read.version == m->last_version);
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        for (uint32_t i = 0; i < read.row_count; i++, key += is_reverse ? -1 : 1) {
            struct row row;
            row_next(&rows, &row);
            while (key >= 0 && key < MODEL_KEYS && !model_is_visible(m, key))
                key += is_reverse ? -1 : 1;
            assert_int_equal(model_key_of(row.key), key);
            check_row(m, &row, key);
        }
        assert_true(read.cursor.len <= sizeof cursor);
        if (read.cursor.len > 0)
            memcpy(cursor, read.cursor.data, read.cursor.len);
        *(is_reverse ? &read.end : &read.start) = slice_of(cursor, read.cursor.len);
        read.at_version = read.version;
    } while (read.has_more);
    for (; key >= 0 && key < MODEL_KEYS; key += is_reverse ? -1 : 1)
        assert_false(model_is_visible(m, key));
    range_read_fini(&read);
}

static void check_reads(struct run *r)
{
    struct world *w = &r->worlds[rng_below(&r->rng, REPLICAS)];
    uint32_t back = (uint32_t)rng_between(&r->rng, 1, MIN(r->past_count, (uint32_t)PAST));
    check_scan(r, w, &r->model, true);
    check_scan(r, w, &r->past[(r->past_count - back) % PAST], false);
}

static void test_replicas_agree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct run *r = run_new(seed * 100);
        for (int i = 0; i < ENTRIES; i++) {
            apply_next(r);
            trouble(r);
            check_same(r, i % 50 == 49);
            if (i % 4 == 0)
                check_reads(r);
        }
        assert_true(r->worlds[1].prefetches > 0); /* its cache holds nothing */
        assert_true(r->worlds[1].slow_reads > 0);
        run_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicas_agree),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
