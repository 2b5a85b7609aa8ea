/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/table.h"

#include <stdio.h>

#include "env/sim/sim.h"
#include "lsm/block.h"
#include "lsm/fences.h"
#include "lsm/filter.h"
#include "lsm/lsm.h"
#include "lsm/table_builder.h"
#include "lsm/table_read.h"
#include "support/check.h"

enum { KEYS = 300 };

struct place {
    struct sim *sim;
    struct env *env;
    struct cache *cache;
    struct table_info info;
};

/* Keys k000, k002 …: each with versions 20 and 10; every tenth a delete at 20. */
static void place_init(struct place *p, size_t block_bytes, unsigned filter_bits)
{
    const struct table_options options = {block_bytes, 4, filter_bits, false, 0};
    struct table_builder *b = NULL;
    struct err err = {0};
    p->sim = sim_new(NULL, 1);
    p->env = sim_node_env(sim_node_new(p->sim, "n1"));
    p->cache = cache_new(1 << 20);
    assert_int_equal(table_builder_open(&b, p->env, "t.tbl", &options, &err), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16], value[64];
        snprintf(key, sizeof key, "k%03u", i * 2);
        int len = snprintf(value, sizeof value, "value of %u, value of %u", i, i);
        struct entry e = {.key = slice_str(key), .version = 20, .kind = ENTRY_PUT};
        e.kind = i % 10 == 0 ? ENTRY_DELETE : ENTRY_PUT;
        e.value = slice_of(value, i % 10 == 0 ? 0 : (size_t)len);
        assert_int_equal(table_builder_add(b, &e, &err), 0);
        e = (struct entry){
            .key = e.key, .version = 10, .kind = ENTRY_PUT_EXPIRES, .expiry_ms = i + 1};
        assert_int_equal(table_builder_add(b, &e, &err), 0);
    }
    assert_int_equal(table_builder_finish(b, &p->info, &err), 0);
    table_builder_free(b, false);
}

static void place_fini(struct place *p)
{
    table_props_fini(&p->info.props);
    cache_free(p->cache);
    sim_free(p->sim);
}

static struct table *must_open(struct place *p)
{
    struct table *t = NULL;
    struct err err = {0};
    int rv = table_open(&t, p->env, p->cache, "t.tbl", 1, p->info.size, &err);
    if (rv != 0 || t->damage[0] != 0)
        fail_msg("open: %d %s %s", rv, err.msg, rv == 0 ? t->damage : "");
    return t;
}

static int get(struct table *t, const char *key, uint64_t version, unsigned flags,
               struct entry *ret_entry)
{
    struct block *pin = NULL;
    struct err err = {0};
    int rv = table_get(t, slice_str(key), version, flags, ret_entry, &pin, &err);
    block_unref(pin); /* the test looks at nothing that it points to */
    return rv;
}

static void test_props(void **state)
{
    (void)state;
    struct place p;
    place_init(&p, 256, 10);
    struct table *t = must_open(&p);
    assert_int_equal(t->props.records, 2 * KEYS);
    assert_int_equal(t->props.deletes, KEYS / 10);
    assert_int_equal(t->props.expiring, KEYS);
    assert_int_equal(t->props.version_min, 10);
    assert_int_equal(t->props.version_max, 20);
    assert_true(t->props.data_blocks > 10);
    assert_true(slice_equal(buf_slice(&t->props.smallest), slice_str("k000")));
    assert_true(slice_equal(buf_slice(&t->props.largest), slice_str("k598")));
    assert_int_equal(table_verify(t, &p.info.crc, NULL, NULL, NULL), 0);
    table_unref(t);
    place_fini(&p);
}

/* Every key, between the keys, at versions above, at, between and below. */
static void test_get(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 256, 4096, 1 << 20};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct place p;
        place_init(&p, sizes[s], s % 2 == 0 ? 10 : 0);
        struct table *t = must_open(&p);
        for (unsigned i = 0; i < 2 * KEYS + 2; i++) {
            struct entry e = {0};
            char key[16];
            bool there = i % 2 == 0 && i < 2 * KEYS;
            snprintf(key, sizeof key, "k%03u", i);
            int may = table_may_contain(t, filter_hash(slice_str(key)), 0, NULL);
            assert_true(may == 1 || (may == 0 && !there));
            assert_int_equal(get(t, key, UINT64_MAX, 0, &e), there ? 0 : ERR_NOT_FOUND);
            if (!there)
                continue;
            assert_int_equal(e.version, 20);
            assert_int_equal(e.kind, i / 2 % 10 == 0 ? ENTRY_DELETE : ENTRY_PUT);
            assert_int_equal(get(t, key, 19, 0, &e), 0);
            assert_int_equal(e.version, 10);
            assert_int_equal(e.expiry_ms, i / 2 + 1);
            assert_int_equal(get(t, key, 9, 0, &e), ERR_NOT_FOUND);
        }
        table_unref(t);
        place_fini(&p);
    }
}

/* Without I/O: would block when cold, answers when warm. */
static void test_no_io(void **state)
{
    (void)state;
    struct place p;
    struct entry e = {0};
    place_init(&p, 256, 10);
    struct table *t = must_open(&p);
    uint64_t hash = filter_hash(slice_str("k100"));
    assert_int_equal(table_may_contain(t, hash, LSM_READ_NO_IO, NULL), ERR_WOULD_BLOCK);
    assert_int_equal(get(t, "k100", 20, LSM_READ_NO_IO, &e), ERR_WOULD_BLOCK);
    assert_int_equal(get(t, "k100", 20, 0, &e), 0);
    assert_int_equal(table_may_contain(t, hash, 0, NULL), 1);
    assert_int_equal(get(t, "k100", 20, LSM_READ_NO_IO, &e), 0);
    assert_int_equal(table_may_contain(t, hash, LSM_READ_NO_IO, NULL), 1);
    table_unref(t);
    place_fini(&p);
}

/* Bounds narrower than the table hide what is outside, both ways. */
static void test_cursor_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *lower, *upper;
        unsigned first, count; /* of keys */
    } rows[] = {{"", "", 0, KEYS},       {"k100", "", 50, 250},   {"", "k100", 0, 50},
                {"k101", "k103", 51, 1}, {"k101", "k102", 51, 0}, {"x", "", 0, 0}};
    struct place p;
    place_init(&p, 200, 10);
    struct table *t = must_open(&p);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cursor *c =
            table_cursor(t, slice_str(rows[i].lower), slice_str(rows[i].upper), 0, NULL);
        unsigned forward = 0, backward = 0;
        char key[16];
        snprintf(key, sizeof key, "k%03u", rows[i].first * 2);
        cursor_first(c);
        assert_true(!c->is_valid || slice_equal(c->at->key, slice_str(key)));
        for (; c->is_valid; cursor_next(c))
            forward++;
        for (cursor_last(c); c->is_valid; cursor_prev(c))
            backward++;
        if (forward != 2 * rows[i].count || backward != forward)
            fail_msg("row %zu: %u forward, %u backward", i, forward, backward);
        cursor_free(c);
    }
    table_unref(t);
    place_fini(&p);
}

enum { BLOCKS_MAX = 200 };

/* Reads of the file that a walk over all blocks takes; each block comes whole. */
static unsigned walk_reads(struct table *t, const struct table_handle *at, size_t count,
                           bool is_back)
{
    struct table_ahead ahead = {0};
    struct err err = {0};
    unsigned reads = 0;
    for (size_t n = 0; n < count; n++) {
        struct table_handle h = at[is_back ? count - 1 - n : n];
        struct block *walked = NULL, *alone = NULL;
        uint64_t before = ahead.offset;
        bool had = h.offset >= ahead.offset && h.offset + h.len < ahead.offset + ahead.len;
        assert_int_equal(table_block_ahead(t, &ahead, h, LSM_READ_NO_FILL, &walked, &err), 0);
        assert_int_equal(table_read_block(t, h, &alone, &err), 0);
        assert_true(slice_equal(block_slice(walked), block_slice(alone)));
        reads += !had || ahead.offset != before;
        block_unref(walked);
        block_unref(alone);
    }
    table_ahead_fini(&ahead);
    return reads;
}

/* A walk reads ahead, whichever way it goes. */
static void test_ahead(void **state)
{
    (void)state;
    struct place p;
    struct table_handle at[BLOCKS_MAX];
    size_t count = 0;
    place_init(&p, 256, 0);
    struct table *t = must_open(&p);
    for (size_t i = 0; i < t->parts.count; i++) {
        struct block *part = NULL, *own = NULL;
        assert_int_equal(table_pinned_block(t, &t->parts.items[i].pin, t->parts.items[i].at.handle,
                                            true, 0, &part, &own, NULL),
                         0);
        struct fences fences = fences_of(part);
        for (size_t n = 0; n < fences.count; n++) {
            assert_true(count < BLOCKS_MAX);
            at[count++] = fences_handle(&fences, n);
        }
        block_unref(own);
    }
    assert_true(count > 40);
    unsigned forward = walk_reads(t, at, count, false), back = walk_reads(t, at, count, true);
    if (forward > 4 || back > 4)
        fail_msg("%u and %u reads of %zu blocks", forward, back, count);
    table_unref(t);
    place_fini(&p);
}

/* Background work goes past the cache: what is in it is as used as it was before. */
static void test_past_the_cache(void **state)
{
    (void)state;
    static const struct {
        unsigned flags;
        bool asks, fills;
    } rows[] = {
        {LSM_READ_NO_FILL | TABLE_READ_PAST, false, false},
        {LSM_READ_NO_FILL, true, false},
        {0, true, true},
        {LSM_READ_NO_FILL | TABLE_READ_PAST, false, false}, /* though all is in it */
    };
    struct place p;
    place_init(&p, 200, 10);
    struct table *t = must_open(&p);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_stats before, after;
        unsigned count = 0;
        cache_stats(t->cache, &before);
        struct cursor *c =
            table_cursor(t, (struct slice){0}, (struct slice){0}, rows[i].flags, NULL);
        for (cursor_first(c); c->is_valid; cursor_next(c))
            count++;
        assert_int_equal(c->status, 0);
        cursor_free(c);
        assert_int_equal(count, 2 * KEYS);
        cache_stats(t->cache, &after);
        assert_int_equal(after.hits + after.misses > before.hits + before.misses, rows[i].asks);
        assert_int_equal(after.blocks > before.blocks, rows[i].fills);
    }
    table_unref(t);
    place_fini(&p);
}

/* Made warm, a table is asked for keys that it has not without a read of its file, and for
 * those that it has with one. */
static void test_warm(void **state)
{
    (void)state;
    struct place p;
    struct entry e;
    struct block *block = NULL;
    place_init(&p, 200, 10);
    struct table *t = must_open(&p);
    uint64_t hash = filter_hash(slice_str("k004"));
    assert_int_equal(table_may_contain(t, hash, LSM_READ_NO_IO, NULL), ERR_WOULD_BLOCK);
    assert_int_equal(table_warm(t, NULL), 0);
    assert_int_equal(table_may_contain(t, hash, LSM_READ_NO_IO, NULL), 1);
    for (size_t i = 0; i < t->parts.count; i++)
        assert_non_null(table_pin_get(&t->parts.items[i].pin));
    struct cache_stats stats;
    cache_stats(t->cache, &stats);
    assert_true(stats.reserved > 0);
    assert_int_equal(stats.blocks, 0); /* no data */
    assert_int_equal(table_get(t, slice_str("k004"), UINT64_MAX, 0, &e, &block, NULL), 0);
    block_unref(block);
    table_unref(t);
    place_fini(&p);
}

static void test_approximate(void **state)
{
    (void)state;
    struct place p;
    uint64_t all, half, records, none;
    place_init(&p, 128, 10);
    struct table *t = must_open(&p);
    table_approximate(t, slice_str("k"), slice_str("l"), &all, &records);
    assert_int_equal(all, t->props.data_bytes);
    assert_int_equal(records, 2 * KEYS);
    table_approximate(t, slice_str("k"), slice_str("k300"), &half, &records);
    assert_true(half > all / 4 && half < all * 3 / 4);
    table_approximate(t, slice_str("x"), slice_str("y"), &none, &records);
    assert_int_equal(none, 0);
    table_unref(t);
    place_fini(&p);
}

static void begin(struct place *p, struct table_builder **ret_builder)
{
    const struct table_options options = {4096, 4, 10, false, 0};
    p->sim = sim_new(NULL, 1);
    p->env = sim_node_env(sim_node_new(p->sim, "n1"));
    p->cache = cache_new(1 << 20);
    assert_int_equal(table_builder_open(ret_builder, p->env, "t.tbl", &options, NULL), 0);
}

enum { MANY = 2000, NARROW = 40 };

static struct slice key_in(unsigned style, unsigned i, char key[32])
{
    static const char *const behind[] = {"", "", ":user", "\x80\xff"};
    int n = style == 1 ? snprintf(key, 32, "n%06x", i) : snprintf(key, 32, "n%06u", i);
    memcpy(key + n, behind[style], strlen(behind[style]) + 1);
    return slice_str(key);
}

/* Narrow spans, many in a partition: a range each. None is taken for half of the partition, and
 * together they have what is there. Numbers in decimal, in hexadecimal, and with something
 * behind them. */
static void test_approximate_adds_up(void **state)
{
    (void)state;
    for (unsigned style = 0; style < 4; style++) {
        struct place p;
        struct table_builder *builder = NULL;
        char key[32], end[32];
        uint64_t all, records, bytes, n, sum = 0, sum_records = 0;
        begin(&p, &builder);
        for (unsigned i = 0; i < MANY; i++) {
            struct entry e = {.key = key_in(style, i, key), .version = 1, .kind = ENTRY_PUT};
            e.value = slice_str("value");
            assert_int_equal(table_builder_add(builder, &e, NULL), 0);
        }
        assert_int_equal(table_builder_finish(builder, &p.info, NULL), 0);
        table_builder_free(builder, false);
        struct table *t = must_open(&p);
        assert_true(t->parts.count < 4);
        table_approximate(t, slice_str(""), slice_str(""), &all, &records);
        for (unsigned i = 0; i < MANY; i += NARROW) {
            table_approximate(t, key_in(style, i, key), key_in(style, i + NARROW, end), &bytes, &n);
            if (bytes < all / 150 || bytes > all / 20)
                fail_msg("style %u: %s has %llu of %llu", style, key, (unsigned long long)bytes,
                         (unsigned long long)all);
            sum += bytes;
            sum_records += n;
        }
        assert_in_range(sum, all * 95 / 100, all * 105 / 100);
        assert_in_range(sum_records, MANY * 95 / 100, MANY * 105 / 100);
        table_unref(t);
        place_fini(&p);
    }
}

/* Each row damages one field of a good footer. */
static void test_footer_damage(void **state)
{
    (void)state;
    const struct table_footer good = {{900, 20}, {500, 64}, {700, 30}, false};
    uint8_t raw[TABLE_FOOTER];
    struct table_footer got;
    table_footer_encode(&good, raw);
    assert_int_equal(table_footer_decode(slice_of(raw, sizeof raw), 1000, &got, NULL), 0);
    assert_true(got.top.offset == 900 && got.filter.len == 64 && got.props.len == 30);
    assert_int_equal(table_footer_decode(slice_of(raw, sizeof raw - 1), 1000, &got, NULL),
                     ERR_CORRUPT);
    assert_int_equal(table_footer_decode(slice_of(raw, sizeof raw), 970, &got, NULL), ERR_CORRUPT);
    for (size_t bit = 0; bit < sizeof raw * 8; bit++) {
        raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(table_footer_decode(slice_of(raw, sizeof raw), 1000, &got, NULL),
                         ERR_CORRUPT);
        raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* A missing file is an error; a damaged frame opens, says why, and reads fail. */
static void test_open(void **state)
{
    (void)state;
    struct place p;
    struct table *t = NULL;
    struct err err = {0};
    struct entry e;
    place_init(&p, 256, 10);
    assert_int_equal(table_open(&t, p.env, p.cache, "u.tbl", 1, 5, &err), ERR_NOT_FOUND);
    assert_int_equal(table_open(&t, p.env, p.cache, "t.tbl", 1, p.info.size + 1, &err), 0);
    assert_true(t->damage[0] != 0);
    assert_int_equal(get(t, "k100", 20, 0, &e), ERR_CORRUPT);
    assert_int_equal(table_may_contain(t, 1, LSM_READ_NO_IO, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "000001.tbl"));
    struct cursor *c = table_cursor(t, slice_str(""), slice_str(""), 0, &err);
    cursor_first(c);
    assert_false(c->is_valid);
    assert_int_equal(c->status, ERR_CORRUPT);
    cursor_last(c);
    assert_int_equal(c->status, ERR_CORRUPT);
    cursor_free(c);
    assert_int_equal(table_verify(t, NULL, NULL, NULL, &err), ERR_CORRUPT);
    table_unref(t);
    place_fini(&p);
}

/* What the table says of its garbage is a hint: damaged, it is named, and all else is read. */
static void test_stale_damage(void **state)
{
    (void)state;
    struct place p;
    struct err err = {0};
    struct entry e;
    struct table_handle stale;
    struct env_file *file;
    uint8_t byte;
    size_t got;
    place_init(&p, 256, 10);
    struct table *t = must_open(&p);
    assert_true(table_stale_handle(&t->footer, &stale));
    assert_true(stale_safe_at(&t->props.stale, 200) == 20);
    table_unref(t);
    assert_int_equal(env_file_open(p.env, "t.tbl", ENV_OPEN_READ | ENV_OPEN_WRITE, &file, &err), 0);
    assert_int_equal(env_file_read(file, stale.offset, &byte, 1, &got, &err), 0);
    byte ^= 1;
    assert_int_equal(env_file_write(file, stale.offset, &byte, 1, &err), 0);
    env_file_close(file);
    t = must_open(&p);
    assert_true(stale_safe_at(&t->props.stale, 200) == STALE_NEVER);
    assert_int_equal(get(t, "k102", 20, 0, &e), 0);
    assert_true(t->is_bad);
    assert_int_equal(table_verify(t, NULL, NULL, NULL, &err), ERR_CORRUPT);
    table_unref(t);
    place_fini(&p);
}

struct calls {
    int write_backs;
    int syncs;
    int crooked; /* ends of writes that are no beginning of a folio */
};

static void count_crooked(void *data, const char *path, uint64_t size)
{
    (void)path;
    struct calls *calls = data;
    calls->crooked += size % (256 << 10) != 0;
}

static void count_calls(void *data, struct sim_disk *disk, const char *op, const char *path)
{
    (void)path;
    struct calls *calls = data;
    if (strcmp(op, "write") == 0)
        sim_disk_each_file(disk, count_crooked, calls);
    calls->write_backs += strcmp(op, "write back") == 0;
    calls->syncs += strcmp(op, "sync") == 0;
}

/* A table's bytes leave while it is being built, in whole folios; its sync finds little left
 * to do. */
static void test_writes_are_paced(void **state)
{
    (void)state;
    const struct table_options options = {4096, 4, 10, true, 0};
    struct sim *sim = sim_new(NULL, 1);
    struct sim_node *node = sim_node_new(sim, "n1");
    struct table_builder *b = NULL;
    struct table_info info = {0};
    struct calls calls = {0};
    static uint8_t value[1000];
    sim_disk_watch(sim_node_disk(node), count_calls, &calls);
    assert_int_equal(table_builder_open(&b, sim_node_env(node), "t.tbl", &options, NULL), 0);
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06u", i);
        struct entry e = {.key = slice_str(key), .version = 1, .kind = ENTRY_PUT};
        e.value = slice_of(value, sizeof value);
        assert_int_equal(table_builder_add(b, &e, NULL), 0);
    }
    int before = calls.write_backs;
    assert_true(before >= 6); /* 2 MB in pieces of a quarter of one */
    assert_int_equal(calls.syncs, 0);
    assert_int_equal(calls.crooked, 0);
    assert_int_equal(table_builder_finish(b, &info, NULL), 0);
    assert_int_equal(calls.syncs, 1);
    assert_int_equal(calls.crooked, 1);
    assert_true(calls.write_backs <= before + 1);
    table_builder_free(b, true);
    table_props_fini(&info.props);
    sim_free(sim);
}

/* ---- short of memory ------------------------------------------------------- */

static bool is_short_of_memory;
static unsigned granted; /* keys of a walk that there is memory for even so */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    bool is_key = size == LSM_KEY_MAX + IKEY_TRAILER;
    if (is_short_of_memory && is_key && granted == 0)
        return NULL;
    granted -= is_short_of_memory && is_key;
    return __real_malloc(size);
}

enum { LONG_KEY = BLOCK_KEY_INLINE + 80, LONG_KEYS = 60 };

static struct slice long_key(unsigned i, char key[LONG_KEY + 1])
{
    memset(key, 'x', LONG_KEY);
    snprintf(key + LONG_KEY - 4, 5, "%04u", i);
    return slice_of(key, LONG_KEY);
}

static int get_long(struct table *t, unsigned i, unsigned grant)
{
    struct block *pin = NULL;
    struct entry e;
    char key[LONG_KEY + 1];
    is_short_of_memory = grant < UINT32_MAX;
    granted = grant;
    int rv = table_get(t, long_key(i, key), 5, 0, &e, &pin, NULL);
    is_short_of_memory = false;
    block_unref(pin);
    return rv;
}

static unsigned walk_long(struct table *t, bool is_short, int *ret_status)
{
    unsigned count = 0;
    struct cursor *c = table_cursor(t, (struct slice){0}, (struct slice){0}, 0, NULL);
    is_short_of_memory = is_short;
    granted = 0;
    for (cursor_first(c); c->is_valid; cursor_next(c))
        count++;
    is_short_of_memory = false;
    *ret_status = c->status;
    cursor_free(c);
    return count;
}

/* A cursor whose move failed is as good as a new one for the next. */
static void check_moves_again(struct table *t)
{
    char key[LONG_KEY + 1];
    struct cursor *c = table_cursor(t, (struct slice){0}, slice_str("y"), 0, NULL);
    is_short_of_memory = true;
    granted = 0;
    cursor_first(c);
    is_short_of_memory = false;
    assert_int_equal(c->status, ERR_NOMEM);
    cursor_last(c);
    assert_int_equal(c->status, 0);
    assert_true(c->is_valid);
    assert_true(slice_equal(c->at->key, long_key(LONG_KEYS - 1, key)));
    cursor_free(c);
}

/* That there is no memory for a long key says nothing of the table: who asked hears it, and may ask
 * again. */
static void test_short_of_memory(void **state)
{
    (void)state;
    struct place p;
    struct table_builder *b = NULL;
    struct table *t = NULL;
    char key[LONG_KEY + 1];
    int status;
    begin(&p, &b);
    for (unsigned i = 0; i < LONG_KEYS; i++) {
        struct entry e = {.key = long_key(i, key), .version = 5, .kind = ENTRY_PUT};
        assert_int_equal(table_builder_add(b, &e, NULL), 0);
    }
    assert_int_equal(table_builder_finish(b, &p.info, NULL), 0);
    table_builder_free(b, false);
    is_short_of_memory = true;
    for (unsigned n = 0; n < 2; n++) { /* the index is walked twice */
        granted = n;
        assert_int_equal(table_open(&t, p.env, p.cache, "t.tbl", 1, p.info.size, NULL), ERR_NOMEM);
    }
    is_short_of_memory = false;
    t = must_open(&p);
    for (unsigned n = 0; n < 3; n++) /* a partition too, and then the data */
        assert_int_equal(get_long(t, 7, n), ERR_NOMEM);
    assert_int_equal(get_long(t, 7, UINT32_MAX), 0);
    assert_int_equal(walk_long(t, true, &status), 0);
    assert_int_equal(status, ERR_NOMEM);
    check_moves_again(t);
    is_short_of_memory = true;
    assert_int_equal(table_verify(t, NULL, NULL, NULL, NULL), ERR_NOMEM);
    is_short_of_memory = false;
    assert_false(atomic_load(&t->is_bad));
    assert_int_equal(walk_long(t, false, &status), LONG_KEYS);
    assert_int_equal(status, 0);
    assert_int_equal(table_verify(t, NULL, NULL, NULL, NULL), 0);
    table_unref(t);
    place_fini(&p);
}

enum { HOT_VERSIONS = 36000 };

static int get_hot(struct table *t, struct slice key, uint64_t version)
{
    struct block *pin = NULL;
    struct entry e = {0};
    int rv = table_get(t, key, version, 0, &e, &pin, NULL);
    block_unref(pin);
    assert_true(rv != 0 || e.version == version);
    return rv;
}

/* One long key with so many versions that entries for all of its partitions, were they small as
 * ever, would not fit in the top index. No other table may begin in it. */
static void test_one_hot_key(void **state)
{
    (void)state;
    const struct table_options options = {1, 4, 10, false, 0};
    struct place p;
    struct table_builder *b = NULL;
    static char name[LSM_KEY_MAX];
    struct slice key = slice_of(name, sizeof name);
    uint64_t version = HOT_VERSIONS;
    memset(name, 'x', sizeof name);
    begin(&p, &b);
    table_builder_free(b, false);
    assert_int_equal(table_builder_open(&b, p.env, "t.tbl", &options, NULL), 0);
    for (; version > 0; version--) {
        struct entry e = {.key = key, .version = version, .kind = ENTRY_PUT};
        assert_int_equal(table_builder_add(b, &e, NULL), 0);
    }
    assert_true(table_builder_is_full(b));
    assert_int_equal(table_builder_finish(b, &p.info, NULL), 0);
    table_builder_free(b, false);
    struct table *t = must_open(&p);
    size_t keys = 0;
    for (size_t i = 0; i < t->parts.count; i++) {
        struct slice at = t->parts.items[i].key;
        assert_true(slice_equal(at, key));
        keys += i == 0 || at.data != t->parts.items[i - 1].key.data;
    }
    assert_in_range(keys, 1, t->parts.count / 4 + 1);
    for (version = 1; version <= HOT_VERSIONS; version += 1111)
        assert_int_equal(get_hot(t, key, version), 0);
    assert_int_equal(get_hot(t, key, 0), ERR_NOT_FOUND);
    struct cursor *c = table_cursor(t, (struct slice){0}, (struct slice){0}, 0, NULL);
    version = HOT_VERSIONS;
    for (cursor_first(c); c->is_valid; cursor_next(c), version--)
        assert_true(c->at->version == version);
    assert_int_equal(c->status, 0);
    assert_int_equal(version, 0);
    cursor_free(c);
    assert_int_equal(table_verify(t, &p.info.crc, NULL, NULL, NULL), 0);
    table_unref(t);
    place_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_props),
        cmocka_unit_test(test_short_of_memory),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_no_io),
        cmocka_unit_test(test_cursor_bounds),
        cmocka_unit_test(test_approximate),
        cmocka_unit_test(test_approximate_adds_up),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_past_the_cache),
        cmocka_unit_test(test_stale_damage),
        cmocka_unit_test(test_warm),
        cmocka_unit_test(test_footer_damage),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_writes_are_paced),
        cmocka_unit_test(test_one_hot_key),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
