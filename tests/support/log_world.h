/* SPDX-License-Identifier: Apache-2.0
 *
 * log_world — a raftlog on a simulated node, a model of what it must hold, and random
 * work for both. Used by the model test and by the crash enumerator.
 *
 * The log is one order of operations. After a crash it must be what some prefix of
 * them left, and that prefix holds every one that was acknowledged. Compaction and the noted
 * commit are not durable by themselves: a reopened log may hold more entries at its
 * front, and its hint may be older.
 *
 * Ownership  log_world_free() frees everything. A model is plain memory.
 * Threads    one.
 */
#ifndef TESTS_SUPPORT_LOG_WORLD_H_
#define TESTS_SUPPORT_LOG_WORLD_H_

#include "base/rng.h"
#include "env/sim/sim.h"
#include "raftlog/raftlog.h"

enum {
    WORLD_GROUPS = 5,         /* ids 1 … */
    WORLD_ENTRIES_MAX = 2048, /* of one group between two resets */
    WORLD_WRITE_MAX = 6,      /* entries in one append */
    WORLD_LEN_MAX = 20000,    /* of an entry's data */
    WORLD_OPS_MAX = 4096,
};

struct model_entry {
    uint64_t term;
    uint8_t type;
    uint32_t len;
    uint64_t seed; /* of its bytes */
};

struct model_group {
    bool exists;
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
    uint64_t hint;       /* at the last append; later records may carry more */
    uint64_t reset_base; /* entries[0] is reset_base + 1 */
    uint64_t reset_term;
    uint64_t base; /* compacted up to here */
    bool is_frozen;
    uint32_t n;
    struct model_entry entries[WORLD_ENTRIES_MAX];
};

struct model {
    struct model_group groups[WORLD_GROUPS];
};

enum op_kind { OP_WRITE, OP_REMOVE, OP_COMPACT, OP_COMMIT, OP_FREEZE };

struct op {
    struct raftlog_write write; /* of an OP_WRITE; entries are set for the call only */
    struct log_world *world;
    enum op_kind kind;
    uint64_t number; /* place in the order, from 1 */
    uint64_t arg;    /* first kept, or commit */
    struct model_entry entries[WORLD_WRITE_MAX];
};

struct log_world_options {
    struct raftlog_options log;
    uint64_t seed;
    uint32_t len_max;     /* of an entry's data */
    uint32_t big_percent; /* of entries up to 4 × len_max, WORLD_LEN_MAX at most */
    bool may_block;       /* two of three writes say so */
};

struct log_world {
    struct log_world_options options;
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log; /* NULL while closed */
    struct rng rng;
    struct model now;    /* after all operations */
    struct model acked;  /* after operation `n_acked` */
    struct model before; /* log_world_write_one() */
    struct op *ops;
    uint64_t n_ops;
    uint64_t n_acked;
};

/* Small segments, small everything: each threshold is met often. */
void log_world_options_init(struct log_world_options *options, uint64_t seed);

struct log_world *log_world_new(const struct log_world_options *options);
void log_world_free(struct log_world *world);

/* One random operation, if the log has room for it. */
void log_world_step(struct log_world *world);

/* One random write, with the state before it kept in `before`; false: no room. */
bool log_world_write_one(struct log_world *world);

/* Compact every group up to its last entries, of which it keeps so many bytes at most. */
void log_world_compact_all(struct log_world *world, uint64_t bytes_kept);

/* Let the world run until everything appended is durable. */
void log_world_settle(struct log_world *world);

/* A barrier of the caller's behind operation `number` is durable: so are all up to it. */
void log_world_ack(struct log_world *world, uint64_t number);

/* Kill or power loss, then open again and compare; what was not there is forgotten by
 * the model too. Fails the test if the log is not a prefix that holds all that was
 * acknowledged. */
void log_world_reopen(struct log_world *world, enum sim_crash how);

/* The three parts of it: the process ends and may begin again; open (0 or the error, and
 * the log is NULL); compare, and make the log's state the model's. */
void log_world_crash(struct log_world *world, enum sim_crash how);
int log_world_open(struct log_world *world, struct err *err);
void log_world_adopt(struct log_world *world);

/* Does `log` hold what the operations up to some k in [n_acked, n_ops] left? Returns k,
 * or 0 - 1 with the reason in `ret_why` for the nearest. Damaged groups never match. */
uint64_t log_world_match(const struct log_world *world, struct raftlog *log, char *ret_why,
                         size_t why_len);

/* Does the open log show exactly what all operations left, durable or not? */
bool log_world_is_visible(const struct log_world *world, char *ret_why, size_t why_len);

/* The same for one group of any log that was opened on (a copy of) the world's disk. */
bool log_world_group_is_whole(const struct log_world *world, struct raftlog *log, uint64_t id,
                              char *ret_why, size_t why_len);

/* … as it was before log_world_write_one(). */
bool log_world_group_was_whole(const struct log_world *world, struct raftlog *log, uint64_t id,
                               char *ret_why, size_t why_len);

/* The bytes of an entry. */
void model_entry_bytes(const struct model_entry *entry, uint8_t *out);

#endif
