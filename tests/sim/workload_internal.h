/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the workload share: workload.c runs the processes, request.c
 * draws their requests and notes what the answers say.
 */
#ifndef TESTS_SIM_WORKLOAD_INTERNAL_H_
#define TESTS_SIM_WORKLOAD_INTERNAL_H_

#include "client/sweep.h"
#include "sim/cluster.h"
#include "sim/twin.h"
#include "wire/command.h"

enum { BATCH_MAX = 4, GETS_MAX = 5, PASTS_MAX = 8 };

/* Ways to read, counted when they were answered. */
enum read_way { WAY_LEADER, WAY_ANY, WAY_LEASE, WAY_STALE, WAY_AT, WAY_NR };

struct process {
    struct workload *w;
    uint32_t id;
    const struct cluster_client *at_client;
    struct client_op op;
    struct env_timer think;
    bool is_busy;
    uint64_t invoke_us;

    /* a change: one history operation for each of `ops`, from place `at` on */
    size_t at;
    uint32_t op_count;
    struct op ops[BATCH_MAX];
    struct history_op plan[BATCH_MAX];
    struct buf values[BATCH_MAX];
    struct buf command;

    /* a read: which answer will do, and the versions that were read last, to go back to */
    struct request_read how;
    struct request_read scan_how; /* of the scan that goes on */
    uint64_t past[PASTS_MAX];
    uint32_t past_next;

    /* a read of several keys */
    uint32_t get_count;
    uint32_t get_keys[GETS_MAX];
    struct buf keys_raw;

    /* a scan, page by page */
    uint32_t limit_keys;
    bool is_reverse;
    uint64_t scan_us;      /* when it began */
    uint64_t page_version; /* of its first page; 0: the next one begins anew */
    struct buf cursor;     /* where the next page begins */

    /* a register as last seen, to compare with; and how long the lists are */
    uint32_t last_key;
    uint64_t last_version;
    uint64_t last_value;
    struct buf last_bytes;
    size_t list_len;

    /* a deletion of a span: a history operation for each key that may be in it */
    struct client_sweep sweep;
    bool is_sweep;

    struct twin twin;
};

struct workload {
    struct cluster *c;
    struct history *history;
    struct rng rng;
    struct process *processes;
    const struct mix *mix;
    uint64_t statuses[64]; /* answers by -status, those that the cover names */
    uint64_t next_value;
    uint32_t next_request;
    uint32_t delete_percent; /* of what is done to registers */
    uint64_t done;
    uint64_t writes_done;
    uint64_t ways[WAY_NR];
    bool has_leases;
    uint64_t swept;
    uint64_t gone;               /* reads of a past that was not kept */
    uint32_t keys[KEY_CLASS_NR]; /* how many of each class */
    char names[KEYS_MAX][16];
    bool is_stopped;
    uint32_t final_failed;
    struct twin_counts twins;
};

/* Names sort as the classes do not: rows must come in order of names. */
void request_names(struct workload *w);

/* The key of that name; KEYS_MAX if there is none. */
uint32_t request_key_by_name(const struct workload *w, struct slice name);

/* What a history keeps of a value; the caller's to free. */
char *request_value_text(struct workload *w, uint32_t key, struct slice value);

/* Draw the next request of a process; fills p->op and begins its history. */
void request_draw(struct process *p);

/* Particular ones, for the end of a run. */
void request_get_one(struct process *p, uint32_t key);
void request_put_one(struct process *p, uint32_t key);
void request_scan_all(struct process *p);

/* The same of a step that deletes a span. */
bool request_note_sweep(struct process *p, const struct client_result *result);

/* Note the answer. False if it failed or its outcome is unknown. */
bool request_note(struct process *p, const struct client_result *result);

/* It could not even be submitted. */
void request_refused(struct process *p);

#endif
