/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot — the applied state is the snapshot: compaction of the log, streams to
 * members that need one, and taking one in.
 *
 * Sending: the library says INSTALL_SNAPSHOT ─▶ need_snapshot ─▶ (the owner streams)
 * ─▶ consensus_snapshot_sent ─▶ RAFT_SNAPSHOT if newer, and the description is sent.
 * What the library repeats meanwhile is dropped: one stream for each member.
 *
 * Taking in: the description arrives after the data ─▶ the library drops its log ─▶
 * install_snapshot ─▶ (one engine edit) ─▶ consensus_on_snapshot_installed.
 */
#include <stdlib.h>

#include "consensus/consensus_internal.h"

enum { SNAPSHOT_MSG_VERSION = 1, STREAM_WAIT_MAX_MS = 1000, STREAM_DOUBLED_MAX = 10 };

/* --- compaction */

static int snapshot_step(struct consensus *c, const struct cons_base *base, unsigned trailing)
{
    struct raft_event event = step_make(c, RAFT_SNAPSHOT);

    ASSERT(!c->is_installing);
    ASSERT(base->index <= c->applied);
    if (library_metadata_make(base, &event.snapshot.metadata) != 0)
        return ERR_NOMEM;
    event.snapshot.trailing = trailing; /* the configuration is the library's from here */
    return step_event(c, &event, NULL) == 0 ? 0 : ERR_STATE;
}

/* Above what a member that is sent a stream needs the log. It may hold the whole of an earlier one
 * and refuse those that come while that waits for its span: it goes on behind the earlier one. */
static uint64_t stream_from(const struct cons_peer *p, uint64_t match)
{
    uint64_t from = p->stream_index;
    if (p->whole_index > match)
        from = MIN(from, p->whole_index);
    return MAX(from, match);
}

/* How many entries to keep at and below `index`: what live members that lag and
 * running streams still need, with the one before, whose term the next message names. */
static uint64_t snapshot_trailing(const struct consensus *c, uint64_t index, uint32_t max)
{
    uint64_t keep = MIN(CONS_TRAILING_MIN, max);
    if (!guard_on(c, GUARD_TRAILING))
        return keep;
    if (c->state != CONS_LEADER)
        return max; /* whoever leads next may need them */
    for (uint32_t i = 0; i < c->n_peers; i++) {
        const struct cons_peer *p = &c->peers[i];
        uint64_t from = peer_match(c, p->id);
        if (p->is_streaming && p->stream_index > 0)
            from = stream_from(p, from);
        else if (!peer_is_live(c, p->id))
            continue;
        if (from < index)
            keep = MAX(keep, MIN(index - from + 1, (uint64_t)max));
    }
    return keep;
}

/* Would anything go? Else the library's snapshot stays where it is: its term is that of the
 * entry before the log, and without it whoever needs the whole log gets a stream instead. */
static bool cuts(const struct consensus *c, uint64_t index, uint64_t trailing)
{
    return index > trailing && index - trailing > c->raft.trail.offset;
}

int consensus_compact(struct consensus *c, uint64_t now_ms, const struct cons_base *base,
                      uint32_t trailing_max)
{
    int rv = 0;
    if (!consensus_enter_quietly(c, now_ms))
        return ERR_STATE;
    ASSERT(base->index <= c->applied || c->is_installing);
    bool is_newer = base->index > c->raft.trail.snapshot.index;
    uint64_t trailing = snapshot_trailing(c, base->index, trailing_max);
    bool is_due = (is_newer && cuts(c, base->index, trailing)) || !guard_on(c, GUARD_R18);
    if (c->is_installing && guard_on(c, GUARD_R18))
        rv = ERR_BUSY;
    else if (is_due && base->index <= c->raft.last_stored) {
        ASSERT(base->config_index == configs_at(&c->configs, base->index)->index);
        rv = snapshot_step(c, base, (unsigned)MIN(trailing, (uint64_t)UINT32_MAX));
        if (rv == 0)
            configs_compact(&c->configs, base->index);
    }
    consensus_leave(c);
    return rv;
}

uint64_t consensus_log_floor(const struct consensus *c)
{
    return c->raft.trail.offset;
}

/* --- streams to others */

void snapshot_request(struct consensus *c, uint64_t target)
{
    struct cons_peer *p = peer_find(c, target);
    if (p == NULL || p->is_streaming || c->state != CONS_LEADER || c->now_ms < p->stream_ms)
        return; /* the library says it again */
    p->is_streaming = true;
    p->stream_index = 0;
    c->opts.ops->need_snapshot(c->opts.ctx, target);
}

/* The next one that it needs is asked for with the next heartbeat. */
static void peer_stream_at_once(struct cons_peer *p)
{
    p->refused_streams = 0;
    p->stream_ms = 0;
}

void consensus_snapshot_started(struct consensus *c, uint64_t target, uint64_t index)
{
    struct cons_peer *p = peer_find(c, target);
    if (p != NULL && p->is_streaming)
        p->stream_index = index;
}

/* The library asks with each heartbeat. Who refuses may do so for minutes, since what it holds
 * waits there for its span: it is asked half as often each time. */
void consensus_snapshot_failed(struct consensus *c, uint64_t target, bool is_refused)
{
    struct cons_peer *p = peer_find(c, target);
    if (p == NULL)
        return;
    p->is_streaming = false;
    if (!is_refused) {
        peer_stream_at_once(p);
        return;
    }
    uint64_t wait_ms = (uint64_t)c->opts.heartbeat_ms
                       << MIN(p->refused_streams, STREAM_DOUBLED_MAX);
    p->refused_streams++;
    p->stream_ms = c->now_ms + MIN(wait_ms, STREAM_WAIT_MAX_MS);
}

void consensus_snapshot_sent(struct consensus *c, uint64_t now_ms, uint64_t target,
                             const struct cons_base *base)
{
    if (!consensus_enter(c, now_ms))
        return;
    struct cons_peer *p = peer_find(c, target);
    if (p == NULL || !p->is_streaming || c->state != CONS_LEADER || c->is_installing)
        goto out;
    p->is_streaming = false;
    peer_stream_at_once(p);
    p->whole_index = base->index;
    if (base->index > c->raft.trail.snapshot.index && base->index <= c->raft.last_stored) {
        if (snapshot_step(c, base, UINT32_MAX) != 0) /* cuts nothing */
            goto out;
        configs_compact(&c->configs, base->index);
    }
    if (writes_gate(&c->writes) == 0 && c->state == CONS_LEADER) {
        struct cons_msg msg = outbox_make(c, CONS_MSG_SNAPSHOT, target);
        msg.version = SNAPSHOT_MSG_VERSION;
        msg.snapshot = *base;
        c->opts.ops->send(c->opts.ctx, &msg);
    }
out:
    consensus_leave(c);
}

/* --- taking one in */

void snapshot_begin_install(struct consensus *c, const struct raft_snapshot_metadata *meta,
                            uint64_t from)
{
    struct cons_base base = {
        .index = meta->index,
        .term = meta->term,
        .config_index = meta->configuration_index,
        .config.n = meta->configuration.n,
    };
    ASSERT(!c->is_installing || !guard_on(c, GUARD_R12));
    ASSERT(base.config.n <= CONS_MEMBERS_MAX);
    for (uint32_t i = 0; i < base.config.n; i++) {
        const struct raft_server *s = &meta->configuration.servers[i];
        base.config.members[i] = (struct cons_member){
            .replica_id = s->id,
            .store_id = strtoull(s->address, NULL, 10),
            .role = (enum cons_role)s->role,
        };
    }
    free(c->install);
    c->install = malloc(sizeof *c->install);
    if (c->install == NULL) {
        consensus_break(c, ERR_NOMEM, "out of memory");
        return;
    }
    c->is_installing = true;
    *c->install = base;
    if (guard_on(c, GUARD_T8))
        writes_forget_entries(&c->writes, base.index); /* they are of a log that is gone */
    c->opts.ops->install_snapshot(c->opts.ctx, c->install, from);
}

void consensus_on_snapshot_installed(struct consensus *c, uint64_t now_ms, uint64_t index)
{
    if (!consensus_enter(c, now_ms))
        return;
    ASSERT(c->is_installing);
    ASSERT(index == c->install->index);
    struct raft_event event = step_make(c, RAFT_PERSISTED_SNAPSHOT);
    if (library_metadata_make(c->install, &event.persisted_snapshot.metadata) != 0) {
        consensus_break(c, ERR_NOMEM, "out of memory");
    } else {
        c->is_installing = false;
        c->applied = index;
        configs_init(&c->configs, c->install);
        free(c->install);
        c->install = NULL;
        event.persisted_snapshot.offset = 0;
        event.persisted_snapshot.last = true;
        step_event(c, &event, NULL);
    }
    consensus_leave(c);
}
