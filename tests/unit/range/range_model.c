/* SPDX-License-Identifier: Apache-2.0 */
#include "range_model.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[MODEL_KEYS] = {
    "k00", "k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08", "k09", "k10", "k11",
    "k12", "k13", "k14", "k15", "k16", "k17", "k18", "k19", "k20", "k21", "k22", "k23"};
static const char *const values[] = {"", "1", "-7", "9223372036854775807", "text", "longer text"};

const char *model_key_name(int key)
{
    return names[key];
}

int model_key_of(struct slice name)
{
    for (int i = 0; i < MODEL_KEYS; i++)
        if (slice_equal(name, slice_str(names[i])))
            return i;
    return -1;
}

bool model_is_visible(const struct model *model, int key)
{
    const struct model_key *k = &model->keys[key];
    return k->is_present && (k->expiry_ms == 0 || k->expiry_ms > model->time_ms);
}

static struct op draw_op(const struct model *m, struct rng *rng)
{
    int key = (int)rng_below(rng, MODEL_KEYS);
    const struct model_key *k = &m->keys[key];
    struct op op = {
        .kind = (enum op_kind)rng_between(rng, OP_KIND_FIRST, OP_CHECK),
        .key = slice_str(names[key]),
    };
    if (rng_chance(rng, 1, 2) || op.kind == OP_CHECK)
        op.cond = (enum op_cond)rng_between(rng, COND_ABSENT, COND_LAST);
    if (op.cond == COND_VERSION)
        op.cond_version = rng_chance(rng, 3, 4) && k->version > 0 ? k->version : 1;
    if (op.cond == COND_VALUE)
        op.cond_value = slice_str(values[rng_below(rng, ARRAY_LEN(values))]);
    if (op.kind == OP_PUT || op.kind == OP_APPEND || op.kind == OP_GET_AND_SET)
        op.value = slice_str(values[rng_below(rng, ARRAY_LEN(values))]);
    if (op.kind == OP_INCREMENT)
        op.delta = (int64_t)rng_between(rng, 0, 20) - 10;
    bool may_expire = op.kind != OP_DELETE && op.kind != OP_CHECK;
    if (may_expire && rng_chance(rng, 1, 4))
        op.ttl_ms = rng_between(rng, 1, 5000);
    else if (may_expire && rng_chance(rng, 1, 6))
        op.flags |= OP_KEEP_TTL;
    if (rng_chance(rng, 1, 4))
        op.flags |= OP_RETURN_PREVIOUS;
    return op;
}

void model_draw(const struct model *model, struct rng *rng, struct model_entry *ret_entry)
{
    struct model_entry *e = ret_entry;
    struct buf commands;
    buf_init(&commands, 1 << 20);
    *e = (struct model_entry){.stamp_ms = model->time_ms + rng_below(rng, 2000)};
    if (rng_chance(rng, 1, 20))
        e->stamp_ms += rng_below(rng, 2 * RANGE_RETENTION_MS_DEFAULT);
    if (rng_chance(rng, 1, 10))
        e->stamp_ms = model->time_ms / 2;
    e->count = (uint32_t)rng_below(rng, MODEL_COMMANDS_MAX + 1);
    for (uint32_t c = 0; c < e->count; c++) {
        e->op_counts[c] = (uint32_t)rng_between(rng, 1, MODEL_OPS_MAX);
        if (rng_chance(rng, 1, 2))
            e->op_counts[c] = 1;
        for (uint32_t i = 0; i < e->op_counts[c]; i++)
            e->ops[c][i] = draw_op(model, rng);
        world_command(&commands, e->ops[c], e->op_counts[c]);
    }
    e->payload = world_entry(e->stamp_ms, &commands);
    buf_fini(&commands);
}

static bool holds(const struct model *m, const struct op *op)
{
    int key = model_key_of(op->key);
    const struct model_key *k = &m->keys[key];
    bool is_there = model_is_visible(m, key);
    switch (op->cond) {
    case COND_NONE:
        return true;
    case COND_ABSENT:
        return !is_there;
    case COND_PRESENT:
        return is_there;
    case COND_VERSION:
        return is_there && k->version == op->cond_version;
    case COND_VALUE:
        return is_there && slice_equal(slice_of(k->value, k->len), op->cond_value);
    }
    return false;
}

/* The C library's idea of a number, for the few texts that can come up here. */
static bool as_number(const struct model_key *k, long long *ret_number)
{
    char text[MODEL_VALUE_MAX + 1], again[32];
    memcpy(text, k->value, k->len);
    text[k->len] = 0;
    *ret_number = strtoll(text, NULL, 10);
    snprintf(again, sizeof again, "%lld", *ret_number);
    return strcmp(text, again) == 0;
}

static int set_value(struct model_key *k, struct slice value)
{
    if (value.len > MODEL_VALUE_MAX)
        return ERR_TOO_LARGE;
    k->len = value.len;
    if (value.len > 0)
        memcpy(k->value, value.data, value.len);
    return 0;
}

static int do_increment(struct model_key *k, int64_t delta)
{
    char text[32];
    long long n = 0;
    if (k->is_present && !as_number(k, &n))
        return ERR_NOT_NUMBER;
    if (__builtin_add_overflow(n, (long long)delta, &n))
        return ERR_OVERFLOW;
    snprintf(text, sizeof text, "%lld", n);
    return set_value(k, slice_str(text));
}

static int do_op(struct model *m, const struct op *op, uint64_t version)
{
    int key = model_key_of(op->key);
    struct model_key *k = &m->keys[key];
    int rv = 0;
    if (op->kind == OP_CHECK)
        return 0;
    if (!model_is_visible(m, key))
        *k = (struct model_key){0};
    if (op->kind == OP_DELETE) {
        *k = (struct model_key){0};
        return 0;
    }
    if (op->kind == OP_INCREMENT) {
        rv = do_increment(k, op->delta);
    } else if (op->kind == OP_APPEND) {
        assert_true(k->len + op->value.len <= MODEL_VALUE_MAX);
        if (op->value.len > 0)
            memcpy(k->value + k->len, op->value.data, op->value.len);
        k->len += op->value.len;
    } else {
        rv = set_value(k, op->value);
    }
    bool keeps = op->kind == OP_INCREMENT || op->kind == OP_APPEND || (op->flags & OP_KEEP_TTL);
    uint64_t kept = k->is_present && keeps ? k->expiry_ms : 0;
    k->expiry_ms = op->ttl_ms != 0 ? m->time_ms + op->ttl_ms : kept;
    k->is_present = true;
    k->version = version;
    return rv;
}

static int do_command(struct model *m, const struct op *ops, uint32_t count, uint64_t version)
{
    struct model before = *m;
    for (uint32_t i = 0; i < count; i++)
        if (!holds(m, &ops[i]))
            return ERR_CONDITION_FAILED;
    for (uint32_t i = 0; i < count; i++) {
        int rv = do_op(m, &ops[i], version);
        if (rv != 0) {
            *m = before;
            return rv;
        }
    }
    return 0;
}

void model_apply(struct model *model, const struct model_entry *entry,
                 int status[MODEL_COMMANDS_MAX])
{
    uint64_t stamp = entry->stamp_ms > model->time_ms ? entry->stamp_ms : model->time_ms;
    uint64_t version = model->last_version + 1;
    if (version < stamp << 20)
        version = stamp << 20;
    model->time_ms = stamp;
    for (uint32_t c = 0; c < entry->count; c++)
        status[c] = do_command(model, entry->ops[c], entry->op_counts[c], version + c);
    model->last_version = version + (entry->count > 0 ? entry->count - 1 : 0);
    if (stamp > RANGE_RETENTION_MS_DEFAULT)
        model->safe_version = (stamp - RANGE_RETENTION_MS_DEFAULT) << 20;
}
