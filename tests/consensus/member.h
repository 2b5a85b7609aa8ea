/* SPDX-License-Identifier: Apache-2.0
 *
 * member — one consensus with everything that an owner gives it, in memory: a log, a
 * disk that may acknowledge late, an applied state, a staged snapshot. Used by the
 * directed tests (one or a few members, driven by hand) and by the randomised cluster.
 *
 *   persist ─▶ memory log at once; queue of writes ─▶ member_persist() ─▶ disk log
 *   crash: the memory is gone, a prefix of the queue made it
 *
 * The state machine is a chained checksum over every applied entry, so two members
 * with equal chains at an index have applied the same history.
 */
#ifndef TESTS_CONSENSUS_MEMBER_H_
#define TESTS_CONSENSUS_MEMBER_H_

#include "base/base.h"
#include "consensus/consensus.h"
#include "consensus/guards.h"

enum { MEMBER_REQUESTS_MAX = 32 };

/* Bytes shared by logs and messages. */
struct blob {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
};

struct blob *blob_new(struct slice s);
void blob_unref(struct blob *b);

struct mentry {
    uint64_t term;
    enum cons_entry_type type;
    uint64_t chain; /* over this entry and all before it */
    struct blob *data;
};

struct mlog {
    uint64_t first; /* index of e[0] */
    uint32_t n;
    uint32_t cap;
    struct mentry *e;
};

/* What a snapshot carries, and what a flush makes durable. */
struct mstate {
    struct cons_base base;
    uint64_t chain;
};

struct mwrite {
    struct mwrite *next;
    uint64_t id;
    bool has_hard_state;
    uint64_t term;
    uint64_t vote;
    uint64_t hint;
    uint64_t first; /* 0: no entries, or they count no more */
    uint32_t n;
    struct mentry *e;
};

struct mdisk {
    uint64_t term;
    uint64_t vote;
    uint64_t hint;
    struct mlog log;
    uint64_t log_chain;  /* of what stood before log.first */
    struct mstate state; /* flushed */
};

/* Something that the table asked for and that must wait until the call is over. */
struct mrequest {
    enum { REQUEST_STREAM, REQUEST_FETCH, REQUEST_INSTALL } kind;
    uint64_t peer; /* target or sender */
    uint64_t token;
    uint64_t first;
    uint32_t n;
};

struct member;

/* The surroundings. Called inside a call into consensus. Any may be NULL. */
struct member_host {
    void (*send)(void *data, struct member *m, const struct cons_msg *msg);
    void (*wrote)(void *data, struct member *m, const struct cons_write *write);
    void (*durable)(void *data, struct member *m, uint64_t index, const struct mentry *e);
    void (*role)(void *data, struct member *m, enum cons_state state, uint64_t term);
    void (*applied)(void *data, struct member *m, uint64_t index, const struct mentry *e);
    void (*committed)(void *data, struct member *m, uint64_t from, uint64_t to);
    bool (*is_cached)(void *data, struct member *m, uint64_t index);
    bool (*is_ready)(void *data, struct member *m, uint64_t peer);
    size_t (*room)(void *data, struct member *m, uint64_t peer);
};

struct member {
    const struct member_host *host;
    void *host_data;
    struct cons_options opts;
    uint64_t guards_off;
    struct consensus *c; /* NULL while down or parked */
    struct cons_parked *parked;
    struct mdisk disk;
    struct mlog log;     /* what consensus sees */
    uint64_t log_chain;  /* of what stood before log.first */
    struct mstate state; /* applied */
    struct mstate staged;
    bool is_installing;
    bool is_edit_durable;  /* a crash finds the new state, and still the old log */
    struct mwrite *writes; /* queue, oldest first */
    struct mwrite **writes_tail;
    uint32_t n_writes;
    uint64_t next_write_id;
    struct mrequest requests[MEMBER_REQUESTS_MAX];
    uint32_t n_requests;
    enum cons_state role;
    uint64_t term;
    uint64_t leader;
    uint64_t config_index; /* of the last config_changed() */
    struct cons_config config;
};

/* A member with an empty disk. opts.ops and ctx are filled in. */
void member_init(struct member *m, const struct cons_options *opts, const struct member_host *host,
                 void *host_data);
void member_fini(struct member *m);

/* Put the birth of a group, or any applied state with an empty log, on the disk. */
void member_bear(struct member *m, const struct cons_base *base, uint64_t term, uint64_t vote);

/* Add an entry to the disk's log, before member_start(). */
void member_disk_append(struct member *m, uint64_t term, enum cons_entry_type type,
                        struct slice data);

/* Open what is on the disk, replaying up to the hint. 0 or what consensus_start() said. */
int member_start(struct member *m, uint64_t now_ms);

/* Put a sleeping follower away; false if it may not be. And start it again. */
bool member_park(struct member *m);
int member_unpark(struct member *m, uint64_t now_ms);

/* The power fails when `survive` of the queued writes are on the disk. */
void member_crash(struct member *m, uint32_t survive);

/* Every queued write up to `id` is on the disk; tell consensus. */
void member_persist(struct member *m, uint64_t now_ms, uint64_t id);
void member_persist_all(struct member *m, uint64_t now_ms);

/* Apply what may be applied; false if there was nothing. */
bool member_apply(struct member *m, uint64_t now_ms);

/* Make the applied state durable, compact, cut the logs. */
void member_flush(struct member *m, uint64_t now_ms, uint32_t trailing);

/* Finish what install_snapshot() asked for, from `staged`. */
void member_install(struct member *m, uint64_t now_ms);

/* The applied state with the configuration at its index. */
struct mstate member_state(const struct member *m);

const struct mentry *mlog_get(const struct mlog *log, uint64_t index);
uint64_t mlog_last(const struct mlog *log);

#endif
