/* SPDX-License-Identifier: Apache-2.0
 *
 * net_rig — stores and raw clients in a simulated world, with what they saw.
 */
#ifndef TESTS_UNIT_NET_NET_RIG_H_
#define TESTS_UNIT_NET_NET_RIG_H_

#include "env/sim/sim.h"
#include "net/net.h"
#include "net/net_client.h"
#include "net/net_peer.h"
#include "net/net_stream.h"
#include "wire/frame.h"

enum { RIG_STORES = 3, RIG_SEEN_MAX = 8192, RIG_PORT = 7000 };
#define RIG_SECOND UINT64_C(1000000)
#define RIG_CLUSTER UINT64_C(0xc1)

struct rig;

struct rig_seen {
    uint64_t from; /* store, or client */
    uint32_t kind;
    uint64_t seq;
    size_t len; /* of the body */
};

struct rig_store {
    struct rig *rig;
    struct sim_node *node;
    struct net *net;
    struct net_options options;
    struct rig_seen seen[RIG_SEEN_MAX]; /* peer messages, or requests */
    size_t seen_count;
    uint64_t last_seq[RIG_STORES][2]; /* for a test that counts */
    struct net_identity up_who;
    int ups, downs, attempts_failed, gone, refused;
    int down_status;
    char down_reason[256];
    char refused_reason[256];
    int check_code;            /* returned by check_peer */
    struct net_peer *remove;   /* removed by check_peer */
    bool must_reply;           /* to every request at once … */
    size_t reply_len;          /* … with a body of about this */
    bool must_decode;          /* bodies, as a store would, and refuse what is wrong */
    int message_code;          /* returned by on_peer_message and on_request */
    struct net_stream *stream; /* last accepted */
    bool must_pause;           /* that stream after each frame */
    int stream_rooms, stream_opens;
    int stream_status;
    char stream_reason[256];
};

struct rig {
    struct sim *sim;
    struct rig_store stores[RIG_STORES];
    struct sim_node *outside; /* where clients live */
};

/* A world with RIG_STORES nodes "a", "b", "c" whose nets are not started yet. */
struct rig *rig_new(uint64_t seed);
void rig_free(struct rig *rig);

/* Store i listens on <name>:RIG_PORT, with options as they stand. */
void rig_start(struct rig *rig, size_t i);

/* kill -9 and free; rig_start() again after. */
void rig_kill(struct rig *rig, size_t i);

/* i dials j. */
struct net_peer *rig_dial(struct rig *rig, size_t i, size_t j);
void rig_run(struct rig *rig, uint64_t us);

/* A whole frame of `kind` with a number and `len` bytes. */
void rig_frame(struct buf *buf, uint32_t kind, uint64_t seq, size_t len);
int rig_send(struct net_peer *peer, enum net_class class, uint32_t kind, uint64_t seq, size_t len);

/* By net_peer_send_off(). Did the memory go with it? */
int rig_send_off(struct net_peer *peer, enum net_class class, uint32_t kind, uint64_t seq,
                 size_t len, bool *ret_is_taken);

/* An end that speaks raw bytes. */
struct rig_client {
    struct rig *rig;
    struct env_conn *conn; /* NULL when it ended */
    struct frame_reader reader;
    struct rig_seen seen[64]; /* the first ones */
    size_t seen_count;
    int reads;
    uint64_t bytes;
    int status;     /* of its end */
    int error_code; /* of the error message that it got */
    char error_text[256];
    bool is_broken; /* what it got was no frame */
};

/* Dial store j from node `from`; nothing is said. */
void rig_client_open(struct rig_client *client, struct rig *rig, struct sim_node *from, size_t j);

/* The same, and a client's hello; run until it is answered. */
void rig_client_greet(struct rig_client *client, struct rig *rig, size_t j);
void rig_client_write(struct rig_client *client, const struct buf *buf);
void rig_client_request(struct rig_client *client, uint64_t seq, size_t len);
void rig_client_close(struct rig_client *client);

/* A hello as store `id` (0: a client) would say it. */
void rig_hello(struct buf *buf, enum hello_purpose purpose, uint64_t cluster, uint64_t id);

#endif
