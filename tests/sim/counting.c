/* SPDX-License-Identifier: Apache-2.0
 *
 * What the product and the world counted themselves, taken into the cover of a run.
 */
#include <stdio.h>

#include "consensus/consensus.h"
#include "sim/cluster.h"

static void count_engine(struct cover *cover, const struct lsm *lsm)
{
    struct lsm_stats s;
    lsm_stats(lsm, &s);
    cover_add(cover, "engine: flush", s.flushes);
    cover_add(cover, "engine: compaction", s.compactions);
    cover_add(cover, "engine: table moved down", s.compact_moves);
    cover_add(cover, "engine: garbage dropped", s.compact_dropped);
    cover_add(cover, "engine: edit", s.edits);
    cover_add(cover, "engine: manifest rolled", s.manifests > 1 ? s.manifests - 1 : 0);
    cover_add(cover, "engine: retry", s.retries);
    cover_add(cover, "engine: damaged file", s.damaged_files);
    for (uint32_t level = 0; level < LSM_LEVELS; level++) {
        char name[COVER_NAME_MAX];
        snprintf(name, sizeof name, "engine: files in L%u", level);
        cover_add(cover, name, s.levels[level].files);
    }
}

static void count_log(struct cover *cover, const struct raftlog *log)
{
    struct raftlog_stats s;
    raftlog_stats(log, &s);
    cover_add(cover, "log: segment dropped", s.segments_dropped);
    cover_add(cover, "log: bytes rewritten", s.rewritten_bytes);
    cover_add(cover, "log: prepare failed", s.prepare_failures);
    cover_add(cover, "log: several in a batch", s.appends > s.batches ? s.appends - s.batches : 0);
}

static void count_sleep(struct cover *cover, const struct store *store)
{
    struct store_sleep_stats s;
    store_sleep_stats(store, &s);
    cover_add(cover, "sleep: fell asleep", s.slept);
    cover_add(cover, "sleep: woken by work", s.woken_by_work);
    cover_add(cover, "sleep: woken by silence", s.woken_by_silence);
    cover_add(cover, "sleep: woken by a boot number", s.woken_by_boot);
    cover_add(cover, "sleep: woken by doubt", s.woken_by_doubt);
    cover_add(cover, "sleep: woken after a start", s.woken_by_start);
    cover_add(cover, "sleep: answered asleep", s.answered_asleep);
}

static void count_garbage(struct cover *cover, const struct store *store)
{
    struct store_garbage_stats s;
    store_garbage_stats(store, &s);
    cover_add(cover, "garbage: range time went on for it", s.moved);
    cover_add(cover, "garbage: flush for it", s.flushes);
}

void cluster_count_store(struct cluster *c, struct cluster_node *n)
{
    struct cons_status status;
    if (store_lsm(n->store) != NULL)
        count_engine(&c->cover, store_lsm(n->store));
    if (store_log(n->store) != NULL)
        count_log(&c->cover, store_log(n->store));
    count_sleep(&c->cover, n->store);
    count_garbage(&c->cover, n->store);
    if (store_consensus(n->store) == NULL)
        return;
    consensus_status(store_consensus(n->store), &status);
    cover_add(&c->cover, "raft: message dropped", status.messages_dropped);
    cover_add(&c->cover, "raft: message invalid", status.messages_invalid);
}

static void count_site(void *data, const char *site, uint64_t count)
{
    char name[COVER_NAME_MAX];
    snprintf(name, sizeof name, "point: %s", site);
    cover_add(data, name, count);
}

void cluster_count_world(struct cluster *c)
{
    struct client_stats s;
    for (int i = 0; i < SIM_COUNT_NR; i++) {
        char name[COVER_NAME_MAX];
        snprintf(name, sizeof name, "world: %s", sim_count_name((enum sim_count)i));
        cover_add(&c->cover, name, sim_count(c->sim, (enum sim_count)i));
    }
    cover_add(&c->cover, "admin: digests compared", c->digests_compared);
    sim_fault_each(c->sim, count_site, &c->cover);
    for (uint32_t i = 0; i < c->opt.instances; i++) {
        if (c->clients[i].client == NULL)
            continue;
        client_stats_get(c->clients[i].client, &s);
        cover_add(&c->cover, "client: sent again: not the leader", s.not_leader);
        cover_add(&c->cover, "client: sent again: busy", s.pushed_back);
        cover_add(&c->cover, "client: late answer", s.late_answers);
        cover_add(&c->cover, "client: refused at its own bound", s.busy);
    }
}
