/* SPDX-License-Identifier: Apache-2.0 */
#include "support/lin/lin_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

enum { FIRST_SLOTS = 64, NUMBER_MAX = 24, PRINT_MAX = 48 };
static const uint64_t hash_key[2] = {1, 2};

void *lin_alloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size);
    ASSERT(p != NULL);
    return p;
}

void lin_values_init(struct lin_values *values)
{
    *values = (struct lin_values){.count = 1, .cap = FIRST_SLOTS, .slot_count = FIRST_SLOTS * 2};
    values->values = lin_alloc(values->cap, sizeof *values->values);
    values->slots = lin_alloc(values->slot_count, sizeof *values->slots);
}

void lin_values_fini(struct lin_values *values)
{
    for (uint32_t i = 0; i < values->count; i++)
        if (values->values[i].is_owned)
            free((void *)values->values[i].bytes.data);
    free(values->values);
    free(values->slots);
    *values = (struct lin_values){0};
}

/* Where these bytes are, or would be. */
static uint32_t *slot_of(const struct lin_values *v, struct slice bytes)
{
    uint64_t at = hash_keyed(hash_key, bytes);
    for (;; at++) {
        uint32_t *slot = &v->slots[at & (v->slot_count - 1)];
        if (*slot == 0 || slice_equal(v->values[*slot].bytes, bytes))
            return slot;
    }
}

static void grow(struct lin_values *v)
{
    if (v->count < v->cap)
        return;
    ASSERT(v->cap <= UINT32_MAX / 8);
    v->cap *= 2;
    v->values = realloc(v->values, v->cap * sizeof *v->values);
    ASSERT(v->values != NULL);
    free(v->slots);
    v->slot_count *= 2;
    v->slots = lin_alloc(v->slot_count, sizeof *v->slots);
    for (uint32_t i = 1; i < v->count; i++)
        *slot_of(v, v->values[i].bytes) = i;
}

static bool parse(struct slice bytes, int64_t *ret_number)
{
    char text[NUMBER_MAX], again[NUMBER_MAX];
    if (bytes.len == 0 || bytes.len >= sizeof text)
        return false;
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = 0;
    long long n = strtoll(text, NULL, 10);
    snprintf(again, sizeof again, "%lld", n);
    *ret_number = n;
    return strcmp(text, again) == 0;
}

uint32_t lin_intern(struct lin_values *values, struct lin_value value)
{
    if (!value.is_present)
        return 0;
    grow(values);
    uint32_t *slot = slot_of(values, value.bytes);
    if (*slot == 0) {
        struct lin_bytes *b = &values->values[values->count];
        *b = (struct lin_bytes){.bytes = value.bytes};
        b->is_number = parse(value.bytes, &b->number);
        *slot = values->count++;
    }
    return *slot;
}

/* As lin_intern(), of bytes that are copied if they are new. */
static uint32_t intern_copy(struct lin_values *v, struct slice bytes)
{
    uint32_t before = v->count;
    uint8_t *copy = lin_alloc(bytes.len + 1, 1);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    uint32_t id = lin_intern(v, (struct lin_value){true, slice_of(copy, bytes.len)});
    if (v->count > before)
        v->values[id].is_owned = true;
    else
        free(copy);
    return id;
}

uint32_t lin_intern_sum(struct lin_values *values, uint32_t id, int64_t delta)
{
    char text[NUMBER_MAX];
    int64_t n = values->values[id].number;
    if (id != 0 && !values->values[id].is_number)
        return UINT32_MAX;
    if (__builtin_add_overflow(n, delta, &n))
        return UINT32_MAX;
    snprintf(text, sizeof text, "%lld", (long long)n);
    return intern_copy(values, slice_str(text));
}

uint32_t lin_intern_joined(struct lin_values *values, uint32_t id, uint32_t suffix)
{
    struct slice a = values->values[id].bytes;
    struct slice b = values->values[suffix].bytes;
    struct buf joined;
    buf_init(&joined, SIZE_MAX / 2);
    buf_append_slice(&joined, a);
    buf_append_slice(&joined, b);
    ASSERT(!joined.failed);
    uint32_t result = intern_copy(values, buf_slice(&joined));
    buf_fini(&joined);
    return result;
}

void lin_print_value(struct buf *out, const struct lin_values *values, uint32_t id)
{
    ASSERT(id < values->count);
    struct slice s = values->values[id].bytes;
    if (id == 0) {
        buf_append_str(out, "absent");
        return;
    }
    buf_append_u8(out, '"');
    for (size_t i = 0; i < MIN(s.len, (size_t)PRINT_MAX); i++) {
        if (s.data[i] >= 0x20 && s.data[i] < 0x7f)
            buf_append_u8(out, s.data[i]);
        else
            buf_printf(out, "\\x%02x", s.data[i]);
    }
    buf_append_str(out, s.len > PRINT_MAX ? "…\"" : "\"");
}
