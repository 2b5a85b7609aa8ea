/* SPDX-License-Identifier: Apache-2.0
 *
 * raft_wire — between consensus' messages and those on the wire: the same facts in
 * the plain structs of two rooms that do not know each other.
 *
 * Ownership  borrows entries and data in both directions during the call; the
 *            caller's struct raft_wire holds the arrays in between.
 * Errors     what cannot be translated is ERR_CORRUPT; whether it makes sense is
 *            judged by consensus_receive().
 */
#ifndef STORE_RAFT_WIRE_H_
#define STORE_RAFT_WIRE_H_

#include "base/buf.h"
#include "base/err.h"
#include "consensus/message.h"
#include "wire/frame.h"
#include "wire/peer_msg.h"

/* Room for one message's entries on both sides. Large: one for a store. */
struct raft_wire {
    struct peer_entry peer_entries[PEER_ENTRIES_MAX];
    struct cons_entry cons_entries[PEER_ENTRIES_MAX];
    uint8_t config[CONS_CONFIG_LEN_MAX];
    struct frame_pace pace; /* of entries */
};

/* The span of the range that a message is about, and its conf epoch; empty: not told. */
struct raft_span {
    struct slice start;
    struct slice end;
    uint64_t conf_epoch;
};

/* Append one whole frame with `msg` to `out`; NULL: the other side knows the span. */
void raft_wire_encode(struct raft_wire *w, const struct cons_msg *msg, const struct raft_span *span,
                      struct buf *out);

/* Decode a body; *ret_msg and *ret_span (may be NULL) borrow from `body` and `w`. */
int raft_wire_decode(struct raft_wire *w, struct slice body, struct cons_msg *ret_msg,
                     struct raft_span *ret_span, struct err *err);

#endif
