/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/descriptor.h"

static struct member some_member(uint64_t id)
{
    struct member member = {.replica_id = id,
                            .store_id = id + 100,
                            .role = id % 2 == 0 ? MEMBER_LEARNER : MEMBER_VOTER,
                            .address = slice_str("[::1]:7000")};
    memset(member.store_uuid, (int)id, sizeof member.store_uuid);
    return member;
}

static struct descriptor some_descriptor(uint32_t members)
{
    struct descriptor d = {.range_id = UINT64_MAX,
                           .start = slice_str("b"),
                           .end = slice_str("c"),
                           .conf_epoch = UINT64_MAX,
                           .span_epoch = 1,
                           .member_count = members};
    for (uint32_t i = 0; i < members; i++)
        d.members[i] = some_member(i + 1);
    return d;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= DESCRIPTOR_MEMBERS_MAX; n += DESCRIPTOR_MEMBERS_MAX / 2) {
        struct descriptor in = some_descriptor(n);
        struct descriptor out;
        struct buf buf;
        buf_init(&buf, 10000);
        descriptor_encode(&buf, &in);
        assert_int_equal(descriptor_decode(buf_slice(&buf), &out, NULL), 0);
        assert_true(out.range_id == in.range_id && out.conf_epoch == in.conf_epoch);
        assert_true(slice_equal(out.start, in.start) && slice_equal(out.end, in.end));
        assert_int_equal(out.member_count, n);
        for (uint32_t i = 0; i < n; i++) {
            const struct member *m = descriptor_member(&out, i + 1);
            assert_non_null(m);
            assert_true(m->store_id == i + 101 && m->role == in.members[i].role);
            assert_memory_equal(m->store_uuid, in.members[i].store_uuid, STORE_UUID_LEN);
            assert_true(slice_equal(m->address, in.members[i].address));
        }
        assert_null(descriptor_member(&out, 99));
        buf_fini(&buf);
    }
}

static void test_what_cannot_be(void **state)
{
    (void)state;
    for (int which = 0; which < 5; which++) {
        struct descriptor d = some_descriptor(3);
        struct descriptor out = {.range_id = 99};
        struct err err = {0};
        struct buf buf;
        switch (which) {
        case 0:
            d.members[2].replica_id = d.members[0].replica_id;
            break;
        case 1:
            d.members[2].store_id = d.members[1].store_id;
            break;
        case 2:
            d.end = d.start;
            break;
        case 3:
            d.range_id = 0;
            break;
        case 4:
            d.members[1].role = 0;
            break;
        }
        buf_init(&buf, 10000);
        descriptor_encode(&buf, &d);
        if (descriptor_decode(buf_slice(&buf), &out, &err) != ERR_CORRUPT)
            fail_msg("case %d was accepted", which);
        assert_int_equal(out.range_id, 99);
        buf_fini(&buf);
    }
    struct buf buf; /* one member more than there may be */
    struct member members[DESCRIPTOR_MEMBERS_MAX];
    buf_init(&buf, 10000);
    pack_array(&buf, DESCRIPTOR_MEMBERS_MAX + 1);
    for (uint64_t i = 1; i <= DESCRIPTOR_MEMBERS_MAX + 1; i++) {
        struct member member = some_member(i);
        member_encode(&buf, &member);
    }
    struct unpack u = unpack_of(buf_slice(&buf));
    assert_int_equal(members_read(&u, members), 0);
    assert_true(u.bad);
    buf_fini(&buf);
}

static void test_span(void **state)
{
    (void)state;
    struct descriptor d = some_descriptor(0);
    assert_false(descriptor_has_key(&d, slice_str("a")));
    assert_true(descriptor_has_key(&d, slice_str("b")));
    assert_true(descriptor_has_key(&d, slice_str("bzzz")));
    assert_false(descriptor_has_key(&d, slice_str("c")));
    d.end = (struct slice){0};
    assert_true(descriptor_has_key(&d, slice_str("zzz")));
    d.start = (struct slice){0};
    assert_true(descriptor_has_key(&d, slice_str("")));
}

/* A place of `len` bytes: that of `tail`, in front of it keyspace 7 and as many 'k' as it takes. */
static struct slice place_of(uint8_t *raw, size_t len, const char *tail, size_t tail_len)
{
    memcpy(raw, "\x02\0\0\0\7", DESCRIPTOR_PREFIX_LEN);
    memset(raw + DESCRIPTOR_PREFIX_LEN, 'k', len - DESCRIPTOR_PREFIX_LEN);
    memcpy(raw + len - tail_len, tail, tail_len);
    return slice_of(raw, len);
}

/* Each with the least place at or above it, and the greatest below it, among those that are not
 * longer than keys can be. */
static void test_places(void **state)
{
    enum { MAX = DESCRIPTOR_CUT_MAX };
    static const struct {
        size_t len;
        const char *tail;
        size_t tail_len, cut_len;
        const char *cut;
        size_t cut_tail_len, below_len;
        const char *below;
        size_t below_tail_len;
    } rows[] = {
        {MAX, "m", 1, MAX, "m", 1, MAX, "l", 1},
        {MAX, "a\0", 2, MAX, "a\0", 2, MAX - 1, "a", 1},
        {8, "ab", 2, 8, "ab", 2, 0, NULL, 0},
        {8, "a\0", 2, 8, "a\0", 2, 7, "a", 1},
        {MAX + 1, "m\0", 2, MAX, "n", 1, MAX, "m", 1},
        {MAX + 1, "a\xff\0", 3, MAX - 1, "b", 1, MAX, "a\xff", 2},
        {MAX + 2, "m\0\0", 3, MAX, "n", 1, MAX, "m", 1},
        {MAX + 2, "m\xff\xff", 3, MAX, "n", 1, MAX, "m", 1},
    };
    static uint8_t raw[MAX + 2], want[MAX + 2], out[MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice place = place_of(raw, rows[i].len, rows[i].tail, rows[i].tail_len);
        struct slice cut = place_of(want, rows[i].cut_len, rows[i].cut, rows[i].cut_tail_len);
        if (!slice_equal(descriptor_cut_at(place, out), cut))
            fail_msg("row %zu: at or above", i);
        if (rows[i].below == NULL)
            continue;
        struct slice below =
            place_of(want, rows[i].below_len, rows[i].below, rows[i].below_tail_len);
        if (!slice_equal(descriptor_key_below(place, out), below))
            fail_msg("row %zu: below", i);
    }
    /* What is filled up, with what is greater than all that a key can go on with. */
    struct slice below = descriptor_key_below(slice_of("\x02\0\0\0\x08", 5), out);
    assert_int_equal(below.len, MAX);
    assert_memory_equal(below.data, "\x02\0\0\0\x07\xff\xff", 7);
    assert_int_equal(below.data[MAX - 1], 0xff);
    /* Nothing of the keyspace is above: its end. */
    memset(raw + DESCRIPTOR_PREFIX_LEN, 0xff, sizeof raw - DESCRIPTOR_PREFIX_LEN);
    struct slice cut = descriptor_cut_at(slice_of(raw, MAX + 1), out);
    assert_true(slice_equal(cut, slice_of("\x02\0\0\0\x08", 5)));
    memset(raw, 0xff, DESCRIPTOR_PREFIX_LEN);
    assert_int_equal(descriptor_cut_at(slice_of(raw, MAX + 1), out).len, 0);
    assert_int_equal(descriptor_key_below((struct slice){0}, out).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_span),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests_name("descriptor", tests, NULL, NULL);
}
