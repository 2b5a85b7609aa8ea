/* SPDX-License-Identifier: Apache-2.0 */
#include "range_world.h"

#include <stdlib.h>

enum { T0 = 1000 };

/* ---- one operation on one key, in every state ---------------------------------- */

enum before { ABSENT, TEXT, NUMBER, DELETED, EXPIRED, EXPIRING };
#define GOOD "put version"

static const struct {
    const char *name;
    enum before before;
    enum op_kind kind;
    enum op_cond cond;
    const char *cond_value; /* or GOOD / "bad version" for COND_VERSION */
    const char *value;
    int64_t delta;
    uint64_t ttl_ms;
    uint32_t flags;
    int want;
    const char *want_value;    /* after; NULL: absent */
    const char *want_returned; /* in the result; NULL: none */
    uint64_t want_expiry;      /* after */
} rows[] = {
    /* put */
    {"put, absent", ABSENT, OP_PUT, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"put, present", TEXT, OP_PUT, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"put, empty value", TEXT, OP_PUT, COND_NONE, "", "", 0, 0, 0, 0, "", NULL, 0},
    {"put, ttl", TEXT, OP_PUT, COND_NONE, "", "v", 0, 50, 0, 0, "v", NULL, T0 + 150},
    {"put, ends ttl", EXPIRING, OP_PUT, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"put, keeps ttl", EXPIRING, OP_PUT, COND_NONE, "", "v", 0, 0, OP_KEEP_TTL, 0, "v", NULL,
     T0 + 1000},
    {"put, keeps no ttl of expired", EXPIRED, OP_PUT, COND_NONE, "", "v", 0, 0, OP_KEEP_TTL, 0, "v",
     NULL, 0},
    {"put, previous", TEXT, OP_PUT, COND_NONE, "", "v", 0, 0, OP_RETURN_PREVIOUS, 0, "v", "text",
     0},
    {"put, previous of expired", EXPIRED, OP_PUT, COND_NONE, "", "v", 0, 0, OP_RETURN_PREVIOUS, 0,
     "v", NULL, 0},
    /* conditions */
    {"if absent, absent", ABSENT, OP_PUT, COND_ABSENT, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"if absent, deleted", DELETED, OP_PUT, COND_ABSENT, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"if absent, expired", EXPIRED, OP_PUT, COND_ABSENT, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"if absent, present", TEXT, OP_PUT, COND_ABSENT, "", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     "text", "text", 0},
    {"if absent, expiring", EXPIRING, OP_PUT, COND_ABSENT, "", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     "text", "text", T0 + 1000},
    {"if present, present", TEXT, OP_PUT, COND_PRESENT, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"if present, absent", ABSENT, OP_PUT, COND_PRESENT, "", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     NULL, NULL, 0},
    {"if present, deleted", DELETED, OP_PUT, COND_PRESENT, "", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     NULL, NULL, 0},
    {"if present, expired", EXPIRED, OP_PUT, COND_PRESENT, "", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     NULL, NULL, 0},
    {"cas, match", TEXT, OP_PUT, COND_VALUE, "text", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"cas, mismatch", TEXT, OP_PUT, COND_VALUE, "tex", "v", 0, 0, 0, ERR_CONDITION_FAILED, "text",
     "text", 0},
    {"cas, absent", ABSENT, OP_PUT, COND_VALUE, "text", "v", 0, 0, 0, ERR_CONDITION_FAILED, NULL,
     NULL, 0},
    {"cas, expired", EXPIRED, OP_PUT, COND_VALUE, "text", "v", 0, 0, 0, ERR_CONDITION_FAILED, NULL,
     NULL, 0},
    {"version, match", TEXT, OP_PUT, COND_VERSION, GOOD, "v", 0, 0, 0, 0, "v", NULL, 0},
    {"version, mismatch", TEXT, OP_PUT, COND_VERSION, "bad", "v", 0, 0, 0, ERR_CONDITION_FAILED,
     "text", "text", 0},
    {"version, expired", EXPIRED, OP_PUT, COND_VERSION, GOOD, "v", 0, 0, 0, ERR_CONDITION_FAILED,
     NULL, NULL, 0},
    {"version, deleted", DELETED, OP_PUT, COND_VERSION, GOOD, "v", 0, 0, 0, ERR_CONDITION_FAILED,
     NULL, NULL, 0},
    /* delete */
    {"delete, present", TEXT, OP_DELETE, COND_NONE, "", "", 0, 0, 0, 0, NULL, NULL, 0},
    {"delete, absent", ABSENT, OP_DELETE, COND_NONE, "", "", 0, 0, 0, 0, NULL, NULL, 0},
    {"delete, previous", TEXT, OP_DELETE, COND_NONE, "", "", 0, 0, OP_RETURN_PREVIOUS, 0, NULL,
     "text", 0},
    {"delete if, mismatch", TEXT, OP_DELETE, COND_VALUE, "x", "", 0, 0, 0, ERR_CONDITION_FAILED,
     "text", "text", 0},
    /* increment */
    {"increment, absent", ABSENT, OP_INCREMENT, COND_NONE, "", "", 5, 0, 0, 0, "5", NULL, 0},
    {"increment, deleted", DELETED, OP_INCREMENT, COND_NONE, "", "", -5, 0, 0, 0, "-5", NULL, 0},
    {"increment, expired", EXPIRED, OP_INCREMENT, COND_NONE, "", "", 1, 0, 0, 0, "1", NULL, 0},
    {"increment, number", NUMBER, OP_INCREMENT, COND_NONE, "", "", 1, 0, 0, 0,
     "9223372036854775807", NULL, 0},
    {"increment, down", NUMBER, OP_INCREMENT, COND_NONE, "", "", -6, 0, 0, 0, "9223372036854775800",
     NULL, 0},
    {"increment, over", NUMBER, OP_INCREMENT, COND_NONE, "", "", 2, 0, 0, ERR_OVERFLOW,
     "9223372036854775806", NULL, 0},
    {"increment, text", TEXT, OP_INCREMENT, COND_NONE, "", "", 1, 0, 0, ERR_NOT_NUMBER, "text",
     NULL, 0},
    {"increment, ttl", NUMBER, OP_INCREMENT, COND_NONE, "", "", 1, 7, 0, 0, "9223372036854775807",
     NULL, T0 + 107},
    /* append */
    {"append, absent", ABSENT, OP_APPEND, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"append, present", TEXT, OP_APPEND, COND_NONE, "", "v", 0, 0, 0, 0, "textv", NULL, 0},
    {"append, nothing", TEXT, OP_APPEND, COND_NONE, "", "", 0, 0, 0, 0, "text", NULL, 0},
    {"append, expired", EXPIRED, OP_APPEND, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"append, keeps ttl", EXPIRING, OP_APPEND, COND_NONE, "", "v", 0, 0, 0, 0, "textv", NULL,
     T0 + 1000},
    {"append, ttl", EXPIRING, OP_APPEND, COND_NONE, "", "v", 0, 9, 0, 0, "textv", NULL, T0 + 109},
    {"append, previous", TEXT, OP_APPEND, COND_NONE, "", "v", 0, 0, OP_RETURN_PREVIOUS, 0, "textv",
     "text", 0},
    /* get and set, check */
    {"get and set", TEXT, OP_GET_AND_SET, COND_NONE, "", "v", 0, 0, 0, 0, "v", "text", 0},
    {"get and set, absent", ABSENT, OP_GET_AND_SET, COND_NONE, "", "v", 0, 0, 0, 0, "v", NULL, 0},
    {"check, match", TEXT, OP_CHECK, COND_PRESENT, "", "", 0, 0, 0, 0, "text", NULL, 0},
    {"check, mismatch", TEXT, OP_CHECK, COND_ABSENT, "", "", 0, 0, 0, ERR_CONDITION_FAILED, "text",
     "text", 0},
};

/* Bring key "k" into that state with entries at T0; returns the version of the put. */
static uint64_t bring_about(struct world *w, enum before before)
{
    uint64_t version;
    if (before == ABSENT)
        return 0;
    world_put(w, T0, "k", before == NUMBER ? "9223372036854775806" : "text",
              before == EXPIRED    ? 100
              : before == EXPIRING ? 1000
                                   : 0);
    version = range_meta(w->range)->last_version;
    if (before == DELETED) {
        struct op op = {.kind = OP_DELETE, .key = slice_str("k")};
        world_do(w, T0, &op, NULL);
    }
    return version;
}

static struct op op_of_row(size_t i, uint64_t version)
{
    struct op op = {
        .kind = rows[i].kind,
        .cond = rows[i].cond,
        .flags = rows[i].flags,
        .key = slice_str("k"),
        .value = slice_str(rows[i].value),
        .delta = rows[i].delta,
        .ttl_ms = rows[i].ttl_ms,
    };
    if (op.cond == COND_VALUE)
        op.cond_value = slice_str(rows[i].cond_value);
    if (op.cond == COND_VERSION)
        op.cond_version = strcmp(rows[i].cond_value, GOOD) == 0 ? version : version + 1;
    return op;
}

static void check_state_after(struct world *w, size_t i)
{
    char value[WORLD_VALUE_MAX];
    int rv = world_get(w, "k", value);
    if (rows[i].want_value == NULL) {
        if (rv != ERR_NOT_FOUND)
            fail_msg("%s: present after (%d)", rows[i].name, rv);
        return;
    }
    if (rv != 0 || strcmp(value, rows[i].want_value) != 0)
        fail_msg("%s: '%s' (%d) after", rows[i].name, rv == 0 ? value : "", rv);
}

static void check_result(const struct world_results *results, size_t i, uint64_t version)
{
    const struct world_result *r = &results->all[0];
    assert_int_equal(results->count, 1);
    if (r->status != rows[i].want)
        fail_msg("%s: status %d", rows[i].name, r->status);
    assert_int_equal(r->count, 1);
    assert_int_equal(r->ops[0].status, rows[i].want);
    assert_true(r->version == (rows[i].want == 0 ? version : 0));
    bool has_value = rows[i].want_returned != NULL;
    if (r->ops[0].has_value != has_value)
        fail_msg("%s: has_value %d", rows[i].name, r->ops[0].has_value);
    if (has_value)
        assert_memory_equal(r->ops[0].value, rows[i].want_returned, strlen(rows[i].want_returned));
    if (rows[i].want == 0 && rows[i].kind != OP_CHECK && r->ops[0].expiry_ms != rows[i].want_expiry)
        fail_msg("%s: expiry %llu", rows[i].name, (unsigned long long)r->ops[0].expiry_ms);
}

static void test_one_operation(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        struct world_results results;
        world_open(&w, &(struct world_options){.seed = 1});
        uint64_t version = bring_about(&w, rows[i].before);
        struct op op = op_of_row(i, version);
        world_do(&w, T0 + 100, &op, &results);
        check_result(&results, i, range_meta(w.range)->last_version);
        check_state_after(&w, i);
        world_close(&w);
    }
}

/* ---- numbers --------------------------------------------------------------------- */

static void test_number_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_number;
    } texts[] = {
        {"0", true},
        {"-1", true},
        {"10", true},
        {"9223372036854775807", true},
        {"-9223372036854775808", true},
        {"", false},
        {"-", false},
        {"-0", false},
        {"00", false},
        {"01", false},
        {"+1", false},
        {" 1", false},
        {"1 ", false},
        {"1a", false},
        {"9223372036854775808", false},
        {"-9223372036854775809", false},
        {"99999999999999999999999", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct world w;
        struct world_results results;
        struct op op = {.kind = OP_INCREMENT, .key = slice_str("k"), .delta = 0};
        world_open(&w, &(struct world_options){.seed = 1});
        world_put(&w, T0, "k", texts[i].text, 0);
        world_do(&w, T0, &op, &results);
        if (results.all[0].status != (texts[i].is_number ? 0 : ERR_NOT_NUMBER))
            fail_msg("'%s': %d", texts[i].text, results.all[0].status);
        world_close(&w);
    }
}

/* ---- several operations ------------------------------------------------------------ */

static void expect(struct world *w, const char *key, const char *want)
{
    char value[WORLD_VALUE_MAX] = "";
    int rv = world_get(w, key, value);
    if (want == NULL)
        assert_int_equal(rv, ERR_NOT_FOUND);
    else
        assert_string_equal(value, want);
}

/* A key named several times is folded in order, under one version. */
static void test_folding(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    struct buf commands;
    const struct op ops[] = {
        {.kind = OP_PUT, .key = slice_str("a"), .value = slice_str("1")},
        {.kind = OP_INCREMENT, .key = slice_str("a"), .delta = 41},
        {.kind = OP_DELETE, .key = slice_str("b")},
        {.kind = OP_APPEND, .key = slice_str("b"), .value = slice_str("x")},
    };
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "b", "old", 0);
    buf_init(&commands, 1 << 20);
    world_command(&commands, ops, ARRAY_LEN(ops));
    struct slice payload = world_entry(T0, &commands);
    world_apply(&w, payload, &results);
    assert_int_equal(results.all[0].status, 0);
    assert_int_equal(results.all[0].count, 4);
    assert_true(results.all[0].ops[1].number == 42);
    for (int i = 0; i < 4; i++)
        assert_true(results.all[0].ops[i].version == (i == 2 ? 0 : results.all[0].version));
    expect(&w, "a", "42");
    expect(&w, "b", "x");
    free((void *)payload.data);
    buf_fini(&commands);
    world_close(&w);
}

/* Conditions are judged before any operation of their command is done. */
static void test_conditions_come_first(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    struct buf commands;
    const struct op ops[] = {
        {.kind = OP_PUT, .key = slice_str("a"), .value = slice_str("1")},
        {.kind = OP_PUT, .cond = COND_ABSENT, .key = slice_str("a"), .value = slice_str("2")},
    };
    world_open(&w, &(struct world_options){.seed = 1});
    buf_init(&commands, 1 << 20);
    world_command(&commands, ops, ARRAY_LEN(ops));
    struct slice payload = world_entry(T0, &commands);
    world_apply(&w, payload, &results);
    assert_int_equal(results.all[0].status, 0);
    expect(&w, "a", "2");
    free((void *)payload.data);
    buf_fini(&commands);
    world_close(&w);
}

/* Commands of one entry see those before them; one that stops leaves nothing. */
static void test_commands_of_an_entry(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    struct buf commands;
    const struct op first = {.kind = OP_INCREMENT, .key = slice_str("n"), .delta = 1};
    const struct op stops[] = {
        {.kind = OP_PUT, .key = slice_str("n"), .value = slice_str("100")},
        {.kind = OP_PUT, .key = slice_str("m"), .value = slice_str("1")},
        {.kind = OP_INCREMENT, .key = slice_str("t"), .delta = 1},
    };
    const struct op last = {.kind = OP_INCREMENT,
                            .cond = COND_VALUE,
                            .cond_value = slice_str("1"),
                            .key = slice_str("n"),
                            .delta = 1};
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "t", "text", 0);
    buf_init(&commands, 1 << 20);
    world_command(&commands, &first, 1);
    world_command(&commands, stops, ARRAY_LEN(stops));
    buf_append_varint(&commands, 3);
    buf_append_str(&commands, "\xc1no");
    world_command(&commands, &last, 1);
    uint64_t before = range_meta(w.range)->last_version;
    struct slice payload = world_entry(T0, &commands);
    world_apply(&w, payload, &results);
    assert_int_equal(results.count, 4);
    assert_int_equal(results.all[0].status, 0);
    assert_int_equal(results.all[1].status, ERR_NOT_NUMBER);
    assert_int_equal(results.all[1].failed_op, 2);
    assert_int_equal(results.all[2].status, ERR_INVALID);
    assert_int_equal(results.all[3].status, 0);
    assert_true(results.all[0].version == before + 1);
    assert_true(results.all[3].version == before + 4);
    expect(&w, "n", "2");
    expect(&w, "m", NULL);
    free((void *)payload.data);
    buf_fini(&commands);
    world_close(&w);
}

/* ---- time and versions -------------------------------------------------------------- */

static void test_versions_and_time(void **state)
{
    (void)state;
    struct world w;
    struct buf none;
    buf_init(&none, 64);
    world_open(&w, &(struct world_options){.seed = 1});
    const struct range_meta *m = range_meta(w.range);
    world_put(&w, 5000, "a", "1", 0);
    assert_true(m->time_ms == 5000);
    assert_true(m->last_version == UINT64_C(5000) << RANGE_VERSION_COUNTER_BITS);
    world_put(&w, 4000, "a", "2", 0); /* a leader whose clock is behind */
    assert_true(m->time_ms == 5000);
    assert_true(m->last_version == (UINT64_C(5000) << RANGE_VERSION_COUNTER_BITS) + 1);

    struct slice stamp = world_entry(9000, &none); /* an entry without commands */
    world_apply(&w, stamp, NULL);
    assert_true(m->time_ms == 9000);
    assert_true(m->last_version == UINT64_C(9000) << RANGE_VERSION_COUNTER_BITS);
    free((void *)stamp.data);

    uint64_t index = m->applied_index;
    range_apply_barrier(w.range, index + 1, m->applied_term + 1);
    assert_true(m->applied_index == index + 1);
    assert_true(m->time_ms == 9000);
    world_close(&w);
}

static void test_safe_point_follows(void **state)
{
    (void)state;
    struct world w;
    char value[WORLD_VALUE_MAX];
    struct range_read read;
    world_open(&w, &(struct world_options){.seed = 1});
    world_put(&w, T0, "a", "old", 0);
    uint64_t version = range_meta(w.range)->last_version;
    world_put(&w, T0 + RANGE_RETENTION_MS_DEFAULT, "a", "new", 0);
    assert_true(range_meta(w.range)->safe_version == version);

    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str("a");
    read.at_version = version;
    assert_int_equal(world_read(&w, &read), 0);
    world_put(&w, T0 + RANGE_RETENTION_MS_DEFAULT + 1, "b", "x", 0);
    assert_int_equal(world_read(&w, &read), ERR_VERSION_GONE);
    read.at_version = range_meta(w.range)->last_version + 1;
    assert_int_equal(world_read(&w, &read), ERR_INVALID);
    assert_int_equal(world_get(&w, "a", value), 0);
    assert_string_equal(value, "new");
    range_read_fini(&read);
    world_close(&w);
}

/* ---- bounds --------------------------------------------------------------------------- */

static void test_append_bound(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    size_t half = command_limits_default.value_max / 2 + 1;
    uint8_t *big = calloc(1, half);
    struct op op = {.kind = OP_APPEND, .key = slice_str("k"), .value = slice_of(big, half)};
    world_open(&w, &(struct world_options){.seed = 1});
    world_do(&w, T0, &op, &results);
    assert_int_equal(results.all[0].status, 0);
    world_do(&w, T0, &op, &results);
    assert_int_equal(results.all[0].status, ERR_TOO_LARGE);
    op.value.len = command_limits_default.value_max - half;
    world_do(&w, T0, &op, &results);
    assert_int_equal(results.all[0].status, 0);
    free(big);
    world_close(&w);
}

/* An entry does a bounded amount of work, however small its commands are. */
static void test_work_bound(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    struct buf commands;
    size_t len = 4 << 20;
    uint8_t *big = calloc(1, len);
    struct op put = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_of(big, len)};
    struct op append = {.kind = OP_APPEND, .key = slice_str("k"), .value = slice_str("x")};
    struct op blind = {.kind = OP_PUT, .key = slice_str("other"), .value = slice_str("x")};
    world_open(&w, &(struct world_options){.seed = 1});
    world_do(&w, T0, &put, NULL);
    buf_init(&commands, 1 << 20);
    for (int i = 0; i < 20; i++)
        world_command(&commands, &append, 1);
    world_command(&commands, &blind, 1);
    struct slice payload = world_entry(T0, &commands);
    world_apply(&w, payload, &results);
    int done = 0;
    while (done < 20 && results.all[done].status == 0)
        done++;
    assert_int_equal(done, 7); /* 8 MiB read and made for each, a little more than 64 in all */
    for (int i = done; i < 20; i++)
        assert_int_equal(results.all[i].status, ERR_BUSY);
    assert_int_equal(results.all[20].status, 0); /* it reads nothing */
    free((void *)payload.data);
    buf_fini(&commands);
    free(big);
    world_close(&w);
}

/* ---- membership, span, refusals -------------------------------------------------------- */

static void test_change(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    static const struct range_replica one[] = {{1, 1, RANGE_ROLE_VOTER}};
    static const struct range_replica bad[] = {{1, 1, RANGE_ROLE_VOTER}, {1, 2, RANGE_ROLE_VOTER}};
    world_open(&w, &(struct world_options){.seed = 1});
    const struct range_meta *m = range_meta(w.range);
    int rv = range_apply_change(w.range, WORLD_BIRTH + 1, 6, slice_str("new"), bad, 2, &err);
    assert_int_equal(rv, ERR_INVALID);
    assert_true(m->applied_index == WORLD_BIRTH);
    rv = range_apply_change(w.range, WORLD_BIRTH + 1, 6, slice_str("new"), one, 1, &err);
    assert_int_equal(rv, 0);
    assert_true(m->conf_index == WORLD_BIRTH + 1);
    assert_true(m->descriptor.epoch.conf == 2);
    assert_true(m->descriptor.epoch.span == 1);
    assert_int_equal(m->descriptor.replica_count, 1);
    assert_true(slice_equal(buf_slice(&m->conf), slice_str("new")));
    range_check(w.range);
    world_flush(&w);
    world_crash(&w, SIM_CRASH_POWER);
    assert_true(range_meta(w.range)->descriptor.epoch.conf == 2);
    world_close(&w);
}

static void test_later_formats_stop_it(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    static const uint8_t later[] = {2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t cut[] = {1, 0, 0};
    world_open(&w, &(struct world_options){.seed = 1});
    int rv = range_apply(w.range, 11, 5, slice_of(later, sizeof later), NULL, &err);
    assert_int_equal(rv, ERR_UNSUPPORTED);
    rv = range_apply(w.range, 11, 5, slice_of(cut, sizeof cut), NULL, &err);
    assert_int_equal(rv, ERR_CORRUPT);
    assert_true(range_meta(w.range)->applied_index == WORLD_BIRTH);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_operation),
        cmocka_unit_test(test_number_texts),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_conditions_come_first),
        cmocka_unit_test(test_commands_of_an_entry),
        cmocka_unit_test(test_versions_and_time),
        cmocka_unit_test(test_safe_point_follows),
        cmocka_unit_test(test_append_bound),
        cmocka_unit_test(test_work_bound),
        cmocka_unit_test(test_change),
        cmocka_unit_test(test_later_formats_stop_it),
    };
    return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
