/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "wire/frame.h"
#include "wire/snapshot_msg.h"

static struct snapshot_begin some_begin(void)
{
    return (struct snapshot_begin){.group = 1,
                                   .from_replica = 2,
                                   .to_replica = 3,
                                   .stream = 4,
                                   .term = 9,
                                   .last_index = 500,
                                   .last_term = 9,
                                   .conf_index = 500};
}

static void test_begin(void **state)
{
    (void)state;
    uint8_t *large = calloc(1, SNAPSHOT_META_MAX);
    struct snapshot_begin in = some_begin();
    struct snapshot_begin out;
    struct buf buf;
    buf_init(&buf, FRAME_BODY_MAX);
    in.configuration = slice_of(large, SNAPSHOT_CONFIGURATION_MAX);
    in.meta = slice_of(large, SNAPSHOT_META_MAX);
    snapshot_begin_encode(&buf, &in);
    assert_int_equal(snapshot_begin_decode(buf_slice(&buf), &out, NULL), 0);
    assert_true(out.group == 1 && out.from_replica == 2 && out.to_replica == 3);
    assert_true(out.stream == 4 && out.term == 9 && out.last_index == 500 && out.last_term == 9);
    assert_int_equal(out.conf_index, 500);
    assert_true(slice_equal(out.configuration, in.configuration));
    assert_true(slice_equal(out.meta, in.meta));
    buf_fini(&buf);
    free(large);
}

/* What an encoder of ours would send if it did not look. */
static void test_begin_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        uint64_t value;
    } rows[] = {
        {"term below the last entry's", offsetof(struct snapshot_begin, term), 8},
        {"configuration after the end", offsetof(struct snapshot_begin, conf_index), 501},
        {"no sender", offsetof(struct snapshot_begin, from_replica), 0},
        {"no receiver", offsetof(struct snapshot_begin, to_replica), 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct snapshot_begin in = some_begin();
        struct snapshot_begin out = {.stream = 99};
        struct buf buf;
        buf_init(&buf, 1000);
        *(uint64_t *)(void *)((uint8_t *)&in + rows[i].offset) = rows[i].value;
        snapshot_begin_encode(&buf, &in);
        if (snapshot_begin_decode(buf_slice(&buf), &out, NULL) != ERR_CORRUPT)
            fail_msg("%s was accepted", rows[i].name);
        assert_int_equal(out.stream, 99);
        buf_fini(&buf);
    }
}

static void test_chunk(void **state)
{
    (void)state;
    uint8_t *data = calloc(1, SNAPSHOT_CHUNK_MAX);
    struct snapshot_chunk out;
    struct buf buf;
    buf_init(&buf, FRAME_BODY_MAX);
    snapshot_chunk_encode(&buf, &(struct snapshot_chunk){.stream = UINT64_MAX,
                                                         .seq = UINT64_MAX,
                                                         .data = {data, SNAPSHOT_CHUNK_MAX}});
    assert_int_equal(snapshot_chunk_decode(buf_slice(&buf), &out, NULL), 0);
    assert_true(out.stream == UINT64_MAX && out.seq == UINT64_MAX);
    assert_int_equal(out.data.len, SNAPSHOT_CHUNK_MAX);
    static const uint8_t empty[] = {0x83, 0, 33, 1, 4, 3, 0xc4, 0};
    static const uint8_t no_stream[] = {0x82, 0, 33, 3, 0xc4, 1, 9};
    assert_int_equal(snapshot_chunk_decode(slice_of(empty, 8), &out, NULL), ERR_CORRUPT);
    assert_int_equal(snapshot_chunk_decode(slice_of(no_stream, 7), &out, NULL), ERR_CORRUPT);
    buf_fini(&buf);
    free(data);
}

static void test_end_and_ack(void **state)
{
    (void)state;
    struct snapshot_end end;
    struct snapshot_ack ack;
    struct buf buf;
    buf_init(&buf, 5000);
    snapshot_end_encode(
        &buf, &(struct snapshot_end){
                  .stream = 1, .bytes = UINT64_MAX, .chunks = UINT64_MAX, .crc32c = UINT32_MAX});
    assert_int_equal(snapshot_end_decode(buf_slice(&buf), &end, NULL), 0);
    assert_true(end.bytes == UINT64_MAX && end.crc32c == UINT32_MAX);
    static const uint8_t more_chunks[] = {0x84, 0, 34, 1, 1, 2, 5, 3, 4};
    assert_int_equal(snapshot_end_decode(slice_of(more_chunks, 9), &end, NULL), ERR_CORRUPT);
    buf_clear(&buf);
    snapshot_ack_encode(&buf,
                        &(struct snapshot_ack){.stream = 1, .bytes = 7, .is_installed = true});
    assert_int_equal(snapshot_ack_decode(buf_slice(&buf), &ack, NULL), 0);
    assert_true(ack.is_installed && ack.bytes == 7 && ack.status == 0);
    static const uint8_t failed_and_done[] = {0x84, 0, 35, 1, 1, 2, 0xff, 4, 0xc3};
    assert_int_equal(snapshot_ack_decode(slice_of(failed_and_done, 9), &ack, NULL), ERR_CORRUPT);
    buf_fini(&buf);
}

static void test_resume(void **state)
{
    (void)state;
    const struct snapshot_resume in = {.group = 1,
                                       .from_replica = 2,
                                       .to_replica = 3,
                                       .stream = UINT64_MAX,
                                       .term = 5,
                                       .last_index = 6,
                                       .last_term = 4};
    struct snapshot_resume out = {0};
    struct buf buf;
    buf_init(&buf, 1000);
    snapshot_resume_encode(&buf, &in);
    assert_int_equal(snapshot_resume_decode(buf_slice(&buf), &out, NULL), 0);
    assert_memory_equal(&out, &in, sizeof in);
    static const uint8_t of_nothing[] = {0x82, 0, 36, 1, 1};
    assert_int_equal(snapshot_resume_decode(slice_of(of_nothing, 5), &out, NULL), ERR_CORRUPT);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),  cmocka_unit_test(test_begin_that_cannot_be),
        cmocka_unit_test(test_chunk),  cmocka_unit_test(test_end_and_ack),
        cmocka_unit_test(test_resume),
    };
    return cmocka_run_group_tests_name("snapshot_msg", tests, NULL, NULL);
}
