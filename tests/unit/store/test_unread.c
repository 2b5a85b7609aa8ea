/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that a store cannot read, as a later version of the client may send them.
 */
#include "support/check.h"

#include <stdlib.h>

#include "store_rig.h"
#include "wire/pack.h"

static struct rig rig;

/* A request with this kind and detail; id 0: it has none. */
static void append(struct buf *buf, uint64_t id, uint32_t kind, const uint8_t *detail, size_t len)
{
    size_t start = frame_begin(buf);
    pack_map(buf, id == 0 ? 4 : 5);
    pack_uint(buf, 0);
    pack_uint(buf, MSG_REQUEST);
    if (id != 0) {
        pack_uint(buf, 1);
        pack_uint(buf, id);
    }
    pack_uint(buf, 5);
    pack_uint(buf, 1000);
    pack_uint(buf, 6);
    pack_uint(buf, kind);
    pack_uint(buf, 7);
    buf_append(buf, detail, len);
    frame_end(buf, start, false);
}

/* In one piece of input. */
static void write_all(struct buf *buf)
{
    assert_false(buf->failed);
    uint8_t *bytes = malloc(buf->len);
    assert_non_null(bytes);
    memcpy(bytes, buf->data, buf->len);
    env_conn_write(rig.conns[0].conn, bytes, buf->len);
    buf_fini(buf);
}

static const struct {
    const char *name;
    uint32_t kind;
    uint8_t detail[8];
    size_t len;
    int want;
    const char *want_text;
} rows[] = {
    {"kind 60", 60, {0x80}, 1, ERR_UNSUPPORTED, "no such kind"},
    {"kind 18", 18, {0x80}, 1, ERR_UNSUPPORTED, "no such kind"},
    {"consistency 9", REQUEST_GET, {0x82, 2, 9, 5, 0xc4, 1, 'k'}, 7, ERR_INVALID, "malformed"},
    {"no map", REQUEST_GET, {0xc0}, 1, ERR_INVALID, "malformed"},
    {"verb 200", REQUEST_PLACEMENT, {0x81, 1, 0xcc, 200}, 4, ERR_INVALID, "malformed"},
};

/* It is answered, and what follows it on its connection too. */
static void test_answered_alone(void **state)
{
    (void)state;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    uint64_t connected = rig.connected;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf buf;
        buf_init(&buf, FRAME_BODY_MAX);
        struct rig_answer *strange = &rig.answers[++rig.asked];
        append(&buf, rig.asked, rows[i].kind, rows[i].detail, rows[i].len);
        struct rig_answer *stats = &rig.answers[++rig.asked];
        append(&buf, rig.asked, REQUEST_STATS, (const uint8_t[]){0x80}, 1);
        write_all(&buf);
        rig_run(&rig, 100 * RIG_MS);
        if (strange->count != 1 || strange->status != rows[i].want ||
            strstr(strange->text, rows[i].want_text) == NULL)
            fail_msg("%s: %d answers, %d '%s'", rows[i].name, strange->count, strange->status,
                     strange->text);
        assert_int_equal(stats->count, 1);
        assert_int_equal(stats->status, 0);
    }
    assert_non_null(rig.conns[0].conn);
    assert_int_equal(rig.connected, connected);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* There is nothing to answer it by. */
static void test_without_an_id(void **state)
{
    (void)state;
    struct buf buf;
    rig_open(&rig, 1);
    rig_start_cluster(&rig);
    buf_init(&buf, FRAME_BODY_MAX);
    append(&buf, 0, 60, (const uint8_t[]){0x80}, 1);
    write_all(&buf);
    rig_run(&rig, 2000 * RIG_MS);
    assert_null(rig.conns[0].conn);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answered_alone),
        cmocka_unit_test(test_without_an_id),
    };
    return cmocka_run_group_tests_name("unread", tests, NULL, NULL);
}
