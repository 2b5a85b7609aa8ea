/* SPDX-License-Identifier: Apache-2.0
 *
 * text — what operators and scripts write: numbers, sizes, durations, UTF-8 and
 * base64. Strict: the whole of the input must fit, nothing is guessed.
 *
 * Units   sizes are bytes, durations microseconds.
 * Errors  ERR_INVALID, with outputs untouched. Callers word the message.
 */
#ifndef BASE_TEXT_H_
#define BASE_TEXT_H_

#include "base/base.h"

struct buf;

/* Decimal digits only, no sign, no blanks, within 64 bits. */
int text_parse_u64(struct slice text, uint64_t *ret_value);

/* An optional '-' (or '+'), then decimal digits, within 64 bits. */
int text_parse_i64(struct slice text, int64_t *ret_value);

/* "4096", "64KiB", "1GiB", "10MB": bytes with an optional unit: B, KiB, MiB, GiB,
 * TiB (powers of 1024) or kB, MB, GB, TB (of 1000). */
int text_parse_size(struct slice text, uint64_t *ret_bytes);

/* "250us", "10ms", "5s", "2m", "1h": a unit is required, except for "0". */
int text_parse_duration(struct slice text, uint64_t *ret_us);

/* The shortest exact form that text_parse_size() takes back, as "64MiB". */
void text_append_size(struct buf *buf, uint64_t bytes);

/* The shortest exact form that text_parse_duration() takes back, as "10ms". */
void text_append_duration(struct buf *buf, uint64_t us);

/* Is it UTF-8 (RFC 3629: shortest forms only, no surrogates, up to U+10FFFF)? */
bool text_is_utf8(struct slice text);

/* Append `bytes` in base64 with padding (RFC 4648 §4). */
void text_append_base64(struct buf *buf, struct slice bytes);

/* Append what `text` encodes; ERR_INVALID (and nothing appended) unless it is
 * canonical base64 with padding. */
int text_decode_base64(struct slice text, struct buf *buf);

/* Without blanks, tabs and line ends at both sides. */
struct slice text_trim(struct slice text);

#endif
