/* SPDX-License-Identifier: Apache-2.0
 *
 * coding — fixed-width and variable-width integers, and a bounded cursor over
 * bytes that came from outside.
 *
 * Units   little-endian for put_/get_; be_ variants keep byte order = number
 *         order, for keys.
 * Errors  a reader has one sticky failure: read all fields, test `bad` once.
 *         Every read compares against what is left and never adds to a length
 *         first, so no length from outside can overflow the check.
 */
#ifndef BASE_CODING_H_
#define BASE_CODING_H_

#include <endian.h>

#include "base/base.h"

enum { VARINT_MAX = 10 }; /* bytes of the longest 64-bit LEB128 */

/* In one store: a loop over the bytes stays one where the compiler does not unroll it. */
static inline void put_u16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static inline uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static inline void put_u32be(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void put_u64be(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
}

static inline uint64_t get_u64be(const uint8_t *p)
{
    return (uint64_t)get_u32be(p) << 32 | get_u32be(p + 4);
}

/* Write `v` as LEB128 and return how many bytes (1..VARINT_MAX). */
size_t put_varint(uint8_t *p, uint64_t v);

/* Bytes that put_varint() would write. */
size_t varint_len(uint64_t v);

struct reader {
    const uint8_t *pos;
    size_t left;
    bool bad; /* sticky: something ran past the end or was malformed */
};

static inline struct reader reader_of(struct slice s)
{
    return (struct reader){.pos = s.data, .left = s.len};
}

/* The next fixed-width integer, little-endian; 0 and `bad` if too little is left. */
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);

/* Rejects encodings over 10 bytes or over 64 bits. */
uint64_t read_varint(struct reader *r);

/* The next `len` bytes, borrowed; empty and `bad` if there are fewer. */
struct slice read_bytes(struct reader *r, uint64_t len);

/* A varint length, then that many bytes. */
struct slice read_bytes_prefixed(struct reader *r);

#endif
