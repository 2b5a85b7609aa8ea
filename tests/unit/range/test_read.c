/* SPDX-License-Identifier: Apache-2.0 */
#include "range_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "range/changes.h"
#include "range/range_internal.h"
#include "wire/request.h"
#include "wire/response.h"

enum { T0 = 1000 };

static void test_get(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct row row;
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "1", 500);
    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str("a");
    for (int i = 0; i < 2; i++) { /* an op can be used again */
        assert_int_equal(world_read(&w, &read), 0);
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        assert_int_equal(read.row_count, 1);
        row_next(&rows, &row);
        assert_int_equal(row.status, 0);
        assert_true(slice_equal(row.value, slice_str("1")));
        assert_true(row.version == (uint64_t)T0 << RANGE_VERSION_COUNTER_BITS);
        assert_true(read.version == row.version);
        assert_true(row.ttl_ms == 500);
    }
    read.key = slice_str("");
    assert_int_equal(world_read(&w, &read), ERR_INVALID);
    range_read_fini(&read);
    world_close(&w);
}

static void test_multi_get(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct buf keys;
    char name[16];
    world_open(&w, &(struct world_options){.seed = 1, .memtable_bytes = 4096, .cache_bytes = 1});
    buf_init(&keys, 1 << 20);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "k%03d", i % 1000);
        if (i % 3 != 0)
            world_put(&w, T0 + (uint64_t)i, name, name, 0);
        request_key_append(&keys, slice_str(name));
    }
    world_flush(&w);
    range_read_init(&read);
    read.kind = RANGE_READ_MULTI_GET;
    read.keys = (struct pack_list){.count = 300, .raw = buf_slice(&keys)};
    assert_int_equal(world_read(&w, &read), 0);
    assert_true(w.slow_reads > 0); /* more than is done on the loop */
    assert_int_equal(read.row_count, 300);
    struct unpack rows = unpack_of(buf_slice(&read.rows));
    for (int i = 0; i < 300; i++) {
        struct row row;
        row_next(&rows, &row);
        snprintf(name, sizeof name, "k%03d", i % 1000);
        assert_int_equal(row.status, i % 3 == 0 ? ERR_NOT_FOUND : 0);
        assert_true(i % 3 == 0 || slice_equal(row.value, slice_str(name)));
    }
    assert_int_equal(unpack_finish(&rows, "rows", NULL), 0);
    range_read_fini(&read);
    buf_fini(&keys);
    world_close(&w);
}

/* With a bound for what is copied on the loop: a get says what it would take and has read nothing;
 * what has many rows goes on in the background, where it was. */
static void test_bound_of_the_loop(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct buf keys;
    struct row row;
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "123456789", 0);
    world_put(&w, T0, "b", "123456789", 0);
    world_put(&w, T0, "c", "123456789", 0);
    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str("a");
    read.loop_bytes = 8;
    assert_int_equal(world_read(&w, &read), ERR_BUSY);
    assert_int_equal(read.value_bytes, 9);
    assert_int_equal(read.row_count + w.slow_reads, 0);
    read.loop_bytes = 9;
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 1);
    assert_int_equal(read.value_bytes + w.slow_reads, 0);
    range_read_fini(&read);

    buf_init(&keys, 100);
    for (char c = 'a'; c <= 'c'; c++)
        request_key_append(&keys, slice_of(&c, 1));
    for (int kind = RANGE_READ_MULTI_GET; kind <= RANGE_READ_SCAN; kind++) {
        static const size_t bounds[] = {1, 60, 1000}; /* none, one, all of them on the loop */
        for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
            range_read_init(&read);
            read.kind = (enum range_read_kind)kind;
            read.keys = (struct pack_list){.count = 3, .raw = buf_slice(&keys)};
            read.loop_bytes = bounds[i];
            w.slow_reads = 0;
            assert_int_equal(world_read(&w, &read), 0);
            assert_int_equal(w.slow_reads, i < 2);
            assert_int_equal(read.row_count, 3);
            struct unpack rows = unpack_of(buf_slice(&read.rows));
            for (char c = 'a'; c <= 'c'; c++) {
                row_next(&rows, &row);
                assert_int_equal(row.status, 0);
                assert_true(slice_equal(row.value, slice_str("123456789")));
                assert_true(kind == RANGE_READ_MULTI_GET || slice_equal(row.key, slice_of(&c, 1)));
            }
            assert_int_equal(unpack_finish(&rows, "rows", NULL), 0);
            range_read_fini(&read);
        }
    }
    buf_fini(&keys);
    world_close(&w);
}

static int made_calls;

static int on_made(struct range_read *read)
{
    assert_int_equal(read->row_count, 1);
    assert_true(read->rows.len > 9);
    made_calls++;
    return read->limit_keys == 7 ? ERR_NOMEM : 0;
}

/* A large value is copied off the loop though it is in memory, and what is made of it there, too;
 * a small one is neither. */
static void test_large_values_aside(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct row row;
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "123456789", 0);
    for (size_t aside = 8; aside <= 10; aside++) {
        range_read_init(&read);
        read.kind = RANGE_READ_GET;
        read.key = slice_str("a");
        read.aside_bytes = aside;
        read.made = on_made;
        made_calls = 0;
        w.slow_reads = 0;
        assert_int_equal(world_read(&w, &read), 0);
        assert_int_equal(w.slow_reads, aside <= 9);
        assert_int_equal(made_calls, aside <= 9);
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        row_next(&rows, &row);
        assert_true(slice_equal(row.value, slice_str("123456789")));
        read.limit_keys = 7; /* on_made() fails */
        assert_int_equal(world_read(&w, &read), aside <= 9 ? ERR_NOMEM : 0);
        read.loop_bytes = 8; /* first it is said how large it is */
        assert_int_equal(world_read(&w, &read), ERR_BUSY);
        assert_int_equal(read.value_bytes, 9);
        range_read_fini(&read);
    }
    world_close(&w);
}

/* A leader whose clock has passed an expiry that range time has not. */
static void test_needs_stamp(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct buf none;
    buf_init(&none, 64);
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "1", 500);
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.now_ms = T0 + 499;
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 1);
    read.now_ms = T0 + 500;
    assert_int_equal(world_read(&w, &read), ERR_STATE);
    assert_true(read.needs_stamp);
    read.now_ms = 0; /* a follower has nothing but range time */
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 1);
    assert_false(read.needs_stamp);
    uint64_t version = read.version;

    struct slice stamp = world_entry(T0 + 500, &none);
    world_apply(&w, stamp, NULL);
    free((void *)stamp.data);
    read.now_ms = T0 + 500;
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 0);
    read.at_version = version; /* a later page of the read before still finds it */
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 1);
    range_read_fini(&read);
    world_close(&w);
}

/* ---- scans ------------------------------------------------------------------------ */

/* Keys a0 a1 … a4, b0 … b4, c0 … c4, "value" of 5 bytes. */
static void fill(struct world *w)
{
    for (char c = 'a'; c <= 'c'; c++) {
        for (char d = '0'; d <= '4'; d++) {
            char key[3] = {c, d, 0};
            world_put(w, T0, key, "value", 0);
        }
    }
}

static const struct {
    const char *name;
    const char *start;
    const char *end;
    bool is_reverse;
    uint32_t limit_keys;
    uint32_t limit_bytes;
    const char *want;
    const char *want_cursor; /* NULL: the end was reached */
} scans[] = {
    {"all", "", "", false, 0, 0, "a0a1a2a3a4b0b1b2b3b4c0c1c2c3c4", NULL},
    {"all, reverse", "", "", true, 0, 0, "c4c3c2c1c0b4b3b2b1b0a4a3a2a1a0", NULL},
    {"prefix", "b", "c", false, 0, 0, "b0b1b2b3b4", NULL},
    {"prefix, reverse", "b", "c", true, 0, 0, "b4b3b2b1b0", NULL},
    {"from key, included", "b3", "", false, 0, 0, "b3b4c0c1c2c3c4", NULL},
    {"to key, excluded", "", "a2", false, 0, 0, "a0a1", NULL},
    {"between keys", "a9", "b05", false, 0, 0, "b0", NULL},
    {"nothing there", "x", "y", false, 0, 0, "", NULL},
    {"start is end", "b", "b", false, 0, 0, "", NULL},
    {"three", "", "", false, 3, 0, "a0a1a2", "a3"},
    {"three, reverse", "", "", true, 3, 0, "c4c3c2", "c2"},
    {"exactly all", "b", "c", false, 5, 0, "b0b1b2b3b4", NULL},
    {"exactly all, reverse", "b", "c", true, 5, 0, "b4b3b2b1b0", NULL},
    {"two by bytes", "", "", false, 0, 80, "a0a1", "a2"},
    {"one at least", "", "", false, 0, 1, "a0", "a1"},
};

static void test_scan(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scans) * 2; i++) {
        size_t n = i / 2;
        struct world w;
        struct range_read read;
        char got[64] = "";
        size_t len = 0;
        world_open(&w, &(struct world_options){.seed = 1});
        fill(&w);
        range_read_init(&read);
        read.kind = RANGE_READ_SCAN;
        read.start = slice_str(scans[n].start);
        read.end = slice_str(scans[n].end);
        read.is_reverse = scans[n].is_reverse;
        read.is_keys_only = i % 2 == 1;
        read.limit_keys = scans[n].limit_keys;
        read.limit_bytes = scans[n].limit_bytes;
        assert_int_equal(world_read(&w, &read), 0);
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        for (uint32_t k = 0; k < read.row_count; k++) {
            struct row row;
            row_next(&rows, &row);
            assert_int_equal(row.key.len, 2);
            assert_int_equal(row.value.len, read.is_keys_only ? 0 : 5);
            memcpy(got + len, row.key.data, 2);
            len += 2;
            got[len] = 0;
        }
        /* Without values more keys go into as many bytes. */
        bool is_exact = !read.is_keys_only || scans[n].limit_bytes == 0;
        if (is_exact ? strcmp(got, scans[n].want) != 0 : strlen(got) < strlen(scans[n].want))
            fail_msg("%s: %s", scans[n].name, got);
        assert_int_equal(read.has_more, scans[n].want_cursor != NULL);
        if (read.has_more && is_exact)
            assert_true(slice_equal(buf_slice(&read.cursor), slice_str(scans[n].want_cursor)));
        range_read_fini(&read);
        world_close(&w);
    }
}

static void test_scan_refusals(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    uint8_t *big = calloc(1, command_limits_default.key_max + 1);
    world_open(&w, &(struct world_options){.seed = 1});
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.start = slice_str("b");
    read.end = slice_str("a");
    assert_int_equal(world_read(&w, &read), ERR_INVALID);
    read.end = slice_of(big, command_limits_default.key_max + 1);
    big[0] = 'c';
    assert_int_equal(world_read(&w, &read), ERR_TOO_LARGE);
    free(big);
    range_read_fini(&read);
    world_close(&w);
}

/* Keyspaces do not see each other, the last one has an end too. */
static void test_keyspaces(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    static const uint32_t spaces[] = {0, 1, UINT32_MAX};
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "1", 0);
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
        range_read_init(&read);
        read.kind = RANGE_READ_SCAN;
        read.keyspace = spaces[i];
        assert_int_equal(range_read_start(w.range, &read), 0);
        assert_int_equal(read.row_count, 0);
        assert_int_equal(range_check_key(w.range, spaces[i], slice_str("a")), 0);
        range_read_fini(&read);
    }
    world_close(&w);
}

/* The range is [start, end) from here on. */
static void set_span(struct world *w, struct slice start, struct slice end)
{
    struct range_descriptor *d = &w->range->meta.descriptor, fresh = {0};
    struct range_span span = {.start = start, .end = end};
    assert_int_equal(range_descriptor_init(&fresh, d->range_id, d->epoch, span, d->replicas,
                                           d->replica_count, NULL),
                     0);
    range_descriptor_fini(d);
    *d = fresh;
}

static void on_read_in(struct range_read *read, int status)
{
    *(int *)read->data = status;
}

/* world_read(), in another keyspace. */
static int read_in(struct world *w, uint32_t keyspace, struct range_read *read)
{
    int status = 1;
    read->keyspace = keyspace;
    read->data = &status;
    read->cb = on_read_in;
    int rv = range_read_start(w->range, read);
    if (rv != ERR_WOULD_BLOCK)
        return rv;
    sim_run_until(w->sim, sim_now_us(w->sim) + 1000000);
    return status;
}

/* A bound that is shorter than what stands before user keys has all of keyspace 255 below it: what
 * ends there is over, and what comes from above goes on before it. */
static void test_short_bound(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    struct range_changes changes;
    struct slice bound = slice_of("\x02\0\0\1", 4);
    world_open(&w, &(struct world_options){.seed = 1});
    set_span(&w, slice_of("\x02", 1), bound);
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    assert_int_equal(read_in(&w, 255, &read), 0);
    assert_false(read.has_more);
    assert_false(read.is_range_end);
    range_read_fini(&read);
    range_changes_init(&changes);
    changes.keyspace = 255;
    range_changes_now(w.range, &changes);
    assert_false(changes.is_range_end);
    range_changes_fini(&changes);

    set_span(&w, bound, slice_of("\x03", 1));
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.is_reverse = true;
    assert_int_equal(read_in(&w, 255, &read), 0);
    assert_int_equal(read.row_count, 0);
    assert_true(read.has_more && read.is_range_end);
    assert_int_equal(read.cursor.len, command_limits_default.key_max);
    assert_int_equal(read.cursor.data[0], 0xff);
    range_read_fini(&read);
    world_close(&w);
}

/* A page as it goes out, and as a client takes it. */
static void check_is_sent(const struct response *page, struct slice cursor)
{
    struct response got;
    struct buf out;
    buf_init(&out, RESPONSE_AROUND_MAX);
    response_encode(&out, page);
    assert_int_equal(response_decode(buf_slice(&out), &got, NULL), 0);
    assert_true(got.kind == REQUEST_WATCH ? got.watch.has_more : got.rows.has_more);
    assert_true(
        slice_equal(got.kind == REQUEST_WATCH ? got.watch.cursor : got.rows.cursor, cursor));
    buf_fini(&out);
}

/* A scan of all, or in reverse of what is below `end`, has so many rows; and it goes on at the
 * cursor, or nowhere. */
static void check_scan_of(struct world *w, struct slice end, bool is_reverse, uint32_t count,
                          struct slice cursor)
{
    struct range_read read;
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.end = end;
    read.is_reverse = is_reverse;
    read.is_keys_only = true;
    assert_int_equal(world_read(w, &read), 0);
    assert_int_equal(read.row_count, count);
    assert_int_equal(read.has_more, cursor.len > 0);
    assert_int_equal(read.is_range_end, cursor.len > 0);
    struct response page = {.id = 1,
                            .kind = REQUEST_SCAN,
                            .rows = {.has_more = read.has_more, .cursor = buf_slice(&read.cursor)}};
    if (cursor.len > 0)
        check_is_sent(&page, cursor);
    range_read_fini(&read);
}

static void check_changes_of(struct world *w, struct slice end, struct slice cursor)
{
    struct range_changes changes;
    range_changes_init(&changes);
    changes.keyspace = WORLD_KEYSPACE;
    changes.end = end;
    assert_int_equal(range_changes_now(w->range, &changes), 0);
    assert_int_equal(changes.has_more, cursor.len > 0);
    assert_int_equal(changes.is_range_end, cursor.len > 0);
    struct response page = {
        .id = 1,
        .kind = REQUEST_WATCH,
        .watch = {.has_more = changes.has_more, .cursor = buf_slice(&changes.cursor)}};
    if (cursor.len > 0)
        check_is_sent(&page, cursor);
    range_changes_fini(&changes);
}

static int begin_reverse(struct world *w, struct slice end)
{
    struct range_read read;
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.end = end;
    read.is_reverse = true;
    int rv = world_read(w, &read);
    range_read_fini(&read);
    return rv;
}

/* Where ranges were cut behind more bytes than a key can have, pages go up to the next place that a
 * request can name, from either side. */
static void test_long_bound(void **state)
{
    (void)state;
    static char key[KEY_WIRE_MAX + 1]; /* the last before the bound */
    static uint8_t user[RANGE_KEY_MAX - RANGE_USER_KEY_PREFIX], bound[RANGE_KEY_MAX];
    static uint8_t next[KEY_WIRE_MAX]; /* the first behind it */
    const struct slice none = {0}, behind = slice_of(next, sizeof next);
    struct world w;
    memset(key, 'k', KEY_WIRE_MAX);
    memset(user, 'k', sizeof user);
    memset(next, 'k', sizeof next);
    next[sizeof next - 1]++;
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, key, "1", 0);
    world_put(&w, T0, "z", "1", 0);
    for (size_t len = KEY_WIRE_MAX + 1; len <= sizeof user; len++) {
        struct slice at =
            slice_of(bound, range_user_key(WORLD_KEYSPACE, slice_of(user, len), bound));
        set_span(&w, slice_of("\x02", 1), at);
        check_scan_of(&w, none, false, 1, behind);
        check_scan_of(&w, behind, false, 1, none);
        check_scan_of(&w, behind, true, 1, none);
        check_changes_of(&w, none, behind);
        check_changes_of(&w, behind, none);
        assert_int_equal(begin_reverse(&w, none), ERR_RANGE_CHANGED);
        set_span(&w, at, slice_of("\x03", 1));
        check_scan_of(&w, none, true, 1, behind);
        assert_int_equal(begin_reverse(&w, behind), ERR_RANGE_CHANGED);
    }
    /* Nothing of the keyspace can be behind. */
    memset(user, 0xff, sizeof user);
    struct slice at =
        slice_of(bound, range_user_key(WORLD_KEYSPACE, slice_of(user, sizeof user), bound));
    set_span(&w, slice_of("\x02", 1), at);
    check_scan_of(&w, none, false, 2, none);
    check_scan_of(&w, none, true, 2, none);
    check_changes_of(&w, none, none);
    set_span(&w, at, slice_of("\x03", 1));
    assert_int_equal(begin_reverse(&w, none), ERR_RANGE_CHANGED);
    world_close(&w);
}

/* A page is bounded in the records it looks at, not only in what it returns. */
static void test_expired_do_not_hold_up(void **state)
{
    (void)state;
    enum { KEYS = RANGE_STEPS_MAX + 10, BATCH = 2000 };
    struct world w;
    struct range_read read;
    struct buf commands, none;
    char name[16];
    buf_init(&commands, ENTRY_PAYLOAD_MAX);
    buf_init(&none, 64);
    world_open(&w, &(struct world_options){.seed = 1});
    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "k%06d", i);
        struct op op = {.kind = OP_PUT, .key = slice_str(name), .ttl_ms = 1};
        world_command(&commands, &op, 1);
        if (i % BATCH == BATCH - 1 || i == KEYS - 1) {
            struct slice payload = world_entry(T0, &commands);
            world_apply(&w, payload, NULL);
            free((void *)payload.data);
            buf_clear(&commands);
        }
    }
    struct slice stamp = world_entry(T0 + 1, &none);
    world_apply(&w, stamp, NULL);
    free((void *)stamp.data);
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    assert_int_equal(world_read(&w, &read), 0);
    assert_int_equal(read.row_count, 0);
    assert_true(read.has_more);
    snprintf(name, sizeof name, "k%06d", RANGE_STEPS_MAX);
    assert_true(slice_equal(buf_slice(&read.cursor), slice_str(name)));
    read.start = slice_str(name);
    assert_int_equal(world_read(&w, &read), 0);
    assert_false(read.has_more);
    range_read_fini(&read);
    buf_fini(&commands);
    world_close(&w);
}

/* A crash while a read is on the lane: everything can be freed. */
static void on_read(struct range_read *read, int status)
{
    (void)read;
    (void)status;
    fail();
}

static void test_torn_down_in_flight(void **state)
{
    (void)state;
    struct world w;
    struct range_read read;
    char name[16];
    world_open(&w, &(struct world_options){.seed = 1});
    for (int i = 0; i < 2 * RANGE_INLINE_MAX; i++) {
        snprintf(name, sizeof name, "k%03d", i % 1000);
        world_put(&w, T0, name, "v", 0);
    }
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.keyspace = WORLD_KEYSPACE;
    read.cb = on_read;
    assert_int_equal(range_read_start(w.range, &read), ERR_WOULD_BLOCK);
    assert_true(range_is_busy(w.range));
    sim_node_crash(w.node, SIM_CRASH_POWER);
    range_read_fini(&read);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_multi_get),
        cmocka_unit_test(test_bound_of_the_loop),
        cmocka_unit_test(test_large_values_aside),
        cmocka_unit_test(test_needs_stamp),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_refusals),
        cmocka_unit_test(test_keyspaces),
        cmocka_unit_test(test_short_bound),
        cmocka_unit_test(test_long_bound),
        cmocka_unit_test(test_expired_do_not_hold_up),
        cmocka_unit_test(test_torn_down_in_flight),
    };
    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
