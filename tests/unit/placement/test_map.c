/* SPDX-License-Identifier: Apache-2.0
 *
 * What the driver believes: descriptors by epoch, ranges that ended, leaders by term, reports
 * in chunks, ids and rows over drivers, routes.
 */
#include "support/check.h"

#include <stdio.h>

#include "rig.h"

static struct rig rig;

#define STORES(...) ((const uint64_t[]){__VA_ARGS__})

static void begin(uint32_t stores)
{
    rig_init(&rig);
    for (uint32_t i = 0; i < stores; i++)
        rig_join(&rig, "");
}

/* A heartbeat of a range [start, end) with one voter on store 1. */
static void tell(uint64_t id, const char *start, const char *end, uint64_t conf, uint64_t span)
{
    struct placement_step step;
    struct descriptor d = {
        .range_id = id,
        .start = slice_str(start),
        .end = slice_str(end),
        .conf_epoch = conf,
        .span_epoch = span,
        .member_count = 1,
        .members = {{.replica_id = id * 10,
                     .store_id = 1,
                     .role = MEMBER_VOTER,
                     .address = slice_str("a:1")}},
    };
    struct placement_range_heartbeat hb = {
        .descriptor = &d, .store_id = 1, .replica_id = id * 10, .leader_term = 1, .bytes = 1000};
    placement_on_range_heartbeat(rig.p, rig.now_ms, &hb, &step);
    placement_check(rig.p);
}

/* "2:a-c 3:c-e", in order of keys; ended ones after a bar. */
static void want_map(const char *want)
{
    struct placement_range_status s;
    char got[256] = "";
    char key[32] = "";
    size_t len = 0;
    uint64_t last = 0;
    while (placement_range_from(rig.p, slice_str(key), &s) && s.route.descriptor.range_id != last &&
           len < sizeof got - 40) {
        const struct descriptor *d = &s.route.descriptor;
        last = d->range_id;
        len += (size_t)snprintf(got + len, sizeof got - len, "%s%llu:%.*s-%.*s", len > 0 ? " " : "",
                                (unsigned long long)d->range_id, (int)d->start.len,
                                (const char *)d->start.data, (int)d->end.len,
                                (const char *)d->end.data);
        snprintf(key, sizeof key, "%.*s", (int)d->end.len, (const char *)d->end.data);
    }
    assert_string_equal(got, want);
}

static void want_ended(uint64_t id, uint64_t want_into, uint64_t want_epoch)
{
    uint64_t into = 0;
    uint64_t epoch = 0;
    assert_true(placement_range_ended(rig.p, id, &into, &epoch) == (want_into != 0));
    assert_true(into == want_into && epoch == want_epoch);
}

static void test_split_and_merge_are_learned(void **state)
{
    (void)state;
    begin(1);
    tell(2, "a", "e", 1, 1);
    want_map("2:a-e");
    tell(3, "c", "e", 1, 2); /* the right half speaks first */
    tell(2, "a", "c", 1, 2);
    want_map("2:a-c 3:c-e");
    tell(2, "a", "e", 1, 1); /* an old story */
    want_map("2:a-c 3:c-e");
    tell(2, "a", "e", 1, 3); /* merged again */
    want_map("2:a-e");
    want_ended(3, 2, 3);
    want_ended(2, 0, 0);
    tell(3, "c", "e", 9, 2); /* what has ended stays so */
    want_map("2:a-e");
    rig_fini(&rig);
}

/* A range heard of for the first time, whose keys a newer one has: it has ended. */
static void test_ended_while_nobody_looked(void **state)
{
    (void)state;
    begin(1);
    tell(2, "a", "e", 1, 7);
    tell(4, "b", "c", 1, 3);
    want_map("2:a-e");
    want_ended(4, 2, 7);
    tell(5, "b", "e", 1, 8); /* but a newer one is its right half */
    tell(2, "a", "b", 1, 8);
    want_map("2:a-b 5:b-e");
    want_ended(5, 0, 0);
    rig_run(&rig, 2);
    rig_fail_over(&rig); /* durable */
    want_ended(4, 2, 7);
    rig_fini(&rig);
}

static void test_leaders_by_term(void **state)
{
    (void)state;
    struct placement_step step;
    struct placement_range_status s;
    begin(3);
    struct rig_range *r = rig_range(&rig, 2, "a", "b", STORES(1, 2, 3), 3);
    r->d.start = slice_str("a");
    r->d.end = slice_str("b");
    struct placement_range_heartbeat hb = {
        .descriptor = &r->d, .store_id = 1, .replica_id = 32, .leader_term = 5};
    placement_on_range_heartbeat(rig.p, rig.now_ms, &hb, &step);
    hb.store_id = 2;
    hb.replica_id = 33;
    hb.leader_term = 4; /* deposed */
    placement_on_range_heartbeat(rig.p, rig.now_ms, &hb, &step);
    assert_true(placement_range_status(rig.p, 2, &s));
    assert_int_equal(s.route.leader_replica, 32);
    hb.leader_term = 6;
    placement_on_range_heartbeat(rig.p, rig.now_ms, &hb, &step);
    assert_true(placement_range_status(rig.p, 2, &s));
    assert_int_equal(s.route.leader_replica, 33);
    rig_fini(&rig);
}

static void test_reports_in_chunks(void **state)
{
    (void)state;
    struct placement_store_reply reply;
    struct placement_store_heartbeat hb = {
        .store_id = 1, .uuid = {1}, .boot = 3, .address = slice_str("s1:1")};
    struct placement_counts counts;
    begin(1);
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_true(reply.wants_report && reply.report_chunk == 0);
    placement_on_report(rig.p, rig.now_ms, 1, 3, 1, NULL, 0, true); /* not the next one */
    placement_on_report(rig.p, rig.now_ms, 1, 2, 0, NULL, 0, true); /* of another process */
    placement_on_report(rig.p, rig.now_ms, 1, 3, 0, NULL, 0, false);
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_true(reply.wants_report && reply.report_chunk == 1);
    hb.boot = 4; /* a new process begins anew */
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_true(reply.wants_report && reply.report_chunk == 0);
    placement_on_report(rig.p, rig.now_ms, 1, 4, 0, NULL, 0, true);
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_false(reply.wants_report);
    placement_counts(rig.p, &counts);
    assert_int_equal(counts.stores_reported, 1);
    hb.uuid[0] = 9;
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_int_equal(reply.verdict, PLACEMENT_OTHER_UUID);
    hb.store_id = 77;
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_int_equal(reply.verdict, PLACEMENT_NOT_KNOWN);
    rig_fini(&rig);
}

static void test_joins(void **state)
{
    (void)state;
    struct err err = {0};
    uint64_t id = 0;
    begin(2);
    struct placement_join join = {.uuid = {1}, .address = slice_str("s1:1")};
    assert_int_equal(placement_on_join(rig.p, rig.now_ms, &join, &id, &err), 0);
    assert_int_equal(id, 1); /* the same for the same uuid */
    static const struct {
        const char *address;
        const char *labels;
        int want;
    } rows[] = {
        {"s1:1", "", ERR_EXISTS},
        {"", "", ERR_INVALID},
        {"s9:1", "zone", ERR_INVALID},
        {"s9:1", "zone=", ERR_INVALID},
        {"s9:1", "=a", ERR_INVALID},
        {"s9:1", "zone=a,", ERR_INVALID},
        {"s9:1", "a=b=c", ERR_INVALID},
        {"s9:1", "zone=a b", ERR_INVALID},
        {"s9:1", "zone=a,rack=r", ERR_BUSY},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        join = (struct placement_join){.uuid = {99},
                                       .address = slice_str(rows[i].address),
                                       .labels = slice_str(rows[i].labels)};
        int rv = placement_on_join(rig.p, rig.now_ms, &join, &id, &err);
        if (rv != rows[i].want)
            fail_msg("'%s' '%s': got %d (%s)", rows[i].address, rows[i].labels, rv, err.msg);
    }
    rig_fini(&rig);
}

static void want_store(const char *address, const char *labels)
{
    struct placement_store_status s;
    assert_true(placement_store_at(rig.p, 0, &s));
    assert_true(slice_equal(s.address, slice_str(address)));
    assert_true(slice_equal(s.labels, slice_str(labels)));
}

/* A store that moved is found where it is, whatever it says of its labels; who it tells hears of
 * those once a boot. */
static void test_moves_with_bad_labels(void **state)
{
    (void)state;
    struct placement_store_reply reply;
    struct placement_store_heartbeat hb = {.store_id = 1,
                                           .uuid = {1},
                                           .boot = 3,
                                           .address = slice_str("s9:1"),
                                           .labels = slice_str("zone=b, rack=2")};
    rig_init(&rig);
    rig_join(&rig, "zone=a");
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_int_equal(reply.verdict, PLACEMENT_WELCOME);
    assert_true(reply.are_labels_refused);
    want_store("s9:1", "zone=a");
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_false(reply.are_labels_refused);
    hb.boot = 4;
    hb.address = slice_str("");
    hb.labels = slice_str("zone=b,rack=2");
    placement_on_store_heartbeat(rig.p, rig.now_ms, &hb, &reply);
    assert_false(reply.are_labels_refused);
    want_store("s9:1", "zone=b,rack=2");
    rig_fini(&rig);
}

/* A write that may have failed ends the driver: nothing comes out of it any more. */
static void test_failed_write_ends_it(void **state)
{
    (void)state;
    struct placement_write write;
    struct placement_step step;
    begin(3);
    rig_range(&rig, 2, "a", "b", STORES(1), 1);
    placement_pause(rig.p, false); /* something to write */
    assert_true(placement_next_write(rig.p, &write));
    assert_false(placement_next_write(rig.p, &write)); /* one at a time */
    placement_written(rig.p, write.id, ERR_BUSY);
    assert_true(placement_next_write(rig.p, &write)); /* offered again */
    assert_true(write.row_count > 0 && write.term == rig.term);
    placement_written(rig.p, write.id, ERR_UNDETERMINED);
    assert_true(placement_is_broken(rig.p));
    rig_run(&rig, 20);
    assert_false(placement_next_step(rig.p, &step));
    assert_int_equal(rig.steps, 0);
    rig_fini(&rig);
}

static void test_rows_outlive_the_driver(void **state)
{
    (void)state;
    struct placement_store_status s;
    struct err err = {0};
    struct buf value;
    const char *name;
    const char *help;
    begin(3);
    assert_int_equal(placement_set(rig.p, slice_str("split-bytes"), slice_str("32MiB"), &err), 0);
    assert_int_equal(placement_set(rig.p, slice_str("nothing"), slice_str("1"), &err),
                     ERR_NOT_FOUND);
    placement_wish(rig.p, 2, PLACEMENT_WISH_DRAIN, NULL);
    rig.stores[2].is_silent = true;
    rig_run(&rig, 700);
    rig_fail_over(&rig);
    rig_run(&rig, 2);
    assert_true(placement_store_at(rig.p, 1, &s) && s.store_id == 2);
    assert_int_equal(s.wish, PLACEMENT_WISH_DRAIN);
    assert_true(placement_store_at(rig.p, 2, &s));
    assert_int_equal(s.state, PLACEMENT_STORE_DOWN); /* not ten minutes more */
    assert_false(placement_store_at(rig.p, 3, &s));
    buf_init(&value, 4096);
    bool is_found = false;
    for (uint32_t i = 0; placement_setting(rig.p, i, &name, &value, &help); i++) {
        is_found = is_found || (strcmp(name, "split-bytes") == 0 &&
                                slice_equal(buf_slice(&value), slice_str("32MiB")));
        buf_clear(&value);
    }
    assert_true(is_found);
    buf_fini(&value);
    uint64_t id = rig_join(&rig, "");
    assert_true(id > 3);
    rig_fini(&rig);
}

static void test_damaged_rows(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *value;
        int want;
    } rows[] = {
        {"placement/ids/store", "\x05", 0},
        {"placement/ids/store", "x\x81", ERR_CORRUPT},
        {"placement/store/0000000000000001", "junk", ERR_CORRUPT},
        {"placement/store/1", "\x80", ERR_CORRUPT},
        {"placement/ended/0000000000000000", "\x80", ERR_CORRUPT},
        {"placement/route/00000000000000ff", "\x01", ERR_CORRUPT},
        {"placement/setting/split-bytes", "??", 0}, /* of another version */
        {"placement/future/thing", "anything", 0},  /* … likewise */
        {"elsewhere", "", ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct placement_options options = {.term = 1};
        struct placement *p = placement_new(&options);
        struct err err = {0};
        int rv = placement_load(p, slice_str(rows[i].key), slice_str(rows[i].value), &err);
        if (rv != rows[i].want)
            fail_msg("%s: got %d (%s)", rows[i].key, rv, err.msg);
        placement_free(p);
    }
}

static void test_routes(void **state)
{
    (void)state;
    struct placement_route route;
    begin(1);
    tell(2, "a", "c", 1, 1);
    tell(3, "c", "e", 1, 1);
    tell(3, "c", "e", 2, 1);
    assert_true(placement_route_at(rig.p, slice_str("b"), &route));
    assert_int_equal(route.descriptor.range_id, 2);
    assert_true(placement_route_at(rig.p, slice_str("c"), &route));
    assert_int_equal(route.descriptor.range_id, 3);
    assert_int_equal(route.descriptor.conf_epoch, 2);
    assert_false(placement_route_at(rig.p, slice_str("e"), &route));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_and_merge_are_learned),
        cmocka_unit_test(test_ended_while_nobody_looked),
        cmocka_unit_test(test_leaders_by_term),
        cmocka_unit_test(test_reports_in_chunks),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_moves_with_bad_labels),
        cmocka_unit_test(test_failed_write_ends_it),
        cmocka_unit_test(test_rows_outlive_the_driver),
        cmocka_unit_test(test_damaged_rows),
        cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
