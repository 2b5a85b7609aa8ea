/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

struct cons_config rig_config(const char *text)
{
    struct cons_config config = {0};
    int used = 0;
    unsigned id = 0;
    char role = 0;
    for (; sscanf(text, " %u%c%n", &id, &role, &used) == 2; text += used) {
        ASSERT(config.n < CONS_MEMBERS_MAX);
        config.members[config.n++] = (struct cons_member){
            .replica_id = id,
            .store_id = 100 + id,
            .role = role == 'V'   ? CONS_VOTER
                    : role == 'L' ? CONS_LEARNER
                                  : (enum cons_role)2,
        };
    }
    return config;
}

static void rig_on_send(void *data, struct member *m, const struct cons_msg *msg)
{
    struct rig *r = data;
    (void)m;
    ASSERT(r->n_sent < RIG_SENT_MAX);
    r->sent[r->n_sent++] = *msg; /* entries are borrowed: only their number counts */
}

static const struct member_host rig_host = {.send = rig_on_send};

void rig_init(struct rig *r, uint64_t id, uint64_t guards_off)
{
    struct cons_options opts = {
        .replica_id = id,
        .group_id = 7,
        .store_id = 100 + id,
        .election_timeout_ms = RIG_ET,
        .heartbeat_ms = RIG_HB,
        .no_pre_vote = true,
        .seed = id,
    };
    r->now = 1000;
    r->n_sent = 0;
    member_init(&r->m, &opts, &rig_host, r);
    r->m.guards_off = guards_off;
}

void rig_open(struct rig *r, uint64_t id, uint64_t guards_off, const char *config, uint64_t term,
              uint64_t vote, uint32_t n, uint64_t term_of_entries)
{
    struct cons_base base = {
        .index = RIG_BORN,
        .term = RIG_TERM,
        .config_index = RIG_BORN,
        .config = rig_config(config != NULL ? config : "1V 2V 3V"),
    };
    rig_init(r, id, guards_off);
    member_bear(&r->m, &base, term, vote);
    for (uint32_t i = 0; i < n; i++)
        member_disk_append(&r->m, term_of_entries, CONS_COMMAND, slice_str("x"));
    int rv = member_start(&r->m, r->now);
    ASSERT(rv == 0);
    rig_persist(r);
}

void rig_close(struct rig *r)
{
    member_fini(&r->m);
}

void rig_clear(struct rig *r)
{
    r->n_sent = 0;
}

const struct cons_msg *rig_last(const struct rig *r, enum cons_msg_type type, uint64_t to)
{
    for (uint32_t i = r->n_sent; i > 0; i--) {
        const struct cons_msg *msg = &r->sent[i - 1];
        if (msg->type == type && (to == 0 || msg->to == to))
            return msg;
    }
    return NULL;
}

uint32_t rig_count(const struct rig *r, enum cons_msg_type type)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_sent; i++)
        n += r->sent[i].type == type;
    return n;
}

struct cons_msg rig_msg(const struct rig *r, enum cons_msg_type type, uint64_t from, uint64_t term)
{
    return (struct cons_msg){
        .type = type,
        .version = 2,
        .group_id = r->m.opts.group_id,
        .from = from,
        .to = r->m.opts.replica_id,
        .term = term,
    };
}

int rig_receive(struct rig *r, const struct cons_msg *msg)
{
    int rv = consensus_receive(r->m.c, r->now, msg, NULL);
    consensus_check(r->m.c);
    return rv;
}

int rig_append(struct rig *r, uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
               uint64_t commit, const struct rig_entry *entries, uint32_t n)
{
    static uint8_t bytes[32][CONS_CONFIG_LEN_MAX]; /* one test at a time */
    struct cons_entry es[32];
    struct cons_msg msg = rig_msg(r, CONS_MSG_APPEND, from, term);

    ASSERT(n <= ARRAY_LEN(es));
    for (uint32_t i = 0; i < n; i++) {
        es[i] = (struct cons_entry){
            .term = entries[i].term, .type = CONS_COMMAND, .data = slice_str("y")};
        if (entries[i].config == NULL)
            continue;
        struct cons_config config = rig_config(entries[i].config);
        es[i].type = CONS_CHANGE;
        es[i].data = slice_of(bytes[i], cons_config_encode(&config, bytes[i]));
    }
    msg.append = (struct cons_msg_append){
        .prev_index = prev,
        .prev_term = prev_term,
        .commit = commit,
        .entries = n > 0 ? es : NULL,
        .n = n,
    };
    return rig_receive(r, &msg);
}

int rig_append_result(struct rig *r, uint64_t from, uint64_t term, uint64_t rejected, uint64_t last)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_APPEND_RESULT, from, term);
    msg.append_result.rejected = rejected;
    msg.append_result.last_index = last;
    return rig_receive(r, &msg);
}

int rig_vote(struct rig *r, uint64_t from, uint64_t term, uint64_t last, uint64_t last_term)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_VOTE, from, term);
    msg.vote.last_index = last;
    msg.vote.last_term = last_term;
    return rig_receive(r, &msg);
}

int rig_vote_result(struct rig *r, uint64_t from, uint64_t term, bool granted)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_VOTE_RESULT, from, term);
    msg.vote_result.granted = granted;
    return rig_receive(r, &msg);
}

int rig_snapshot(struct rig *r, uint64_t from, uint64_t term, uint64_t index, uint64_t index_term,
                 const char *config)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_SNAPSHOT, from, term);
    msg.snapshot = (struct cons_base){
        .index = index,
        .term = index_term,
        .config_index = RIG_BORN,
        .config = rig_config(config),
    };
    if (!r->m.is_installing)
        r->m.staged = (struct mstate){.base = msg.snapshot, .chain = index};
    return rig_receive(r, &msg);
}

int rig_timeout_now(struct rig *r, uint64_t from, uint64_t term, uint64_t last, uint64_t last_term)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_TIMEOUT_NOW, from, term);
    msg.timeout_now.last_index = last;
    msg.timeout_now.last_term = last_term;
    return rig_receive(r, &msg);
}

int rig_probe_result(struct rig *r, uint64_t from, uint64_t term, uint64_t number)
{
    struct cons_msg msg = rig_msg(r, CONS_MSG_PROBE_RESULT, from, term);
    msg.probe.number = number;
    return rig_receive(r, &msg);
}

void rig_persist(struct rig *r)
{
    member_persist_all(&r->m, r->now);
    consensus_check(r->m.c);
}

void rig_tick(struct rig *r, uint64_t ms)
{
    r->now += ms;
    consensus_tick(r->m.c, r->now);
    consensus_check(r->m.c);
}

uint64_t rig_propose(struct rig *r, uint32_t n)
{
    struct slice data[64];
    uint64_t first = 0;
    ASSERT(n <= ARRAY_LEN(data));
    for (uint32_t i = 0; i < n; i++)
        data[i] = slice_str("z");
    if (consensus_propose(r->m.c, r->now, data, n, &first) != 0)
        return 0;
    consensus_check(r->m.c);
    return first;
}

void rig_lead(struct rig *r, uint64_t voter)
{
    consensus_campaign(r->m.c, r->now);
    rig_persist(r);
    rig_vote_result(r, voter, consensus_term(r->m.c), true);
    rig_persist(r);
    ASSERT(consensus_is_leader(r->m.c));
}

void rig_settle(struct rig *r, uint64_t peer)
{
    rig_persist(r);
    rig_append_result(r, peer, consensus_term(r->m.c), 0, consensus_last_index(r->m.c));
    member_apply(&r->m, r->now);
}

void rig_open_leader(struct rig *r, uint64_t guards_off, const char *config)
{
    rig_open(r, 1, guards_off, config, 5, 0, 0, 0);
    rig_lead(r, 2);
    rig_settle(r, 2);
    rig_append_result(r, 3, 6, 0, 11);
    rig_clear(r);
}

static void rig_route(struct rig *const *rigs, uint32_t n, struct rig *from)
{
    uint32_t n_sent = from->n_sent;
    static struct cons_msg batch[RIG_SENT_MAX];
    memcpy(batch, from->sent, n_sent * sizeof batch[0]);
    from->n_sent = 0;
    for (uint32_t k = 0; k < n_sent; k++) {
        for (uint32_t i = 0; i < n; i++) {
            if (rigs[i]->m.opts.replica_id != batch[k].to || batch[k].type == CONS_MSG_APPEND)
                continue;
            rig_receive(rigs[i], &batch[k]);
            rig_persist(rigs[i]);
        }
    }
}

bool rig_elect(struct rig *const *rigs, uint32_t n, uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t++) {
        for (uint32_t i = 0; i < n; i++) {
            rig_tick(rigs[i], 1);
            rig_persist(rigs[i]);
            rig_route(rigs, n, rigs[i]);
        }
        for (uint32_t i = 0; i < n; i++) {
            if (consensus_is_leader(rigs[i]->m.c))
                return true;
        }
    }
    return false;
}
