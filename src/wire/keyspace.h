/* SPDX-License-Identifier: Apache-2.0
 *
 * keyspace — what placement and clients must agree on about keyspaces: which numbers have
 * names, what a name is, and how keys are spread over the slots of a hashed one.
 *
 *   on disk   0x02 | keyspace u32be | [slot u16be] | user key
 *
 * Units      a slot is crc32c(user key) mod slots.
 */
#ifndef WIRE_KEYSPACE_H_
#define WIRE_KEYSPACE_H_

#include "base/base.h"
#include "base/err.h"

enum {
    KEYSPACE_NAME_MAX = 64,
    KEYSPACE_NAMED_FIRST = 1 << 16,  /* numbers below have no name, and are anybody's */
    KEYSPACE_NAMED_LAST = INT32_MAX, /* those above are the cluster's own */
    KEYSPACE_SLOTS_MAX = 1 << 16,
    KEYSPACE_SLOT_LEN = 2,      /* bytes that a slot takes in front of a key */
    KEYSPACE_RANGES_MAX = 1024, /* that one is cut into from the start */
    KEYSPACE_PREFIX_LEN = 5,    /* 0x02 and the number */
};

/* Is it 1 to KEYSPACE_NAME_MAX of a-z, 0-9 and '-', and no number? ERR_INVALID tells. */
int keyspace_check_name(struct slice name, struct err *err);

/* Where a key stands among `slots` (1 to KEYSPACE_SLOTS_MAX). For ever the same: data on disk
 * depends on it. */
uint16_t keyspace_slot(struct slice key, uint32_t slots);

/* A slot as it stands in front of a key: KEYSPACE_SLOT_LEN bytes. */
static inline void keyspace_put_slot(uint8_t *out, uint16_t slot)
{
    out[0] = (uint8_t)(slot >> 8);
    out[1] = (uint8_t)slot;
}

static inline uint16_t keyspace_get_slot(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

/* What is greater than all that begins with the slot, and than nothing else: up to
 * KEYSPACE_SLOT_LEN bytes, and their number; 0: there is no such. It is not always the next slot:
 * before 0x0100 comes 0x01, which is no key behind 0x00ff. */
static inline size_t keyspace_put_slot_end(uint8_t *out, uint16_t slot)
{
    if (slot == KEYSPACE_SLOTS_MAX - 1)
        return 0;
    keyspace_put_slot(out, (uint16_t)(slot + 1));
    return out[1] == 0 ? 1 : 2;
}

/* Does a user key stand there behind one of so many slots? Others may have stored what does not:
 * something shorter than a slot, a slot and nothing else. */
static inline bool keyspace_is_behind_slot(struct slice stored, uint32_t slots)
{
    return stored.len > KEYSPACE_SLOT_LEN && keyspace_get_slot(stored.data) < slots;
}

#endif
