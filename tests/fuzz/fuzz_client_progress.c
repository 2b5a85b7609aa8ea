/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the token of a watch, with the checksum that belongs to them: what is
 * accepted must be whole, and can be written and read again. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "client/progress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct progress p, again;
    struct buf token, second;
    buf_init(&token, PROGRESS_TOKEN_MAX);
    buf_init(&second, PROGRESS_TOKEN_MAX);
    buf_append(&token, data, size);
    buf_append_u32(&token, crc32c(0, data, size));
    ASSERT(!token.failed);
    if (progress_decode(&p, buf_slice(&token), NULL) == 0) {
        progress_check(&p);
        ASSERT(p.count > 0);
        buf_clear(&token);
        progress_encode(&p, &token);
        ASSERT(progress_decode(&again, buf_slice(&token), NULL) == 0);
        progress_encode(&again, &second);
        ASSERT(slice_equal(buf_slice(&token), buf_slice(&second)));
        ASSERT(progress_mark(&p) == progress_mark(&again));
        progress_fini(&again);
        progress_fini(&p);
    }
    buf_fini(&token);
    buf_fini(&second);
    return 0;
}
