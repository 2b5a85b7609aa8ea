/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyspaces by name, and what a hashed one makes of keys: each stands behind its slot, which
 * is put in front of what goes out and taken off what comes in, here and nowhere else.
 */
#include <stdlib.h>

#include "base/text.h"
#include "client/lib/lib_internal.h"

static const struct opened *opened_find(const struct hf_client *client, uint32_t keyspace)
{
    uint32_t count = atomic_load_explicit(&client->opened_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        if (client->opened[i].keyspace == keyspace)
            return &client->opened[i];
    }
    return NULL;
}

static bool has_name(uint32_t keyspace)
{
    return keyspace >= KEYSPACE_NAMED_FIRST && keyspace <= KEYSPACE_NAMED_LAST;
}

uint32_t client_slots(const struct hf_client *client, uint32_t keyspace)
{
    const struct opened *o = has_name(keyspace) ? opened_find(client, keyspace) : NULL;
    return o == NULL ? 0 : o->slots;
}

int client_may_read(const struct hf_client *client, uint32_t keyspace, struct err *err)
{
    if (!has_name(keyspace) || opened_find(client, keyspace) != NULL)
        return 0;
    return err_set(err, HF_ERR_INVALID,
                   "keyspace %u has a name, and this client has not opened it by that: "
                   "hf_keyspace_open()",
                   keyspace);
}

int client_may_write(const struct hf_client *client, uint32_t keyspace, struct err *err)
{
    if (keyspace > KEYSPACE_NAMED_LAST)
        return err_set(err, HF_ERR_INVALID, "keyspace %u is the cluster's own", keyspace);
    return client_may_read(client, keyspace, err);
}

/* Remember it for all calls to come. */
static int learn(struct hf_client *client, uint32_t keyspace, uint32_t slots)
{
    int rv = 0;
    env_uv_mutex_lock(&client->lock);
    uint32_t count = atomic_load_explicit(&client->opened_count, memory_order_relaxed);
    if (opened_find(client, keyspace) == NULL) {
        if (count < OPENED_MAX) {
            client->opened[count] = (struct opened){.keyspace = keyspace, .slots = slots};
            atomic_store_explicit(&client->opened_count, count + 1, memory_order_release);
        } else {
            rv = HF_ERR_STATE;
        }
    }
    env_uv_mutex_unlock(&client->lock);
    return rv;
}

/* ---- keys -------------------------------------------------------------------------------- */

int slot_key(uint32_t slots, struct slice key, struct buf *out, struct err *err)
{
    uint8_t slot[KEYSPACE_SLOT_LEN];
    size_t limit = slots > 0 ? KEY_WIRE_MAX - KEYSPACE_SLOT_LEN : KEY_WIRE_MAX;
    if (key.len > limit)
        return err_set(err, HF_ERR_TOO_LARGE, "a key of %zu bytes, limit %zu%s", key.len, limit,
                       slots > 0 ? " in a hashed keyspace" : "");
    if (slots > 0) {
        keyspace_put_slot(slot, keyspace_slot(key, slots));
        buf_append(out, slot, sizeof slot);
    }
    buf_append_slice(out, key);
    return out->failed ? HF_ERR_NOMEM : 0;
}

/* The operations of `decoded` with their slots in front, encoded into `out`; the first key,
 * too, goes to `first`. */
static int encode_slotted(uint32_t slots, struct command *decoded, struct op *ops, struct buf *out,
                          struct buf *first, struct err *err)
{
    struct buf keys;
    size_t room = 0;
    size_t at = 0;
    int rv = 0;
    for (uint32_t i = 0; i < decoded->op_count; i++)
        room += ops[i].key.len + KEYSPACE_SLOT_LEN;
    buf_init(&keys, room);
    if (buf_reserve(&keys, room) != 0) /* slices point into it: it must not move */
        rv = HF_ERR_NOMEM;
    for (uint32_t i = 0; i < decoded->op_count && rv == 0; i++) {
        rv = slot_key(slots, ops[i].key, &keys, err);
        ops[i].key = slice_of(keys.data + at, keys.len - at);
        at = keys.len;
    }
    if (rv == 0) {
        buf_append_slice(first, ops[0].key);
        command_encode(out, decoded);
        rv = out->failed || first->failed ? HF_ERR_NOMEM : 0;
    }
    buf_fini(&keys);
    return rv;
}

int slot_command(uint32_t slots, const struct command *command, struct slice encoded,
                 struct buf *out, struct buf *first, struct err *err)
{
    struct command_limits limits = command_limits_default;
    struct command decoded;
    struct buf plain;
    limits.command_max = SIZE_MAX; /* the caller looks at what comes of it */
    struct op *ops = malloc(command->op_count * sizeof *ops);
    buf_init(&plain, SIZE_MAX);
    command_encode_ops(&plain, command, encoded);
    int rv = ops == NULL || plain.failed ? HF_ERR_NOMEM : 0;
    if (rv == 0)
        rv = command_decode(buf_slice(&plain), &limits, ops, command->op_count, &decoded, err);
    if (rv == 0)
        rv = encode_slotted(slots, &decoded, ops, out, first, err);
    buf_fini(&plain);
    free(ops);
    return rv;
}

/* ---- opening ------------------------------------------------------------------------------- */

static const char *cell(const struct hf_table *table, const char *column)
{
    for (size_t c = 0; c < table->column_count && table->row_count > 0; c++) {
        if (strcmp(table->columns[c], column) == 0)
            return table->cells[c];
    }
    return "";
}

/* From what placement told of the one called `name`. */
static int take_table(struct hf_client *client, const struct hf_table *table, struct slice name,
                      uint32_t *ret_keyspace)
{
    uint64_t id = 0;
    uint64_t slots = 0;
    if (text_parse_u64(slice_str(cell(table, "#keyspace")), &id) != 0 ||
        text_parse_u64(slice_str(cell(table, "#slots")), &slots) != 0 ||
        id < KEYSPACE_NAMED_FIRST || id > KEYSPACE_NAMED_LAST || slots > KEYSPACE_SLOTS_MAX ||
        !slice_equal(slice_str(cell(table, "name")), name))
        return HF_ERR_CORRUPT;
    if (strcmp(cell(table, "state"), "dropping") == 0)
        return HF_ERR_NOT_FOUND;
    int rv = learn(client, (uint32_t)id, (uint32_t)slots);
    if (rv == 0)
        *ret_keyspace = (uint32_t)id;
    return rv;
}

int keyspace_take(const struct call *call, int code, struct hf_result *result)
{
    if (code != 0)
        return code;
    if (result == NULL || result->table == NULL)
        return HF_ERR_NOMEM;
    int rv =
        take_table(call->client, result->table, call->op.request.placement.name, &result->keyspace);
    result->code = rv;
    if (rv == HF_ERR_STATE)
        result->message = "this client has opened 1,024 keyspaces, which is as many as it can";
    else if (rv != 0)
        result->message =
            rv == HF_ERR_NOT_FOUND ? "the keyspace is being dropped" : hf_strerror(rv);
    return rv;
}

static int keyspace_open(struct hf_client *client, const char *name, const struct hf_call *options,
                         const struct hf_then *then, struct hf_result **ret_result)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask, .verb = HF_PLACEMENT_KEYSPACES, .name = name};
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = name == NULL ? err_set(&err, HF_ERR_INVALID, "the name is NULL")
                          : keyspace_check_name(slice_str(name), &err);
    if (rv == 0)
        rv = placement_call(client, &ask, options, &call, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->opens_keyspace = true;
    return call_go(call, then, ret_result);
}

int hf_keyspace_open(struct hf_client *client, const char *name, const struct hf_call *call,
                     struct hf_result **ret_result)
{
    return keyspace_open(client, name, call, NULL, ret_result);
}

int hf_keyspace_open_async(struct hf_client *client, const char *name, const struct hf_call *call,
                           const struct hf_then *then)
{
    return keyspace_open(client, name, call, somewhere(then), NULL);
}
