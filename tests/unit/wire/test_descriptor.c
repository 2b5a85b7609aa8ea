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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_span),
    };
    return cmocka_run_group_tests_name("descriptor", tests, NULL, NULL);
}
