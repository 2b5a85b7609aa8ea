/* SPDX-License-Identifier: Apache-2.0
 *
 * A range's applied state to a member that the log can no longer serve:
 *
 *   WANTED ─turn─▶ OPENING ─on_open─▶ READING ─chunk─▶ (sent) ─▶ READING …
 *                    ▲   └─▶ ASKING ─ack─▲ │    ├─▶ BLOCKED ─on_room─▶ (sent)
 *                    │                     │    └─▶ FULL ─ack─▶ (sent)
 *                    │                     └ last chunk ─▶ ENDED ─ack of all─▶ gone
 *                    └─turn── CUT ◀─ connection lost ─ any of these
 *   any ─ refused, role lost, no progress, OUT_CUT_US without a way on ─▶ gone
 *
 * A chunk is read, and made a frame, on the lane: to compress it takes as long as many requests. It
 * is kept until it is acknowledged, OUT_KEPT_MAX of them are. If the connection is lost
 * the state that is sent is kept with them: the next stream asks how much the other side has,
 * and goes on behind it. OUT_CUT_MAX streams of a store wait so.
 *
 * STORE_SNAPSHOTS_OUT_MAX are on their way from a store at a time, the others wait their turn;
 * together they send as fast as snapshot_pace.c allows, however many ranges move.
 *
 * Only when the other side has every byte does consensus send the description.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "net/net_stream.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "wire/snapshot_msg.h"

enum {
    OUT_STUCK_US = 10 * 1000 * 1000,
    OUT_CUT_US = 10 * 1000 * 1000,
    OUT_KEPT_MAX = 16, /* frames of chunks of at most RANGE_CHUNK_MAX bytes: 4 MiB */
    OUT_CUT_MAX = 4,
};

_Static_assert((int)RANGE_META_MAX <= SNAPSHOT_META_MAX &&
                   (int)RANGE_CONF_MAX <= SNAPSHOT_CONFIGURATION_MAX &&
                   (size_t)SNAPSHOT_META_MAX + SNAPSHOT_CONFIGURATION_MAX < FRAME_BODY_MAX,
               "a stream begins with all that a range keeps beside its keys");

enum out_state {
    OUT_WANTED,
    OUT_OPENING,
    OUT_ASKING,
    OUT_READING,
    OUT_BLOCKED,
    OUT_FULL,
    OUT_ENDED,
    OUT_CUT,
    OUT_NR,
};

static const uint32_t out_successors[OUT_NR] = {
    [OUT_WANTED] = BIT(OUT_OPENING),
    [OUT_OPENING] = BIT(OUT_READING) | BIT(OUT_ASKING) | BIT(OUT_CUT),
    [OUT_ASKING] = BIT(OUT_READING) | BIT(OUT_CUT),
    [OUT_READING] =
        BIT(OUT_BLOCKED) | BIT(OUT_FULL) | BIT(OUT_ENDED) | BIT(OUT_READING) | BIT(OUT_CUT),
    [OUT_BLOCKED] = BIT(OUT_READING) | BIT(OUT_FULL) | BIT(OUT_ENDED) | BIT(OUT_CUT),
    [OUT_FULL] = BIT(OUT_READING) | BIT(OUT_BLOCKED) | BIT(OUT_ENDED) | BIT(OUT_CUT),
    [OUT_ENDED] = BIT(OUT_CUT),
    [OUT_CUT] = BIT(OUT_OPENING),
};

/* A chunk that the other side has not acknowledged. */
struct out_chunk {
    struct list in_kept;
    uint64_t seq;
    uint64_t end;     /* bytes of the stream up to its end */
    size_t len;       /* of it */
    struct buf frame; /* as it is sent */
};

struct snapshot_out {
    struct list in_streams;
    struct list in_waiting; /* store's: for its turn */
    struct replica *replica;
    uint64_t target; /* replica id */
    enum out_state state;
    bool is_dropped; /* freed when what is in flight on the lane comes back */
    bool is_counted; /* among those on their way */
    uint64_t number;
    struct net_stream *stream;
    struct range_snapshot *snapshot;
    struct env_work framing;
    struct out_chunk *made; /* by it, the lane's meanwhile; owned, NULL: none is */
    struct slice raw;       /* what is in that; borrowed from the snapshot until its next call */
    struct list kept;       /* out_chunk.in_kept, in their order */
    uint32_t kept_count;
    uint64_t next_seq; /* to be sent; those before it in `kept` are on their way */
    bool is_last;      /* the chunk that is framed is the last … */
    bool is_read;      /* … and was made */
    uint64_t chunks;   /* made so far … */
    uint64_t bytes;
    uint32_t crc;
    uint64_t acked; /* bytes */
    uint64_t progress_us;
    uint64_t cut_us;       /* the connection is lost since then, without the time that it waited
                              for its turn; 0: it is not */
    uint64_t queued_us;    /* it waits for its turn since then */
    uint64_t cut_acked;    /* of the bytes, when it was cut last */
    bool goes_first;       /* it had got on since it was cut before */
    struct env_timer pace; /* CUT: until it is tried again */
};

static void out_move(struct snapshot_out *o, enum out_state to)
{
    struct store *store = o->replica->store;
    ASSERT(out_successors[o->state] & BIT(to));
    ASSERT(o->state != OUT_CUT || store->snapshots_cut > 0);
    store->snapshots_cut += to == OUT_CUT;
    store->snapshots_cut -= o->state == OUT_CUT;
    o->state = to;
    o->progress_us = env_now_us(store->env);
}

/* Is there room, it is the turn of who waits longest. */
static void wake_waiting(struct store *store)
{
    struct list *waiting = &store->snapshots_waiting;
    if (store->snapshots_out < STORE_SNAPSHOTS_OUT_MAX && !list_is_empty(waiting))
        replica_wake(list_first(waiting, struct snapshot_out, in_waiting)->replica);
}

/* It is not on its way any more, nor waits for that. */
static void out_leave(struct snapshot_out *o)
{
    struct store *store = o->replica->store;
    list_remove(&o->in_waiting);
    ASSERT(store->snapshots_out >= o->is_counted);
    store->snapshots_out -= o->is_counted;
    o->is_counted = false;
    wake_waiting(store);
}

static void chunk_free(struct out_chunk *chunk)
{
    if (chunk == NULL)
        return;
    buf_fini(&chunk->frame);
    free(chunk);
}

/* Those that end at or before `bytes` of the stream. */
static void forget_kept(struct snapshot_out *o, uint64_t bytes)
{
    while (!list_is_empty(&o->kept)) {
        struct out_chunk *chunk = list_first(&o->kept, struct out_chunk, in_kept);
        if (chunk->end > bytes)
            return;
        list_remove(&chunk->in_kept);
        o->kept_count--;
        chunk_free(chunk);
    }
}

static void out_release(struct snapshot_out *o)
{
    env_timer_stop(&o->pace);
    list_remove(&o->in_streams);
    list_remove(&o->in_waiting);
    struct store *store = o->replica->store;
    store->snapshots_out -= o->is_counted;
    store->snapshots_cut -= o->state == OUT_CUT;
    forget_kept(o, UINT64_MAX);
    chunk_free(o->made);
    range_snapshot_free(o->snapshot);
    free(o);
}

/* Is the next chunk being read or framed? */
static bool out_is_busy(const struct snapshot_out *o)
{
    return o->made != NULL || (o->snapshot != NULL && range_snapshot_is_busy(o->snapshot));
}

/* End the stream on our side; nothing more is heard of it. */
static void out_drop(struct snapshot_out *o, int status, const char *reason)
{
    net_stream_close(o->stream, status, reason);
    o->stream = NULL;
    env_timer_stop(&o->pace);
    list_remove(&o->in_streams);
    out_leave(o);
    if (out_is_busy(o)) {
        o->is_dropped = true;
        list_push_back(&o->replica->dropped_streams, &o->in_streams);
        return;
    }
    out_release(o);
}

bool snapshot_may_tell(struct store *store)
{
    uint64_t untold;
    bool may_tell = lines_take(&store->snapshot_lines, env_now_us(store->env), &untold);
    if (untold > 0)
        LOG_WARN(store->logger, "snapshots_untold", "count=%llu", (unsigned long long)untold);
    return may_tell;
}

static void out_fail(struct snapshot_out *o, int status, const char *reason)
{
    struct replica *r = o->replica;
    uint64_t target = o->target;
    bool is_refused = o->acked == 0;
    if (snapshot_may_tell(r->store))
        LOG_WARN(r->store->logger, "snapshot_failed",
                 "range=%llu target=%llu bytes=%llu reason=\"%s\"", (unsigned long long)r->range_id,
                 (unsigned long long)target, (unsigned long long)o->bytes, reason);
    out_drop(o, status, reason);
    if (r->cons != NULL)
        consensus_snapshot_failed(r->cons, target, is_refused);
    replica_wake(r);
}

static int out_base(const struct snapshot_out *o, struct cons_base *ret, struct err *err)
{
    ret->index = range_snapshot_index(o->snapshot);
    ret->term = range_snapshot_term(o->snapshot);
    ret->config_index = range_snapshot_conf_index(o->snapshot);
    return cons_config_decode(range_snapshot_conf(o->snapshot), &ret->config, err);
}

/* ---- sending ---------------------------------------------------------------------- */

static int send_begin(struct snapshot_out *o)
{
    struct replica *r = o->replica;
    struct buf *frames = &r->store->frames;
    struct snapshot_begin begin = {
        .group = r->range_id,
        .from_replica = r->replica_id,
        .to_replica = o->target,
        .stream = o->number,
        .term = consensus_term(r->cons),
        .last_index = range_snapshot_index(o->snapshot),
        .last_term = range_snapshot_term(o->snapshot),
        .conf_index = range_snapshot_conf_index(o->snapshot),
        .configuration = range_snapshot_conf(o->snapshot),
        .meta = range_snapshot_meta(o->snapshot),
    };
    buf_clear(frames);
    size_t start = frame_begin(frames);
    snapshot_begin_encode(frames, &begin);
    frame_end(frames, start, true);
    return frames->failed ? ERR_NOMEM : net_stream_send(o->stream, buf_slice(frames));
}

static int send_resume(struct snapshot_out *o)
{
    struct replica *r = o->replica;
    struct buf *frames = &r->store->frames;
    struct snapshot_resume resume = {
        .group = r->range_id,
        .from_replica = r->replica_id,
        .to_replica = o->target,
        .stream = o->number,
        .term = consensus_term(r->cons),
        .last_index = range_snapshot_index(o->snapshot),
        .last_term = range_snapshot_term(o->snapshot),
    };
    buf_clear(frames);
    size_t start = frame_begin(frames);
    snapshot_resume_encode(frames, &resume);
    frame_end(frames, start, true);
    return frames->failed ? ERR_NOMEM : net_stream_send(o->stream, buf_slice(frames));
}

static int send_end(struct snapshot_out *o)
{
    struct buf *frames = &o->replica->store->frames;
    struct snapshot_end end = {
        .stream = o->number, .chunks = o->chunks, .bytes = o->bytes, .crc32c = o->crc};
    buf_clear(frames);
    size_t start = frame_begin(frames);
    snapshot_end_encode(frames, &end);
    frame_end(frames, start, false);
    return frames->failed ? ERR_NOMEM : net_stream_send(o->stream, buf_slice(frames));
}

static void on_chunk(void *data, int status, struct slice chunk, bool is_last,
                     const struct err *err);

static void read_next(struct snapshot_out *o)
{
    ASSERT(o->state == OUT_READING);
    range_snapshot_next(o->snapshot, on_chunk, o);
}

static void pace_due(struct env_timer *timer)
{
    struct snapshot_out *o = timer->data;
    if (o->state == OUT_CUT)
        replica_wake(o->replica);
    else
        read_next(o);
}

/* The next chunk, when what all streams have sent so far has had its time. */
static void read_in_time(struct snapshot_out *o)
{
    const struct store *store = o->replica->store;
    env_timer_start_at(&o->pace, MAX(store->moving.out_free_us, env_now_us(store->env)));
}

/* Every chunk that was made and is not on its way. 0, ERR_BUSY: there is no room. */
static int send_kept(struct snapshot_out *o)
{
    const struct replica *r = o->replica;
    LIST_FOREACH(it, &o->kept)
    {
        const struct out_chunk *chunk = list_entry(it, struct out_chunk, in_kept);
        if (chunk->seq != o->next_seq)
            continue;
        int rv = net_stream_send(o->stream, buf_slice(&chunk->frame));
        if (rv != 0)
            return rv;
        o->next_seq++;
        snapshot_pace_out(r->store, range_descriptor(r->range), o->target, chunk->len);
    }
    ASSERT(o->next_seq == o->chunks);
    return 0;
}

/* What is next: room, an acknowledgement, another chunk, or the end. */
static void push(struct snapshot_out *o)
{
    int rv = send_kept(o);
    if (rv == 0 && o->is_read)
        rv = send_end(o);
    if (rv == ERR_BUSY) {
        if (o->state != OUT_BLOCKED)
            out_move(o, OUT_BLOCKED);
        return;
    }
    if (rv != 0) {
        out_fail(o, rv, "cannot send");
        return;
    }
    if (o->is_read)
        out_move(o, OUT_ENDED);
    else if (o->kept_count >= OUT_KEPT_MAX)
        out_move(o, OUT_FULL);
    else
        out_move(o, OUT_READING);
    if (o->state == OUT_READING && !out_is_busy(o))
        read_in_time(o);
}

/* On the lane. */
static void framing_execute(struct env_work *work)
{
    struct snapshot_out *o = work->data;
    struct out_chunk *made = o->made;
    struct snapshot_chunk chunk = {.stream = o->number, .seq = made->seq, .data = o->raw};
    o->crc = crc32c(o->crc, o->raw.data, o->raw.len);
    size_t start = frame_begin(&made->frame);
    snapshot_chunk_encode(&made->frame, &chunk);
    frame_end(&made->frame, start, true);
    buf_fit(&made->frame); /* to compress it took as much again */
}

static void framing_complete(struct env_work *work)
{
    struct snapshot_out *o = work->data;
    struct out_chunk *made = o->made;
    if (o->is_dropped) {
        out_release(o);
        return;
    }
    o->made = NULL;
    if (made->frame.failed) {
        chunk_free(made);
        out_fail(o, ERR_NOMEM, "out of memory");
        return;
    }
    list_push_back(&o->kept, &made->in_kept);
    o->kept_count++;
    o->chunks++;
    o->bytes = made->end;
    o->is_read = o->is_last;
    if (o->state == OUT_READING) /* else it was cut meanwhile */
        push(o);
}

static void on_chunk(void *data, int status, struct slice chunk, bool is_last,
                     const struct err *err)
{
    struct snapshot_out *o = data;
    if (o->is_dropped) {
        out_release(o);
        return;
    }
    if (status != 0) {
        struct replica *r = o->replica;
        struct err note = *err; /* it goes with the snapshot */
        out_fail(o, status, note.msg);
        if (status == ERR_CORRUPT)
            replica_damage(r, "read for a snapshot", &note);
        return;
    }
    struct out_chunk *made = calloc(1, sizeof *made);
    if (made == NULL) {
        out_fail(o, ERR_NOMEM, "out of memory");
        return;
    }
    ASSERT(chunk.len > 0);
    made->seq = o->chunks;
    made->end = o->bytes + chunk.len;
    made->len = chunk.len;
    list_init(&made->in_kept);
    buf_init(&made->frame, FRAME_BODY_MAX);
    o->made = made;
    o->raw = chunk;
    o->is_last = is_last;
    env_work_submit(o->replica->store->env, ENV_LANE_SNAPSHOT, &o->framing);
}

/* ---- the stream's side ---------------------------------------------------------------- */

static void on_open(void *data, const struct net_identity *who)
{
    struct snapshot_out *o = data;
    bool is_again = o->cut_us != 0;
    (void)who;
    if (o->replica->cons == NULL || (is_again ? send_resume(o) : send_begin(o)) != 0) {
        out_fail(o, ERR_CANCELED, "cannot begin");
        return;
    }
    out_move(o, is_again ? OUT_ASKING : OUT_READING);
    if (!is_again)
        read_in_time(o);
}

/* The other side has so much of it: go on behind that. */
static int resume_at(struct snapshot_out *o, uint64_t bytes, struct err *err)
{
    uint64_t begin = o->bytes, seq = o->chunks; /* of those that are kept */
    if (!list_is_empty(&o->kept)) {
        const struct out_chunk *first = list_first(&o->kept, struct out_chunk, in_kept);
        begin = first->end - first->len;
        seq = first->seq;
    }
    LIST_FOREACH(it, &o->kept)
    {
        const struct out_chunk *chunk = list_entry(it, struct out_chunk, in_kept);
        if (begin < bytes) {
            begin = chunk->end;
            seq = chunk->seq + 1;
        }
    }
    if (begin != bytes)
        return err_set(err, ERR_CORRUPT, "resumed at a place that is not between two chunks");
    forget_kept(o, bytes);
    o->next_seq = seq;
    o->acked = bytes;
    o->cut_us = 0;
    LOG_INFO(o->replica->store->logger, "snapshot_goes_on", "range=%llu target=%llu bytes=%llu",
             (unsigned long long)o->replica->range_id, (unsigned long long)o->target,
             (unsigned long long)bytes);
    out_move(o, OUT_READING);
    push(o);
    return 0;
}

static void out_complete(struct snapshot_out *o)
{
    struct replica *r = o->replica;
    struct cons_base base;
    struct err err = {0};
    uint64_t target = o->target;
    int rv = out_base(o, &base, &err);
    if (rv != 0 || r->cons == NULL) {
        out_fail(o, ERR_CANCELED, "no longer of use");
        return;
    }
    LOG_INFO(r->store->logger, "snapshot_sent", "range=%llu target=%llu index=%llu bytes=%llu",
             (unsigned long long)r->range_id, (unsigned long long)target,
             (unsigned long long)base.index, (unsigned long long)o->bytes);
    out_drop(o, 0, NULL);
    consensus_snapshot_sent(r->cons, replica_now_ms(r), target, &base);
    replica_wake(r);
}

/* Of what was made, what has left. */
static uint64_t sent_bytes(const struct snapshot_out *o)
{
    LIST_FOREACH(it, &o->kept)
    {
        const struct out_chunk *chunk = list_entry(it, struct out_chunk, in_kept);
        if (chunk->seq >= o->next_seq)
            return chunk->end - chunk->len;
    }
    return o->bytes;
}

static int on_frame(void *data, uint32_t kind, struct slice body, struct err *err)
{
    struct snapshot_out *o = data;
    struct snapshot_ack ack;
    if (kind != MSG_SNAPSHOT_ACK)
        return err_set(err, ERR_UNSUPPORTED, "message kind %u on a snapshot stream", kind);
    int rv = snapshot_ack_decode(body, &ack, err);
    if (rv != 0)
        return rv;
    if (ack.stream != o->number)
        return err_set(err, ERR_CORRUPT, "an answer for another stream");
    if (ack.status != 0)
        return err_set(err, err_from_wire(ack.status), "refused by the receiver");
    if (ack.bytes > sent_bytes(o) || ack.bytes < o->acked)
        return err_set(err, ERR_CORRUPT, "an answer about what was not sent");
    if (o->state == OUT_ASKING)
        return resume_at(o, ack.bytes, err);
    o->progress_us = env_now_us(o->replica->store->env);
    o->acked = ack.bytes;
    forget_kept(o, ack.bytes);
    if (o->state == OUT_ENDED && ack.bytes == o->bytes)
        out_complete(o);
    else if (o->state == OUT_FULL && o->kept_count < OUT_KEPT_MAX)
        push(o);
    return 0;
}

static void on_room(void *data)
{
    struct snapshot_out *o = data;
    if (o->state == OUT_BLOCKED)
        push(o);
}

/* What is kept waits for another connection. */
static void out_cut(struct snapshot_out *o)
{
    struct store *store = o->replica->store;
    if (o->cut_us == 0)
        o->cut_us = env_now_us(store->env);
    o->goes_first = o->acked > o->cut_acked;
    o->cut_acked = o->acked;
    out_leave(o);
    out_move(o, OUT_CUT);
    env_timer_stop(&o->pace);
    env_timer_start(&o->pace, (uint64_t)STORE_RETRY_MS * 1000);
}

static void on_close(void *data, int status, const char *reason)
{
    struct snapshot_out *o = data;
    bool has_begun = o->cut_us != 0 || o->state >= OUT_READING;
    o->stream = NULL;
    if (has_begun && snapshot_is_cut(status) && o->replica->store->snapshots_cut < OUT_CUT_MAX)
        out_cut(o);
    else
        out_fail(o, status, reason);
}

static const struct net_stream_handler out_handler = {
    .on_open = on_open, .on_frame = on_frame, .on_room = on_room, .on_close = on_close};

/* ---- life --------------------------------------------------------------------------------- */

void snapshot_out_start(struct replica *r, uint64_t target)
{
    struct snapshot_out *o = calloc(1, sizeof *o);
    if (o == NULL) {
        env_fatal(r->store->env, "out of memory for a snapshot stream");
        return;
    }
    o->replica = r;
    o->target = target;
    o->state = OUT_WANTED;
    o->progress_us = env_now_us(r->store->env);
    list_init(&o->in_streams);
    list_init(&o->in_waiting);
    list_init(&o->kept);
    env_timer_init(&o->pace, r->store->env, pace_due, o);
    env_work_init(&o->framing, framing_execute, framing_complete, o);
    list_push_back(&r->streams, &o->in_streams);
    LOG_DEBUG(r->store->logger, "snapshot_wanted", "range=%llu target=%llu",
              (unsigned long long)r->range_id, (unsigned long long)target);
    replica_wake(r);
}

static void out_open(struct snapshot_out *o)
{
    struct replica *r = o->replica;
    struct err err = {0};
    const struct book_entry *m = store_member_of(r, o->target);
    if (m == NULL) {
        out_fail(o, ERR_NOT_FOUND, "its address is not known");
        return;
    }
    if (o->number == 0)
        o->number = env_random(r->store->env) | 1;
    o->is_counted = true;
    if (o->cut_us != 0)
        o->cut_us += env_now_us(r->store->env) - o->queued_us;
    log_room_favour(r);
    r->store->snapshots_out++;
    list_remove(&o->in_waiting);
    wake_waiting(r->store);
    out_move(o, OUT_OPENING);
    int rv = o->snapshot != NULL ? 0 : range_snapshot_new(r->range, &o->snapshot, &err);
    if (rv == 0)
        rv = net_stream_open(r->store->net, m->store_id, m->address, &out_handler, o, &o->stream,
                             &err);
    if (rv != 0) {
        out_fail(o, rv, err.msg);
        return;
    }
    consensus_snapshot_started(r->cons, o->target, range_snapshot_index(o->snapshot));
}

/* Those that wait longer go first, and before them those that were on their way and had got on: the
 * other side does not keep what it has for ever. */
static void wait_in_line(struct snapshot_out *o)
{
    struct list *waiting = &o->replica->store->snapshots_waiting;
    struct list *before = o->state == OUT_CUT && o->goes_first ? waiting->next : waiting;
    while (before != waiting &&
           list_entry(before, struct snapshot_out, in_waiting)->state == OUT_CUT)
        before = before->next;
    o->queued_us = env_now_us(o->replica->store->env);
    list_push_back(before, &o->in_waiting);
}

/* Is it its turn? */
static bool has_turn(struct snapshot_out *o)
{
    struct store *store = o->replica->store;
    if (!list_is_linked(&o->in_waiting))
        wait_in_line(o);
    return store->snapshots_out < STORE_SNAPSHOTS_OUT_MAX &&
           list_first(&store->snapshots_waiting, struct snapshot_out, in_waiting) == o;
}

/* What is applied here names the target: else a snapshot of it would be of before it was a member,
 * and the target would be sent entries for which it never had what they need, like a merge with a
 * range that was never on its store. */
static bool is_named(const struct replica *r, const struct snapshot_out *o)
{
    return range_descriptor_find(range_descriptor(r->range), o->target) != NULL;
}

/* Nor will it be: it was removed before it had anything. */
static bool is_gone(const struct replica *r, const struct snapshot_out *o)
{
    uint64_t index;
    return cons_config_find(consensus_config(r->cons, &index), o->target) == NULL;
}

/* Not in the queue before that: nobody waits behind one that cannot go yet. */
static bool must_wait(struct replica *r, struct snapshot_out *o)
{
    if (o->state != OUT_WANTED || list_is_linked(&o->in_waiting) || is_named(r, o))
        return false;
    if (is_gone(r, o))
        out_fail(o, ERR_NOT_FOUND, "it is no member any more");
    return true; /* apply comes to it, and wakes the replica */
}

void snapshot_out_turn(struct replica *r)
{
    uint32_t running = 0;
    LIST_FOREACH(it, &r->streams)
    {
        struct snapshot_out *o = list_entry(it, struct snapshot_out, in_streams);
        if (o->state == OUT_CUT && env_timer_is_active(&o->pace))
            continue;
        if (must_wait(r, o))
            continue;
        if (o->state != OUT_WANTED && o->state != OUT_CUT) {
            running++;
            continue;
        }
        if (running < REPLICA_STREAMS_MAX && has_turn(o)) {
            running++;
            out_open(o);
        }
    }
}

void snapshot_out_stop_all(struct replica *r)
{
    while (!list_is_empty(&r->streams)) {
        struct snapshot_out *o = list_first(&r->streams, struct snapshot_out, in_streams);
        uint64_t target = o->target;
        out_drop(o, ERR_CANCELED, "the sender no longer leads");
        if (r->cons != NULL) /* which may lead anew already, and wait for this one */
            consensus_snapshot_failed(r->cons, target, false);
    }
}

void snapshot_out_tick(struct replica *r, uint64_t now_us)
{
    LIST_FOREACH(it, &r->streams)
    {
        struct snapshot_out *o = list_entry(it, struct snapshot_out, in_streams);
        if (o->is_counted)
            log_room_favour(r);
        bool waits = list_is_linked(&o->in_waiting);
        bool is_stuck = !waits && o->state != OUT_WANTED && now_us >= o->progress_us + OUT_STUCK_US;
        bool is_lost = !waits && o->cut_us != 0 && now_us >= o->cut_us + OUT_CUT_US;
        if (is_stuck || is_lost) {
            out_fail(o, ERR_TIMEOUT, "no progress");
            return; /* the list may have changed; the next tick goes on */
        }
    }
}

void snapshot_out_free(struct replica *r)
{
    struct list *link;
    while ((link = list_pop_front(&r->streams)) != NULL)
        out_release(list_entry(link, struct snapshot_out, in_streams));
    while ((link = list_pop_front(&r->dropped_streams)) != NULL)
        out_release(list_entry(link, struct snapshot_out, in_streams));
}
