/* SPDX-License-Identifier: Apache-2.0
 *
 * A client in holdfast-ranges-sim that knows nothing but addresses, and gets all keys of a
 * keyspace at once, over and over: they lie in several ranges that are split and merged meanwhile.
 * Each row must have what was acknowledged, or seen, before it was asked, or something newer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "ranges.h"

enum { TIMEOUT_MS = 3000, THINK_US = 200 * 1000 };

struct ranges_multi {
    struct sim_node *node;
    struct client *client;
    struct client_op op;
    struct {
        struct buf keys;
        uint32_t numbers[KEYS];
        uint32_t count;
    } sets[2];    /* of plain keys, of hashed ones */
    uint32_t set; /* that is asked for */
    uint64_t least[KEYS];
    uint64_t gone[KEYS];
    bool is_busy;
    uint64_t next_us; /* when it asks again */
    uint64_t answered;
    uint64_t parted; /* of several ranges */
};

static void take_rows(struct ranges_multi *m, const struct response_rows *rows)
{
    struct unpack cursor = unpack_of(rows->rows.raw);
    if (rows->rows.count != m->sets[m->set].count)
        die("a multi-get without all rows");
    for (uint32_t n = 0; n < m->sets[m->set].count; n++) {
        uint32_t i = m->sets[m->set].numbers[n];
        struct key_state *k = &run.keys[i];
        char text[24] = "";
        struct row row;
        row_next(&cursor, &row);
        if (row.status != 0 && row.status != ERR_NOT_FOUND)
            die("a row of a multi-get failed");
        if (row.status == 0)
            memcpy(text, row.value.data, MIN(row.value.len, sizeof text - 1));
        uint64_t value = strtoull(text, NULL, 10);
        settle_key(k);
        if (value == 0) {
            key_found_absent(k, m->least[i]);
            continue;
        }
        key_found(k, value, m->gone[i], rows->version);
        if (value < m->least[i])
            die("a multi-get found what was written over before it began");
        k->seen = MAX(k->seen, value);
    }
    m->answered++;
    m->parted += rows->version == 0;
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct ranges_multi *m = op->data;
    m->is_busy = false;
    m->next_us = sim_now_us(run.rig.sim) + THINK_US;
    if (result->status == 0)
        take_rows(m, &result->response->rows);
}

struct ranges_multi *ranges_multi_new(const char *const *endpoints, size_t count)
{
    struct ranges_multi *m = calloc(1, sizeof *m);
    struct client_options options = {.endpoints = endpoints, .endpoint_count = count};
    ASSERT(m != NULL);
    m->node = sim_node_new(run.rig.sim, "multi");
    if (client_new(sim_node_env(m->node), &options, &m->client, NULL) != 0)
        die("no client");
    for (uint32_t s = 0; s < 2; s++)
        buf_init(&m->sets[s].keys, 1 << 16);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t raw[16];
        uint32_t s = key_is_hashed(i);
        request_key_append(&m->sets[s].keys, key_stored(i, raw));
        m->sets[s].numbers[m->sets[s].count++] = i;
    }
    return m;
}

void ranges_multi_act(struct ranges_multi *m)
{
    if (m->is_busy || sim_now_us(run.rig.sim) < m->next_us)
        return;
    for (uint32_t i = 0; i < KEYS; i++) {
        settle_key(&run.keys[i]);
        m->least[i] = MAX(run.keys[i].acked, run.keys[i].seen);
        m->gone[i] = run.keys[i].gone;
    }
    m->set = !m->set;
    uint32_t count = m->sets[m->set].count;
    m->op = (struct client_op){
        .data = m,
        .timeout_ms = TIMEOUT_MS,
        .cb = on_done,
        .request = {.kind = REQUEST_MULTI_GET,
                    .multi_get = {.read.keyspace = m->set == 0 ? 0 : run.hashed,
                                  .keys = {.count = count,
                                           .raw = buf_slice(&m->sets[m->set].keys)}}},
    };
    m->is_busy = client_submit(m->client, &m->op) == 0;
}

void ranges_multi_check(const struct ranges_multi *m)
{
    client_check(m->client);
}

void ranges_multi_figures(const struct ranges_multi *m, uint64_t *ret_answered,
                          uint64_t *ret_parted)
{
    *ret_answered = m->answered;
    *ret_parted = m->parted;
}

void ranges_multi_free(struct ranges_multi *m)
{
    env_stop(sim_node_env(m->node));
    client_free(m->client);
    for (uint32_t s = 0; s < 2; s++)
        buf_fini(&m->sets[s].keys);
    free(m);
}
