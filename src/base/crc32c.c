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
#include <wmmintrin.h>

/* The instruction takes three cycles and begins one each: three streams side by side,
 * joined by carry-less multiplication (Gopal et al. 2011). A round takes STREAM bytes of
 * each and the 8 that join them. */
enum { STREAM = 256, ROUND = 3 * STREAM + 8 };

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

/* crc * x^n mod P, to be fed to the instruction; `factor` is x^(n - 33) mod P. */
__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_shift(uint64_t crc, uint32_t factor)
{
    __m128i a = _mm_cvtsi64_si128((long long)crc), b = _mm_cvtsi64_si128((long long)factor);
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(a, b, 0));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
crc_by_streams(uint32_t crc, const uint8_t *p, size_t len)
{
    const uint32_t by_two = UINT32_C(0xbd6f81f8),
                   by_one = UINT32_C(0xdcb17aa4); /* streams and 8 bytes */
    for (; len >= ROUND; p += ROUND, len -= ROUND) {
        uint64_t a = crc, b = 0, c = 0, word[3];
        for (size_t i = 0; i < STREAM; i += 8) {
            memcpy(&word[0], p + i, 8);
            memcpy(&word[1], p + STREAM + i, 8);
            memcpy(&word[2], p + 2 * STREAM + i, 8);
            a = _mm_crc32_u64(a, word[0]);
            b = _mm_crc32_u64(b, word[1]);
            c = _mm_crc32_u64(c, word[2]);
        }
        memcpy(&word[0], p + 3 * STREAM, 8);
        crc = (uint32_t)_mm_crc32_u64(c, word[0] ^ crc_shift(a, by_two) ^ crc_shift(b, by_one));
    }
    return crc_by_instruction(crc, p, len);
}

static bool crc_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

static bool crc_has_streams(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}
#else
static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
    return crc_by_bit(crc, p, len);
}

static uint32_t crc_by_streams(uint32_t crc, const uint8_t *p, size_t len)
{
    return crc_by_bit(crc, p, len);
}

static bool crc_has_instruction(void)
{
    return false;
}

static bool crc_has_streams(void)
{
    return false;
}

enum { ROUND = 1 };
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    ASSERT(data != NULL || len == 0);
    crc = ~crc;
    if (len >= ROUND && crc_has_streams())
        return ~crc_by_streams(crc, data, len);
    if (crc_has_instruction())
        return ~crc_by_instruction(crc, data, len);
    return ~crc_by_bit(crc, data, len);
}
