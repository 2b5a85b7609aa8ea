/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/err.h"

struct text_unit {
    const char *name;
    uint64_t factor;
};

/* Greatest exact binary unit first: what text_append_size() tries. */
static const struct text_unit size_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"B", 1},
    {"TB", UINT64_C(1000000000000)},
    {"GB", UINT64_C(1000000000)},
    {"MB", UINT64_C(1000000)},
    {"kB", UINT64_C(1000)},
};
enum { SIZE_UNITS_BINARY = 4 };

static const struct text_unit duration_units[] = {
    {"h", UINT64_C(3600000000)},
    {"m", UINT64_C(60000000)},
    {"s", UINT64_C(1000000)},
    {"ms", UINT64_C(1000)},
    {"us", 1},
};

int text_parse_u64(struct slice text, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (text.len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9')
            return ERR_INVALID;
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(c - '0'), &v))
            return ERR_INVALID;
    }
    *ret_value = v;
    return 0;
}

int text_parse_i64(struct slice text, int64_t *ret_value)
{
    bool is_signed = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
    bool is_negative = is_signed && text.data[0] == '-';
    uint64_t v;
    if (is_signed)
        text = slice_of(text.data + 1, text.len - 1);
    if (text_parse_u64(text, &v) != 0)
        return ERR_INVALID;
    if (v > (uint64_t)INT64_MAX + (is_negative ? 1 : 0))
        return ERR_INVALID;
    *ret_value = is_negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static size_t text_digits(struct slice text)
{
    size_t n = 0;
    while (n < text.len && text.data[n] >= '0' && text.data[n] <= '9')
        n++;
    return n;
}

/* Digits, then one of `units`; `bare` is the factor without a unit, 0 for none. */
static int text_parse_unit(struct slice text, const struct text_unit *units, size_t count,
                           uint64_t bare, uint64_t *ret_value)
{
    size_t digits = text_digits(text);
    uint64_t number;
    if (text_parse_u64(slice_of(text.data, digits), &number) != 0)
        return ERR_INVALID;
    struct slice unit = slice_of(text.data + digits, text.len - digits);
    uint64_t factor = bare;
    if (unit.len > 0) {
        factor = 0;
        for (size_t i = 0; i < count; i++) {
            if (slice_equal(unit, slice_str(units[i].name)))
                factor = units[i].factor;
        }
    } else if (number == 0) {
        factor = 1;
    }
    uint64_t value;
    if (factor == 0 || __builtin_mul_overflow(number, factor, &value))
        return ERR_INVALID;
    *ret_value = value;
    return 0;
}

int text_parse_size(struct slice text, uint64_t *ret_bytes)
{
    return text_parse_unit(text, size_units, ARRAY_LEN(size_units), 1, ret_bytes);
}

int text_parse_duration(struct slice text, uint64_t *ret_us)
{
    return text_parse_unit(text, duration_units, ARRAY_LEN(duration_units), 0, ret_us);
}

static void text_append_unit(struct buf *buf, const struct text_unit *units, size_t count,
                             uint64_t value, const char *bare)
{
    for (size_t i = 0; i < count; i++) {
        if (value != 0 && value % units[i].factor == 0) {
            buf_printf(buf, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
            return;
        }
    }
    buf_printf(buf, "%" PRIu64 "%s", value, bare);
}

void text_append_size(struct buf *buf, uint64_t bytes)
{
    text_append_unit(buf, size_units, SIZE_UNITS_BINARY, bytes, "");
}

void text_append_duration(struct buf *buf, uint64_t us)
{
    text_append_unit(buf, duration_units, ARRAY_LEN(duration_units), us, "");
}

/* Bytes of the well-formed sequence at `p`, 0 if there is none (table 3-7 of the
 * Unicode standard). */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if (len == 3 && ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f)))
        return 0;
    if (len == 4 && ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f)))
        return 0;
    return len;
}

bool text_is_utf8(struct slice text)
{
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_sequence(text.data + i, text.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_append_base64(struct buf *buf, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = MIN(bytes.len - i, (size_t)3);
        uint32_t v = (uint32_t)bytes.data[i] << 16;
        v |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        uint8_t out[4];
        for (size_t k = 0; k < 4; k++)
            out[k] = k <= n ? (uint8_t)base64_digits[v >> (18 - 6 * k) & 63] : '=';
        buf_append(buf, out, sizeof out);
    }
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to `n` bytes (1..3); false unless canonical. */
static bool base64_group(const uint8_t *p, size_t n, uint8_t out[3])
{
    uint32_t v = 0;
    for (size_t k = 0; k < 4; k++) {
        int digit = k <= n ? base64_value(p[k]) : (p[k] == '=' ? 0 : -1);
        if (digit < 0)
            return false;
        v = v << 6 | (uint32_t)digit;
    }
    for (size_t k = 0; k < 3; k++)
        out[k] = (uint8_t)(v >> (16 - 8 * k));
    /* bits behind the last byte must be zero, or two texts mean the same bytes */
    return (n == 3 || out[n] == 0) && (n != 1 || out[2] == 0);
}

int text_decode_base64(struct slice text, struct buf *buf)
{
    size_t before = buf->len;
    if (text.len % 4 != 0)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i += 4) {
        const uint8_t *p = text.data + i;
        bool is_last = i + 4 == text.len;
        size_t n = 3;
        if (is_last && p[3] == '=')
            n = p[2] == '=' ? 1 : 2;
        uint8_t out[3];
        if (!base64_group(p, n, out)) {
            buf->len = before;
            return ERR_INVALID;
        }
        buf_append(buf, out, n);
    }
    return buf->failed ? ERR_NOMEM : 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice text_trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.data[0]))
        text = slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}
