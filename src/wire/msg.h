/* SPDX-License-Identifier: Apache-2.0
 *
 * msg — what every message has in common: a body is one msgpack map whose first
 * pair is {0: kind}. The families stand in hello.h, peer_msg.h, snapshot_msg.h,
 * driver_msg.h, pulse_msg.h,
 * request.h and response.h; each has x_encode(), which appends a body (between
 * frame_begin() and frame_end()), and x_decode(), which borrows from one.
 *
 * Rules for all of them
 *  - a sender's bug is an assertion, a receiver's surprise an error;
 *  - unknown fields are skipped, unknown kinds are refused by who cannot do
 *    without them: a later version may add both;
 *  - decoders allocate nothing, and leave their output untouched on error;
 *  - decoded slices are borrowed from the body.
 */
#ifndef WIRE_MSG_H_
#define WIRE_MSG_H_

#include "base/err.h"

/* Spoken by this program. An end speaks [min, max] and uses the greatest that both know. A
 * kind that a store cannot do without, and of which the other side may not have heard, needs
 * a version, and is not sent below it: an unknown kind ends a connection. */
enum {
    PROTOCOL_VERSION_MIN = 1,
    PROTOCOL_PULSE = 2, /* from here on PULSE, READ_ASK and READ_ANSWER */
    PROTOCOL_VERSION_MAX = PROTOCOL_PULSE,
};

/* Part of the protocol: never renumber, only append. */
enum msg_kind {
    MSG_HELLO = 1,
    MSG_HELLO_ACK = 2,
    MSG_AUTH = 3,
    MSG_ERROR = 4,
    MSG_PING = 5,
    MSG_PONG = 6,

    MSG_APPEND_ENTRIES = 16,
    MSG_APPEND_ENTRIES_RESULT = 17,
    MSG_REQUEST_VOTE = 18,
    MSG_REQUEST_VOTE_RESULT = 19,
    MSG_INSTALL_SNAPSHOT = 20,
    MSG_TIMEOUT_NOW = 21,
    MSG_PROBE = 22,
    MSG_PROBE_RESULT = 23,
    MSG_PULSE = 24,
    MSG_READ_ASK = 25,
    MSG_READ_ANSWER = 26,

    MSG_MEMBER_ASK = 28,
    MSG_MEMBER_ANSWER = 29,
    MSG_MERGE = 30,

    MSG_SNAPSHOT_BEGIN = 32,
    MSG_SNAPSHOT_CHUNK = 33,
    MSG_SNAPSHOT_END = 34,
    MSG_SNAPSHOT_ACK = 35,
    MSG_SNAPSHOT_RESUME = 36, /* who does not know it ends the stream, and another begins */

    MSG_REQUEST = 48,
    MSG_RESPONSE = 49,

    MSG_STORE_BEAT = 64,
    MSG_RANGE_BEAT = 65,
    MSG_DRIVER_WORD = 66,
    MSG_DRIVER_AT = 67,
    MSG_STEP_DONE = 68,
};

enum {
    STORE_UUID_LEN = 16,
    ADDRESS_MAX = 127, /* bytes of an address in text */
    TEXT_MAX = 1024,   /* bytes of a name or message for people */
};

/* The kind of a body, known or not; ERR_CORRUPT if it has none. */
int msg_kind(struct slice body, uint32_t *ret_kind, struct err *err);

/* For messages to people: "append_entries"; "unknown" for anything else. */
const char *msg_kind_name(uint32_t kind);

#endif
