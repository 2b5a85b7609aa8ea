/* SPDX-License-Identifier: Apache-2.0 */
#include "client/sealed.h"

#include "base/coding.h"
#include "base/crc32c.h"

void sealed_end(struct buf *out, size_t begin)
{
    ASSERT(begin <= out->len);
    if (!out->failed)
        buf_append_u32(out, crc32c(0, out->data + begin, out->len - begin));
}

bool sealed_open(struct slice bytes, struct slice *ret_inside)
{
    if (bytes.len < SEALED_SUM_LEN)
        return false;
    size_t len = bytes.len - SEALED_SUM_LEN;
    if (get_u32(bytes.data + len) != crc32c(0, bytes.data, len))
        return false;
    *ret_inside = slice_of(bytes.data, len);
    return true;
}
