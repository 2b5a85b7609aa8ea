/* SPDX-License-Identifier: Apache-2.0
 *
 * Greetings, from both ends, and the incoming connections of peers.
 *
 *   dialled                              accepted
 *     hello                     ──▶      versions, cluster, purpose, loopback
 *     ack: who is it, proof    ◀──
 *     auth, ping                ──▶      proof, check_peer(): it stands
 *     pong: it stands          ◀──
 *
 * A client says hello and stands; without a secret so does a peer from loopback.
 */
#include <stdlib.h>

#include "net/net_internal.h"

/* ---- what both ends judge ------------------------------------------------------- */

static int check_cluster(const struct net *net, uint64_t theirs, struct err *err)
{
    uint64_t ours = net->self.cluster_id;
    if (ours == 0 || theirs == 0 || ours == theirs)
        return 0;
    return err_set(err, ERR_UNAUTHORIZED, "cluster id %016llx is not ours, %016llx",
                   (unsigned long long)theirs, (unsigned long long)ours);
}

static int check_peer(const struct net *net, const struct net_identity *who, struct err *err)
{
    if (net->hooks.check_peer == NULL)
        return 0;
    int code = net->hooks.check_peer(net->data, who, err);
    ASSERT(code <= 0);
    return code;
}

/* ---- who dials -------------------------------------------------------------------- */

void net_greet_hello(struct net_link *link, enum hello_purpose purpose)
{
    const struct net *net = link->net;
    struct hello *hello = &link->greet.hello;
    ASSERT(link->is_dialled);
    *hello = (struct hello){.protocol_min = PROTOCOL_VERSION_MIN,
                            .protocol_max = net->limits.protocol_max,
                            .purpose = purpose,
                            .cluster_id = net->self.cluster_id,
                            .name = slice_str(net->name),
                            .store_id = net->self.store_id,
                            .boot = net->self.boot};
    memcpy(hello->store_uuid, net->self.store_uuid, STORE_UUID_LEN);
    if (purpose == HELLO_PEER)
        hello->address =
            net->self.address.len > 0 ? net->self.address : slice_str(net_address(net));
    env_random_bytes(net->env, hello->nonce, sizeof hello->nonce);
    struct buf *out = net_link_out(link);
    size_t start = frame_begin(out);
    hello_encode(out, hello);
    frame_end(out, start, false);
    net_link_sent(link);
}

static int answer_check_proof(struct net_link *link, const struct hello_ack *ack, struct err *err)
{
    struct slice secret = net_secret(link->net);
    if (secret.len == 0)
        return ack->has_proof ? err_set(err, ERR_UNAUTHORIZED, "it wants a cluster secret") : 0;
    if (!ack->has_proof)
        return err_set(err, ERR_UNAUTHORIZED, "it does not know the cluster secret");
    uint8_t want[HELLO_PROOF_LEN];
    int code = hello_proof(secret, HELLO_ACCEPTED, &link->greet.hello, ack, want);
    if (code != 0)
        return err_set(err, code, "compute a proof");
    if (!hello_proof_equal(want, ack->proof))
        return err_set(err, ERR_UNAUTHORIZED, "its cluster secret is not ours");
    return 0;
}

static int answer_check(struct net_link *link, uint64_t store_id, const struct hello_ack *ack,
                        struct err *err)
{
    if (ack->protocol < PROTOCOL_VERSION_MIN || ack->protocol > link->net->limits.protocol_max)
        return err_set(err, ERR_UNSUPPORTED, "it speaks protocol version %u", ack->protocol);
    int code = check_cluster(link->net, ack->cluster_id, err);
    bool is_self = memcmp(ack->store_uuid, link->net->self.store_uuid, STORE_UUID_LEN) == 0;
    if (code == 0 && store_id == 0 && is_self)
        code = err_set(err, ERR_INVALID, "that is this store itself");
    if (code == 0 && store_id != 0 && ack->store_id != store_id)
        code = err_set(err, ERR_UNAUTHORIZED, "store %llu answers, not store %llu",
                       (unsigned long long)ack->store_id, (unsigned long long)store_id);
    if (code != 0)
        return code;
    code = answer_check_proof(link, ack, err);
    link->greet.is_secret_foreign = code == ERR_UNAUTHORIZED;
    return code;
}

static int answer_prove(struct net_link *link, const struct hello_ack *ack, struct err *err)
{
    struct slice secret = net_secret(link->net);
    if (secret.len == 0)
        return 0;
    struct auth auth;
    int code = hello_proof(secret, HELLO_CONNECTED, &link->greet.hello, ack, auth.proof);
    if (code != 0)
        return err_set(err, code, "compute a proof");
    struct buf *out = net_link_out(link);
    size_t start = frame_begin(out);
    auth_encode(out, &auth);
    frame_end(out, start, false);
    return 0;
}

int net_greet_answer(struct net_link *link, uint64_t store_id, uint32_t kind, struct slice body,
                     struct net_identity *ret_who, struct err *err)
{
    struct hello_ack ack;
    ASSERT(link->is_dialled && !link->is_standing);
    if (kind != MSG_HELLO_ACK)
        return err_set(err, ERR_UNSUPPORTED, "%s instead of an answer to hello",
                       msg_kind_name(kind));
    int code = hello_ack_decode(body, &ack, err);
    if (code == 0)
        code = answer_check(link, store_id, &ack, err);
    if (code != 0)
        return code;
    struct net_identity who = {
        .cluster_id = ack.cluster_id, .store_id = ack.store_id, .boot = ack.boot};
    memcpy(who.store_uuid, ack.store_uuid, STORE_UUID_LEN);
    if (store_id != 0)
        code = check_peer(link->net, &who, err);
    if (code != 0 || link->state != LINK_OPEN) /* the hook may have removed the peer */
        return code;
    code = answer_prove(link, &ack, err);
    if (code != 0)
        return code;
    link->greet.protocol = ack.protocol;
    net_link_stand(link);
    net_link_ping(link);
    *ret_who = who;
    return 0;
}

/* ---- who accepts ------------------------------------------------------------------ */

static struct net_identity accepted_identity(const struct net_link *link)
{
    const struct hello *hello = &link->greet.hello;
    struct net_identity who = {.cluster_id = hello->cluster_id,
                               .store_id = hello->store_id,
                               .boot = hello->boot,
                               .address = hello->address};
    memcpy(who.store_uuid, hello->store_uuid, STORE_UUID_LEN);
    return who;
}

/* It is who it says to be: let the one who handles its kind take the link. */
static int accepted_stand(struct net_link *link, struct err *err)
{
    enum hello_purpose purpose = link->greet.hello.purpose;
    struct net_identity who = accepted_identity(link);
    bool is_store = purpose == HELLO_PEER || purpose == HELLO_SNAPSHOT;
    int code = is_store ? check_peer(link->net, &who, err) : 0;
    if (code != 0 || link->state != LINK_OPEN)
        return code;
    net_link_stand(link);
    if (!is_store)
        return net_client_begin(link, purpose == HELLO_JOIN, err);
    if (purpose == HELLO_PEER)
        return net_incoming_begin(link, &who, err);
    return net_stream_begin(link, &who, err);
}

/* May a store come in at all? */
static int accepted_check_store(struct net_link *link, const struct hello *hello, struct err *err)
{
    bool is_join = hello->purpose == HELLO_JOIN;
    if (!is_join && hello->store_id == 0)
        return err_set(err, ERR_INVALID, "a store without an id");
    if (!is_join && link->net->self.store_id == 0)
        return err_set(err, ERR_STATE, "this store has no cluster yet");
    if (!is_join && hello->store_id == link->net->self.store_id)
        return err_set(err, ERR_INVALID, "store id %llu is our own",
                       (unsigned long long)hello->store_id);
    if (link->net->secret_len == 0 && !env_conn_is_loopback(link->conn))
        return err_set(err, ERR_UNAUTHORIZED,
                       "no cluster secret is set, so stores must come from loopback");
    return 0;
}

/* Clients leave room for stores: one that comes back is not kept out by them. */
static int accepted_check_room(const struct net *net, struct err *err)
{
    if (net->stats.clients >= net->limits.connections_max)
        return err_set(err, ERR_BUSY, "too many connections");
    return 0;
}

static int accepted_answer(struct net_link *link, uint32_t protocol, struct err *err)
{
    const struct net *net = link->net;
    struct hello_ack *ack = &link->greet.ack;
    *ack = (struct hello_ack){.protocol = protocol,
                              .cluster_id = net->self.cluster_id,
                              .store_id = net->self.store_id,
                              .boot = net->self.boot,
                              .wall_ms = env_wall_ms(net->env),
                              .has_proof =
                                  net->secret_len > 0 && link->greet.hello.purpose != HELLO_CLIENT};
    if (link->greet.hello.purpose ==
        HELLO_CLIENT) /* no proof, which an older store would not get */
        ack->requests_max = net->limits.requests_max;
    memcpy(ack->store_uuid, net->self.store_uuid, STORE_UUID_LEN);
    env_random_bytes(net->env, ack->nonce, sizeof ack->nonce);
    if (ack->has_proof) {
        int code =
            hello_proof(net_secret(net), HELLO_ACCEPTED, &link->greet.hello, ack, ack->proof);
        if (code != 0)
            return err_set(err, code, "compute a proof");
    }
    struct buf *out = net_link_out(link);
    size_t start = frame_begin(out);
    hello_ack_encode(out, ack);
    frame_end(out, start, false);
    return net_link_sent(link);
}

static int on_auth(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct auth auth;
    if (kind != MSG_AUTH)
        return err_set(err, ERR_UNAUTHORIZED, "%s before the cluster secret was proven",
                       msg_kind_name(kind));
    int code = auth_decode(body, &auth, err);
    if (code != 0)
        return code;
    uint8_t want[HELLO_PROOF_LEN];
    code = hello_proof(net_secret(link->net), HELLO_CONNECTED, &link->greet.hello, &link->greet.ack,
                       want);
    if (code != 0)
        return err_set(err, code, "compute a proof");
    if (!hello_proof_equal(want, auth.proof))
        return err_set(err, ERR_UNAUTHORIZED, "your cluster secret is not ours");
    return accepted_stand(link, err);
}

static void on_greeting_end(struct net_link *link, int status, const char *reason)
{
    (void)status;
    net_refused(link->net, link->address, reason);
}

static const struct net_link_handler AUTH_HANDLER = {.on_frame = on_auth,
                                                     .on_end = on_greeting_end};

static int on_hello(struct net_link *link, uint32_t kind, struct slice body, struct err *err)
{
    struct hello hello;
    if (kind != MSG_HELLO)
        return err_set(err, ERR_UNSUPPORTED, "%s instead of hello", msg_kind_name(kind));
    int code = hello_decode(body, &hello, err);
    uint32_t protocol = 0;
    if (code == 0)
        code = hello_negotiate(&hello, link->net->limits.protocol_max, &protocol, err);
    if (code == 0)
        code = check_cluster(link->net, hello.cluster_id, err);
    if (code == 0 && hello.purpose == HELLO_CLIENT)
        code = accepted_check_room(link->net, err);
    else if (code == 0)
        code = accepted_check_store(link, &hello, err);
    if (code != 0)
        return code;
    /* The body goes, the proof comes later: keep what it covers. */
    ASSERT(hello.name.len <= sizeof link->greet.name);
    if (hello.name.len > 0)
        memcpy(link->greet.name, hello.name.data, hello.name.len);
    hello.name = slice_of(link->greet.name, hello.name.len);
    ASSERT(hello.address.len <= sizeof link->greet.address);
    if (hello.address.len > 0)
        memcpy(link->greet.address, hello.address.data, hello.address.len);
    hello.address = slice_of(link->greet.address, hello.address.len);
    link->greet.hello = hello;
    code = accepted_answer(link, protocol, err);
    if (code != 0)
        return code;
    if (!link->greet.ack.has_proof)
        return accepted_stand(link, err);
    link->since_us = link->heard_us;
    net_link_hand_over(link, &AUTH_HANDLER, NULL);
    return 0;
}

static const struct net_link_handler HELLO_HANDLER = {.on_frame = on_hello,
                                                      .on_end = on_greeting_end};

/* When all places are taken, who is through gives up its own, or else who has been greeting for the
 * longest: strangers who say nothing would have those that clients leave to stores. Whoever says
 * hello at once stands long before its turn to go, be there a flood of others. */
static bool make_room(struct net *net)
{
    if (net->stats.connections < net->limits.connections_max + NET_BESIDE_MAX)
        return true;
    struct list *from = list_is_empty(&net->ending) ? &net->greeting : &net->ending;
    if (list_is_empty(from))
        return false;
    net_link_displace(list_first(from, struct net_link, in_spare));
    return true;
}

void net_greet_accept(struct net *net, struct env_conn *conn, const char *address)
{
    net->stats.accepted++;
    const char *refusal = NULL;
    if (!make_room(net))
        refusal = "too many connections";
    else if (net_link_accept(net, conn, address, &HELLO_HANDLER) == NULL)
        refusal = "out of memory";
    if (refusal == NULL)
        return;
    env_conn_close(conn);
    net_refused(net, address, refusal);
}

/* ---- incoming peers ----------------------------------------------------------------- */

static int on_incoming_frame(struct net_link *link, uint32_t kind, struct slice body,
                             struct err *err)
{
    struct net_incoming *incoming = link->data;
    struct net *net = link->net;
    if (kind <= MSG_PONG)
        return err_set(err, ERR_UNSUPPORTED, "%s from a store that stands", msg_kind_name(kind));
    return net->hooks.on_peer_message(net->data, incoming->who.store_id, kind, body, err);
}

static void on_incoming_read(struct net_link *link)
{
    const struct net_incoming *incoming = link->data;
    net_peer_note_heard(link->net, incoming->who.store_id, link->heard_us);
}

static void on_incoming_end(struct net_link *link, int status, const char *reason)
{
    struct net_incoming *incoming = link->data;
    struct net *net = link->net;
    ASSERT(incoming->link == link);
    map_remove(&net->incoming, incoming->who.store_id);
    free(incoming);
    if (status != ERR_EOF)
        net_refused(net, link->address, reason);
}

static const struct net_link_handler INCOMING_HANDLER = {
    .on_frame = on_incoming_frame, .on_read = on_incoming_read, .on_end = on_incoming_end};

int net_incoming_begin(struct net_link *link, const struct net_identity *who, struct err *err)
{
    struct net *net = link->net;
    net_incoming_close(net, who->store_id, "a newer connection took its place");
    struct net_incoming *incoming = malloc(sizeof *incoming);
    if (incoming == NULL || map_put(&net->incoming, who->store_id, incoming) != 0) {
        free(incoming);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    *incoming = (struct net_incoming){.link = link, .who = *who};
    net_link_hand_over(link, &INCOMING_HANDLER, incoming);
    return 0;
}

void net_incoming_close(struct net *net, uint64_t store_id, const char *reason)
{
    struct net_incoming *incoming = map_remove(&net->incoming, store_id);
    if (incoming == NULL)
        return;
    net_link_close(incoming->link, ERR_CANCELED, reason);
    free(incoming);
}
