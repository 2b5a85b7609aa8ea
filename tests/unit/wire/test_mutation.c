/* SPDX-License-Identifier: Apache-2.0 */
/* Every decoder against its own good body, cut at every length and damaged at
 * every byte. What must hold: an error or an acceptable message, and never a read
 * outside the bytes (they stand in an allocation of their exact length, so that
 * the address sanitizer sees one byte too far). */
#include "support/check.h"

#include <stdlib.h>

#include "base/rng.h"
#include "support/wire_samples.h"
#include "wire/frame.h"
#include "wire/msg.h"
#include "wire/pack.h"
#include "wire/request.h"
#include "wire/response.h"

/* What a decoder accepted, an encoder may send, and it means the same: its own
 * assertions hold, and the second encoding is like the first to the byte. */
static void check_again(const struct wire_sample *sample, struct slice body)
{
    struct buf first;
    struct buf second;
    buf_init(&first, 1 << 17);
    buf_init(&second, 1 << 17);
    sample->recode(body, &first);
    assert_int_equal(sample->decode(buf_slice(&first), NULL), 0);
    sample->recode(buf_slice(&first), &second);
    assert_true(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_fini(&first);
    buf_fini(&second);
}

static int try_exact(const struct wire_sample *sample, const uint8_t *bytes, size_t len)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, len);
    struct err err = {0};
    int rv = sample->decode(slice_of(exact, len), &err);
    if (rv != 0)
        assert_true(err.code == rv && err.msg[0] != 0);
    else
        check_again(sample, slice_of(exact, len));
    free(exact);
    return rv;
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < wire_samples_count; i++) {
        struct buf buf;
        buf_init(&buf, 1 << 16);
        wire_samples[i].encode(&buf);
        assert_false(buf.failed);
        int rv = try_exact(&wire_samples[i], buf.data, buf.len);
        if (rv != 0)
            fail_msg("%s: %s", wire_samples[i].name, err_name(rv));
        /* No field is lost: there and back gives the very bytes. */
        struct buf again;
        buf_init(&again, 1 << 16);
        wire_samples[i].recode(buf_slice(&buf), &again);
        if (!slice_equal(buf_slice(&buf), buf_slice(&again)))
            fail_msg("%s comes back as something else", wire_samples[i].name);
        buf_fini(&again);
        buf_fini(&buf);
    }
}

/* Decoded, and copied, over rubbish; encoded anew. False: it is neither request nor response. */
static bool over_rubbish(struct slice body, struct buf *again)
{
    struct request request, copy;
    struct response response;
    memset(&request, 0xa5, sizeof request);
    memset(&copy, 0xa5, sizeof copy);
    memset(&response, 0xa5, sizeof response);
    if (request_decode(body, &request, NULL) == 0) {
        request_copy(&copy, &request);
        request_encode(again, &copy);
        return true;
    }
    if (response_decode(body, &response, NULL) != 0)
        return false;
    response_encode(again, &response);
    return true;
}

/* Only that of a union is written which belongs to the kind, but all of that. */
static void test_rubbish(void **state)
{
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < wire_samples_count; i++) {
        struct buf buf, again;
        buf_init(&buf, 1 << 16);
        buf_init(&again, FRAME_BODY_MAX);
        wire_samples[i].encode(&buf);
        bool is_one = over_rubbish(buf_slice(&buf), &again);
        if (is_one && !slice_equal(buf_slice(&buf), buf_slice(&again)))
            fail_msg("%s comes back as something else", wire_samples[i].name);
        count += is_one;
        buf_fini(&buf);
        buf_fini(&again);
    }
    assert_true(count > 0);
}

/* The pairs behind the kind in reverse, and among them two that nobody knows. */
static void reverse(struct slice body, struct buf *out)
{
    enum { PAIRS_MAX = 15, STRANGE = 62 };
    struct slice pairs[PAIRS_MAX];
    struct unpack u = unpack_of(body);
    uint32_t count = unpack_map(&u);
    assert_in_range(count, 1, PAIRS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = u.pos;
        unpack_skip(&u);
        unpack_skip(&u);
        pairs[i] = slice_of(at, (size_t)(u.pos - at));
    }
    assert_int_equal(unpack_finish(&u, "sample", NULL), 0);
    pack_map(out, count + 2);
    buf_append_slice(out, pairs[0]);
    for (uint32_t i = count - 1; i > 0; i--) {
        if (i == count / 2) {
            pack_uint(out, STRANGE);
            pack_str(out, slice_str("strange"));
        }
        buf_append_slice(out, pairs[i]);
    }
    pack_uint(out, STRANGE - 1);
    pack_array(out, 0);
    if (count == 1) {
        pack_uint(out, STRANGE);
        pack_map(out, 0);
    }
}

/* The detail before its kind, and what a later version may add. */
static void test_any_order(void **state)
{
    (void)state;
    size_t count = 0;
    for (size_t i = 0; i < wire_samples_count; i++) {
        struct buf buf, reversed, again;
        uint32_t kind = 0;
        buf_init(&buf, 1 << 16);
        buf_init(&reversed, 1 << 16);
        buf_init(&again, 1 << 16);
        wire_samples[i].encode(&buf);
        bool is_one = msg_kind(buf_slice(&buf), &kind, NULL) == 0 &&
                      (kind == MSG_REQUEST || kind == MSG_RESPONSE);
        if (is_one) {
            reverse(buf_slice(&buf), &reversed);
            assert_int_equal(try_exact(&wire_samples[i], reversed.data, reversed.len), 0);
            wire_samples[i].recode(buf_slice(&reversed), &again);
            if (!slice_equal(buf_slice(&buf), buf_slice(&again)))
                fail_msg("%s comes back as something else", wire_samples[i].name);
        }
        count += is_one;
        buf_fini(&buf);
        buf_fini(&reversed);
        buf_fini(&again);
    }
    assert_true(count > 10);
}

static void test_truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < wire_samples_count; i++) {
        struct buf buf;
        buf_init(&buf, 1 << 16);
        wire_samples[i].encode(&buf);
        for (size_t len = 0; len < buf.len; len++) {
            if (try_exact(&wire_samples[i], buf.data, len) == 0)
                fail_msg("%s accepted when cut to %zu of %zu bytes", wire_samples[i].name, len,
                         buf.len);
        }
        buf_append_u8(&buf, 0);
        if (try_exact(&wire_samples[i], buf.data, buf.len) == 0)
            fail_msg("%s accepted with a byte after its end", wire_samples[i].name);
        buf_fini(&buf);
    }
}

static void test_every_byte_every_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < wire_samples_count; i++) {
        struct buf buf;
        buf_init(&buf, 1 << 16);
        wire_samples[i].encode(&buf);
        for (size_t at = 0; at < buf.len; at++) {
            uint8_t good = buf.data[at];
            for (unsigned v = 0; v < 256; v++) {
                buf.data[at] = (uint8_t)v;
                try_exact(&wire_samples[i], buf.data, buf.len);
            }
            buf.data[at] = good;
        }
        buf_fini(&buf);
    }
}

/* Several bytes at once, pieces repeated and cut out; each body is also given to
 * every other decoder. */
static void test_shuffled(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 20);
    for (unsigned round = 0; round < 20000; round++) {
        const struct wire_sample *from = &wire_samples[rng_below(&rng, wire_samples_count)];
        const struct wire_sample *to =
            rng_chance(&rng, 1, 2) ? from : &wire_samples[rng_below(&rng, wire_samples_count)];
        struct buf buf;
        buf_init(&buf, 1 << 16);
        from->encode(&buf);
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--)
            buf.data[rng_below(&rng, buf.len)] = (uint8_t)rng_u64(&rng);
        size_t a = rng_below(&rng, buf.len);
        size_t n = rng_below(&rng, buf.len - a) + 1;
        if (rng_chance(&rng, 1, 3)) {
            memmove(buf.data + a, buf.data + a + n, buf.len - a - n);
            buf.len -= n;
        } else if (rng_chance(&rng, 1, 3)) {
            assert_int_equal(buf_reserve(&buf, n), 0);
            memmove(buf.data + a + n, buf.data + a, buf.len - a);
            buf.len += n;
        }
        try_exact(to, buf.data, buf.len);
        buf_fini(&buf);
    }
}

static void test_kind(void **state)
{
    (void)state;
    static const uint8_t good[] = {0x81, 0x00, 0x30};
    static const uint8_t bad[][3] = {{0x80, 0x00, 0x30}, {0x81, 0x01, 0x30}, {0x81, 0x00, 0xff}};
    uint32_t kind = 99;
    assert_int_equal(msg_kind(slice_of(good, 3), &kind, NULL), 0);
    assert_int_equal(kind, MSG_REQUEST);
    assert_string_equal(msg_kind_name(kind), "request");
    kind = 99;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(msg_kind(slice_of(bad[i], 3), &kind, NULL), ERR_CORRUPT);
    assert_int_equal(msg_kind(slice_of(good, 2), &kind, NULL), ERR_CORRUPT);
    assert_int_equal(kind, 99);
    assert_string_equal(msg_kind_name(15), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_every_byte_every_value),
        cmocka_unit_test(test_shuffled),  cmocka_unit_test(test_kind),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests_name("mutation", tests, NULL, NULL);
}
