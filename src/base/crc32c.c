/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#define CRC32C_POLY UINT32_C(0x82f63b78) /* reversed 0x1edc6f41 */

static uint32_t crc_by_bit(uint32_t crc, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (CRC32C_POLY & (0u - (crc & 1)));
    }
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *p,
                                                                     size_t len)
{
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    crc = (uint32_t)c;
    for (; len > 0; p++, len--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}

static bool crc_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
    return crc_by_bit(crc, p, len);
}

static bool crc_has_instruction(void)
{
    return false;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    ASSERT(data != NULL || len == 0);
    crc = ~crc;
    if (crc_has_instruction())
        return ~crc_by_instruction(crc, data, len);
    return ~crc_by_bit(crc, data, len);
}
