/* SPDX-License-Identifier: Apache-2.0 */
#include "range_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "range/digest.h"

enum { SECOND = 1000, NOW = 5000 * SECOND };

/* ---- a digest of a world, step by step -------------------------------------------- */

struct step {
    int calls;
    int status;
    bool is_done;
    uint64_t bytes;
};

static void on_step(void *data, int status, uint64_t bytes, bool is_done, const struct err *err)
{
    struct step *s = data;
    (void)err;
    s->calls++;
    s->status = status;
    s->is_done = is_done;
    s->bytes += bytes;
}

static bool has_not_come(void *data)
{
    struct step *s = data;
    return s->calls == 0;
}

static int go_on(struct world *w, struct range_digest *d, uint64_t bytes_max, struct step *total)
{
    struct step s = {0};
    range_digest_next(d, bytes_max, on_step, &s);
    assert_true(range_digest_is_busy(d));
    assert_true(range_is_busy(w->range));
    sim_run_while(w->sim, has_not_come, &s, UINT64_MAX);
    assert_int_equal(s.calls, 1);
    assert_false(range_digest_is_busy(d));
    assert_false(range_is_busy(w->range));
    total->calls++;
    total->bytes += s.bytes;
    total->status = s.status;
    total->is_done = s.is_done;
    return s.status;
}

static struct range_digest *digest_begin(struct world *w)
{
    struct range_digest *d;
    assert_int_equal(range_digest_new(w->range, &d, NULL), 0);
    return d;
}

static struct step finish(struct world *w, struct range_digest *d, uint64_t bytes_max)
{
    struct step total = {0};
    while (!total.is_done)
        assert_int_equal(go_on(w, d, bytes_max, &total), 0);
    return total;
}

static struct range_digest *digest_of(struct world *w)
{
    struct range_digest *d = digest_begin(w);
    finish(w, d, UINT64_MAX);
    return d;
}

static void add(struct range_digest_sum *to, const struct range_digest_sum *from)
{
    to->keys += from->keys;
    to->bytes += from->bytes;
    to->hash[0] += from->hash[0];
    to->hash[1] += from->hash[1];
}

static bool sum_equal(const struct range_digest_sum *a, const struct range_digest_sum *b)
{
    return a->keys == b->keys && a->bytes == b->bytes && a->hash[0] == b->hash[0] &&
           a->hash[1] == b->hash[1];
}

/* G2, order, and one open end. */
static void check_parts(const struct range_digest_sums *s)
{
    struct range_digest_sum all = {0};
    assert_true(s->part_count >= 1 && s->part_count <= RANGE_DIGEST_SPANS_MAX);
    for (uint32_t i = 0; i < s->part_count; i++) {
        const struct range_digest_part *p = &s->parts[i];
        add(&all, &p->sum);
        assert_int_equal(p->last.len == 0, i + 1 == s->part_count);
        if (p->last.len > 0)
            assert_true(p->sum.keys > 0);
        if (i > 0 && p->last.len > 0)
            assert_true(slice_compare(s->parts[i - 1].last, p->last) < 0);
    }
    assert_true(sum_equal(&all, &s->all));
}

static bool sums_equal(const struct range_digest_sums *a, const struct range_digest_sums *b)
{
    bool same = a->index == b->index && a->term == b->term && a->time_ms == b->time_ms &&
                a->last_version == b->last_version && a->history_hash == b->history_hash &&
                a->meta_hash == b->meta_hash && sum_equal(&a->all, &b->all) &&
                a->part_count == b->part_count;
    for (uint32_t i = 0; same && i < a->part_count; i++)
        same = sum_equal(&a->parts[i].sum, &b->parts[i].sum) &&
               slice_equal(a->parts[i].last, b->parts[i].last);
    return same;
}

static void put_number(struct world *w, uint64_t stamp_ms, int n, const char *value)
{
    char key[16];
    snprintf(key, sizeof key, "k%06d", n);
    world_put(w, stamp_ms, key, value, 0);
}

/* Many keys in few entries. */
static void fill(struct world *w, int count)
{
    enum { IN_ONE = 200 };
    for (int from = 0; from < count; from += IN_ONE) {
        struct buf commands;
        buf_init(&commands, ENTRY_PAYLOAD_MAX);
        for (int i = from; i < MIN(from + IN_ONE, count); i++) {
            char key[16];
            snprintf(key, sizeof key, "k%06d", i);
            struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str("value")};
            world_command(&commands, &op, 1);
        }
        struct slice payload = world_entry(NOW, &commands);
        world_apply(w, payload, NULL);
        free((void *)payload.data);
        buf_fini(&commands);
    }
}

/* ---- tests ---------------------------------------------------------------------------- */

/* The same entries: one replica flushes and compacts all the time, one never, one dies. */
static void test_garbage_does_not_count(void **state)
{
    (void)state;
    struct world w[3];
    struct range_digest *d[3];
    struct rng rng;
    const struct world_options options[3] = {
        {.seed = 1, .replica_id = 1, .memtable_bytes = 16 << 10},
        {.seed = 2, .replica_id = 2},
        {.seed = 3, .replica_id = 3, .cache_bytes = 64 << 10},
    };
    for (int i = 0; i < 3; i++)
        world_open(&w[i], &options[i]);
    rng_init(&rng, 11);
    for (int n = 0; n < 600; n++) {
        char key[16];
        uint64_t kind = rng_below(&rng, 10);
        snprintf(key, sizeof key, "k%03u", (unsigned)rng_below(&rng, 200));
        struct op op = {.kind = kind < 2 ? OP_DELETE : OP_PUT, .key = slice_str(key)};
        if (op.kind == OP_PUT)
            op.value = slice_str("some value or other");
        if (kind > 7)
            op.ttl_ms = 1 + rng_below(&rng, 60 * SECOND);
        for (int i = 0; i < 3; i++)
            world_do(&w[i], NOW + (uint64_t)n * SECOND, &op, &(struct world_results){0});
        if (n % 50 == 49)
            world_flush(&w[0]);
    }
    world_flush(&w[2]);
    world_crash(&w[2], SIM_CRASH_POWER);
    world_settle(&w[0]);
    for (int i = 0; i < 3; i++) {
        d[i] = digest_of(&w[i]);
        check_parts(range_digest_sums(d[i]));
    }
    assert_true(range_digest_sums(d[0])->all.keys > 50);
    assert_true(sums_equal(range_digest_sums(d[0]), range_digest_sums(d[1])));
    assert_true(sums_equal(range_digest_sums(d[0]), range_digest_sums(d[2])));
    for (int i = 0; i < 3; i++) {
        range_digest_free(d[i]);
        world_close(&w[i]);
    }
}

/* What has expired is not there, though its record is; one that has not is. */
static void test_range_time_decides(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 4});
    world_put(&w, NOW, "short", "1", 10 * SECOND);
    world_put(&w, NOW, "long", "2", 100 * SECOND);
    struct range_digest *before = digest_of(&w);
    world_put(&w, NOW + 10 * SECOND, "other", "3", 0);
    struct range_digest *after = digest_of(&w);
    assert_int_equal(range_digest_sums(before)->all.keys, 2);
    assert_int_equal(range_digest_sums(after)->all.keys, 2);
    assert_false(sums_equal(range_digest_sums(before), range_digest_sums(after)));
    range_digest_free(before);
    range_digest_free(after);
    world_close(&w);
}

/* It stays at its index, whatever is written, deleted and flushed between its steps;
 * small steps come to the same as one. */
static void test_stands_still(void **state)
{
    (void)state;
    struct world w;
    struct step total = {0};
    world_open(&w, &(struct world_options){.seed = 5, .memtable_bytes = 16 << 10});
    fill(&w, 1000);
    struct range_digest *at_once = digest_of(&w);
    struct range_digest *slow = digest_begin(&w);
    for (int n = 0; !total.is_done; n++) {
        assert_int_equal(go_on(&w, slow, 500, &total), 0);
        put_number(&w, NOW + SECOND, n * 37 % 1000, "another");
        if (n % 10 == 0)
            world_flush(&w);
    }
    assert_true(total.calls > 10);
    assert_int_equal(total.bytes, range_digest_sums(slow)->all.bytes);
    assert_true(sums_equal(range_digest_sums(at_once), range_digest_sums(slow)));
    range_digest_free(at_once);
    range_digest_free(slow);
    world_close(&w);
}

/* How many parts, and fair ones, from none to many more keys than parts. */
static void test_parts(void **state)
{
    (void)state;
    static const int counts[] = {0, 1, 127, 128, 129, 1000, 20000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct world w;
        world_open(&w, &(struct world_options){.seed = 6});
        fill(&w, counts[i]);
        struct range_digest *d = digest_of(&w);
        const struct range_digest_sums *s = range_digest_sums(d);
        check_parts(s);
        assert_int_equal(s->all.keys, counts[i]);
        if (counts[i] >= 1000)
            assert_true(s->part_count > RANGE_DIGEST_SPANS_MAX / 5);
        for (uint32_t k = 0; counts[i] >= 1000 && k < s->part_count; k++)
            assert_true(s->parts[k].sum.keys < (uint64_t)counts[i] / 4);
        range_digest_free(d);
        world_close(&w);
    }
}

/* Add up parts of `s` up to the one that ends at `last`, from *at on. */
static struct range_digest_sum up_to(const struct range_digest_sums *s, uint32_t *at,
                                     struct slice last)
{
    struct range_digest_sum sum = {0};
    for (; *at < s->part_count; (*at)++) {
        add(&sum, &s->parts[*at].sum);
        if (slice_equal(s->parts[*at].last, last)) {
            (*at)++;
            break;
        }
    }
    return sum;
}

static bool ends_at(const struct range_digest_sums *s, struct slice last)
{
    for (uint32_t i = 0; i < s->part_count; i++)
        if (slice_equal(s->parts[i].last, last))
            return true;
    return false;
}

/* What is wrong with one record shows in one stretch between common ends, and the
 * record lies in it. */
static void test_differences_are_narrow(void **state)
{
    (void)state;
    static const char *const damages[] = {"value", "missing", "more"};
    for (size_t kind = 0; kind < ARRAY_LEN(damages); kind++) {
        struct world a, b;
        world_open(&a, &(struct world_options){.seed = 7});
        world_open(&b, &(struct world_options){.seed = 8});
        fill(&a, 5000);
        fill(&b, 5000);
        struct op op = {.kind = kind == 1 ? OP_DELETE : OP_PUT,
                        .key = slice_str(kind == 2 ? "k002500x" : "k002500"),
                        .value = slice_str(kind == 1 ? "" : "other")};
        world_do(&b, NOW, &op, &(struct world_results){0});
        struct range_digest *da = digest_of(&a);
        struct range_digest *db = digest_of(&b);
        const struct range_digest_sums *x = range_digest_sums(da);
        const struct range_digest_sums *y = range_digest_sums(db);
        assert_false(sum_equal(&x->all, &y->all));
        int differ = 0;
        uint32_t ax = 0, ay = 0;
        for (uint32_t i = 0; i < x->part_count; i++) {
            if (!ends_at(y, x->parts[i].last))
                continue;
            struct range_digest_sum p = up_to(x, &ax, x->parts[i].last);
            struct range_digest_sum q = up_to(y, &ay, x->parts[i].last);
            if (sum_equal(&p, &q))
                continue;
            differ++;
            assert_true(p.keys < 1000);
        }
        if (differ != 1)
            fail_msg("%s: %d stretches differ", damages[kind], differ);
        range_digest_free(da);
        range_digest_free(db);
        world_close(&a);
        world_close(&b);
    }
}

static void apply_marker(struct world *w, struct world_results *results)
{
    struct buf one, commands;
    buf_init(&one, 256);
    buf_init(&commands, 256);
    range_digest_command(&one);
    buf_append_varint(&commands, one.len);
    buf_append_slice(&commands, buf_slice(&one));
    struct slice payload = world_entry(NOW, &commands);
    world_apply(w, payload, results);
    free((void *)payload.data);
    buf_fini(&one);
    buf_fini(&commands);
}

/* The entry that asks is met by all, changes no key, and is forgotten with the next. */
static void test_the_entry_that_asks(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    world_open(&w, &(struct world_options){.seed = 9});
    world_put(&w, NOW, "a", "1", 0);
    assert_false(range_wants_digest(w.range));
    struct range_digest *before = digest_of(&w);
    apply_marker(&w, &results);
    assert_true(range_wants_digest(w.range));
    assert_int_equal(results.count, 1);
    assert_int_equal(results.all[0].status, 0);
    struct range_digest *after = digest_of(&w);
    assert_true(sum_equal(&range_digest_sums(before)->all, &range_digest_sums(after)->all));
    apply_marker(&w, NULL); /* once more: its key is still absent */
    assert_true(range_wants_digest(w.range));
    range_apply_barrier(w.range, range_meta(w.range)->applied_index + 1, 5);
    assert_false(range_wants_digest(w.range));
    apply_marker(&w, NULL);
    world_put(&w, NOW, "a", "2", 0);
    assert_false(range_wants_digest(w.range));
    range_digest_free(before);
    range_digest_free(after);
    world_close(&w);
}

static void first_table(void *data, const char *path, uint64_t size)
{
    char *out = data;
    if (strstr(path, ".tbl") != NULL && size > 20000)
        snprintf(out, 256, "%s", path);
}

/* Damage at rest is an error, not another sum. */
static void test_damage_at_rest(void **state)
{
    (void)state;
    struct world w;
    char path[256] = "";
    struct step total = {0};
    world_open(&w, &(struct world_options){.seed = 10});
    fill(&w, 3000);
    world_flush(&w);
    world_crash(&w, SIM_CRASH_KILL);
    sim_disk_each_file(sim_node_disk(w.node), first_table, path);
    if (path[0] == 0)
        fail_msg("no table file");
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), path, 8 * 13000), 0);
    struct range_digest *d = digest_begin(&w);
    while (!total.is_done && total.status == 0)
        go_on(&w, d, 4096, &total);
    assert_int_equal(total.status, ERR_CORRUPT);
    range_digest_free(d);
    uint64_t hash = 0;
    struct err err = {0};
    assert_int_equal(range_hash(w.range, &hash, &err), ERR_CORRUPT);
    assert_true(err.msg[0] != 0 && hash == 0);
    world_close(&w);
}

/* A crash in the middle of a step, and one that is never finished, leak nothing. */
static void test_given_up(void **state)
{
    (void)state;
    struct world w;
    struct step s = {0};
    world_open(&w, &(struct world_options){.seed = 12});
    fill(&w, 1000);
    struct range_digest *a = digest_begin(&w);
    go_on(&w, a, 100, &s);
    range_digest_free(a);
    struct range_digest *b = digest_begin(&w);
    range_digest_next(b, 100, on_step, &s);
    sim_node_crash(w.node, SIM_CRASH_KILL);
    range_digest_free(b);
    range_digest_free(NULL);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_does_not_count), cmocka_unit_test(test_range_time_decides),
        cmocka_unit_test(test_stands_still),           cmocka_unit_test(test_parts),
        cmocka_unit_test(test_differences_are_narrow), cmocka_unit_test(test_the_entry_that_asks),
        cmocka_unit_test(test_damage_at_rest),         cmocka_unit_test(test_given_up),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
