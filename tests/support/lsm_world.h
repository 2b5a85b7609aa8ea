/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_world — an engine on a simulated disk beside a model of what it must hold.
 *
 * The model knows the one order of freezes and edits: `steps`. What a crash leaves
 * must be the state after some prefix of it that has everything acknowledged; what a
 * reader sees now is the acknowledged prefix, then the writes of every memtable that
 * waits, then the active one.
 */
#ifndef TESTS_SUPPORT_LSM_WORLD_H_
#define TESTS_SUPPORT_LSM_WORLD_H_

#include "base/rng.h"
#include "env/sim/sim.h"
#include "lsm/lsm.h"

enum { WORLD_KEYS = 40, WORLD_STEPS_MAX = 4000 };

/* One record. The value is `value_len` bytes made from `value_seed`. */
struct model_record {
    char key[12];
    uint64_t version;
    uint64_t expiry_ms;
    uint32_t value_seed;
    uint32_t value_len;
    bool is_delete;
};

/* Records in tree order, one for each (key, version). */
struct model {
    struct model_record *records;
    size_t count, cap;
};

void model_fini(struct model *model);
void model_copy(struct model *to, const struct model *from);
void model_put(struct model *model, const struct model_record *record);
void model_excise(struct model *model, const char *start, const char *end); /* NULL: no bound */
void model_merge(struct model *model, const struct model *writes);

/* What a reader at `version` gets of `key`, or NULL. */
const struct model_record *model_get(const struct model *model, const char *key, uint64_t version,
                                     uint64_t range_time_ms);

struct world_step {
    bool is_edit;
    struct model writes; /* of the memtable, or puts and ingested records */
    char start[2][12], end[2][12];
    size_t span_count;
};

struct world_op; /* flush or edit that waits */

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm;
    struct lsm_options options;
    struct rng rng;
    uint64_t version;      /* last given out */
    uint64_t safe_version; /* greatest ever handed to lsm_set_gc() */
    uint64_t range_time_ms;
    struct world_step *steps;
    size_t step_count;
    size_t step_acked;
    struct model base;    /* state at the last open */
    struct model active;  /* writes since the last freeze */
    struct world_op *ops; /* all ever made, freed at the end */
    struct model staged;  /* of the edit under construction */
    size_t reads, busy, would_block, corrupt;
    bool tolerate;   /* reads may fail by ERR_CORRUPT or ERR_IO, but never lie … */
    size_t failures; /* … and these did */
};

/* Thresholds so small that everything happens all the time. */
void world_options(struct lsm_options *options);

void world_init(struct world *w, uint64_t seed, const struct lsm_options *options);
void world_fini(struct world *w);

/* Open on the node's disk; 0 or the error. The model's base must be set before. */
int world_open(struct world *w, struct err *err);

/* Crash and free the engine; the node is down after. */
void world_crash(struct world *w, enum sim_crash how);

/* One random operation of the workload. */
void world_step(struct world *w);

/* Let background work go on: `n` events, or until all is quiet. */
void world_run(struct world *w, unsigned n);
void world_settle(struct world *w);

/* What a reader must see now; the caller frees. */
void world_now(const struct world *w, struct model *ret_model);

/* Compare everything readable of `lsm` with `model`: gets at several versions, both
 * ways of walking, NO_IO. NULL, or a text saying where they differ. */
const char *world_compare(struct world *w, struct lsm *lsm, const struct model *model);

/* The same for a view that was taken when `model` was what a reader saw, and
 * `safe_version` the safe version. */
const char *world_compare_view(struct world *w, struct lsm_view *view, const struct model *model,
                               uint64_t safe_version);

/* An iterator between random bounds, and what it must show for as long as it is open. */
struct world_iter {
    struct lsm_iter *it; /* NULL: closed */
    struct model model;
    uint64_t version;
    size_t lo, hi, at; /* places in the universe of keys */
};

/* It holds `view` for itself, and a copy of the model. */
void world_iter_open(struct world *w, struct world_iter *it, struct lsm_view *view,
                     const struct model *model, uint64_t version);

/* One random move, there and in the model; NULL, or a text saying where they differ. */
const char *world_iter_move(struct world *w, struct world_iter *it);
void world_iter_close(struct world_iter *it); /* accepts a closed one */

/* After a crash and an open of `lsm` on what it left: find the prefix of the order
 * that it shows, fail the test if there is none; returns its length. */
size_t world_match(struct world *w, struct lsm *lsm, const char *where);

/* The first `steps` of the order are what the next life begins with; the rest is gone. */
void world_rebase(struct world *w, size_t steps);

/* Build `ret` as the state after the first `n` steps. */
void world_prefix(const struct world *w, size_t n, struct model *ret);

#endif
