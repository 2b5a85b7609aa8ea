/* SPDX-License-Identifier: Apache-2.0
 *
 * range_world — one replica on an engine in a simulated world, and short ways to
 * build commands and entries, apply them and read: what the tests of this room
 * share.
 */
#ifndef TESTS_UNIT_RANGE_RANGE_WORLD_H_
#define TESTS_UNIT_RANGE_RANGE_WORLD_H_

#include "support/check.h"

#include "env/sim/sim.h"
#include "range/range.h"
#include "range/read.h"

enum { WORLD_KEYSPACE = 7, WORLD_RESULTS_MAX = 256, WORLD_VALUE_MAX = 4096, WORLD_BIRTH = 10 };

struct world_options {
    uint64_t seed;
    uint64_t replica_id;
    size_t memtable_bytes; /* 0: the engine's default */
    size_t cache_bytes;    /* 0: the engine's default */
    bool is_blank;         /* no range is born */
};

struct world {
    struct world_options options;
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
    struct lsm *lsm;
    struct range *range; /* NULL while blank */
    uint64_t prefetches; /* how often apply had to wait for reads */
    uint64_t slow_reads; /* how often a read went to the lane */
};

/* What a sink heard, copied. */
struct world_result {
    int status;
    uint32_t failed_op;
    uint64_t version;
    uint32_t count;
    struct {
        int status;
        bool has_value;
        uint64_t version;
        uint64_t expiry_ms;
        int64_t number;
        char value[64]; /* cut */
        size_t value_len;
    } ops[4]; /* the first four */
};

struct world_results {
    uint32_t count;
    struct world_result all[WORLD_RESULTS_MAX];
};

void world_open(struct world *w, const struct world_options *options);
void world_close(struct world *w);

/* End the process so, start it again on the same disk, load the range. */
void world_crash(struct world *w, enum sim_crash how);

/* Let everything in the background come to rest. */
void world_settle(struct world *w);

/* Flush the engine; the range hears of it. */
void world_flush(struct world *w);

/* A sink that fills `results`. */
struct range_sink world_sink(struct world_results *results);

/* Append one encoded command of these operations, in front of it its length. */
void world_command(struct buf *commands, const struct op *ops, uint32_t count);

/* The payload of an entry of such commands; free()d by the caller. */
struct slice world_entry(uint64_t stamp_ms, const struct buf *commands);

/* Apply a payload at the next index, waiting as long as it takes. */
void world_apply(struct world *w, struct slice payload, struct world_results *results);

/* One entry of one command of one operation. */
void world_do(struct world *w, uint64_t stamp_ms, const struct op *op,
              struct world_results *results);

void world_put(struct world *w, uint64_t stamp_ms, const char *key, const char *value,
               uint64_t ttl_ms);

/* Start a read and wait for its end. */
int world_read(struct world *w, struct range_read *read);

/* The value of `key` as text in `out` of WORLD_VALUE_MAX, or ERR_*. */
int world_get(struct world *w, const char *key, char *out);

#endif
