/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking in a range's state:
 *
 *   GREETED ─begin─▶ READY ─chunk─▶ WRITING ─▶ READY … ─end─▶ COMPLETE
 *      COMPLETE ─install_snapshot()─▶ QUIESCE ─apply at rest─▶ EDITING ─durable─▶
 *      RESETTING ─log begins anew─▶ gone, consensus goes on
 *   up to COMPLETE: refused, no progress, another stream ─▶ DROPPING ─▶ gone
 *
 * If the connection is lost, what is staged is kept for IN_CUT_US: a stream that resumes the
 * one of that number (which its sender drew for it) takes its place, is told how much is here,
 * and goes on behind it. What makes the whole of it right is checked at its end as ever.
 *
 * A stream says with its first word whose it is: until then it is the store's, and
 * then the replica's. STORE_SNAPSHOTS_IN_MAX are taken in at a time, those that are cut among
 * them; as many more may be about to say so: one of them may resume what was cut.
 *
 * What is COMPLETE may have to wait until another replica that still holds some of its span is
 * gone. The leader's word is kept with it then, STORE_SNAPSHOTS_HELD_MAX of a store beside those
 * that are taken in, for IN_HELD_US: once nothing is in the way it is acted on as if it came then.
 * Meanwhile another stream for this replica is told to come later, so nothing is sent twice. What a
 * split of its range has overtaken on this store is dropped: nothing will make room for it.
 *
 * Both ends keep to a rate (snapshot_pace.c). Here that is done by reading on, and saying so, only
 * when what was taken in has had its time.
 *
 * Until EDITING everything is in a staging folder: the replica serves and applies
 * on, and a crash forgets it. The log is kept until the edit is durable.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "net/net_stream.h"
#include "store/absorb.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "wire/snapshot_msg.h"

enum {
    IN_STUCK_US = 10 * 1000 * 1000,
    IN_CUT_US = 60 * 1000 * 1000,   /* the connection is lost; it may have to wait for its turn */
    IN_KEPT_US = 30 * 1000 * 1000,  /* complete, waiting for the leader's word */
    IN_HELD_US = 300 * 1000 * 1000, /* … which has come, and waiting for its span */
};

enum in_state {
    IN_GREETED,
    IN_READY,
    IN_WRITING,
    IN_COMPLETE,
    IN_QUIESCE,
    IN_EDITING,
    IN_RESETTING,
    IN_DROPPING,
    IN_NR,
};

static const uint32_t in_successors[IN_NR] = {
    [IN_GREETED] = BIT(IN_READY) | BIT(IN_DROPPING),
    [IN_READY] = BIT(IN_WRITING) | BIT(IN_COMPLETE) | BIT(IN_DROPPING),
    [IN_WRITING] = BIT(IN_READY) | BIT(IN_DROPPING),
    [IN_COMPLETE] = BIT(IN_QUIESCE) | BIT(IN_DROPPING),
    [IN_QUIESCE] = BIT(IN_EDITING),
    [IN_EDITING] = BIT(IN_RESETTING),
    [IN_RESETTING] = 0,
    [IN_DROPPING] = 0,
};

struct snapshot_in {
    struct store *store;
    struct replica *replica; /* NULL while GREETED */
    struct list in_greeted;  /* store's, while GREETED */
    enum in_state state;
    struct net_stream *stream; /* NULL once it is closed */
    struct range_install *install;
    bool is_writing; /* a chunk is in flight, also while DROPPING */
    uint64_t number;
    uint64_t index;
    uint64_t term;
    uint64_t chunks;
    uint64_t bytes;
    uint32_t crc;
    uint64_t progress_us;
    uint64_t free_us;      /* the next chunk is due then */
    struct env_timer pace; /* READY: until it is; nothing is read meanwhile */
    struct cons_msg *word; /* COMPLETE: the leader's, which waits; owned, NULL: none does … */
    uint64_t word_store;   /* … and who sent it */
};

static void in_move(struct snapshot_in *in, enum in_state to)
{
    ASSERT(in_successors[in->state] & BIT(to));
    in->state = to;
    in->progress_us = env_now_us(in->store->env);
}

/* Among which of the store's it is counted. */
static uint32_t *count_of(const struct snapshot_in *in)
{
    struct store *store = in->store;
    if (in->replica == NULL)
        return &store->snapshots_greeted;
    return in->word != NULL ? &store->snapshots_held : &store->snapshots_in;
}

/* It does not wait with its leader's word, or no longer. */
static void forget_word(struct snapshot_in *in)
{
    if (in->word == NULL)
        return;
    free(in->word);
    in->word = NULL;
    ASSERT(in->store->snapshots_held > 0);
    in->store->snapshots_held--;
    in->store->snapshots_in++;
}

static void in_release(struct snapshot_in *in)
{
    ASSERT(in->stream == NULL);
    ASSERT(in->replica == NULL || in->replica->in == in);
    forget_word(in);
    env_timer_stop(&in->pace);
    uint32_t *count = count_of(in);
    ASSERT(*count > 0);
    --*count;
    if (in->replica != NULL)
        in->replica->in = NULL;
    list_remove(&in->in_greeted);
    range_install_free(in->install);
    free(in);
}

/* Nothing more is heard of the stream after this. */
static void in_hang_up(struct snapshot_in *in, int status, const char *reason)
{
    net_stream_close(in->stream, status, reason);
    in->stream = NULL;
}

/* ---- giving up --------------------------------------------------------------------- */

static void on_aborted(void *data, int status, const struct err *err)
{
    (void)status;
    (void)err;
    in_release(data);
}

static void in_abort(struct snapshot_in *in)
{
    ASSERT(in->state == IN_DROPPING);
    if (in->is_writing)
        return; /* its callback comes back here */
    if (in->install == NULL || range_install_abort(in->install, on_aborted, in) != 0)
        in_release(in);
}

static void in_drop(struct snapshot_in *in, int status, const char *reason)
{
    if (in->state == IN_DROPPING)
        return;
    if (status != 0 && snapshot_may_tell(in->store))
        LOG_WARN(in->store->logger, "snapshot_dropped", "index=%llu bytes=%llu reason=\"%s\"",
                 (unsigned long long)in->index, (unsigned long long)in->bytes, reason);
    in_hang_up(in, status, reason);
    forget_word(in);
    env_timer_stop(&in->pace);
    in_move(in, IN_DROPPING);
    in_abort(in);
}

/* ---- receiving ------------------------------------------------------------------------ */

static void send_ack(struct snapshot_in *in)
{
    struct buf *frames = &in->store->frames;
    struct snapshot_ack ack = {.stream = in->number, .bytes = in->bytes};
    buf_clear(frames);
    size_t start = frame_begin(frames);
    snapshot_ack_encode(frames, &ack);
    frame_end(frames, start, false);
    if (!frames->failed && in->stream != NULL)
        net_stream_send(in->stream, buf_slice(frames)); /* the next one says more */
}

/* Nobody sends, nothing of it is being written, and no word has come that it waits with. */
static bool is_left(const struct snapshot_in *in)
{
    return (in->state == IN_COMPLETE && in->word == NULL) ||
           (in->state == IN_READY && in->stream == NULL);
}

/* Those that wait for their leader's word, or for their sender, make room for one whose leader is
 * here. A word that is on its way is waited for. */
static void drop_one_left(struct store *store)
{
    uint64_t patience_us = (uint64_t)store->opt.election_timeout_ms * 1000;
    uint64_t now_us = env_now_us(store->env);
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        if (r->in != NULL && is_left(r->in) &&
            (r->in->state != IN_COMPLETE || now_us >= r->in->progress_us + patience_us)) {
            in_drop(r->in, ERR_CANCELED, "another stream has begun");
            return;
        }
    }
}

/* Whose it is, and may take it in from there. */
static int find_target(const struct store *store, uint64_t group, uint64_t replica_id,
                       uint64_t term, struct replica **ret_replica, struct err *err)
{
    struct replica *r = replicas_get(&store->replicas, replica_id);
    if (r == NULL || group != r->range_id)
        return err_set(err, ERR_NOT_FOUND, "replica %llu of range %llu is not here",
                       (unsigned long long)replica_id, (unsigned long long)group);
    sleep_wake(r, SLEEP_WOKEN_BY_WORK);
    if (!replica_is_up(r))
        return err_set(err, ERR_STATE, "replica %llu takes no snapshot now",
                       (unsigned long long)replica_id);
    if (term < consensus_term(r->cons))
        return err_set(err, ERR_NOT_LEADER, "from an old term");
    if (store->mark >= WATERMARK_NO_PUTS)
        return err_set(err, ERR_NO_SPACE, "the disk is full");
    *ret_replica = r;
    return 0;
}

/* Now it is known whose it is. */
static int bind(struct snapshot_in *in, const struct snapshot_begin *begin, struct err *err)
{
    struct store *store = in->store;
    struct replica *r = NULL;
    int rv = find_target(store, begin->group, begin->to_replica, begin->term, &r, err);
    if (rv != 0)
        return rv;
    if (r->in != NULL) {
        if (r->in->word != NULL && begin->term <= r->in->word->term)
            return err_set(err, ERR_BUSY, "a whole snapshot waits here for its span");
        if (is_left(r->in) || r->in->word != NULL)
            in_drop(r->in, ERR_CANCELED, "another stream has begun");
        return err_set(err, ERR_BUSY, "another snapshot is being taken in");
    }
    if (store->snapshots_in >= STORE_SNAPSHOTS_IN_MAX) {
        drop_one_left(store);
        return err_set(err, ERR_BUSY, "%u snapshots are being taken in", store->snapshots_in);
    }
    list_remove(&in->in_greeted);
    store->snapshots_greeted--;
    store->snapshots_in++;
    in->replica = r;
    r->in = in;
    return 0;
}

static int take_begin(struct snapshot_in *in, struct slice body, struct err *err)
{
    struct snapshot_begin begin;
    int rv = snapshot_begin_decode(body, &begin, err);
    if (rv != 0)
        return rv;
    if (in->state != IN_GREETED || in->replica != NULL)
        return err_set(err, ERR_CORRUPT, "a second begin");
    rv = bind(in, &begin, err);
    if (rv != 0)
        return rv;
    struct replica *r = in->replica;
    rv = range_install_new(r->store->env, r->store->lsm, r->replica_id, r->range, begin.meta,
                           &in->install, err);
    if (rv != 0)
        return rv;
    const struct range_meta *meta = range_install_meta(in->install);
    in->number = begin.stream;
    in->index = meta->applied_index;
    in->term = meta->applied_term;
    if (in->index != begin.last_index || in->term != begin.last_term)
        return err_set(err, ERR_CORRUPT, "its head and its meta differ");
    if (meta->descriptor.range_id != begin.group)
        return err_set(err, ERR_CORRUPT, "its meta is of another range");
    r->store->snapshots_begun++;
    in_move(in, IN_READY);
    return 0;
}

/* The stream takes the place of the one that was cut; it is not `in`'s any more, which is gone. */
static int take_resume(struct snapshot_in *in, struct slice body, struct err *err)
{
    struct snapshot_resume resume;
    struct replica *r = NULL;
    int rv = snapshot_resume_decode(body, &resume, err);
    if (rv != 0)
        return rv;
    if (in->state != IN_GREETED)
        return err_set(err, ERR_CORRUPT, "a stream is resumed in its middle");
    rv = find_target(in->store, resume.group, resume.to_replica, resume.term, &r, err);
    if (rv != 0)
        return rv;
    struct snapshot_in *was = r->in;
    if (was == NULL || was->state < IN_READY || was->state > IN_COMPLETE ||
        was->number != resume.stream || was->index != resume.last_index ||
        was->term != resume.last_term)
        return err_set(err, ERR_NOT_FOUND, "nothing is here of the stream that is resumed");
    in_hang_up(was, ERR_CANCELED, "it is resumed");
    was->stream = in->stream;
    in->stream = NULL;
    in_release(in);
    net_stream_pass_on(was->stream, was);
    was->progress_us = env_now_us(was->store->env);
    was->store->snapshots_resumed++;
    LOG_INFO(was->store->logger, "snapshot_resumed", "range=%llu index=%llu bytes=%llu",
             (unsigned long long)r->range_id, (unsigned long long)was->index,
             (unsigned long long)was->bytes);
    if (was->state == IN_WRITING || env_timer_is_active(&was->pace))
        net_stream_pause(was->stream); /* it is told when that is done */
    else
        send_ack(was);
    return 0;
}

static void read_on(struct snapshot_in *in)
{
    send_ack(in);
    if (in->stream != NULL)
        net_stream_resume(in->stream);
}

static void pace_due(struct env_timer *timer)
{
    struct snapshot_in *in = timer->data;
    ASSERT(in->state == IN_READY);
    in->progress_us = env_now_us(in->store->env);
    read_on(in);
}

static void on_chunk_written(void *data, int status, const struct err *err)
{
    struct snapshot_in *in = data;
    ASSERT(in->is_writing);
    in->is_writing = false;
    if (in->state == IN_DROPPING) {
        in_abort(in);
        return;
    }
    if (status != 0) {
        in_drop(in, status, err->msg);
        return;
    }
    in_move(in, IN_READY);
    if (in->free_us > env_now_us(in->store->env))
        env_timer_start_at(&in->pace, in->free_us);
    else
        read_on(in);
}

static int take_chunk(struct snapshot_in *in, struct slice body, struct err *err)
{
    struct snapshot_chunk chunk;
    int rv = snapshot_chunk_decode(body, &chunk, err);
    if (rv != 0)
        return rv;
    if (in->state != IN_READY || chunk.stream != in->number || chunk.seq != in->chunks)
        return err_set(err, ERR_CORRUPT, "a chunk out of place");
    rv = range_install_chunk(in->install, chunk.data, on_chunk_written, in);
    if (rv != 0)
        return err_set(err, rv, "chunk %llu was refused", (unsigned long long)chunk.seq);
    in->is_writing = true;
    in->chunks++;
    in->bytes += chunk.data.len;
    in->crc = crc32c(in->crc, chunk.data.data, chunk.data.len);
    in->free_us = snapshot_pace_in(in->store, &range_install_meta(in->install)->descriptor,
                                   in->replica->replica_id, chunk.data.len);
    in_move(in, IN_WRITING);
    net_stream_pause(in->stream);
    return 0;
}

static int take_end(struct snapshot_in *in, struct slice body, struct err *err)
{
    struct snapshot_end end;
    int rv = snapshot_end_decode(body, &end, err);
    if (rv != 0)
        return rv;
    bool is_again = in->state == IN_COMPLETE; /* it was cut before it heard of that */
    if ((in->state != IN_READY && !is_again) || end.stream != in->number ||
        end.chunks != in->chunks || end.bytes != in->bytes || end.crc32c != in->crc ||
        !range_install_is_complete(in->install))
        return err_set(err, ERR_CORRUPT, "the end does not fit what came before");
    if (is_again) {
        send_ack(in);
        return 0;
    }
    in_move(in, IN_COMPLETE);
    LOG_INFO(in->store->logger, "snapshot_received", "index=%llu term=%llu bytes=%llu",
             (unsigned long long)in->index, (unsigned long long)in->term,
             (unsigned long long)in->bytes);
    send_ack(in);
    return 0;
}

static int on_frame(void *data, uint32_t kind, struct slice body, struct err *err)
{
    struct snapshot_in *in = data;
    if (in->replica != NULL && in->replica->cons == NULL)
        return err_set(err, ERR_STATE, "the replica is not running");
    switch (kind) {
    case MSG_SNAPSHOT_BEGIN:
        return take_begin(in, body, err);
    case MSG_SNAPSHOT_RESUME:
        return take_resume(in, body, err);
    case MSG_SNAPSHOT_CHUNK:
        return take_chunk(in, body, err);
    case MSG_SNAPSHOT_END:
        return take_end(in, body, err);
    default:
        return err_set(err, ERR_UNSUPPORTED, "message kind %u on a snapshot stream", kind);
    }
}

static void on_close(void *data, int status, const char *reason)
{
    struct snapshot_in *in = data;
    bool may_come_back = snapshot_is_cut(status) && in->state > IN_GREETED;
    in->stream = NULL;
    if (may_come_back)
        in->progress_us = env_now_us(in->store->env);
    else if (in->state < IN_COMPLETE)
        in_drop(in, status, reason);
}

static const struct net_stream_handler in_handler = {.on_frame = on_frame, .on_close = on_close};

bool snapshot_is_cut(int status)
{
    return status == ERR_EOF || status == ERR_IO || status == ERR_TIMEOUT ||
           status == ERR_UNAVAILABLE;
}

int snapshot_in_on_stream(void *data, struct net_stream *stream, const struct net_identity *from,
                          struct err *err)
{
    struct store *store = data;
    (void)from;
    if (replicas_count(&store->replicas) == 0)
        return err_set(err, ERR_STATE, "store %llu takes no snapshot now",
                       (unsigned long long)store->opt.store_id);
    if (store->snapshots_greeted >= STORE_SNAPSHOTS_IN_MAX)
        return err_set(err, ERR_BUSY, "%u streams have not begun yet", store->snapshots_greeted);
    struct snapshot_in *in = calloc(1, sizeof *in);
    if (in == NULL)
        return err_set(err, ERR_BUSY, "out of memory for a snapshot");
    in->store = store;
    in->stream = stream;
    in->state = IN_GREETED;
    in->progress_us = env_now_us(store->env);
    env_timer_init(&in->pace, store->env, pace_due, in);
    list_init(&in->in_greeted);
    list_push_back(&store->greeted, &in->in_greeted);
    store->snapshots_greeted++;
    net_stream_accept(stream, &in_handler, in);
    return 0;
}

/* ---- installing ---------------------------------------------------------------------------- */

/* Is another replica about to be installed over this span? */
static bool is_being_taken(const struct snapshot_in *in, struct range_span span)
{
    uint32_t cursor = 0;
    const struct replica *r;
    while ((r = replicas_each(&in->store->replicas, &cursor)) != NULL) {
        if (r->in == NULL || r->in == in || r->in->state < IN_QUIESCE || r->in->install == NULL)
            continue;
        struct range_span other =
            range_descriptor_span(&range_install_meta(r->in->install)->descriptor);
        if (slice_compare(other.start, span.end) < 0 && slice_compare(span.start, other.end) < 0)
            return true;
    }
    return false;
}

const struct range_meta *snapshot_in_meta(const struct replica *r)
{
    return r->in == NULL || r->in->install == NULL ? NULL : range_install_meta(r->in->install);
}

/* The whole of it is here. */
static bool has_all(const struct replica *r, uint64_t index, uint64_t term)
{
    const struct snapshot_in *in = r->in;
    return replica_is_up(r) && in != NULL && in->state == IN_COMPLETE && in->index == index &&
           in->term == term;
}

bool snapshot_in_has(const struct replica *r, uint64_t index, uint64_t term)
{
    const struct snapshot_in *in = r->in;
    if (!has_all(r, index, term))
        return false;
    /* What another replica still holds of its span must go first, by a split that is
     * about to be applied or by that one's removal; or with it. */
    struct range_span span = range_descriptor_span(&range_install_meta(in->install)->descriptor);
    return !is_being_taken(in, span) && absorb_may_install(r);
}

/* The one that waits longest makes room. */
static void drop_one_held(struct store *store)
{
    uint32_t cursor = 0;
    struct replica *r;
    struct snapshot_in *oldest = NULL;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL) {
        bool is_held = r->in != NULL && r->in->word != NULL;
        if (is_held && (oldest == NULL || r->in->progress_us < oldest->progress_us))
            oldest = r->in;
    }
    ASSERT(oldest != NULL);
    in_drop(oldest, ERR_CANCELED, "too many wait for their span");
}

void snapshot_in_hold(struct replica *r, uint64_t from_store, const struct cons_msg *msg)
{
    struct snapshot_in *in = r->in;
    ASSERT(msg->type == CONS_MSG_SNAPSHOT);
    if (!has_all(r, msg->snapshot.index, msg->snapshot.term))
        return;
    if (in->word != NULL && msg->term < in->word->term)
        return; /* late: a newer leader has spoken */
    if (in->word == NULL) {
        struct cons_msg *word = malloc(sizeof *word);
        if (word == NULL)
            return; /* it is said again */
        if (in->store->snapshots_held >= STORE_SNAPSHOTS_HELD_MAX)
            drop_one_held(in->store);
        in->word = word;
        in->store->snapshots_in--;
        in->store->snapshots_held++;
        in->progress_us = env_now_us(in->store->env);
        LOG_INFO(in->store->logger, "snapshot_waits", "range=%llu index=%llu bytes=%llu",
                 (unsigned long long)r->range_id, (unsigned long long)in->index,
                 (unsigned long long)in->bytes);
    }
    *in->word = *msg;
    in->word_store = from_store;
}

/* Is nothing in its way any more? Then the word counts as if it came now: messages may be late. */
static void try_held(struct replica *r)
{
    struct snapshot_in *in = r->in;
    struct err err = {0};
    if (!snapshot_in_has(r, in->index, in->term))
        return;
    struct cons_msg word = *in->word;
    uint64_t from_store = in->word_store;
    forget_word(in);
    in->progress_us = env_now_us(in->store->env);
    if (store_take_raft(in->store, from_store, &word, 0, &err) != 0)
        LOG_WARN(in->store->logger, "message_refused", "from=%llu kind=%s reason=\"%s\"",
                 (unsigned long long)word.from, cons_msg_name(word.type), err.msg);
}

void snapshot_in_install(struct replica *r, const struct cons_base *base)
{
    ASSERT(snapshot_in_has(r, base->index, base->term));
    ASSERT(r->range == NULL || base->index > range_meta(r->range)->applied_index);
    forget_word(r->in); /* of before */
    raftlog_freeze_hint(r->store->log, r->replica_id, true);
    absorb_begin_install(r);
    in_move(r->in, IN_QUIESCE);
    replica_move(r, REPLICA_INSTALLING);
    replica_apply_wake(r);
}

/* The engine refused: what is on disk is what was before. */
static void install_failed(struct snapshot_in *in, int status, const struct err *err)
{
    struct replica *r = in->replica;
    LOG_ERROR(r->store->logger, "snapshot_not_installed", "index=%llu status=%s error=\"%s\"",
              (unsigned long long)in->index, err_name(status), err == NULL ? "" : err->msg);
    raftlog_freeze_hint(r->store->log, r->replica_id, false);
    in_hang_up(in, status, "it could not be installed");
    in_release(in);
    absorb_end_install(r, false);
    replica_restart_consensus(r);
}

/* A blank replica has a state now. */
static bool is_no_more_blank(struct snapshot_in *in)
{
    struct replica *r = in->replica;
    struct store *store = r->store;
    struct err err = {0};
    int rv = range_new(store->env, store->lsm, r->replica_id, range_install_meta(in->install),
                       &r->range, &err);
    if (rv == 0)
        rv = replicas_place(&store->replicas, r, &err);
    if (rv != 0)
        store_fail(store, "a new member", &err);
    return rv == 0;
}

static void on_installed(void *data, int status, const struct err *err)
{
    struct snapshot_in *in = data;
    struct replica *r = in->replica;
    ASSERT(in->state == IN_EDITING);
    if (r->state == REPLICA_DAMAGED)
        return; /* for life: freed with the replica */
    if (status != 0) {
        install_failed(in, status, err);
        return;
    }
    absorb_end_install(r, true);
    if (r->range == NULL && !is_no_more_blank(in))
        return;
    ASSERT(range_meta(r->range)->applied_index == in->index);
    in_move(in, IN_RESETTING);
    replica_proposals_skip(r, in->index);
    replica_log_reset(r, in->index, in->term);
}

void snapshot_in_on_quiet(struct replica *r)
{
    struct snapshot_in *in = r->in;
    if (in == NULL || in->state != IN_QUIESCE || r->apply != APPLY_IDLE ||
        r->state == REPLICA_DAMAGED || !absorb_is_quiet(r))
        return;
    if (absorb_put_install(r, in->install) != 0) { /* out of memory: in a while again */
        replica_apply_stall(r);
        return;
    }
    in_move(in, IN_EDITING);
    int rv = range_install_finish(in->install, on_installed, in);
    ASSERT(rv == 0);
}

void snapshot_in_on_reset(struct replica *r)
{
    struct snapshot_in *in = r->in;
    if (in == NULL || in->state != IN_RESETTING || r->state == REPLICA_DAMAGED)
        return;
    uint64_t index = in->index;
    LOG_INFO(r->store->logger, "snapshot_installed", "range=%llu index=%llu",
             (unsigned long long)r->range_id, (unsigned long long)index);
    in_hang_up(in, 0, NULL);
    in_release(in);
    if (r->cons == NULL) {
        replica_restart_consensus(r);
        return;
    }
    replica_move(r, REPLICA_RUNNING);
    consensus_on_snapshot_installed(r->cons, replica_now_ms(r), index);
    replica_apply_wake(r);
}

bool snapshot_in_is_bound(const struct replica *r)
{
    return r->in != NULL && r->in->state >= IN_QUIESCE && r->in->state <= IN_RESETTING;
}

void snapshot_in_drop(struct replica *r)
{
    if (r->in != NULL)
        in_drop(r->in, ERR_CANCELED, "the replica leaves this store");
}

static void in_tick(struct snapshot_in *in, uint64_t now_us)
{
    uint64_t patience = in->word != NULL           ? IN_HELD_US
                        : in->stream == NULL       ? IN_CUT_US
                        : in->state == IN_COMPLETE ? IN_KEPT_US
                                                   : IN_STUCK_US;
    if (now_us >= in->progress_us + patience)
        in_drop(in, ERR_TIMEOUT, "no progress");
    else if (in->word != NULL && in->store->mark >= WATERMARK_NO_PUTS)
        in_drop(in, ERR_NO_SPACE, "the disk is full");
    else if (in->word != NULL && in->replica->is_no_member)
        in_drop(in, ERR_CANCELED, "the replica is no member any more");
}

void snapshot_in_tick(struct replica *r, uint64_t now_us)
{
    if (r->in != NULL && r->in->state <= IN_COMPLETE)
        in_tick(r->in, now_us);
    if (r->in != NULL && r->in->state >= IN_READY && r->in->state <= IN_COMPLETE &&
        absorb_is_overtaken(r))
        in_drop(r->in, ERR_CANCELED, "some of its span is a younger range's here");
    if (r->in != NULL && r->in->word != NULL)
        try_held(r);
}

void snapshot_in_tick_greeted(struct store *store)
{
    uint64_t now_us = env_now_us(store->env);
    LIST_FOREACH(it, &store->greeted)
    in_tick(list_entry(it, struct snapshot_in, in_greeted), now_us);
}

/* net frees the streams that env_stop() has ended. */
void snapshot_in_free(struct replica *r)
{
    if (r->in == NULL)
        return;
    r->in->stream = NULL;
    in_release(r->in);
}

void snapshot_in_free_greeted(struct store *store)
{
    while (!list_is_empty(&store->greeted)) {
        struct snapshot_in *in = list_first(&store->greeted, struct snapshot_in, in_greeted);
        in->stream = NULL;
        in_release(in);
    }
}

static void count_in(const struct replica *r, uint32_t *in, uint32_t *held)
{
    if (r->in == NULL)
        return;
    ASSERT(r->in->replica == r);
    ASSERT(r->in->word == NULL || r->in->state == IN_COMPLETE);
    *held += r->in->word != NULL;
    *in += r->in->word == NULL;
}

void snapshot_in_check(const struct store *store)
{
    uint32_t cursor = 0, in = 0, held = 0;
    const struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        count_in(r, &in, &held);
    LIST_FOREACH(it, &store->merged) /* what was dropped then may still be on its way */
    count_in(list_entry(it, struct replica, absorbed.in_merged), &in, &held);
    ASSERT(in == store->snapshots_in);
    ASSERT(held == store->snapshots_held);
    ASSERT(held <= STORE_SNAPSHOTS_HELD_MAX);
}
