/* SPDX-License-Identifier: Apache-2.0
 *
 * entry — the payload of a COMMAND entry of a range's log: one stamp and the
 * clients' encoded commands, unchanged, in the order in which they apply. An
 * entry with no command moves the range's time and nothing else.
 *
 *   offset  size  field      little-endian
 *        0     1  format     1
 *        1     8  stamp_ms   max(leader's wall clock, range time, every first_sent)
 *        9     4  count      commands
 *       13        count times: varint length, that many bytes (wire/command.h)
 *
 * Ownership  the builder owns what it builds until entry_builder_take(); a reader
 *            borrows the payload.
 * Errors     structure is judged here, what a command means at apply. A payload
 *            that this cannot read ends the replica: it must never be skipped.
 * Limits     ENTRY_PAYLOAD_MAX bytes; the builder's own bounds are its caller's.
 */
#ifndef RANGE_ENTRY_H_
#define RANGE_ENTRY_H_

#include "base/buf.h"
#include "base/coding.h"
#include "base/err.h"

enum {
    ENTRY_HEADER_LEN = 13,
    ENTRY_COMMAND_MAX = 16 << 20,                      /* bytes of one encoded command */
    ENTRY_PAYLOAD_MAX = ENTRY_COMMAND_MAX + (1 << 20), /* bytes */
};

/* ---- building (leader) --------------------------------------------------- */

struct entry_builder {
    /* private */
    struct buf buf;
    size_t bytes_max;
    uint32_t count_max;
    uint32_t count;
    uint64_t first_sent_max_ms;
};

/* Bounds for an entry: it is closed when the next command would pass `bytes_max`
 * or `count_max` (> 0). One command alone may be larger than `bytes_max`. */
void entry_builder_init(struct entry_builder *builder, size_t bytes_max, uint32_t count_max);

/* Accepts a zeroed builder. */
void entry_builder_fini(struct entry_builder *builder);

/* So many bytes of commands are about to be added: take the memory at once, as far as they go
 * into one entry. What does not come, or no memory now, does no harm. */
void entry_builder_expect(struct entry_builder *builder, size_t bytes, uint32_t count);

/* Copy one command in, which command_decode() has accepted: one of a later format
 * would stop every replica at apply. ERR_BUSY: it does not fit beside what is there;
 * take this entry, then add again. ERR_TOO_LARGE: over ENTRY_COMMAND_MAX.
 * ERR_INVALID: a first_sent that no clock can show. ERR_NOMEM. */
int entry_builder_add(struct entry_builder *builder, struct slice command, uint64_t first_sent_ms);

static inline uint32_t entry_builder_count(const struct entry_builder *builder)
{
    return builder->count;
}

/* Bytes that the payload has by now. */
size_t entry_builder_len(const struct entry_builder *builder);

/* Close the entry with its stamp and hand over the malloc()ed payload, which the
 * caller frees; the builder is empty after and can be filled again. With no
 * command it is an entry that moves time alone. ERR_NOMEM. */
int entry_builder_take(struct entry_builder *builder, uint64_t wall_ms, uint64_t range_time_ms,
                       uint8_t **ret_payload, size_t *ret_len);

/* ---- reading (apply) ----------------------------------------------------- */

struct entry_reader {
    uint64_t stamp_ms;
    uint32_t count;
    struct reader commands; /* private */
};

/* Read the head and walk all lengths, so that entry_reader_next() cannot fail.
 * ERR_UNSUPPORTED for a newer format, ERR_CORRUPT for anything else that
 * entry_builder_take() does not make; untouched on error. */
int entry_reader_init(struct entry_reader *ret_reader, struct slice payload, struct err *err);

/* The next of `count` commands, borrowed from the payload. */
struct slice entry_reader_next(struct entry_reader *reader);

#endif
