/* SPDX-License-Identifier: Apache-2.0
 *
 * history — what the whole cluster has done, and whether Raft allows it: at most one
 * leader a term, one history for each (index, term), one applied entry for each index,
 * and in a new leader's log everything that was committed before.
 *
 * Errors  each function returns NULL, or a text that names the violation, valid until
 *         the next call.
 */
#ifndef TESTS_CONSENSUS_HISTORY_H_
#define TESTS_CONSENSUS_HISTORY_H_

#include "consensus/member.h"

typedef unsigned long long ull; /* for printf */

struct history {
    uint64_t *leaders; /* by term: replica id */
    uint64_t n_leaders;
    struct history_entry *table;         /* entries known by (index, term) */
    struct history_committed *committed; /* by index */
    uint64_t n_committed;                /* highest index known */
    uint64_t n_commits;
    struct cons_config config; /* of the highest applied CHANGE */
    uint64_t config_index;
    char why[256];
};

/* Nothing is committed but what every member is born with. */
void history_init(struct history *h, uint64_t born_index);
void history_fini(struct history *h);

/* Log matching: this entry is on a disk. */
const char *history_durable(struct history *h, uint64_t index, const struct mentry *e);

/* State machine safety: `m` takes (from, to] of its log for committed. */
const char *history_commits(struct history *h, const struct member *m, uint64_t from, uint64_t to);

/* State machine safety: `m` has applied this entry. */
const char *history_applied(struct history *h, const struct member *m, uint64_t index,
                            const struct mentry *e);

/* Election safety and leader completeness: `m` leads `term`. */
const char *history_leads(struct history *h, const struct member *m, uint64_t term);

#endif
