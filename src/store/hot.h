/* SPDX-License-Identifier: Apache-2.0
 *
 * hot — which keys of a busy range are asked for: where to cut it in two that are asked for
 * alike.
 *
 * Every HOT_EVERY-th request leaves its key (its first HOT_KEY_MAX bytes) in a ring. A range
 * that is not busy has none.
 *
 * Ownership  the replica owns it.
 * Threads    loop only.
 * Limits     HOT_KEYS keys of HOT_KEY_MAX bytes.
 */
#ifndef STORE_HOT_H_
#define STORE_HOT_H_

#include "base/buf.h"
#include "range/descriptor.h"

enum {
    HOT_KEYS = 64,
    HOT_KEY_MAX = 128,
    HOT_EVERY = 16,
    HOT_SIDE_MIN = HOT_KEYS / 8, /* of the keys, that each side is to have */
};

struct hot_key {
    uint8_t len;
    uint8_t bytes[HOT_KEY_MAX];
};

struct hot {
    uint32_t seen; /* requests; may wrap */
    uint32_t count;
    struct hot_key keys[HOT_KEYS];
};

/* NULL: no memory; nothing is noted then. */
struct hot *hot_new(void);

/* Is this request's key wanted? */
bool hot_wants(struct hot *hot);
void hot_note(struct hot *hot, struct slice key);

/* Append the key inside `span` that cuts what was asked for most evenly. False, and nothing is
 * appended: too little is known, or what is asked for cannot be cut (a single key). */
bool hot_choose(const struct hot *hot, struct range_span span, struct buf *key);

#endif
