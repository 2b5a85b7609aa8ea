/* SPDX-License-Identifier: Apache-2.0
 *
 * peers — what a leader knows of the other members: when it last heard of them, how
 * many bytes are on their way, whether a snapshot is.
 */
#include <stdlib.h>

#include "base/plant.h"
#include "consensus/consensus_internal.h"

struct cons_peer *peer_find(const struct consensus *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->n_peers; i++) {
        if (c->peers[i].id == id)
            return &c->peers[i];
    }
    return NULL;
}

bool peer_is_live(const struct consensus *c, uint64_t id)
{
    if (id == c->opts.replica_id)
        return true;
    const struct cons_peer *p = peer_find(c, id);
    return p != NULL && p->is_heard && c->now_ms - p->heard_ms < c->opts.election_timeout_ms;
}

bool peer_is_surely_live(const struct consensus *c, uint64_t id)
{
    const struct cons_peer *p = peer_find(c, id);
    bool has_answered = p == NULL || p->has_answered || PLANTED(doubts_nobody);
    return peer_is_live(c, id) && has_answered;
}

void peers_doubt(struct consensus *c)
{
    for (uint32_t i = 0; i < c->n_peers; i++)
        c->peers[i].has_answered = false;
}

/* The only place that changes sent_bytes: the budget goes with it. */
static void peer_set_sent(struct cons_peer *p, uint64_t bytes)
{
    if (p->used != NULL) {
        ASSERT(*p->used >= p->sent_bytes);
        *p->used += bytes - p->sent_bytes;
    }
    p->sent_bytes = bytes;
}

bool peer_is_silent(const struct consensus *c, const struct cons_peer *p)
{
    uint64_t since_ms = p->is_heard ? MAX(p->heard_ms, c->lead_ms) : c->lead_ms;
    return c->now_ms - MIN(since_ms, c->now_ms) >= c->opts.election_timeout_ms;
}

void peers_forgive(struct consensus *c)
{
    for (uint32_t i = 0; i < c->n_peers; i++) {
        struct cons_peer *p = &c->peers[i];
        if (p->n_sent == 0 || !peer_is_silent(c, p))
            continue;
        p->n_sent = 0;
        peer_set_sent(p, 0);
    }
}

void peer_heard(struct consensus *c, uint64_t id)
{
    struct cons_peer *p = peer_find(c, id);
    if (p == NULL)
        return;
    p->is_heard = p->has_answered = true;
    p->heard_ms = c->now_ms;
}

void cons_budget_init(struct cons_budget *budget, uint64_t max)
{
    budget->max = max;
    map_init(&budget->used);
}

void cons_budget_fini(struct cons_budget *budget)
{
    uint32_t cursor = 0;
    uint64_t *used;
    while ((used = map_next(&budget->used, &cursor, NULL)) != NULL) {
        ASSERT(*used == 0);
        free(used);
    }
    map_fini(&budget->used);
}

uint64_t *cons_budget_used(struct cons_budget *budget, uint64_t store_id)
{
    uint64_t *used = map_get(&budget->used, store_id);
    if (used != NULL)
        return used;
    used = calloc(1, sizeof *used);
    if (used != NULL && map_put(&budget->used, store_id, used) == 0)
        return used;
    free(used);
    return NULL;
}

bool peer_is_laden(const struct consensus *c, const struct cons_peer *p)
{
    if (!guard_on(c, GUARD_INFLIGHT))
        return false;
    return p->sent_bytes >= c->opts.inflight_bytes_max ||
           (p->used != NULL && *p->used >= c->opts.inflight->max);
}

int peers_rebuild(struct consensus *c)
{
    const struct cons_config *config = &configs_latest(&c->configs)->config;
    struct cons_peer *peers = calloc(config->n + 1, sizeof *peers);
    uint32_t n = 0;

    ASSERT(c->state == CONS_LEADER);
    if (peers == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t id = config->members[i].replica_id;
        if (id == c->opts.replica_id)
            continue;
        const struct cons_peer *old = peer_find(c, id);
        if (old != NULL)
            peers[n] = *old;
        else if (c->opts.inflight != NULL)
            peers[n].used = cons_budget_used(c->opts.inflight, config->members[i].store_id);
        if (c->opts.inflight != NULL && peers[n].used == NULL) {
            free(peers);
            return ERR_NOMEM;
        }
        peers[n++].id = id;
    }
    for (uint32_t i = 0; i < c->n_peers; i++) {
        if (cons_config_find(config, c->peers[i].id) == NULL)
            peer_set_sent(&c->peers[i], 0);
    }
    free(c->peers);
    c->peers = peers;
    c->n_peers = n;
    return 0;
}

void peers_clear(struct consensus *c)
{
    for (uint32_t i = 0; i < c->n_peers; i++)
        peer_set_sent(&c->peers[i], 0);
    free(c->peers);
    c->peers = NULL;
    c->n_peers = 0;
}

uint64_t peer_match(const struct consensus *c, uint64_t id)
{
    raft_index match = 0;
    if (c->state != CONS_LEADER)
        return 0;
    if (id == c->opts.replica_id)
        return c->raft.last_stored;
    return raft_match_index(&c->raft, id, &match) == 0 ? match : 0;
}

void peer_acked(struct consensus *c, struct cons_peer *p)
{
    uint64_t match = peer_match(c, p->id);
    uint32_t k = 0;
    while (k < p->n_sent && p->sent[k].last <= match) {
        ASSERT(p->sent_bytes >= p->sent[k].bytes);
        peer_set_sent(p, p->sent_bytes - p->sent[k].bytes);
        k++;
    }
    p->n_sent -= k;
    memmove(p->sent, p->sent + k, p->n_sent * sizeof p->sent[0]);
}

void peer_rewind(const struct consensus *c, struct cons_peer *p, uint64_t prev_index)
{
    if (prev_index >= p->sent_high)
        return;
    p->n_sent = 0;
    peer_set_sent(p, 0);
    p->sent_high = prev_index;
    p->rewound_ms = c->now_ms;
    p->rewound_index = prev_index;
}

bool peer_has_rewound(const struct consensus *c, const struct cons_peer *p, uint64_t rejected)
{
    return p->rewound_index > 0 && rejected > p->rewound_index &&
           c->now_ms - p->rewound_ms < c->opts.heartbeat_ms;
}

void peer_sent(struct cons_peer *p, uint64_t last, uint64_t bytes)
{
    p->sent_high = last;
    peer_set_sent(p, p->sent_bytes + bytes);
    if (p->n_sent < CONS_SENT_MAX)
        p->n_sent++;
    else
        bytes += p->sent[p->n_sent - 1].bytes; /* merge into the last run */
    p->sent[p->n_sent - 1].last = last;
    p->sent[p->n_sent - 1].bytes = bytes;
    ASSERT(p->n_sent <= CONS_SENT_MAX);
}
