/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as any message: the first byte picks the decoder. What a decoder accepts
 * must be readable throughout, and an encoder must be able to send it again. */
#include "support/wire_samples.h"
#include "wire/frame.h"
#include "wire/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct wire_sample *sample = &wire_samples[data[0] % wire_samples_count];
    struct slice body = slice_of(data + 1, size - 1);
    struct unpack u = unpack_of(body);
    unpack_skip(&u);
    ASSERT(u.left <= body.len);
    struct err err = {0};
    if (sample->decode(body, &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return 0;
    }
    struct buf again;
    buf_init(&again, FRAME_BODY_MAX);
    sample->recode(body, &again);
    ASSERT(!again.failed);
    ASSERT(sample->decode(buf_slice(&again), NULL) == 0);
    buf_fini(&again);
    return 0;
}
