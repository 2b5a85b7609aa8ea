/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a span after a version: from the feed and from the engine alike, judged
 * against everything that was ever written. */
#include "range_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "range/admin.h"
#include "range/changes.h"
#include "wire/response.h"

enum { T0 = 1000, KEYS = 12, HISTORY_MAX = 4096, PATIENCE_US = 60 * 1000 * 1000 };

struct event {
    int key; /* "k00" … */
    bool is_delete;
    uint64_t version;
    uint64_t number; /* its value */
    bool is_seen;
};

struct history {
    struct world w;
    struct feed_budget budget;
    struct rng rng;
    struct event events[HISTORY_MAX];
    size_t count;
    uint64_t now_ms;
    uint64_t pages, cuts_inside_keys, from_engine;
};

static struct slice key_name(int key, char out[8])
{
    snprintf(out, 8, "k%02d", key);
    return slice_str(out);
}

static void history_open(struct history *h, uint64_t seed)
{
    memset(h, 0, sizeof *h);
    world_open(&h->w, &(struct world_options){.seed = seed, .memtable_bytes = 4096});
    h->budget = (struct feed_budget){.bytes_max = 1 << 20, .range_bytes_max = 1 << 20};
    rng_init(&h->rng, seed);
    h->now_ms = T0;
}

/* One command of `count` operations on different keys. */
static void write_some(struct history *h, int first_key, int count)
{
    struct op ops[KEYS];
    char names[KEYS][8], values[KEYS][24];
    struct buf commands;
    struct world_results results;
    h->now_ms += rng_below(&h->rng, 3);
    for (int i = 0; i < count; i++) {
        int key = (first_key + i) % KEYS;
        bool is_delete = rng_below(&h->rng, 5) == 0;
        snprintf(values[i], sizeof values[i], "%zu", h->count + (size_t)i);
        ops[i] =
            (struct op){.kind = is_delete ? OP_DELETE : OP_PUT, .key = key_name(key, names[i])};
        if (!is_delete)
            ops[i].value = slice_str(values[i]);
    }
    buf_init(&commands, 1 << 16);
    world_command(&commands, ops, (uint32_t)count);
    struct slice payload = world_entry(h->now_ms, &commands);
    world_apply(&h->w, payload, &results);
    for (int i = 0; i < count; i++) {
        assert_true(h->count < HISTORY_MAX);
        h->events[h->count] = (struct event){.key = (first_key + i) % KEYS,
                                             .is_delete = ops[i].kind == OP_DELETE,
                                             .version = results.all[0].version,
                                             .number = h->count};
        h->count++;
    }
    free((void *)payload.data);
    buf_fini(&commands);
}

static void on_changes(struct range_changes *op, int status)
{
    *(int *)op->data = status;
}

static bool is_pending(void *data)
{
    return *(int *)data == 1;
}

static int page(struct history *h, struct range_changes *op)
{
    int status = 1;
    op->keyspace = WORLD_KEYSPACE;
    op->data = &status;
    op->cb = on_changes;
    h->pages++;
    int rv = range_changes_start(h->w.range, op);
    if (rv != ERR_WOULD_BLOCK)
        return rv;
    h->from_engine++;
    sim_run_while(h->w.sim, is_pending, &status, sim_now_us(h->w.sim) + PATIENCE_US);
    assert_int_not_equal(status, 1);
    return status;
}

/* Each change of the page is one that was made, in the span and between the versions, and
 * met for the first time; those of a key in order. */
static void judge_page(struct history *h, const struct range_changes *op, uint64_t *last)
{
    struct unpack u = unpack_of(buf_slice(&op->changes));
    for (uint32_t i = 0; i < op->count; i++) {
        struct change c;
        struct event *found = NULL;
        char name[8];
        change_next(&u, &c);
        for (size_t k = 0; k < h->count && found == NULL; k++) {
            struct event *e = &h->events[k];
            if (e->version == c.version && slice_equal(key_name(e->key, name), c.key))
                found = e;
        }
        assert_non_null(found);
        assert_false(found->is_seen);
        found->is_seen = true;
        assert_int_equal(found->is_delete, c.kind == CHANGE_DELETE);
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)found->number);
        assert_true(found->is_delete || slice_equal(c.value, slice_str(number)));
        assert_true(c.version > last[found->key]);
        last[found->key] = c.version;
        assert_true(slice_compare(op->start, c.key) <= 0);
        assert_true(op->end.len == 0 || slice_compare(c.key, op->end) < 0);
    }
    assert_int_equal(unpack_finish(&u, "changes", NULL), 0);
}

/* All pages of [start, end) with after < version <= upto, as a watcher goes over them:
 * what one page says to be complete is not asked for again. */
static uint64_t go_over(struct history *h, int start, int end, uint64_t after, uint64_t upto,
                        uint32_t limit, int depth)
{
    char start_name[8], end_name[8];
    uint64_t last[KEYS] = {0};
    struct range_changes op;
    assert_true(depth < 200);
    range_changes_init(&op);
    op.start = key_name(start, start_name);
    op.end = end < KEYS ? key_name(end, end_name) : slice_of(NULL, 0);
    op.after = after;
    op.upto = upto;
    op.limit_bytes = limit;
    assert_int_equal(page(h, &op), 0);
    judge_page(h, &op, last);
    uint64_t version = op.version;
    assert_true(version >= after && (upto == 0 || version <= upto));
    assert_false(op.is_range_end);
    if (op.has_more) {
        assert_true(op.cursor.len == 3);
        int cursor = (op.cursor.data[1] - '0') * 10 + (op.cursor.data[2] - '0');
        assert_true(cursor >= start && cursor < end);
        uint64_t cursor_version = op.cursor_version;
        if (cursor_version > 0) {
            h->cuts_inside_keys++;
            if (cursor_version < version)
                go_over(h, cursor, cursor + 1, cursor_version, version, limit, depth + 1);
            cursor++;
        }
        if (cursor < end && version > after)
            go_over(h, cursor, end, after, version, limit, depth + 1);
    } else if (version > after && op.count > 0 && (upto == 0 || version < upto)) {
        version = go_over(h, start, end, version, upto, limit, depth + 1);
    }
    range_changes_fini(&op);
    return version;
}

static void judge_all(struct history *h, int start, int end, uint64_t after, uint64_t version)
{
    for (size_t i = 0; i < h->count; i++) {
        struct event *e = &h->events[i];
        bool want = e->key >= start && e->key < end && e->version > after && e->version <= version;
        if (e->is_seen != want)
            fail_msg("event %zu of key %d at version %llu: %s", i, e->key,
                     (unsigned long long)e->version, want ? "missed" : "unexpected");
        e->is_seen = false;
    }
}

static uint64_t some_version(struct history *h)
{
    if (h->count == 0 || rng_below(&h->rng, 4) == 0)
        return 0;
    return h->events[rng_below(&h->rng, h->count)].version + rng_below(&h->rng, 3) - 1;
}

static void one_look(struct history *h)
{
    int start = (int)rng_below(&h->rng, KEYS);
    int end = start + 1 + (int)rng_below(&h->rng, (uint64_t)(KEYS - start));
    uint64_t after = some_version(h);
    uint64_t upto = rng_below(&h->rng, 2) == 0 ? 0 : some_version(h);
    uint64_t last = range_meta(h->w.range)->last_version;
    if (upto <= after)
        upto = 0;
    uint32_t limit = 1 + (uint32_t)rng_below(&h->rng, 400);
    uint64_t version = go_over(h, start, end, after, upto, limit, 0);
    assert_true(version == MAX(after, upto == 0 ? last : MIN(upto, last)));
    judge_all(h, start, end, after, version);
}

static void test_against_history(void **state)
{
    (void)state;
    uint64_t cuts = 0, from_engine = 0, pages = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct history *h = malloc(sizeof *h);
        history_open(h, seed);
        for (int i = 0; i < 250; i++) {
            /* a hot key now and then, so that one has more changes than a page */
            int key = rng_below(&h->rng, 3) == 0 ? 5 : (int)rng_below(&h->rng, KEYS);
            write_some(h, key, 1 + (int)rng_below(&h->rng, 4));
            if (rng_below(&h->rng, 20) == 0)
                world_flush(&h->w);
            if (rng_below(&h->rng, 30) == 0)
                assert_int_equal(range_feed_open(h->w.range, &h->budget), 0);
            if (rng_below(&h->rng, 60) == 0)
                range_feed_close(h->w.range);
            if (rng_below(&h->rng, 3) == 0)
                one_look(h);
        }
        cuts += h->cuts_inside_keys;
        from_engine += h->from_engine;
        pages += h->pages;
        world_close(&h->w);
        free(h);
    }
    assert_true(cuts > 20);
    assert_true(from_engine > 40 && from_engine < pages);
}

/* A feed holds what its bounds allow; who is behind it reads the engine and misses nothing. */
static void test_feed_bounds(void **state)
{
    (void)state;
    struct history *h = malloc(sizeof *h);
    history_open(h, 3);
    h->budget = (struct feed_budget){.bytes_max = 3000, .range_bytes_max = 2000};
    assert_int_equal(range_feed_open(h->w.range, &h->budget), 0);
    uint64_t first = range_meta(h->w.range)->last_version;
    assert_true(range_feed_reaches(h->w.range, first));
    for (int i = 0; i < 300; i++) {
        write_some(h, i % KEYS, 1 + i % 3);
        assert_true(h->budget.bytes <= h->budget.range_bytes_max);
        range_check(h->w.range);
    }
    assert_false(range_feed_reaches(h->w.range, first));
    assert_true(range_feed_reaches(h->w.range, h->events[h->count - 6].version));
    for (int i = 0; i < 50; i++)
        one_look(h);
    assert_true(h->from_engine > 0 && h->from_engine < h->pages);
    h->budget.bytes_max = 400; /* others take what there is */
    write_some(h, 0, 3);
    assert_true(h->budget.bytes <= 400);
    h->budget.range_bytes_max = 100; /* one command is more than it may hold */
    write_some(h, 0, 3);
    assert_int_equal(h->budget.bytes, 0);
    assert_true(range_feed_reaches(h->w.range, range_meta(h->w.range)->last_version));
    assert_false(range_feed_reaches(h->w.range, range_meta(h->w.range)->last_version - 1));
    one_look(h);
    range_feed_close(h->w.range);
    assert_int_equal(h->budget.bytes, 0);
    world_close(&h->w);
    free(h);
}

/* Below the safe point the engine forgets; the feed does not. */
static void test_version_gone(void **state)
{
    (void)state;
    struct history *h = malloc(sizeof *h);
    struct range_changes op;
    history_open(h, 4);
    write_some(h, 0, 1);
    uint64_t old = range_meta(h->w.range)->last_version;
    assert_int_equal(range_feed_open(h->w.range, &h->budget), 0);
    h->now_ms += RANGE_RETENTION_MS_DEFAULT + 5;
    write_some(h, 1, 1);
    uint64_t safe = range_meta(h->w.range)->safe_version;
    assert_true(safe > old + 1);
    range_changes_init(&op);
    op.after = old;
    assert_int_equal(page(h, &op), 0);
    assert_int_equal(op.count, 1);
    range_feed_close(h->w.range);
    assert_int_equal(page(h, &op), ERR_VERSION_GONE);
    assert_true(op.version == safe);
    op.after = safe - 1;
    assert_int_equal(page(h, &op), ERR_VERSION_GONE);
    op.after = op.version;
    assert_int_equal(page(h, &op), 0);
    assert_int_equal(op.count, 1);
    range_changes_fini(&op);
    world_close(&h->w);
    free(h);
}

/* Compaction keeps the newest record at or below the safe point, unless it is a delete: one
 * of exactly that version is gone, and nobody may be told that there was none. */
static void test_delete_at_safe_point(void **state)
{
    (void)state;
    struct history *h = malloc(sizeof *h);
    struct op gone = {.kind = OP_DELETE, .key = slice_str("k00")};
    struct range_changes op;
    struct buf commands;
    struct world_results results;
    history_open(h, 5);
    world_put(&h->w, T0, "k00", "there", 0);
    buf_init(&commands, 1 << 16);
    world_command(&commands, &gone, 1);
    struct slice payload = world_entry(T0 + 5, &commands);
    world_apply(&h->w, payload, &results);
    world_put(&h->w, T0 + 5 + RANGE_RETENTION_MS_DEFAULT, "k01", "later", 0);
    assert_true(range_meta(h->w.range)->safe_version == results.all[0].version);
    world_flush(&h->w); /* the safe point is durable … */
    world_put(&h->w, T0 + 5 + RANGE_RETENTION_MS_DEFAULT, "k02", "later", 0);
    world_flush(&h->w);
    assert_int_equal(lsm_compact(h->w.lsm, slice_str("\x02"), slice_str("\x03")), 0);
    world_settle(&h->w); /* … and the engine forgets by it */
    range_changes_init(&op);
    op.after = results.all[0].version - 1;
    if (page(h, &op) != ERR_VERSION_GONE)
        assert_int_equal(op.count, 3);
    op.after = results.all[0].version;
    assert_int_equal(page(h, &op), 0);
    assert_int_equal(op.count, 2);
    range_changes_fini(&op);
    buf_fini(&commands);
    free((void *)payload.data);
    world_close(&h->w);
    free(h);
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *name, *start, *end;
        int want;
    } rows[] = {
        {"all", "", "", 0},
        {"one key", "a", "b", 0},
        {"empty", "b", "b", ERR_INVALID},
        {"upside", "b", "a", ERR_INVALID},
    };
    struct history *h = malloc(sizeof *h);
    history_open(h, 5);
    uint8_t long_key[4097] = {1};
    struct range_changes op;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        range_changes_init(&op);
        op.keyspace = WORLD_KEYSPACE;
        op.start = slice_str(rows[i].start);
        op.end = slice_str(rows[i].end);
        op.after = range_meta(h->w.range)->last_version;
        int rv = range_changes_start(h->w.range, &op);
        if (rv != rows[i].want)
            fail_msg("%s: %d", rows[i].name, rv);
        assert_int_equal(range_changes_now(h->w.range, &op), rows[i].want);
        range_changes_fini(&op);
    }
    range_changes_init(&op);
    op.start = slice_of(long_key, sizeof long_key);
    assert_int_equal(range_changes_now(h->w.range, &op), ERR_TOO_LARGE);
    range_changes_fini(&op);
    world_close(&h->w);
    free(h);
}

static void split_at(struct world *w, int key)
{
    const struct range_descriptor *d = range_descriptor(w->range);
    char name[8];
    uint8_t raw[64];
    int status = -1;
    struct range_meta right;
    struct range_admin admin = {
        .kind = RANGE_ADMIN_SPLIT,
        .stamp_ms = 5000,
        .epoch = d->epoch,
        .split = {.range_id = 900, .count = d->replica_count},
    };
    admin.split.key = slice_of(raw, range_user_key(WORLD_KEYSPACE, key_name(key, name), raw));
    for (uint32_t i = 0; i < d->replica_count; i++)
        admin.split.children[i] = (struct range_child){d->replicas[i].store_id, 500 + i};
    range_meta_init(&right);
    assert_int_equal(range_apply_split(w->range, range_meta(w->range)->applied_index + 1, 5, &admin,
                                       slice_str("conf"), &right, &status, NULL),
                     0);
    assert_int_equal(status, 0);
    range_meta_fini(&right);
}

/* The left half goes on with its feed; what was cut off is another range's. */
static void test_split(void **state)
{
    (void)state;
    struct history *h = malloc(sizeof *h);
    struct range_changes op;
    history_open(h, 6);
    assert_int_equal(range_feed_open(h->w.range, &h->budget), 0);
    uint64_t before = range_meta(h->w.range)->last_version;
    write_some(h, 0, KEYS);
    split_at(&h->w, 6);
    write_some(h, 0, 3);
    range_changes_init(&op);
    op.after = before;
    assert_int_equal(page(h, &op), 0);
    assert_int_equal(h->from_engine, 0);
    assert_int_equal(op.count, 6 + 3);
    assert_true(op.has_more && op.is_range_end && op.cursor_version == 0);
    assert_true(slice_equal(buf_slice(&op.cursor), slice_str("k06")));
    assert_int_equal(range_changes_now(h->w.range, &op), 0);
    assert_true(op.count == 0 && op.has_more && op.is_range_end);
    assert_true(op.version == range_meta(h->w.range)->last_version);
    op.start = slice_str("k06");
    assert_int_equal(page(h, &op), ERR_RANGE_CHANGED);
    range_changes_fini(&op);
    world_close(&h->w);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_history), cmocka_unit_test(test_feed_bounds),
        cmocka_unit_test(test_version_gone),    cmocka_unit_test(test_delete_at_safe_point),
        cmocka_unit_test(test_bounds),          cmocka_unit_test(test_split),
    };
    return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
