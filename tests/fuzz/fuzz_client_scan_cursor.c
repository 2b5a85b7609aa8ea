/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the cursor of a scan: as they are, and with the head and the checksum that belong
 * to them. What is accepted must be whole, and the same when it is written and read again. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "client/scan_cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct scan_cursor *c, struct slice place)
{
    ASSERT(place.len <= KEY_WIRE_MAX);
    if (place.len == 0)
        return;
    ASSERT(slice_compare(place, c->start) >= 0);
    ASSERT(c->end.len == 0 || slice_compare(place, c->end) <= 0);
}

/* Every part by itself, appended again: the same bytes in the end. */
static void check_parts(const struct scan_cursor *c)
{
    struct reader r = reader_of(c->parts);
    struct buf again;
    buf_init(&again, SCAN_CURSOR_MAX);
    for (uint32_t i = 0; i < scan_cursor_parts(c); i++) {
        struct scan_part part = scan_part_next(&r);
        ASSERT(!r.bad && part.state <= SCAN_PART_OVER);
        ASSERT((part.version > 0) == (part.state == SCAN_PART_AT));
        ASSERT(part.version == 0 || c->cluster_id != 0);
        check_place(c, part.place);
        scan_part_append(&again, &part);
    }
    ASSERT(r.left == 0 && !again.failed);
    buf_fini(&again);
}

static void try_bytes(struct slice bytes)
{
    struct scan_cursor c, again;
    struct buf first, second;
    if (scan_cursor_decode(bytes, &c, NULL) != 0)
        return;
    ASSERT(c.start.len <= KEY_WIRE_MAX && c.end.len <= KEY_WIRE_MAX);
    ASSERT(c.read.consistency <= CONSISTENCY_LAST);
    check_place(&c, c.position);
    check_parts(&c);
    buf_init(&first, 2 * SCAN_CURSOR_MAX);
    buf_init(&second, 2 * SCAN_CURSOR_MAX);
    scan_cursor_encode(&c, &first);
    ASSERT(scan_cursor_decode(buf_slice(&first), &again, NULL) == 0);
    scan_cursor_encode(&again, &second);
    ASSERT(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t head[] = {'h', 'f', 's', 'c', 1};
    struct buf whole;
    try_bytes(slice_of(data, size));
    buf_init(&whole, SCAN_CURSOR_MAX);
    buf_append(&whole, head, sizeof head);
    buf_append(&whole, data, size);
    buf_append_u32(&whole, crc32c(0, whole.data, whole.len));
    if (!whole.failed)
        try_bytes(buf_slice(&whole));
    buf_fini(&whole);
    return 0;
}
