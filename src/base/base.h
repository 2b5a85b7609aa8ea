/* SPDX-License-Identifier: Apache-2.0
 *
 * base — what every file of Holdfast may use: byte slices, assertions, small
 * macros. No I/O, no clock, no allocation policy of its own.
 *
 * Ownership  a slice never owns; the prototype that takes one says how long the
 *            bytes must live.
 * Threads    everything here is pure.
 */
#ifndef BASE_BASE_H_
#define BASE_BASE_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (UINT32_C(1) << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_USE __attribute__((warn_unused_result))

/* Write "file:line: function: assertion `expr` failed" to standard error and
 * abort. Never returns. */
_Noreturn void base_assert_fail(const char *file, int line, const char *func, const char *expr);

/* States an invariant of our own code; on in every build. What a peer, a disk
 * or an operator can cause is an error, never an assertion. */
#define ASSERT(expr)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(expr), 0))                                                          \
            base_assert_fail(__FILE__, __LINE__, __func__, #expr);                                 \
    } while (0)

/* `len` bytes at `data`, borrowed. {NULL, 0} is the empty slice. */
struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* Order by bytes, a prefix first: negative, 0 or positive as memcmp(). */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    int c = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#endif
