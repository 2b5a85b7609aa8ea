/* SPDX-License-Identifier: Apache-2.0
 *
 * deps — transactions and what each depends on, and the cycles in it (Adya 1999, "Weak
 * Consistency"; Alvaro and Kingsbury, "Elle", VLDB 2020).
 *
 *   ww   it wrote the version right before the one that the other wrote
 *   wr   it wrote what the other read
 *   rw   it read the version right before the one that the other wrote
 *   rt   it ended before the other began (real time)
 *
 * Whatever is serializable has an order of its transactions that all ww, wr and rw agree
 * with; strictly serializable: rt too. So a cycle proves that there is none, and its kinds
 * of edges name the anomaly: G0 ww alone; G1c ww and wr; G-single exactly one rw; G2
 * several. With rt in it, "-realtime".
 *
 * Real time has up to n² pairs; here it goes through points of time, in a chain: a
 * transaction leads to the first point after its end, and a point to what begins after it.
 *
 * Ownership  a graph owns its edges.
 * Threads    pure. Out of memory aborts.
 */
#ifndef TESTS_SUPPORT_HISTORY_DEPS_H_
#define TESTS_SUPPORT_HISTORY_DEPS_H_

#include "base/base.h"

enum deps_kind { DEPS_WW = 1, DEPS_WR = 2, DEPS_RW = 4, DEPS_RT = 8 };

/* Why: of which key, and which element was written or read. */
struct deps_edge {
    uint32_t from, to;
    uint32_t key;
    enum deps_kind kind;
    int64_t element;
};

/* When a transaction began and ended; ret is UINT64_MAX if that is not known. */
struct deps_time {
    uint64_t invoke, ret;
    bool is_in; /* does it take part? */
};

struct deps {
    struct deps_edge *edges; /* sorted by `from` once searched */
    size_t count, cap;
    uint32_t txns;   /* nodes below are transactions … */
    uint32_t nodes;  /* … and from there on points of time */
    uint32_t *first; /* edges of node n: [first[n], first[n + 1]) */
    uint32_t *part;  /* strongly connected component; 0: alone */
};

enum deps_class { DEPS_G0, DEPS_G1C, DEPS_G_SINGLE, DEPS_G2, DEPS_CLASS_NR };

/* "G0", …, without "-realtime" */
const char *deps_class_name(enum deps_class c);

void deps_init(struct deps *d, uint32_t txns);
void deps_fini(struct deps *d);

/* One that leads to itself is left out. */
void deps_add(struct deps *d, uint32_t from, uint32_t to, enum deps_kind kind, uint32_t key,
              int64_t element);

/* All of real time, once, after which nothing may be added. */
void deps_add_times(struct deps *d, const struct deps_time *times);

/* A cycle; `edges` is malloc()ed, in order, the last one leads back. */
struct deps_cycle {
    struct deps_edge *edges;
    size_t count;
};

/* A short cycle of that class, with real time in it or not. Which components have one is
 * decided exactly; among many cycles a bounded number is looked at for a short one.
 * *ret_components: how many components have such cycles, as far as the budget went. False: none. */
bool deps_find(struct deps *d, enum deps_class c, bool with_rt, struct deps_cycle *ret_cycle,
               size_t *ret_components);

#endif
