/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes, times and places as people read them.
 */
#include "base/coding.h"
#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum { KEY_SHOWN = 40, USER_PREFIX = 0x02, USER_PREFIX_LEN = 5 };

void pl_text_bytes(struct buf *text, uint64_t bytes)
{
    if (bytes >= UINT64_C(10) << 30)
        buf_printf(text, "%.1f GiB", (double)bytes / (1 << 30));
    else if (bytes >= 10 << 20)
        buf_printf(text, "%.1f MiB", (double)bytes / (1 << 20));
    else
        buf_printf(text, "%.1f KiB", (double)bytes / (1 << 10));
}

void pl_text_time(struct buf *text, uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s < 60)
        buf_printf(text, "%llu s", U(s));
    else if (s < 3600)
        buf_printf(text, "%llu min %llu s", U(s / 60), U(s % 60));
    else if (s < 2 * 86400)
        buf_printf(text, "%llu h %llu min", U(s / 3600), U(s / 60 % 60));
    else
        buf_printf(text, "%llu days", U(s / 86400));
}

static void put_key(struct buf *text, struct slice key)
{
    for (size_t i = 0; i < MIN(key.len, KEY_SHOWN); i++) {
        if (key.data[i] > ' ' && key.data[i] < 0x7f && key.data[i] != '\\')
            buf_append_u8(text, key.data[i]);
        else
            buf_printf(text, "\\x%02x", key.data[i]);
    }
    if (key.len > KEY_SHOWN)
        buf_append_str(text, "…");
}

void pl_text_place(struct buf *text, struct slice place, const char *at_edge)
{
    bool is_user = place.len > 0 && place.data[0] == USER_PREFIX;
    if (place.len == 0 || (place.len == 1 && (is_user || place.data[0] == USER_PREFIX + 1))) {
        buf_append_str(text, at_edge);
    } else if (is_user && place.len >= USER_PREFIX_LEN) {
        uint32_t keyspace = get_u32be(place.data + 1);
        if (keyspace != 0)
            buf_printf(text, "%u/", keyspace);
        buf_append_str(text, "'");
        put_key(text, slice_of(place.data + USER_PREFIX_LEN, place.len - USER_PREFIX_LEN));
        buf_append_str(text, "'");
    } else {
        put_key(text, place);
    }
}
