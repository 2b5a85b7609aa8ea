/* SPDX-License-Identifier: Apache-2.0 */
#include "server/options.h"

#include <stdio.h>

#include "wire/frame.h"

static const size_t REPLY_HARD_MIN = (size_t)64 << 20;
static const size_t REPLY_MEMORY_MIN = (size_t)512 << 20;

_Static_assert((int)CONFIG_JOIN_MAX <= (int)STORE_SEEDS_MAX, "addresses to join at fit");
_Static_assert((int)CONFIG_ADDRESS_MAX <= (int)ENV_ADDRESS_MAX, "addresses fit");
_Static_assert((int)CONFIG_LABELS_MAX <= (int)STORE_LABELS_MAX, "labels fit");

static void set_join(const struct config *config, struct store_options *options)
{
    ASSERT(config->join_count <= CONFIG_JOIN_MAX);
    options->seed_count = config->join_count;
    for (uint32_t i = 0; i < config->join_count; i++)
        snprintf(options->seeds[i], sizeof options->seeds[i], "%s", config->join[i]);
}

static void set_engine(const struct config *config, struct store_options *options)
{
    options->lsm.memtable_bytes = config->memtable_bytes;
    options->lsm.memtables_max = (unsigned)config->memtables_max;
    options->lsm.cache_bytes = config->block_cache_bytes;
    options->lsm.value_bytes = config->large_value_bytes;
    options->lsm.table_bytes = config->table_bytes;
    options->lsm.level_base_bytes = config->level_base_bytes;
    options->log.segment_bytes = config->log_segment_bytes;
    options->log.budget_bytes = config->log_budget_bytes;
    options->log.limit_bytes = 2 * config->log_budget_bytes;
    options->log.cache_bytes = config->log_cache_bytes;
    options->lsm.compact_bytes = config->compaction_bytes_per_s;
    options->lsm.compact_shares = (unsigned)config->compaction_threads;
    options->lsm.scrub_bytes = config->scrub_bytes_per_s;
    options->check_bytes_per_s = config->check_bytes_per_s;
    options->snapshot_bytes_per_s = config->snapshot_bytes_per_s;
}

/* One answer may be longer than a queue that is short: who reads is not to be closed for it, nor
 * for another one that was begun before the first was seen to wait. And two clients whose queues
 * are full, with an answer each on top, are not too many for the memory of all. */
static void set_replies(const struct config *config, struct store_options *options)
{
    size_t queue = config->client_queue_bytes;
    ASSERT(REPLY_HARD_MIN > 2 * FRAME_BODY_MAX);
    options->reply_bytes_max = queue;
    options->reply_bytes_hard = MAX(8 * queue, REPLY_HARD_MIN);
    options->reply_memory_max = MAX(2 * (queue + FRAME_BODY_MAX), REPLY_MEMORY_MIN);
    options->reply_stall_ms = (uint32_t)(config->client_stall_us / 1000);
}

static void set_limits(const struct config *config, struct store_options *options)
{
    options->limits.key_max = config->key_bytes_max;
    options->limits.value_max = config->value_bytes_max;
    options->limits.command_max = config->batch_bytes_max;
    options->limits.ops_max = config->batch_ops_max;
    options->scan_bytes_max = (uint32_t)config->scan_page_bytes;
    options->connections_max = (uint32_t)config->connections_max;
    options->requests_max = (uint32_t)config->client_requests_max;
    options->slow_request_ms = (uint32_t)(config->slow_request_us / 1000);
    options->queue_bytes_max = config->requests_bytes_max;
    options->requests_bytes_max = config->requests_bytes_max;
    options->requests_held_max = (uint32_t)config->requests_max;
    options->water.no_replicas_bytes = config->disk_low_bytes;
    options->water.no_puts_bytes = config->disk_full_bytes;
    options->water.read_only_bytes = config->disk_reserve_bytes;
}

void options_of_config(const struct config *config, struct slice secret,
                       const struct logger *logger, struct store_options *ret_options)
{
    store_options_init(ret_options);
    ret_options->data_dir = config->data_dir;
    ret_options->listen = config->listen;
    ret_options->advertise = config->advertise;
    ret_options->labels = config->labels;
    ret_options->secret = secret;
    ret_options->logger = logger;
    ret_options->election_timeout_ms = (uint32_t)(config->election_timeout_us / 1000);
    ret_options->hibernate_after_ms = (uint32_t)(config->hibernate_after_us / 1000);
    ret_options->heartbeat_ms = (uint32_t)(config->heartbeat_us / 1000);
    ret_options->max_clock_offset_ms = (uint32_t)(config->max_clock_offset_us / 1000);
    ret_options->retention_ms = config->retention_us / 1000;
    ret_options->has_leases = config->lease_reads;
    ret_options->max_clock_drift_ppm = (uint32_t)config->max_clock_drift_ppm;
    set_join(config, ret_options);
    set_engine(config, ret_options);
    set_limits(config, ret_options);
    set_replies(config, ret_options);
}
