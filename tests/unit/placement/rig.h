/* SPDX-License-Identifier: Apache-2.0
 *
 * rig — a cluster that does at once what the driver says, for tests of single decisions:
 * ranges as arrays, heartbeats each second, rows in memory. holdfast-placement-sim is where
 * things are late, lost and wrong.
 */
#ifndef TESTS_UNIT_PLACEMENT_RIG_H_
#define TESTS_UNIT_PLACEMENT_RIG_H_

#include "placement/placement.h"

enum { RIG_STORES_MAX = 16, RIG_RANGES_MAX = 64, RIG_ROWS_MAX = 4096 };

struct rig_range {
    struct descriptor d;
    char start[16]; /* bytes, and a NUL */
    char end[16];
    uint32_t start_len;
    uint32_t end_len;
    uint64_t leader; /* replica id */
    uint64_t bytes;
    uint32_t qps;
    uint64_t retention_ms; /* 0: its leader does not say */
    uint64_t stuck;        /* a member that never catches up: its replica id */
    bool is_lagging;       /* so does none but the leader */
    uint64_t learns_ms;    /* that a learner takes until it has caught up, … */
    uint64_t learner_ms;   /* … and when the last one came */
    uint64_t mute;         /* a replica that does not answer, and for how long */
    uint32_t mute_ms;
    bool is_young; /* its log is short */
    bool is_gone;
};

struct rig_store {
    uint64_t id;
    char labels[64];
    char address[32];
    bool is_silent;
    uint64_t capacity;
    uint64_t free_bytes;
    enum placement_space space;
    uint32_t level; /* which entries it can apply */
    enum placement_lead lead;
};

struct rig_row {
    char key[96];
    uint8_t value[512];
    size_t len;
    bool is_gone;
};

struct rig {
    struct placement *p;
    uint64_t now_ms;
    uint64_t term;
    uint64_t retention_ms; /* with which the cluster was founded; 0: not known */
    struct rig_store stores[RIG_STORES_MAX];
    uint32_t store_count;
    struct rig_range ranges[RIG_RANGES_MAX];
    uint32_t range_count;
    struct rig_row rows[RIG_ROWS_MAX];
    uint32_t row_count;
    uint32_t steps; /* that were carried out */
    struct placement_step last;
    int refuse; /* what stores answer to steps: 0 does them */
};

/* A driver of term 1 without rows. */
void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);

/* A new driver over the rows, as after a change of leaders. */
void rig_fail_over(struct rig *rig);

/* Join one more; its id. `labels` may be "". */
uint64_t rig_join(struct rig *rig, const char *labels);

/* One more range with voters on `count` stores, the first one leads. */
struct rig_range *rig_range(struct rig *rig, uint64_t id, const char *start, const char *end,
                            const uint64_t *stores, uint32_t count);
struct rig_range *rig_find(struct rig *rig, uint64_t id);

/* Let time pass, second by second: heartbeats, ticks, steps, writes. */
void rig_run(struct rig *rig, uint32_t seconds);

/* Does the range have exactly these voters (and no learner)? */
bool rig_is_on(const struct rig_range *r, const uint64_t *stores, uint32_t count);
bool rig_has(const struct rig_range *r, uint64_t store);
uint32_t rig_voters(const struct rig_range *r);

/* Commands with their outcome; *ret_err may be NULL. */
int rig_command(struct rig *rig, struct placement_command command, struct err *err);

#endif
