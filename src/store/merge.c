/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages about merges, and what both sides have in common.
 */
#include "store/merge.h"

#include <stdlib.h>

#include "store/store_internal.h"

/* What a store says to itself: delivered at the end of the turn, like what it says to
 * others, so that nobody is called from inside its own call. */
struct letter {
    struct list in_letters;
    size_t len;
    uint8_t body[];
};

static void encode(struct buf *frames, const struct merge_msg *msg)
{
    buf_clear(frames);
    size_t start = frame_begin(frames);
    merge_msg_encode(frames, msg);
    frame_end(frames, start, false);
}

static void send_here(struct store *store, const struct merge_msg *msg)
{
    struct buf body;
    if (store->letter_count >= MERGE_LETTERS_MAX)
        return;
    buf_init(&body, FRAME_BODY_MAX);
    merge_msg_encode(&body, msg);
    struct letter *letter = body.failed ? NULL : malloc(sizeof *letter + body.len);
    if (letter != NULL) {
        letter->len = body.len;
        memcpy(letter->body, body.data, body.len);
        list_init(&letter->in_letters);
        list_push_back(&store->letters, &letter->in_letters);
        store->letter_count++;
        env_task_post(store->env, &store->post);
    }
    buf_fini(&body);
}

void merge_post(struct env_task *task)
{
    struct store *store = task->data;
    struct list letters;
    struct list *link;
    list_init(&letters);
    while ((link = list_pop_front(&store->letters)) != NULL)
        list_push_back(&letters, link);
    store->letter_count = 0;
    while ((link = list_pop_front(&letters)) != NULL) {
        struct letter *letter = list_entry(link, struct letter, in_letters);
        merge_on_message(store, store->opt.store_id, slice_of(letter->body, letter->len), NULL);
        free(letter);
    }
}

void merge_free_letters(struct store *store)
{
    struct list *link;
    while ((link = list_pop_front(&store->letters)) != NULL)
        free(list_entry(link, struct letter, in_letters));
}

void merge_send(struct store *store, uint64_t to_store, const struct merge_msg *msg)
{
    if (to_store == store->opt.store_id) {
        send_here(store, msg);
        return;
    }
    struct net_peer *peer = net_peer_find(store->net, to_store);
    if (peer == NULL || !net_peer_is_up(peer) || env_fault(store->env, "store.send.drop"))
        return;
    encode(&store->frames, msg);
    if (!store->frames.failed)
        net_peer_send(peer, NET_URGENT, buf_slice(&store->frames));
}

void merge_send_all(struct store *store, const struct merge_msg *msg)
{
    const struct book_entry *e;
    for (uint32_t i = 0; (e = book_at(&store->book, i)) != NULL; i++) {
        if (!e->is_removed)
            merge_send(store, e->store_id, msg);
    }
}

int merge_on_message(struct store *store, uint64_t from_store, struct slice body, struct err *err)
{
    struct merge_msg msg;
    int rv = merge_msg_decode(body, &msg, err);
    if (rv != 0)
        return rv;
    merge_left_on_message(store, from_store, &msg);
    merge_right_on_message(store, from_store, &msg);
    return 0;
}

bool merge_all_hold(const struct replica *r, uint64_t index)
{
    struct cons_status s;
    consensus_status(r->cons, &s);
    for (uint32_t i = 0; i < s.n_members; i++) {
        if (s.members[i].match < index)
            return false;
    }
    return s.state == CONS_LEADER;
}

void merge_turn(struct replica *r)
{
    if (!replica_is_leader(r)) {
        merge_stop(r);
        return;
    }
    merge_left_turn(r);
    merge_right_turn(r);
}

bool merge_is_active(const struct replica *r)
{
    return r->merge.drive != NULL || r->merge.freeze_index != 0 || r->merge.frozen_us != 0;
}

void merge_on_applied(struct replica *r, const struct range_admin *admin, int status)
{
    merge_left_on_applied(r, admin, status);
    if (r->merge.freeze_index <= range_meta(r->range)->applied_index)
        r->merge.freeze_index = 0;
    replica_wake(r);
}

void merge_stop(struct replica *r)
{
    merge_left_stop(r);
    r->merge = (struct merge_care){0};
}

void merge_free(struct replica *r)
{
    free(r->merge.drive);
    r->merge.drive = NULL;
}
