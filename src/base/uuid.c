/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include "base/err.h"

static const char hex_digits[] = "0123456789abcdef";

static bool uuid_has_dash_before(size_t byte_index)
{
    return byte_index == 4 || byte_index == 6 || byte_index == 8 || byte_index == 10;
}

struct uuid uuid_make(const uint8_t random[UUID_LEN])
{
    struct uuid uuid;
    memcpy(uuid.bytes, random, UUID_LEN);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_MAX])
{
    char *p = ret_text;
    for (size_t i = 0; i < UUID_LEN; i++) {
        if (uuid_has_dash_before(i))
            *p++ = '-';
        *p++ = hex_digits[uuid->bytes[i] >> 4];
        *p++ = hex_digits[uuid->bytes[i] & 15];
    }
    *p++ = 0;
    ASSERT(p == ret_text + UUID_TEXT_MAX);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int uuid_parse(struct slice text, struct uuid *ret_uuid)
{
    if (text.len != UUID_TEXT_MAX - 1)
        return ERR_INVALID;
    struct uuid uuid;
    const uint8_t *p = text.data;
    for (size_t i = 0; i < UUID_LEN; i++) {
        if (uuid_has_dash_before(i) && *p++ != '-')
            return ERR_INVALID;
        int high = hex_value(*p++);
        int low = hex_value(*p++);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
    }
    ASSERT(p == text.data + text.len);
    *ret_uuid = uuid;
    return 0;
}

bool uuid_is_zero(const struct uuid *uuid)
{
    static const struct uuid zero = {{0}};
    return uuid_equal(uuid, &zero);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, UUID_LEN) == 0;
}
