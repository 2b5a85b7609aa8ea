/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between the replicas of a range, over net's connections to peer stores.
 * A message may come only from the store that its sender lives on.
 */
#include "base/plant.h"
#include "net/net_peer.h"
#include "store/driver.h"
#include "store/log_room.h"
#include "store/merge.h"
#include "store/service.h"
#include "store/space.h"
#include "store/store_internal.h"

/* ---- who may speak ------------------------------------------------------------- */

static int check_uuid(struct store *store, const struct net_identity *who, struct err *err)
{
    char known[IDENTITY_UUID_TEXT];
    char said[IDENTITY_UUID_TEXT];
    const struct book_entry *e = book_find(&store->book, who->store_id);
    if (e == NULL && store_is_static(store))
        return err_set(err, ERR_UNAUTHORIZED, "store %llu is not a member of this cluster",
                       (unsigned long long)who->store_id);
    if (e == NULL) { /* it has joined just now, perhaps: this mends by itself */
        join_hear_of(store, who->address);
        return err_set(err, ERR_STATE, "store %llu is not known here yet",
                       (unsigned long long)who->store_id);
    }
    if (e->is_removed)
        return err_set(err, ERR_UNAUTHORIZED, "store %llu was removed from this cluster",
                       (unsigned long long)who->store_id);
    if (memcmp(e->uuid, who->store_uuid, sizeof e->uuid) == 0 || PLANTED(wiped_store_welcome))
        return 0;
    identity_uuid_text(e->uuid, known);
    identity_uuid_text(who->store_uuid, said);
    /* Short: the other side is told no more than a line of it. */
    return err_set(
        err, ERR_UNAUTHORIZED,
        "store %llu: its folder was wiped or replaced (uuid %.8s, known %.8s). It forgot "
        "its votes and must not come back; the others go on without it. Way out: "
        "OPERATIONS.md, A lost folder",
        (unsigned long long)who->store_id, said, known);
}

int store_check_peer(void *data, const struct net_identity *who, struct err *err)
{
    struct store *store = data;
    /* A store that is not born yet lets a born one judge: only that one knows the uuid
     * that it should have, and says so if the folder was wiped. */
    if (!identity_is_bootstrapped(&store->identity) && who->cluster_id != 0)
        return 0;
    if (!identity_is_bootstrapped(&store->identity))
        return err_set(err, ERR_STATE, "store %llu is not bootstrapped yet",
                       (unsigned long long)store->opt.store_id);
    int rv = check_uuid(store, who, err);
    if (rv == 0 && who->cluster_id != store->identity.cluster_id)
        rv = err_set(err, ERR_STATE, "store %llu is not bootstrapped yet",
                     (unsigned long long)who->store_id);
    return rv;
}

void store_on_peer_up(void *data, const struct net_identity *who)
{
    struct store *store = data;
    store->has_met_peer = true;
    strangers_forget_heard(store);
    beats_on_peer_up(store, who->store_id);
    LOG_INFO(store->logger, "peer_up", "store=%llu boot=%llu", (unsigned long long)who->store_id,
             (unsigned long long)who->boot);
    store_check_clock(store); /* before it can give us its vote */
}

static bool has_other_secret(const struct store *store, uint64_t store_id)
{
    const struct net_peer *peer = net_peer_find(store->net, store_id);
    return peer != NULL && net_peer_has_other_secret(peer);
}

/* Is our secret the wrong one? One store that differs may be wrong itself; so many that we
 * could not be of a majority without them are not. In a pair nobody can tell. */
static bool is_secret_outvoted(const struct store *store)
{
    const struct book_entry *e;
    size_t count = 0;
    size_t foreign = 0;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        count += !e->is_removed;
        foreign += !e->is_removed && has_other_secret(store, e->store_id);
    }
    for (size_t i = 0; count == 0 && i < store->opt.peer_count; i++)
        foreign += has_other_secret(store, store->opt.peers[i].store_id);
    if (count == 0)
        count = store->opt.peer_count;
    return foreign > 0 && foreign >= MIN(count - 1, count / 2 + 1);
}

/* A store that was refused for good before it ever was a member can do nothing
 * useful: it says why and ends, so that its operator sees it. So does one with another
 * cluster secret than the others, unless it has been at work with them: then they are
 * the ones that changed. */
void store_on_peer_down(void *data, uint64_t store_id, bool was_up, int status, const char *reason)
{
    struct store *store = data;
    bool is_final = status == ERR_UNAUTHORIZED || status == ERR_UNSUPPORTED;
    if (was_up || is_final)
        LOG_WARN(store->logger, "peer_down", "store=%llu status=%s reason=\"%s\"",
                 (unsigned long long)store_id, err_name(status), reason);
    if (has_other_secret(store, store_id)) {
        if (!store->has_met_peer && is_secret_outvoted(store))
            env_fatal(store->env,
                      "the cluster secret is not that of the other stores (store %llu: %s): set "
                      "cluster_secret_file",
                      (unsigned long long)store_id, reason);
        return;
    }
    if (is_final && !was_up && store->state == STORE_UNBORN)
        env_fatal(store->env, "store %llu refuses us: %s", (unsigned long long)store_id, reason);
}

/* ---- out ------------------------------------------------------------------------- */

const struct book_entry *store_member_of(const struct replica *r, uint64_t replica_id)
{
    uint64_t store_id = store_id_of(r, replica_id);
    return store_id == 0 ? NULL : book_find(&r->store->book, store_id);
}

static struct net_peer *peer_of(const struct replica *r, uint64_t replica_id)
{
    uint64_t store_id = store_id_of(r, replica_id);
    return store_id == 0 ? NULL : net_peer_find(r->store->net, store_id);
}

static void send_late(struct store *store)
{
    if (store->late.to_store == 0 || env_fault(store->env, "store.send.late"))
        return;
    struct net_peer *peer = net_peer_find(store->net, store->late.to_store);
    store->late.to_store = 0;
    if (peer != NULL && net_peer_is_up(peer))
        net_peer_send(peer, store->late.class, buf_slice(&store->late.frame));
}

/* Keep it back, to be sent behind a later message, be it to the same store or another. */
static bool delay(struct store *store, uint64_t to_store, enum net_class class)
{
    if (store->late.to_store != 0 || !env_fault(store->env, "store.send.late"))
        return false;
    buf_clear(&store->late.frame);
    buf_append(&store->late.frame, store->frames.data, store->frames.len);
    if (store->late.frame.failed)
        return false;
    store->late.to_store = to_store;
    store->late.class = class;
    return true;
}

uint64_t store_conf_epoch(const struct replica *r)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    uint64_t config_index = 0;
    if (r->cons == NULL)
        return d->epoch.conf; /* parked: all of its log is applied */
    consensus_config(r->cons, &config_index);
    return d->epoch.conf + (config_index > range_meta(r->range)->conf_index);
}

void store_send_frames(struct store *store, uint64_t to_store, enum net_class class)
{
    struct net_peer *peer = net_peer_find(store->net, to_store);
    if (peer == NULL || store->frames.failed || delay(store, to_store, class))
        return;
    net_peer_send(peer, class, buf_slice(&store->frames)); /* Raft repeats what is dropped */
    send_late(store);
}

/* Together with what others have to say to that store. */
static void send_small(struct replica *r, struct net_peer *peer, const struct cons_msg *msg)
{
    struct store *store = r->store;
    bool is_rest = sleep_is_rest(r, msg);
    if (env_fault(store->env, "store.send.drop"))
        return;
    pulse_send(store, peer, msg, is_rest);
    if (env_fault(store->env, "store.send.twice"))
        pulse_send(store, peer, msg, is_rest);
}

void store_send(struct replica *r, const struct cons_msg *msg)
{
    struct store *store = r->store;
    struct net_peer *peer = peer_of(r, msg->to);
    if (peer == NULL || !net_peer_is_up(peer))
        return;
    struct raft_span span;
    bool tell = r->range != NULL && !strangers_has_heard(r, msg->to);
    if (!tell && pulse_takes(msg) && pulse_reaches(peer)) {
        send_small(r, peer, msg);
        return;
    }
    if (tell)
        span = (struct raft_span){
            .start = range_descriptor_span(range_descriptor(r->range)).start,
            .end = range_descriptor_span(range_descriptor(r->range)).end,
            .conf_epoch = store_conf_epoch(r),
        };
    bool is_question = msg->type == CONS_MSG_READ_ASK || msg->type == CONS_MSG_READ_ANSWER;
    if (is_question && !pulse_reaches(peer))
        return; /* as if it were lost: an older store would hang up */
    buf_clear(&store->frames);
    raft_wire_encode(store->wire, msg, tell ? &span : NULL, &store->frames);
    if (store->frames.failed)
        return;
    enum net_class class = cons_msg_is_urgent(msg) ? NET_URGENT : NET_BULK;
    if (env_fault(store->env, "store.send.drop") || delay(store, store_id_of(r, msg->to), class))
        return;
    if (env_fault(store->env, "store.send.twice"))
        net_peer_send(peer, class, buf_slice(&store->frames));
    net_peer_send_off(peer, class, &store->frames); /* Raft repeats what is dropped */
    send_late(store);
}

bool store_peer_ready(struct replica *r, uint64_t replica_id)
{
    struct net_peer *peer = peer_of(r, replica_id);
    return peer != NULL && net_peer_is_up(peer);
}

enum { APPEND_HEADS = 64 << 10 }; /* more than what stands around the entries of a message */

size_t store_peer_room(const struct replica *r, uint64_t replica_id)
{
    const struct net_peer *peer = peer_of(r, replica_id);
    size_t room = peer == NULL ? SIZE_MAX : net_peer_room(peer); /* else it is dropped anyway */
    return room == SIZE_MAX ? room : room - MIN(room, (size_t)APPEND_HEADS);
}

bool store_peer_takes_asks(const struct replica *r, uint64_t replica_id)
{
    const struct net_peer *peer = peer_of(r, replica_id);
    return peer == NULL || !net_peer_is_up(peer) || pulse_reaches(peer);
}

enum watermark store_mark_of(const struct store *store, uint64_t store_id)
{
    if (store_id == store->opt.store_id)
        return store->mark;
    const struct net_peer *peer = net_peer_find(store->net, store_id);
    return peer == NULL ? WATERMARK_OK : space_told(net_peer_disk(peer));
}

bool store_peer_spared(const struct replica *r, uint64_t replica_id)
{
    if (!r->can_spare)
        return false;
    const struct net_peer *peer = peer_of(r, replica_id);
    return peer != NULL && space_told(net_peer_disk(peer)) >= WATERMARK_READ_ONLY;
}

int store_dial_peers(struct store *store, struct err *err)
{
    for (size_t i = 0; i < store->opt.peer_count; i++) {
        const struct store_peer *p = &store->opt.peers[i];
        struct net_peer *peer;
        if (p->store_id == store->opt.store_id)
            continue;
        int rv = net_peer_add(store->net, p->store_id, p->address, &peer, err);
        if (rv != 0 && rv != ERR_EXISTS)
            return rv;
    }
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++)
        store_follow(store, e->store_id);
    return 0;
}

/* ---- in --------------------------------------------------------------------------- */

/* The data of an install must be here, whole, before consensus hears of it. */
static bool has_data_for(const struct replica *r, const struct cons_msg *msg)
{
    return msg->type != CONS_MSG_SNAPSHOT ||
           snapshot_in_has(r, msg->snapshot.index, msg->snapshot.term);
}

/* `r` has it: what is it to do? */
static int take_message(struct replica *r, uint64_t from_store, struct cons_msg *msg,
                        uint64_t rest_boot, struct err *err)
{
    struct store *store = r->store;
    if (!strangers_check(r, msg->from, from_store))
        return err_set(err, ERR_INVALID, "store %llu speaks for replica %llu",
                       (unsigned long long)from_store, (unsigned long long)msg->from);
    if (r->nap.is_asleep && r->state != REPLICA_DAMAGED && sleep_takes(r, msg, rest_boot))
        return 0;
    strangers_note_heard(r, msg->from);
    strangers_note_leader(r, msg);
    if (r->cons == NULL || r->state == REPLICA_DAMAGED)
        return 0;
    if (!has_data_for(r, msg)) {
        snapshot_in_hold(r, from_store, msg);
        return 0;
    }
    /* Entries that the log has no room for are cut off before consensus takes them on: the leader
     * hears of the ones that fit and sends the rest again. Without any it is a heartbeat still: a
     * full disk is no reason to call an election. */
    if (msg->type == CONS_MSG_APPEND)
        msg->append.n = log_room_fits(r, msg);
    struct err reason = {0};
    int rv = consensus_receive(r->cons, replica_now_ms(r), msg, &reason);
    if (rv != 0)
        LOG_WARN(store->logger, "message_refused", "from=%llu kind=%s reason=\"%s\"",
                 (unsigned long long)msg->from, cons_msg_name(msg->type), reason.msg);
    else if (rest_boot != 0)
        sleep_on_rest(r, msg, from_store, rest_boot);
    replica_wake(r);
    return 0;
}

static int on_raft_message(struct store *store, uint64_t from_store, uint32_t kind,
                           struct slice body, struct err *err)
{
    struct cons_msg msg;
    struct raft_span span;
    int rv = raft_wire_decode(store->wire, body, &msg, &span, err);
    if (rv != 0)
        return rv;
    struct replica *r = strangers_find(store, &msg, &span);
    if (r == NULL || r->state == REPLICA_REPLAYING)
        early_keep(store, &msg, from_store, kind, body);
    return r == NULL ? 0 : take_message(r, from_store, &msg, 0, err);
}

int store_take_raft(struct store *store, uint64_t from_store, const struct cons_msg *msg,
                    uint64_t rest_boot, struct err *err)
{
    struct cons_msg copy = *msg;
    struct raft_span none = {0};
    struct replica *r = strangers_find(store, msg, &none);
    return r == NULL ? 0 : take_message(r, from_store, &copy, rest_boot, err);
}

/* For one that behaves as an older build: what that would not know. */
static bool is_too_new(const struct store *store, uint32_t kind)
{
    bool is_older = store->opt.protocol_max != 0 && store->opt.protocol_max < PROTOCOL_PULSE;
    return is_older && (kind == MSG_PULSE || kind == MSG_READ_ASK || kind == MSG_READ_ANSWER);
}

int store_on_peer_message(void *data, uint64_t from_store, uint32_t kind, struct slice body,
                          struct err *err)
{
    struct store *store = data;
    if (is_too_new(store, kind))
        return err_set(err, ERR_UNSUPPORTED, "message kind %u between stores", kind);
    if (peer_msg_is_kind(kind))
        return on_raft_message(store, from_store, kind, body, err);
    if (kind == MSG_PULSE)
        return pulse_on_message(store, from_store, body, err);
    if (kind == MSG_MEMBER_ASK)
        return strangers_on_ask(store, from_store, body, err);
    if (kind == MSG_MEMBER_ANSWER)
        return strangers_on_answer(store, from_store, body, err);
    if (kind == MSG_MERGE)
        return merge_on_message(store, from_store, body, err);
    if (kind == MSG_STORE_BEAT)
        return driver_on_store_beat(store, from_store, body, err);
    if (kind == MSG_RANGE_BEAT)
        return driver_on_range_beat(store, from_store, body, err);
    if (kind == MSG_STEP_DONE)
        return driver_on_step_done(store, from_store, body, err);
    if (kind == MSG_DRIVER_WORD)
        return beats_on_word(store, from_store, body, err);
    if (kind == MSG_DRIVER_AT)
        return beats_on_at(store, from_store, body, err);
    return err_set(err, ERR_UNSUPPORTED, "message kind %u between stores", kind);
}
