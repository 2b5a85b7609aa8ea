/* SPDX-License-Identifier: Apache-2.0
 *
 * asks — linearizable reads on a member that does not lead.
 *
 *   follower: READ_ASK, fresh number ──▶ leader: confirms that it leads (reads.c), after
 *                                        the question came
 *   applied >= index: served ◀── READ_ANSWER, number, commit index of then ──
 *
 * Whatever term the leader confirmed itself in: the index covers everything that was
 * acknowledged before the question. One question is on its way at a time; reads that come
 * meanwhile wait for the next. An answer counts for the very attempt alone, and numbers
 * begin at random: those of before a restart must mean nothing.
 */
#include <stdlib.h>

#include "consensus/consensus_internal.h"

/* A member's question, as its leader keeps it. */
struct cons_ask {
    struct consensus *c;
    uint64_t from; /* replica id; 0: free */
    uint64_t number;
    struct cons_read read;
};

enum { ASK_TIMEOUTS = 2 }; /* election timeouts that one is worth keeping */

void asks_fini(struct consensus *c)
{
    free(c->asks);
    c->asks = NULL;
}

static void ask_confirmed(struct cons_read *read, int status, uint64_t index)
{
    struct cons_ask *ask = read->data;
    struct consensus *c = ask->c;
    struct cons_msg msg = outbox_make(c, CONS_MSG_READ_ANSWER, ask->from);
    msg.read = (struct cons_msg_read){.number = ask->number, .index = index};
    msg.term = c->writes.durable_term;
    ask->from = 0;
    if (status == 0 && msg.term > 0)
        c->opts.ops->send(c->opts.ctx, &msg);
}

static struct cons_ask *ask_of(struct consensus *c, uint64_t from)
{
    struct cons_ask *found = NULL;
    if (c->asks == NULL)
        c->asks = calloc(CONS_MEMBERS_MAX, sizeof *c->asks);
    for (uint32_t i = 0; c->asks != NULL && i < CONS_MEMBERS_MAX; i++) {
        if (c->asks[i].from == from)
            return &c->asks[i];
        if (c->asks[i].from == 0)
            found = &c->asks[i];
    }
    return found;
}

void asks_on_ask(struct consensus *c, const struct cons_msg *msg)
{
    if (c->state != CONS_LEADER || peer_find(c, msg->from) == NULL)
        return; /* it asks again, or another */
    struct cons_ask *ask = ask_of(c, msg->from);
    if (ask == NULL) {
        c->n_dropped++;
        return;
    }
    if (ask->from != 0) /* an older question of the same: nobody waits for it any more */
        consensus_read_cancel(c, &ask->read);
    *ask = (struct cons_ask){.c = c, .from = msg->from, .number = msg->read.number};
    ask->read.data = ask;
    ask->read.cb = ask_confirmed;
    ask->read.confirm_only = true;
    ask->read.deadline_ms = c->real_ms + (uint64_t)ASK_TIMEOUTS * c->opts.election_timeout_ms;
    if (consensus_read(c, &ask->read) != 0)
        ask->from = 0;
}
