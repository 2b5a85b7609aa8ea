/* SPDX-License-Identifier: Apache-2.0
 *
 * config — what holdfastd is told: a file of "key = value" lines, then flags,
 * which win. Pure: text in, a struct or a message out; the caller reads files.
 *
 *   config_init() ─▶ config_parse(text of --config) ─▶ config_apply(flags) ─▶
 *   config_finish() ─▶ config_print()
 *
 * The file: one key a line, no sections; '#' at the start of a line or after a
 * blank begins a comment. Sizes as 64MiB, durations as 10ms, yes or no.
 *
 * Units      _bytes are bytes, _us microseconds.
 * Ownership  a config owns nothing: every text is inside it.
 * Errors     ERR_INVALID with a message for the operator that names the place
 *            ("holdfast.conf:12: …", "--listen: …"). A key that is unknown, given
 *            twice in one file or out of its bounds is an error, never ignored.
 * Invariants (C1) after config_finish() every field is within the bounds of its
 *            row in the table of config.c, and what config_print() writes parses
 *            back to the same config.
 * Limits     CONFIG_TEXT_MAX bytes of file; CONFIG_JOIN_MAX addresses.
 */
#ifndef SERVER_CONFIG_H_
#define SERVER_CONFIG_H_

#include "base/base.h"
#include "base/log.h"

struct buf;
struct err;

enum {
    CONFIG_TEXT_MAX = 1 << 16,
    CONFIG_JOIN_MAX = 16,
    CONFIG_LABELS_MAX = 256,
    CONFIG_PATH_MAX = 256,
    CONFIG_ADDRESS_MAX = 128,
    CONFIG_KEYS_MAX = 64,
    CONFIG_STORES_CORES = 0, /* stores: one for each core */
};

enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

struct config {
    /* who and where */
    char data_dir[CONFIG_PATH_MAX];
    char listen[CONFIG_ADDRESS_MAX];
    char advertise[CONFIG_ADDRESS_MAX];        /* after config_finish(): never empty */
    char cluster_secret_file[CONFIG_PATH_MAX]; /* empty: none */
    char labels[CONFIG_LABELS_MAX];            /* "zone=a,rack=2"; may be empty */
    uint32_t join_count; /* where a new folder joins; 0: it founds a cluster */
    char join[CONFIG_JOIN_MAX][CONFIG_ADDRESS_MAX];
    uint64_t stores; /* in this process (stores.h); CONFIG_STORES_CORES: as many as cores */
    /* engine and log */
    uint64_t memtable_bytes;
    uint64_t memtables_max;
    uint64_t block_cache_bytes;
    uint64_t large_value_bytes;
    uint64_t table_bytes;
    uint64_t level_base_bytes;
    uint64_t log_segment_bytes;
    uint64_t log_budget_bytes;
    uint64_t log_cache_bytes;
    uint64_t check_bytes_per_s;
    uint64_t snapshot_bytes_per_s;
    uint64_t compaction_bytes_per_s;
    uint64_t compaction_threads;
    uint64_t scrub_bytes_per_s;
    uint64_t read_threads;
    /* consensus */
    uint64_t election_timeout_us;
    uint64_t hibernate_after_us;
    uint64_t heartbeat_us;
    uint64_t max_clock_offset_us;
    bool lease_reads;
    uint64_t max_clock_drift_ppm;
    /* what clients may ask */
    uint64_t retention_us; /* how long old versions are kept: of a cluster that is founded */
    uint64_t key_bytes_max;
    uint64_t value_bytes_max;
    uint64_t batch_bytes_max;
    uint64_t batch_ops_max;
    uint64_t scan_page_bytes;
    uint64_t connections_max;
    uint64_t client_requests_max; /* in flight on one connection */
    uint64_t client_queue_bytes;  /* answers that wait for one client to read */
    uint64_t requests_max;
    uint64_t requests_bytes_max; /* of all requests in flight in the store */
    uint64_t slow_request_us;    /* reads and writes that take so long are logged; 0: none */
    uint64_t client_stall_us;    /* a client that reads nothing for so long is closed */
    /* a disk that fills up: free bytes at which … */
    uint64_t disk_low_bytes;     /* … no new replica is taken */
    uint64_t disk_full_bytes;    /* … puts are refused, deletes go on */
    uint64_t disk_reserve_bytes; /* … nothing is written any more */
    /* the process */
    enum log_level log_level;
    enum config_log_format log_format;
    uint64_t wait_us; /* at start: how long a locked folder or a taken port is tried again */
    uint64_t stop_us; /* at SIGTERM: how long handing over and flushing may take */
};

/* Every key at its default. */
void config_init(struct config *config);

/* Set what `text` says; `name` is the file's name for messages. On an error the
 * config is as it was. */
int config_parse(struct config *config, struct slice text, const char *name, struct err *err);

/* Set one key to `value` (as written in a file, without comment). ERR_INVALID with
 * a message without place. */
int config_set(struct config *config, struct slice key, struct slice value, struct err *err);

/* Check what belongs together, fill in what follows (listen, advertise). Required:
 * data_dir. */
int config_finish(struct config *config, struct err *err);

/* The effective configuration as a file with comments that config_parse() takes. */
void config_print(const struct config *config, struct buf *buf);

/* ---- the command line of holdfastd -------------------------------------- */

struct config_command {
    const char *file; /* --config; NULL: none */
    bool is_check;    /* --check-config: print the effective configuration and exit */
    bool is_help;
    bool is_version;
    const char *recover; /* --recover: stores that are lost for good, "2,3"; NULL: serve */
    bool is_plan;        /* --plan: only say what that would do */
    /* private */
    const char *values[CONFIG_KEYS_MAX]; /* borrowed from argv; by the table's order */
};

/* The ids of --recover, in order as written. ERR_INVALID. */
int config_parse_lost(const char *text, uint64_t *ids, size_t max, size_t *ret_count,
                      struct err *err);

/* Understand argv[0..argc) (without the program's name): --config, --check-config,
 * --recover, --plan, --help, --version, and every key as a flag with dashes (--data-dir D, or
 * --data D). */
int config_command_parse(struct config_command *ret_command, int argc, const char *const *argv,
                         struct err *err);

/* Set the keys that were flags, over what the file said. */
int config_apply(struct config *config, const struct config_command *command, struct err *err);

/* The text of --help. */
void config_help(struct buf *buf);

#endif
