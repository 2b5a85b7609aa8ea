/* SPDX-License-Identifier: Apache-2.0
 *
 * hello — the first words on a connection, and the ones that only concern the
 * connection itself.
 *
 *   who connects                         who accepted
 *     hello {nonce A}          ──▶
 *                              ◀──   hello_ack {nonce B, proof of the secret}
 *     auth {proof}             ──▶   (any purpose but CLIENT, with a secret only)
 *     … requests or peer messages …
 *
 * At any time: ping ──▶, ◀── pong with the same token; error: the last message of
 * one who is about to close. A proof is hello_proof(): it covers both hellos
 * whole, so that nothing in them can be exchanged on the way.
 */
#ifndef WIRE_HELLO_H_
#define WIRE_HELLO_H_

#include "base/buf.h"
#include "wire/msg.h"

enum hello_purpose {
    HELLO_CLIENT = 1,
    HELLO_PEER = 2,
    HELLO_SNAPSHOT = 3,
    HELLO_JOIN = 4, /* a store that asks to join, or where everybody is: one request */
    HELLO_PURPOSE_LAST = HELLO_JOIN,
};
enum { HELLO_NONCE_LEN = 16, HELLO_PROOF_LEN = 32, HELLO_NAME_MAX = 255, HELLO_ADDRESS_MAX = 127 };

struct hello {
    uint32_t protocol_min;
    uint32_t protocol_max;
    enum hello_purpose purpose;
    uint64_t cluster_id; /* 0: not known (a client that asks, a store not yet born) */
    struct slice name;   /* of the client or program, for people */
    uint64_t store_id;   /* 0 for clients */
    uint64_t boot;       /* grows at each start of that store; 0 for clients */
    uint8_t store_uuid[STORE_UUID_LEN]; /* zeroes for clients */
    uint8_t nonce[HELLO_NONCE_LEN];
    struct slice address; /* of a store: what others dial, without control characters and
                             blanks; empty: not told. Not proven */
};

struct hello_ack {
    uint32_t protocol;   /* the one to speak from now on */
    uint64_t cluster_id; /* 0: not born yet */
    uint64_t store_id;
    uint64_t boot;
    uint8_t store_uuid[STORE_UUID_LEN];
    uint8_t nonce[HELLO_NONCE_LEN];
    uint64_t wall_ms;      /* its clock now; 0: not told. A client's first_sent comes from it */
    uint32_t requests_max; /* to a client: so many in flight, then its connection is not read;
                              0: not told */
    bool has_proof;        /* there is a secret, and this proves it: answer with auth */
    uint8_t proof[HELLO_PROOF_LEN];
};

struct auth {
    uint8_t proof[HELLO_PROOF_LEN];
};

struct error_msg {
    int code;          /* negative ERR_* */
    struct slice text; /* for people */
};

/* ping and pong */
struct ping {
    uint64_t token;
    uint64_t wall_ms; /* in a pong: the answering side's wall clock; 0: not told */
    uint32_t disk;    /* in a pong: how its disk is, as stores understand it; 0: not told */
};

/* Append a body with its kind. */
void hello_encode(struct buf *buf, const struct hello *hello);
/* ERR_CORRUPT, and nothing written, unless it is whole and within bounds. Texts borrow from
 * `body`; so in all below. */
int hello_decode(struct slice body, struct hello *ret_hello, struct err *err);

/* The answer to a hello. */
void hello_ack_encode(struct buf *buf, const struct hello_ack *ack);
int hello_ack_decode(struct slice body, struct hello_ack *ret_ack, struct err *err);

/* The proof of who dialled. */
void auth_encode(struct buf *buf, const struct auth *auth);
int auth_decode(struct slice body, struct auth *ret_auth, struct err *err);

/* `text` is cut at TEXT_MAX bytes. */
void error_msg_encode(struct buf *buf, const struct error_msg *error);
int error_msg_decode(struct slice body, struct error_msg *ret_error, struct err *err);

/* One layout, two kinds. */
void ping_encode(struct buf *buf, const struct ping *ping);
void pong_encode(struct buf *buf, const struct ping *ping);

/* Either of the two. */
int ping_decode(struct slice body, struct ping *ret_ping, struct err *err);

/* The version to speak with who sent `hello`, if this side speaks up to `newest`: 0 and
 * *ret_protocol, or ERR_UNSUPPORTED with a message that names both ranges. */
int hello_negotiate(const struct hello *hello, uint32_t newest, uint32_t *ret_protocol,
                    struct err *err);

enum hello_side { HELLO_CONNECTED, HELLO_ACCEPTED };

/* HMAC-SHA256 with the cluster's secret over the side that proves, and every field
 * of hello and ack but the address, which older builds do not know, and the ack's proof. 0, or
 * ERR_NOMEM with *ret_proof untouched: then nobody is proven. Compare with hello_proof_equal(). */
int hello_proof(struct slice secret, enum hello_side side, const struct hello *hello,
                const struct hello_ack *ack, uint8_t ret_proof[HELLO_PROOF_LEN]) MUST_USE;

/* In time that does not depend on where they differ. */
bool hello_proof_equal(const uint8_t a[HELLO_PROOF_LEN], const uint8_t b[HELLO_PROOF_LEN]);

#endif
