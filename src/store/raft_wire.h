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
#include "wire/peer_msg.h"

/* Room for one message's entries on both sides. Large: one for a store. */
struct raft_wire {
    struct peer_entry peer_entries[PEER_ENTRIES_MAX];
    struct cons_entry cons_entries[PEER_ENTRIES_MAX];
    uint8_t config[CONS_CONFIG_LEN_MAX];
};

/* Append one whole frame with `msg` to `out`. */
void raft_wire_encode(struct raft_wire *w, const struct cons_msg *msg, struct buf *out);

/* Decode a body; *ret_msg borrows from `body` and `w`. */
int raft_wire_decode(struct raft_wire *w, struct slice body, struct cons_msg *ret_msg,
                     struct err *err);

#endif
