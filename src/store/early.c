/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests for votes that come before their replica does: the others have applied a
 * split, this store is about to (tikv PR 8454: dropping them makes a long pause of
 * every split). A few are kept, for a short while.
 */
#include <stdlib.h>

#include "store/store_internal.h"

enum { EARLY_KEPT_US = 2 * 1000 * 1000 };

void early_keep(struct store *store, const struct cons_msg *msg, uint64_t from_store, uint32_t kind,
                struct slice body)
{
    uint64_t now_us = env_now_us(store->env);
    struct early_vote *free_one = NULL;
    if (msg->type != CONS_MSG_VOTE || body.len > EARLY_BODY_MAX)
        return;
    for (size_t i = 0; i < EARLY_VOTES_MAX; i++) {
        struct early_vote *v = &store->early[i];
        bool is_same = v->to == msg->to && v->from == msg->from;
        if (is_same || (free_one == NULL && now_us >= v->until_us))
            free_one = v;
        if (is_same)
            break;
    }
    if (free_one == NULL)
        return; /* as if it was lost on its way: they ask again */
    *free_one = (struct early_vote){
        .to = msg->to,
        .from = msg->from,
        .from_store = from_store,
        .until_us = now_us + EARLY_KEPT_US,
        .kind = kind,
        .len = (uint32_t)body.len,
    };
    memcpy(free_one->body, body.data, body.len);
}

void early_deliver(struct replica *r)
{
    struct store *store = r->store;
    uint64_t now_us = env_now_us(store->env);
    for (size_t i = 0; i < EARLY_VOTES_MAX; i++) {
        struct early_vote *v = &store->early[i];
        if (v->to != r->replica_id || !replica_is_up(r)) /* the dormant one wakes for it */
            continue;
        v->to = 0;
        if (now_us < v->until_us)
            store_on_peer_message(store, v->from_store, v->kind, slice_of(v->body, v->len), NULL);
        v->until_us = 0;
    }
}
