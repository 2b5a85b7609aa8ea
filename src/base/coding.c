/* SPDX-License-Identifier: Apache-2.0 */
#include "base/coding.h"

size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    ASSERT(n <= VARINT_MAX);
    return n;
}

size_t varint_len(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

struct slice read_bytes(struct reader *r, uint64_t len)
{
    if (r->bad || len > r->left) {
        r->bad = true;
        return (struct slice){0};
    }
    struct slice s = slice_of(r->pos, (size_t)len);
    r->pos += len;
    r->left -= (size_t)len;
    return s;
}

uint8_t read_u8(struct reader *r)
{
    if (r->bad || r->left == 0) {
        r->bad = true;
        return 0;
    }
    r->left--;
    return *r->pos++;
}

uint16_t read_u16(struct reader *r)
{
    struct slice s = read_bytes(r, 2);
    return s.len == 2 ? get_u16(s.data) : 0;
}

uint32_t read_u32(struct reader *r)
{
    struct slice s = read_bytes(r, 4);
    return s.len == 4 ? get_u32(s.data) : 0;
}

uint64_t read_u64(struct reader *r)
{
    struct slice s = read_bytes(r, 8);
    return s.len == 8 ? get_u64(s.data) : 0;
}

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);
        if (r->bad)
            return 0;
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return v;
    }
    r->bad = true;
    return 0;
}

struct slice read_bytes_prefixed(struct reader *r)
{
    uint64_t len = read_varint(r);
    return read_bytes(r, len);
}
