/* SPDX-License-Identifier: Apache-2.0
 *
 * How many calls of each kind there were, how they ended, and how long they took: from when one
 * was accepted to when its result was there, and all that the library did meanwhile.
 */
#include <stdlib.h>

#include "client/lib/lib_internal.h"

_Static_assert(sizeof(((struct hf_op_stats *)0)->by_code) == FIGURES_CODES * sizeof(uint64_t),
               "room for every code");
_Static_assert(ERR_LAST >= -FIGURES_STRANGE, "no known code where the strange ones are");

static const char *const names[HF_OP_KINDS] = {
    [HF_OP_GET] = "get",
    [HF_OP_MULTI_GET] = "multi-get",
    [HF_OP_SCAN] = "scan",
    [HF_OP_PUT] = "put",
    [HF_OP_DELETE] = "delete",
    [HF_OP_CAS] = "cas",
    [HF_OP_INCREMENT] = "increment",
    [HF_OP_APPEND] = "append",
    [HF_OP_GET_AND_SET] = "get-and-set",
    [HF_OP_BATCH] = "batch",
    [HF_OP_DELETE_RANGE] = "delete-range",
    [HF_OP_RESOLVE] = "resolve",
    [HF_OP_CLUSTER] = "cluster",
};

const char *hf_op_kind_name(int kind)
{
    return kind >= 0 && kind < HF_OP_KINDS ? names[kind] : NULL;
}

int figures_kind_of(const struct op *op)
{
    if (op->kind == OP_PUT)
        return op->cond != COND_NONE ? HF_OP_CAS : HF_OP_PUT;
    if (op->kind == OP_DELETE)
        return HF_OP_DELETE;
    if (op->kind == OP_INCREMENT)
        return HF_OP_INCREMENT;
    ASSERT(op->kind == OP_APPEND || op->kind == OP_GET_AND_SET);
    return op->kind == OP_APPEND ? HF_OP_APPEND : HF_OP_GET_AND_SET;
}

int figures_kind_of_request(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_GET:
        return HF_OP_GET;
    case REQUEST_MULTI_GET:
        return HF_OP_MULTI_GET;
    case REQUEST_SCAN:
        return HF_OP_SCAN;
    default:
        return HF_OP_CLUSTER;
    }
}

int figures_begin(struct hf_client *client, struct call *call)
{
    struct figures **place = &client->figures[call->figures_kind];
    if (*place == NULL) {
        *place = calloc(1, sizeof **place);
        if (*place == NULL)
            return HF_ERR_NOMEM;
        hist_init(&(*place)->took_us);
    }
    call->began_us = env_now_us(client->env);
    return 0;
}

void figures_note(struct hf_client *client, const struct call *call, int code)
{
    struct figures *f = client->figures[call->figures_kind];
    uint64_t now_us = env_now_us(client->env);
    ASSERT(f != NULL && code <= 0);
    f->by_code[code > ERR_LAST ? -code : FIGURES_STRANGE]++; /* a newer store may say any */
    hist_add(&f->took_us, now_us - MIN(now_us, call->began_us));
}

void figures_fini(struct hf_client *client)
{
    for (size_t i = 0; i < HF_OP_KINDS; i++) {
        free(client->figures[i]);
        client->figures[i] = NULL;
    }
}

static void tell(const struct figures *f, struct hf_op_stats *to)
{
    const struct hist *h = &f->took_us;
    to->count = h->count;
    to->errors = h->count - f->by_code[0];
    memcpy(to->by_code, f->by_code, sizeof to->by_code);
    to->latency_us_min = h->count > 0 ? h->min : 0;
    to->latency_us_mean = hist_mean(h);
    to->latency_us_p50 = hist_permille(h, 500);
    to->latency_us_p90 = hist_permille(h, 900);
    to->latency_us_p99 = hist_permille(h, 990);
    to->latency_us_p999 = hist_permille(h, 999);
    to->latency_us_max = h->max;
}

int hf_client_op_stats(struct hf_client *client, int kind, struct hf_op_stats *ret_stats)
{
    struct hf_op_stats stats = {.size = sizeof stats};
    if (client == NULL || ret_stats == NULL || kind < 0 || kind >= HF_OP_KINDS)
        return HF_ERR_INVALID;
    env_uv_mutex_lock(&client->lock);
    if (client->figures[kind] != NULL)
        tell(client->figures[kind], &stats);
    env_uv_mutex_unlock(&client->lock);
    size_t size = MIN(ret_stats->size, sizeof stats);
    memcpy(ret_stats, &stats, size);
    ret_stats->size = size;
    return HF_OK;
}
