/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/lib_internal.h"

/* A call of that kind to one store, or to whichever should know. The endpoint stands
 * in call->data, with its NUL. */
static int ask_new(struct hf_client *client, enum request_kind kind, const char *endpoint,
                   const struct hf_call *options, struct call **ret_call, struct err *err)
{
    struct call *call = NULL;
    if (endpoint != NULL && strlen(endpoint) > ADDRESS_MAX)
        return err_set(err, HF_ERR_INVALID, "an endpoint of %zu bytes, limit %d", strlen(endpoint),
                       ADDRESS_MAX);
    int rv = call_new(client, kind, options, &call, err);
    if (rv != 0)
        return rv;
    if (endpoint != NULL) {
        buf_append(&call->data, endpoint, strlen(endpoint) + 1);
        if (call->data.failed) {
            call_free(call);
            return HF_ERR_NOMEM;
        }
        call->op.endpoint = (const char *)call->data.data;
    }
    *ret_call = call;
    return 0;
}

/* Those that say no more than their kind. */
static int ask(struct hf_client *client, enum request_kind kind, const char *endpoint,
               const struct hf_call *options, const struct hf_then *then,
               struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = ask_new(client, kind, endpoint, options, &call, &err);
    return rv != 0 ? call_refuse(call, rv, &err, ret_result) : call_go(call, then, ret_result);
}

int hf_status(struct hf_client *client, const char *endpoint, const struct hf_call *call,
              struct hf_result **ret_result)
{
    return ask(client, REQUEST_STATUS, endpoint, call, NULL, ret_result);
}

int hf_status_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                    const struct hf_then *then)
{
    return ask(client, REQUEST_STATUS, endpoint, call, somewhere(then), NULL);
}

int hf_identify(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                struct hf_result **ret_result)
{
    return ask(client, REQUEST_IDENTIFY, endpoint, call, NULL, ret_result);
}

int hf_identify_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                      const struct hf_then *then)
{
    return ask(client, REQUEST_IDENTIFY, endpoint, call, somewhere(then), NULL);
}

int hf_stats(struct hf_client *client, const char *endpoint, const struct hf_call *call,
             struct hf_result **ret_result)
{
    return ask(client, REQUEST_STATS, endpoint, call, NULL, ret_result);
}

int hf_stats_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                   const struct hf_then *then)
{
    return ask(client, REQUEST_STATS, endpoint, call, somewhere(then), NULL);
}

int hf_flush(struct hf_client *client, const char *endpoint, const struct hf_call *call,
             struct hf_result **ret_result)
{
    return ask(client, REQUEST_FLUSH, endpoint, call, NULL, ret_result);
}

int hf_flush_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                   const struct hf_then *then)
{
    return ask(client, REQUEST_FLUSH, endpoint, call, somewhere(then), NULL);
}

/* ---- one range ------------------------------------------------------------------------- */

/* Can it be a place in the space of all keys? */
static int place_check(struct hf_bytes place, struct err *err)
{
    if (place.len > DESCRIPTOR_KEY_MAX)
        return err_set(err, HF_ERR_INVALID, "a place of %zu bytes, limit %d", place.len,
                       DESCRIPTOR_KEY_MAX);
    return bytes_check(place, "the place", err);
}

static int range_status(struct hf_client *client, const char *endpoint, uint64_t range_id,
                        struct hf_bytes place, const struct hf_call *options,
                        const struct hf_then *then, struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = place_check(place, &err);
    if (rv == 0)
        rv = ask_new(client, REQUEST_STATUS, endpoint, options, &call, &err);
    if (rv == 0) {
        buf_append(&call->keys, place.data, place.len);
        rv = call->keys.failed ? HF_ERR_NOMEM : 0;
    }
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.range_id = range_id;
    call->op.request.status.key = buf_slice(&call->keys);
    call->op.request.status.wants_size = true;
    return call_go(call, then, ret_result);
}

int hf_range_status(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    struct hf_bytes place, const struct hf_call *call,
                    struct hf_result **ret_result)
{
    return range_status(client, endpoint, range_id, place, call, NULL, ret_result);
}

int hf_range_status_async(struct hf_client *client, const char *endpoint, uint64_t range_id,
                          struct hf_bytes place, const struct hf_call *call,
                          const struct hf_then *then)
{
    return range_status(client, endpoint, range_id, place, call, somewhere(then), NULL);
}

static int split_fill(struct call *call, const struct hf_split *split)
{
    struct request_split *to = &call->op.request.split;
    buf_append(&call->keys, split->place.data, split->place.len);
    if (call->keys.failed)
        return HF_ERR_NOMEM;
    *to = (struct request_split){
        .key = buf_slice(&call->keys),
        .conf_epoch = split->conf_epoch,
        .new_range_id = split->new_range_id,
        .child_count = (uint32_t)split->count,
    };
    for (size_t i = 0; i < split->count; i++)
        to->children[i] = (struct request_child){.store_id = split->store_ids[i],
                                                 .replica_id = split->new_replica_ids[i]};
    call->op.range_id = split->range_id;
    call->op.span_epoch = split->span_epoch;
    return 0;
}

static int split_check(const struct hf_split *split, struct err *err)
{
    if (split == NULL || split->size < sizeof *split)
        return err_set(err, HF_ERR_INVALID, "struct hf_split: NULL, or no size");
    if (split->range_id == 0 || split->span_epoch == 0 || split->new_range_id == 0)
        return err_set(err, HF_ERR_INVALID,
                       "a split wants the ids of both ranges and the span's epoch");
    if (split->count == 0 || split->count > DESCRIPTOR_MEMBERS_MAX || split->store_ids == NULL ||
        split->new_replica_ids == NULL)
        return err_set(err, HF_ERR_INVALID,
                       "a split wants the new replica of each of 1 to %d members",
                       DESCRIPTOR_MEMBERS_MAX);
    if (split->place.len == 0)
        return err_set(err, HF_ERR_INVALID, "a split wants a place");
    return place_check(split->place, err);
}

static int split_go(struct hf_client *client, const struct hf_split *split,
                    const struct hf_call *options, const struct hf_then *then,
                    struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = split_check(split, &err);
    if (rv == 0)
        rv = ask_new(client, REQUEST_SPLIT, NULL, options, &call, &err);
    if (rv == 0)
        rv = split_fill(call, split);
    return rv != 0 ? call_refuse(call, rv, &err, ret_result) : call_go(call, then, ret_result);
}

int hf_range_split(struct hf_client *client, const struct hf_split *split,
                   const struct hf_call *call, struct hf_result **ret_result)
{
    return split_go(client, split, call, NULL, ret_result);
}

int hf_range_split_async(struct hf_client *client, const struct hf_split *split,
                         const struct hf_call *call, const struct hf_then *then)
{
    return split_go(client, split, call, somewhere(then), NULL);
}

static int merge_check(const struct hf_merge *merge, struct err *err)
{
    if (merge == NULL || merge->size < sizeof *merge)
        return err_set(err, HF_ERR_INVALID, "struct hf_merge: NULL, or no size");
    if (merge->range_id == 0 || merge->span_epoch == 0 || merge->right_range_id == 0)
        return err_set(err, HF_ERR_INVALID,
                       "a merge wants the ids of both ranges and the span's epoch of the left one");
    return 0;
}

static int merge_go(struct hf_client *client, const struct hf_merge *merge,
                    const struct hf_call *options, const struct hf_then *then,
                    struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = merge_check(merge, &err);
    if (rv == 0)
        rv = ask_new(client, REQUEST_MERGE, NULL, options, &call, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.range_id = merge->range_id;
    call->op.span_epoch = merge->span_epoch;
    call->op.request.merge = (struct request_merge){
        .conf_epoch = merge->conf_epoch,
        .right_range = merge->right_range_id,
        .right_conf = merge->right_conf_epoch,
        .right_span = merge->right_span_epoch,
    };
    return call_go(call, then, ret_result);
}

int hf_range_merge(struct hf_client *client, const struct hf_merge *merge,
                   const struct hf_call *call, struct hf_result **ret_result)
{
    return merge_go(client, merge, call, NULL, ret_result);
}

int hf_range_merge_async(struct hf_client *client, const struct hf_merge *merge,
                         const struct hf_call *call, const struct hf_then *then)
{
    return merge_go(client, merge, call, somewhere(then), NULL);
}

/* ---- leadership ---------------------------------------------------------------------------- */

static int transfer(struct hf_client *client, uint64_t replica_id, const struct hf_call *options,
                    const struct hf_then *then, struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = ask_new(client, REQUEST_TRANSFER_LEADER, NULL, options, &call, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.request.transfer_leader.target_replica = replica_id;
    return call_go(call, then, ret_result);
}

int hf_transfer_leader(struct hf_client *client, uint64_t replica_id, const struct hf_call *call,
                       struct hf_result **ret_result)
{
    return transfer(client, replica_id, call, NULL, ret_result);
}

int hf_transfer_leader_async(struct hf_client *client, uint64_t replica_id,
                             const struct hf_call *call, const struct hf_then *then)
{
    return transfer(client, replica_id, call, somewhere(then), NULL);
}

/* ---- are the replicas alike? ----------------------------------------------------------------- */

static int check(struct hf_client *client, enum request_kind kind, const char *endpoint,
                 struct request_check what, const struct hf_call *options,
                 const struct hf_then *then, struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    int rv = 0;
    err_init(&err);
    if (kind == REQUEST_CHECK_RESULT && (endpoint == NULL || what.index == 0))
        rv =
            err_set(&err, HF_ERR_INVALID, "which store is asked, and of the check at which index?");
    if (rv == 0)
        rv = ask_new(client, kind, endpoint, options, &call, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.request.check = what;
    call->op.range_id = what.range_id;
    return call_go(call, then, ret_result);
}

int hf_check_start(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                   struct hf_result **ret_result)
{
    struct request_check what = {.range_id = range_id};
    return check(client, REQUEST_CHECK_START, NULL, what, call, NULL, ret_result);
}

int hf_check_start_async(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                         const struct hf_then *then)
{
    struct request_check what = {.range_id = range_id};
    return check(client, REQUEST_CHECK_START, NULL, what, call, somewhere(then), NULL);
}

int hf_check_result(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    uint64_t index, const struct hf_call *call, struct hf_result **ret_result)
{
    struct request_check what = {.range_id = range_id, .index = index};
    return check(client, REQUEST_CHECK_RESULT, endpoint, what, call, NULL, ret_result);
}

int hf_check_result_async(struct hf_client *client, const char *endpoint, uint64_t range_id,
                          uint64_t index, const struct hf_call *call, const struct hf_then *then)
{
    struct request_check what = {.range_id = range_id, .index = index};
    return check(client, REQUEST_CHECK_RESULT, endpoint, what, call, somewhere(then), NULL);
}

/* ---- placement ------------------------------------------------------------------------------- */

int placement_call(struct hf_client *client, const struct hf_placement_ask *ask,
                   const struct hf_call *options, struct call **ret_call, struct err *err)
{
    struct call *call;
    if (ask == NULL || ask->size < sizeof *ask || ask->verb < 1 || ask->verb > VERB_LAST ||
        ask->value.len > DESCRIPTOR_KEY_MAX || (ask->value.len > 0 && ask->value.data == NULL) ||
        (ask->name != NULL && strlen(ask->name) > TEXT_MAX))
        return err_set(err, HF_ERR_INVALID, "nothing that placement could be asked");
    int rv = ask_new(client, REQUEST_PLACEMENT, NULL, options, &call, err);
    if (rv != 0)
        return rv;
    size_t name_len = ask->name == NULL ? 0 : strlen(ask->name);
    if (name_len > 0)
        buf_append(&call->keys, ask->name, name_len);
    if (ask->value.len > 0)
        buf_append(&call->keys, ask->value.data, ask->value.len);
    if (call->keys.failed) {
        call_free(call);
        return HF_ERR_NOMEM;
    }
    call->op.request.placement = (struct request_placement){
        .verb = (enum placement_verb)ask->verb,
        .id = ask->id,
        .name = slice_of(call->keys.data, name_len),
        .from_store = ask->from_store,
        .to_store = ask->to_store,
    };
    if (ask->value.len > 0)
        call->op.request.placement.value = slice_of(call->keys.data + name_len, ask->value.len);
    *ret_call = call;
    return 0;
}

static int placement(struct hf_client *client, const struct hf_placement_ask *ask,
                     const struct hf_call *options, const struct hf_then *then,
                     struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = placement_call(client, ask, options, &call, &err);
    return rv != 0 ? call_refuse(call, rv, &err, ret_result) : call_go(call, then, ret_result);
}

int hf_placement(struct hf_client *client, const struct hf_placement_ask *ask,
                 const struct hf_call *call, struct hf_result **ret_result)
{
    return placement(client, ask, call, NULL, ret_result);
}

int hf_placement_async(struct hf_client *client, const struct hf_placement_ask *ask,
                       const struct hf_call *call, const struct hf_then *then)
{
    return placement(client, ask, call, somewhere(then), NULL);
}
