/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a stream of frames, fed in pieces. The first byte says how large the
 * pieces are and whether checksums are put right where frames seem to begin (else they
 * would stop nearly everything). Reading ends in "more, please" or in an error, and
 * keeps no more than FRAME_AHEAD times what arrived. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 1 << 16 };

static void mend(uint8_t *bytes, size_t len)
{
    size_t pos = 0;
    while (len - pos >= FRAME_PREFIX_LEN) {
        uint32_t length = get_u32(bytes + pos);
        if (length > len - pos - FRAME_HEADER_LEN)
            return;
        put_u32(bytes + pos + 4, crc32c(0, bytes + pos + FRAME_HEADER_LEN, length));
        pos += FRAME_HEADER_LEN + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t len = size - 1;
    size_t step = (size_t)(data[0] >> 1) + 1;
    uint8_t *bytes = malloc(len);
    ASSERT(bytes != NULL);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        mend(bytes, len);
    struct frame_reader reader;
    frame_reader_init(&reader, BODY_MAX);
    int rv = ERR_SHORT;
    for (size_t at = 0; at < len && rv == ERR_SHORT; at += step) {
        struct slice body = {0};
        frame_reader_feed(&reader, slice_of(bytes + at, MIN(step, len - at)));
        while ((rv = frame_reader_next(&reader, &body, NULL)) == 0) {
            volatile uint8_t sum = 0;
            ASSERT(body.len <= BODY_MAX);
            for (size_t i = 0; i < body.len; i++)
                sum = (uint8_t)(sum + body.data[i]);
        }
        ASSERT(reader.partial.cap <= MAX(FRAME_AHEAD * MIN(at + step, len), (size_t)64));
    }
    frame_reader_fini(&reader);
    free(bytes);
    return 0;
}
