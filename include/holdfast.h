/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast.h — the client library of Holdfast, a replicated, strongly consistent
 * key-value store.
 *
 *     struct hf_options options;
 *     struct hf_client *client;
 *     hf_options_init(&options);
 *     options.endpoints = "10.0.0.1:7000,10.0.0.2:7000";
 *     if (hf_open(&options, &client) != HF_OK) …
 *
 *     struct hf_result *result = NULL;
 *     if (hf_get(client, hf_str("name"), NULL, &result) == HF_OK)
 *         fwrite(result->items[0].value.data, 1, result->items[0].value.len, stdout);
 *     hf_result_free(result);
 *     hf_close(client);
 *
 * Three meanings. Every call ends in one of three ways: HF_OK, it is done and
 * durable on a majority; HF_ERR_UNDETERMINED, it left, no answer came, and it may or
 * may not have taken effect (or may yet); any other code, it did not and will not
 * take effect. The library finds the leader and tries again by itself within the
 * deadline, but never in a way that could do a change twice.
 *
 * Blocking and asynchronous. Each operation comes in two forms. The blocking one
 * returns the code, and the result through ret_result (NULL if you do not need it).
 * The asynchronous one, x_async, returns HF_OK if the operation was accepted; then
 * its result is delivered exactly once, as struct hf_then says: to a callback on the
 * library's thread, or to a queue with a descriptor that fits poll(), epoll and any
 * event loop. If it returns an error, nothing is delivered.
 *
 * Ownership. Keys, values and options that you pass in are copied before the call
 * returns. A result is yours: release it with one hf_result_free(); everything that
 * it points to lives as long as it does. *ret_result is written by every call, on
 * failure too (why, in words; the present value of a failed condition), and NULL only
 * for want of memory: always release it. An asynchronous call that is refused tells no
 * more than the code.
 *
 * Threads. A client may be used by any number of threads at once. From inside a
 * callback, start what you like asynchronously, but do not block: the blocking
 * calls, hf_close() and hf_queue_wait() return HF_ERR_STATE there.
 *
 * Fork. A handle is of no use in a child: its thread is not there, and calls would wait
 * for ever. The child must not touch the parent's handles, not even to close them, and
 * opens one of its own; who calls exec at once need do nothing. A program that forks for
 * its workers opens in each of them, behind the fork.
 *
 * NULL. Where a handle (client, batch, queue, scan, watch) should be, NULL is
 * HF_ERR_INVALID, and those that return no code do nothing and say 0 or "".
 *
 * Compatibility. C17 and C++. Structures that you fill begin with their size, set by
 * their init function (or by you, where there is none); structures that the library fills
 * may grow at their end, and those that stand in arrays have room kept for that. Until
 * version 1.0 those that you fill may grow, too: build with the header of the library that
 * you run with.
 */
#ifndef HOLDFAST_H_
#define HOLDFAST_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- codes ------------------------------------------------------------------ */

/* What a call may end with. Numbers never change. */
enum hf_code {
    HF_OK = 0,
    HF_ERR_NOMEM = -1,             /* out of memory */
    HF_ERR_INVALID = -2,           /* an argument that can never be right */
    HF_ERR_NOT_FOUND = -3,         /* no such key */
    HF_ERR_EXISTS = -4,            /* it is there already */
    HF_ERR_CORRUPT = -6,           /* a checksum or a message is wrong */
    HF_ERR_IO = -7,                /* the device or the network failed */
    HF_ERR_NO_SPACE = -8,          /* the store's disk is full */
    HF_ERR_BUSY = -9,              /* a bound was met (yours or the store's); try later */
    HF_ERR_TIMEOUT = -10,          /* the deadline passed before anything took effect */
    HF_ERR_CANCELED = -11,         /* the client was closed before it was sent */
    HF_ERR_NOT_LEADER = -13,       /* the store does not lead */
    HF_ERR_RANGE_CHANGED = -14,    /* the key moved to another range */
    HF_ERR_CONDITION_FAILED = -15, /* the condition was not met; nothing was done */
    HF_ERR_TOO_LARGE = -16,        /* key, value, batch or answer over its limit */
    HF_ERR_UNDETERMINED = -17,     /* may or may not have taken effect, or may yet: hf_resolve() */
    HF_ERR_UNAVAILABLE = -18,      /* no leader or no majority within the deadline */
    HF_ERR_UNAUTHORIZED = -19,     /* another cluster, or not allowed */
    HF_ERR_VERSION_GONE = -21,     /* a read of the past that is not kept any more */
    HF_ERR_UNSUPPORTED = -22,      /* not known to this version of client or store */
    HF_ERR_LOCKED = -23,           /* embedded: another process, or this one, has the folder open */
    HF_ERR_OVERFLOW = -24,         /* an increment left the 64-bit range */
    HF_ERR_NOT_NUMBER = -25,       /* an increment of something that is no number */
    HF_ERR_STATE = -26,            /* not possible now, or not from here */
    HF_ERR_SESSION_EXPIRED = -27,  /* too long ago: nobody can tell any more */
    HF_ERR_FENCED = -28,           /* hf_resolve(): it was not done, and never will be */
    HF_ERR_TOO_OLD = -29           /* HF_STALE: no replica was in touch with its leader recently
                                      enough */
};

/* One sentence for a code; never NULL. */
const char *hf_strerror(int code);

/* A stable short name for a code: "NOT_FOUND"; "OK" for 0. */
const char *hf_code_name(int code);

/* "0.1.0" */
const char *hf_version(void);

/* ---- bytes ------------------------------------------------------------------ */

/* Keys and values are any bytes. A key has 1 to 4,096, a value at most 8 MiB. */
struct hf_bytes {
    const void *data;
    size_t len;
};

/* `len` bytes at `data`. */
struct hf_bytes hf_bytes(const void *data, size_t len);

/* The characters of `text` without its NUL; NULL is the empty string. */
struct hf_bytes hf_str(const char *text);

/* ---- results ---------------------------------------------------------------- */

/* One key's part in a result. */
struct hf_item {
    int status;            /* HF_OK, HF_ERR_NOT_FOUND, or why it stopped a batch */
    int has_value;         /* `value` was asked for and is there */
    struct hf_bytes key;   /* get, multi-get and scan */
    struct hf_bytes value; /* get, scan: the value. Changes: the one before, if asked for;
                              a failed condition: the present one */
    uint64_t version;      /* of the key; changes: the new one; 0: absent */
    uint64_t ttl_ms;       /* left; 0: does not expire */
    int64_t number;        /* increment: the new value */
    uint64_t reserved[2];
};

/* A member of a range. */
struct hf_member {
    uint64_t replica_id;
    uint64_t store_id;
    int is_learner; /* replicates, does not vote */
    uint8_t store_uuid[16];
    const char *address; /* "host:port" */
    uint64_t reserved[2];
};

/* A named figure or text of a store. */
struct hf_stat {
    const char *name;
    const char *text; /* NULL: it is a number */
    uint64_t number;
    uint64_t reserved[1];
};

/* What a store says of itself and its range: hf_status(), hf_identify(), hf_stats(). */
struct hf_info {
    uint64_t cluster_id; /* 0: not bootstrapped */
    uint64_t store_id;   /* who answered */
    uint64_t replica_id;
    uint64_t term;
    int is_born; /* identify: belongs to a bootstrapped cluster */
    uint8_t store_uuid[16];
    uint64_t range_id;
    uint64_t conf_epoch;
    uint64_t span_epoch;
    uint64_t leader_replica_id; /* 0: not known */
    uint64_t leader_store_id;
    const char *leader_address; /* "" if not known */
    size_t member_count;
    const struct hf_member *members;
    size_t stat_count;
    const struct hf_stat *stats;
    struct hf_bytes range_start; /* status: the span [start, end) in the space of all keys: */
    struct hf_bytes range_end;   /* 0x02, the keyspace in 4 bytes big-endian, the key */
};

/* What a replica answers about a check of its range. */
enum hf_check_state {
    HF_CHECK_STARTED = 1, /* hf_check_start(): every replica meets it at `index` */
    HF_CHECK_BEHIND = 2,  /* it has not come to that index yet */
    HF_CHECK_RUNNING = 3, /* it is reading */
    HF_CHECK_DONE = 4,    /* the sums are there */
    HF_CHECK_FAILED = 5,  /* `why` */
    HF_CHECK_MISSING = 6  /* it knows of no such check (any more): `why` */
};

/* A part of the range's keys, in their order. */
struct hf_check_part {
    int is_last;          /* it goes to the range's end; else up to and with … */
    uint32_t keyspace;    /* … this key */
    struct hf_bytes last; /* (as in hf_call and hf_get()) */
    uint64_t keys;
    uint64_t bytes;
    uint64_t sum[2]; /* sums of neighbours may be added, modulo 2^64 each */
    uint64_t reserved[2];
};

/* hf_check_start() and hf_check_result(). Replicas are alike at `index` if term, meta,
 * history and sum are. */
struct hf_check {
    uint64_t range_id;
    uint64_t replica_id; /* of the store that answered */
    uint64_t index;
    uint64_t term;
    int state;              /* enum hf_check_state */
    const char *why;        /* "" if there is nothing to say */
    uint64_t applied;       /* index that the replica has applied by now */
    uint64_t keys;          /* DONE: there at range time */
    uint64_t bytes;         /* of keys and values; RUNNING: read so far */
    uint64_t range_time_ms; /* of the range, at the index */
    uint64_t version;       /* the last that was given, at the index */
    uint64_t history;       /* hash over all that was ever applied */
    uint64_t meta;          /* hash over what the range keeps beside its keys */
    uint64_t sum[2];        /* over all keys */
    size_t part_count;
    const struct hf_check_part *parts;
};

/* hf_placement(): a table, row by row, or a text, or neither. */
struct hf_table {
    size_t column_count;
    const char *const *columns; /* names; '#' in front of those of numbers */
    size_t row_count;
    const char *const *cells; /* column_count for each row */
    const char *text;         /* "" if there is none */
};

/* The outcome of one operation. Read only; release with hf_result_free(). */
struct hf_result {
    int code;                     /* as the call returned it */
    const char *message;          /* why, in words; "" if all is well */
    uint64_t version;             /* changes: given to all their keys; reads: read at */
    uint64_t trace_id;            /* what the store's log calls this request, if it was slow
                                     (slow_request of its configuration) */
    size_t failed_op;             /* batch: index of the operation that stopped it */
    size_t count;                 /* of items */
    const struct hf_item *items;  /* get and single changes: one; multi-get, batch: one for
                                     each key, in order; scan: those found. A change whose
                                     answer was lost, and had more than 256 bytes: none (one
                                     of zeroes but for `version` can be looked at) */
    int has_more;                 /* scan page: there is more, from `cursor` on */
    struct hf_bytes cursor;       /* scan page: where the next one begins */
    int is_range_end;             /* scan page: what follows is of another range, which has
                                     versions of its own: do not ask for it at this one's. With
                                     HF_ERR_VERSION_GONE: all of it was of another range, before
                                     a merge; ask for it as for another range's */
    const struct hf_info *info;   /* NULL but for those that ask for it */
    const struct hf_check *check; /* NULL but for hf_check_*() */
    struct hf_bytes token;        /* HF_ERR_UNDETERMINED: for hf_resolve(); empty where nobody
                                     could tell (without sessions) */
    const struct hf_table *table; /* NULL but for hf_placement() */
    uint64_t deleted;             /* hf_delete_range(): keys that it found, and that are deleted */
    uint32_t keyspace;            /* hf_keyspace_open(): its number */
    struct hf_bytes resume;       /* hf_scan_page(), while there is more: how to go on, for
                                     span->cursor; to be kept as long as you like */
};

/* NULL is fine. */
void hf_result_free(struct hf_result *result);

/* ---- open and close ----------------------------------------------------------- */

struct hf_client;

/* How bad a line of the library's log is. */
enum hf_log_level { HF_LOG_DEBUG = 0, HF_LOG_INFO = 1, HF_LOG_WARN = 2, HF_LOG_ERROR = 3 };

struct hf_options {
    size_t size;            /* set by hf_options_init() */
    const char *endpoints;  /* "host:port,host:port": any stores of the cluster, one is
                               enough; or "embedded:DIR", see hf_open(); NULL: the variable
                               HOLDFAST_ENDPOINTS is not read, it is an error */
    const char *name;       /* for the stores' logs; NULL: "libholdfast" */
    uint64_t cluster_id;    /* refuse any other; 0: that of the first store that answers */
    uint32_t timeout_ms;    /* of every call that does not say otherwise; 0: 5,000 */
    uint32_t in_flight_max; /* operations at once, then HF_ERR_BUSY; 0: 8,192 */
    size_t bytes_max;       /* their keys and values together; 0: 64 MiB */
    /* One line about something worth knowing, on a thread of the library's, where the rules
     * for callbacks hold; never two at once. NULL: none. */
    void (*log)(void *data, int level, const char *line);
    void *log_data;
    int no_sessions;     /* a change whose answer was lost is not sent again, but undetermined */
    char *message;       /* where hf_open() writes why it failed, in one line; NULL: nowhere */
    size_t message_size; /* bytes there, with the NUL */
};

void hf_options_init(struct hf_options *options);

/* Start a client: its own thread and event loop. Does not wait for the cluster: a
 * call that needs it does, until its deadline. HF_ERR_INVALID: no endpoints, or one
 * that is no address; HF_ERR_NOMEM, HF_ERR_IO.
 *
 * Embedded. With the endpoints "embedded:DIR" the cluster is of one store that runs inside this
 * process, on threads of its own, in folder DIR, which is made if it is missing (its parent must
 * be there). All else is the same: a change is done when it is on the disk, and survives a crash
 * at any instant; hf_close() flushes and lets go of the folder. No other process can reach the
 * store. To move to a cluster, close it, start `holdfastd --data DIR`, have others join, and
 * change the address; a cluster of one that holdfastd made can be opened so, too.
 * "embedded:DIR?key=value&key=value" sets keys of holdfastd's configuration (memory, limits,
 * time-outs; `listen`, too: from then on others reach the store at that address).
 *
 *   HF_ERR_LOCKED   somebody has the folder open
 *   HF_ERR_STATE    the folder is of a cluster of several stores; or it lost a part of itself
 *   HF_ERR_CORRUPT  what is in it is damaged
 *   HF_ERR_INVALID  a key or value that is not acceptable
 *
 * options->message tells more. As for a store of its own, a disk that does not keep what was
 * written (a failed fsync) ends the process at once, after a line to `log` and to standard error:
 * nothing that is written after that could be trusted. */
int hf_open(const struct hf_options *options, struct hf_client **ret_client);

/* Stop it and free it. No call may be running or follow on other threads. Async
 * operations in flight are delivered first: HF_ERR_CANCELED if they were not sent,
 * HF_ERR_UNDETERMINED if a change had left. Queues stay: they can still be polled, and
 * must be freed. NULL is fine.
 * An embedded store's lines come to `log` until this returns: who gets them may still use the
 * client as from any callback, but what it starts is refused by now (HF_ERR_STATE).
 * HF_ERR_STATE, and nothing happens, from inside a callback. */
int hf_close(struct hf_client *client);

/* ---- how to call --------------------------------------------------------------- */

/* What a read may answer. Nothing weaker than the first is ever the default.
 *
 * HF_LINEARIZABLE: everything that was acknowledged before it began. The leader has a majority
 * confirm that it leads, and no clock is trusted.
 *
 * HF_LEASE: the same, answered by the leader alone while a majority has promised to elect
 * nobody else. It rests on clocks that drift by no more than the operator stated
 * (max_clock_drift) and saves a round trip. HF_ERR_UNSUPPORTED where the operator has not
 * enabled it (lease_reads).
 *
 * HF_STALE: from any replica, which may have missed what was acknowledged in the last
 * max_age_ms: the age counts from the moment at which that replica asked its leader how far it
 * must be. One that has not asked lately does so first; HF_ERR_TOO_OLD if no replica gets an
 * answer in time. Two such reads may be answered by different replicas, the second from an
 * older state than the first.
 *
 * HF_AT: as of at_version, which must be of the same range (result->version of an earlier read
 * or change there): the same answer whenever and wherever it is asked. HF_ERR_VERSION_GONE:
 * older than what is kept; or the key was in another range, and a merge brought it into this
 * one since: a number does not tell which of the two gave it, so none of before the merge is
 * good for the keys of the range that was on the right. HF_ERR_INVALID: a version that the
 * range has not given yet. */
enum hf_consistency { HF_LINEARIZABLE = 0, HF_LEASE = 1, HF_STALE = 2, HF_AT = 3 };

/* Options of one call; NULL wherever it is asked for means all defaults. */
struct hf_call {
    size_t size;         /* set by hf_call_init() */
    uint32_t timeout_ms; /* 0: the client's */
    uint32_t keyspace;   /* of hf_keyspace_open(), or any number below 65,536. One that has a name
                            and was not opened is HF_ERR_INVALID, to reads and scans, too: nobody
                            here would know where its keys are */
    int consistency;     /* enum hf_consistency; for reads */
    uint64_t max_age_ms; /* HF_STALE: milliseconds, at least 1 */
    uint64_t at_version; /* HF_AT: at least 1 */
    uint64_t trace_id;   /* 0: drawn */
    int any_replica;     /* reads: spread them over all replicas. One that does not lead asks
                            its leader how far it must be, and answers when it is there; this
                            costs a round trip and spares the leader's disk and network. 0:
                            the leader answers. HF_STALE goes to any replica by itself */
};

void hf_call_init(struct hf_call *call);

/* Runs on the library's thread, exactly once; `result` is the receiver's to free, and
 * may be NULL if there is no memory for it (`code` tells). */
typedef void (*hf_callback)(void *data, int code, struct hf_result *result);

struct hf_queue;

/* Where the result of an asynchronous operation goes: to the callback, or, if `queue`
 * is not NULL, to the queue. Copied by the call. */
struct hf_then {
    hf_callback callback;
    struct hf_queue *queue;
    void *data;           /* handed to the callback, or out of the queue */
    uint64_t reserved[2]; /* zeroes; anything else is HF_ERR_INVALID */
};

/* ---- keyspaces ----------------------------------------------------------------------- */

/* The number of a keyspace that has a name (`holdfast keyspace create`): result->keyspace, for
 * hf_call and hf_watch_options. HF_ERR_NOT_FOUND: there is none, or it is being dropped;
 * HF_ERR_INVALID: that can be no name; HF_ERR_STATE: this client has opened 1,024, as many as
 * it can.
 *
 * In a hashed keyspace a key stands behind its slot. Once it was opened, this client puts that
 * there and takes it off by itself, so that all is as elsewhere, except for these. A key has at
 * most 4,094 bytes. Keys of a batch must be in one range, as always, and neighbours are not.
 * hf_scan_new() merges the slots in order of keys, each slot at a version of its own, even those
 * of one range; it holds a page of each, 16 MiB together or what single values need.
 * hf_scan_page() is HF_ERR_UNSUPPORTED. hf_delete_range() goes from slot to slot. A watch of a
 * prefix or of bounds is one of all slots, of which the library leaves out what was not asked
 * for. What somebody has stored there without this library and stands behind none of the slots
 * (shorter than one, a slot alone, a slot that there is not) has no key by which a call could name
 * it: scans and watches do not tell of it, and hf_delete_range() leaves it, unless the span has no
 * bounds. A span that says as_stored has it. */
int hf_keyspace_open(struct hf_client *client, const char *name, const struct hf_call *call,
                     struct hf_result **ret_result);
int hf_keyspace_open_async(struct hf_client *client, const char *name, const struct hf_call *call,
                           const struct hf_then *then);

/* ---- completion queues ------------------------------------------------------------ */

/* A queue belongs to one client and may be used by any thread. */
int hf_queue_new(struct hf_client *client, struct hf_queue **ret_queue);

/* Frees it and the results in it. No operation that points to it may be in flight
 * (HF_ERR_STATE, and nothing happens). NULL is fine. */
int hf_queue_free(struct hf_queue *queue);

/* A descriptor that is readable while results wait. Only poll it. */
int hf_queue_fd(const struct hf_queue *queue);

/* The next result without waiting: 1 and the outputs, or 0 if there is none. */
int hf_queue_poll(struct hf_queue *queue, void **ret_data, int *ret_code,
                  struct hf_result **ret_result);

/* The same, waiting up to `timeout_ms`: 1, or 0 when that has passed. Not after
 * hf_close(). */
int hf_queue_wait(struct hf_queue *queue, uint32_t timeout_ms, void **ret_data, int *ret_code,
                  struct hf_result **ret_result);

/* ---- reading ---------------------------------------------------------------------- */

/* One key. HF_ERR_NOT_FOUND if it is absent or has expired. */
int hf_get(struct hf_client *client, struct hf_bytes key, const struct hf_call *call,
           struct hf_result **ret_result);
int hf_get_async(struct hf_client *client, struct hf_bytes key, const struct hf_call *call,
                 const struct hf_then *then);

/* Several keys (1 to 10,000). HF_OK also if some are absent: each item has its own status, which
 * is HF_ERR_TOO_LARGE for a value that does not go into 16 MiB of its range's together with those
 * before it: get that key alone. Those of one range are read at one version; of several ranges
 * each is asked at the same time, each read is linearizable at a version of its own, and
 * result->version is 0. */
int hf_multi_get(struct hf_client *client, const struct hf_bytes *keys, size_t count,
                 const struct hf_call *call, struct hf_result **ret_result);
int hf_multi_get_async(struct hf_client *client, const struct hf_bytes *keys, size_t count,
                       const struct hf_call *call, const struct hf_then *then);

/* ---- changing ---------------------------------------------------------------------- */

enum hf_condition {
    HF_ALWAYS = 0,
    HF_IF_ABSENT = 1,
    HF_IF_PRESENT = 2,
    HF_IF_VERSION = 3, /* the key's version is `if_version` */
    HF_IF_VALUE = 4    /* the key's value is `if_value` */
};

/* How to change; NULL wherever it is asked for means all defaults. A condition that is
 * not met ends in HF_ERR_CONDITION_FAILED, and items[0] tells the present value and
 * version. */
struct hf_change {
    size_t size;              /* set by hf_change_init() */
    uint64_t ttl_ms;          /* 0: does not expire (increment, append: stays as it is); at most
                                 36,600 days, else HF_ERR_TOO_LARGE */
    int keep_ttl;             /* put, get_and_set: the present expiry stays, if there is one; with a
                                 ttl_ms: HF_ERR_INVALID */
    int return_previous;      /* items[0].value is the value before */
    int condition;            /* enum hf_condition */
    uint64_t if_version;      /* HF_IF_VERSION */
    struct hf_bytes if_value; /* HF_IF_VALUE */
};

void hf_change_init(struct hf_change *change);

/* Set a value. */
int hf_put(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
           const struct hf_change *change, const struct hf_call *call,
           struct hf_result **ret_result);
int hf_put_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                 const struct hf_change *change, const struct hf_call *call,
                 const struct hf_then *then);

/* Remove a key. HF_OK also if it was absent. */
int hf_delete(struct hf_client *client, struct hf_bytes key, const struct hf_change *change,
              const struct hf_call *call, struct hf_result **ret_result);
int hf_delete_async(struct hf_client *client, struct hf_bytes key, const struct hf_change *change,
                    const struct hf_call *call, const struct hf_then *then);

/* Set `value` only if the present value is `expected`. */
int hf_cas(struct hf_client *client, struct hf_bytes key, struct hf_bytes expected,
           struct hf_bytes value, const struct hf_call *call, struct hf_result **ret_result);
int hf_cas_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes expected,
                 struct hf_bytes value, const struct hf_call *call, const struct hf_then *then);

/* Set `value` only if the present version is `version`; 0 means absent. */
int hf_cas_version(struct hf_client *client, struct hf_bytes key, uint64_t version,
                   struct hf_bytes value, const struct hf_call *call,
                   struct hf_result **ret_result);
int hf_cas_version_async(struct hf_client *client, struct hf_bytes key, uint64_t version,
                         struct hf_bytes value, const struct hf_call *call,
                         const struct hf_then *then);

/* Set a value only where there is none, or only where there is one. */
int hf_put_if_absent(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                     const struct hf_call *call, struct hf_result **ret_result);
int hf_put_if_absent_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                           const struct hf_call *call, const struct hf_then *then);
int hf_put_if_present(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                      const struct hf_call *call, struct hf_result **ret_result);
int hf_put_if_present_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                            const struct hf_call *call, const struct hf_then *then);

/* Add to a decimal number; an absent key counts as 0. items[0].number is the sum. */
int hf_increment(struct hf_client *client, struct hf_bytes key, int64_t delta,
                 const struct hf_change *change, const struct hf_call *call,
                 struct hf_result **ret_result);
int hf_increment_async(struct hf_client *client, struct hf_bytes key, int64_t delta,
                       const struct hf_change *change, const struct hf_call *call,
                       const struct hf_then *then);

/* Add bytes to the end of a value; an absent key counts as empty. */
int hf_append(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
              const struct hf_change *change, const struct hf_call *call,
              struct hf_result **ret_result);
int hf_append_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                    const struct hf_change *change, const struct hf_call *call,
                    const struct hf_then *then);

/* Set a value and return the one before (items[0].has_value tells if there was one). */
int hf_get_and_set(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                   const struct hf_change *change, const struct hf_call *call,
                   struct hf_result **ret_result);
int hf_get_and_set_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                         const struct hf_change *change, const struct hf_call *call,
                         const struct hf_then *then);

/* ---- exactly once -------------------------------------------------------------------- */

/* Changes and batches are of a session, which the library keeps: one whose answer was lost
 * is sent again until its deadline, and takes effect once however often it is sent. A
 * repeat is answered with the first result, of which a range keeps 256 bytes: of a larger
 * one only code and version are left, and result->count is 0.
 *
 * What the deadline leaves open is HF_ERR_UNDETERMINED, and can be settled later, by this or
 * another process, with the token of its result (of at most 5,000 bytes, to be kept as they
 * are):
 *
 *   HF_ERR_FENCED           it was not done, and from now on never will be
 *   HF_ERR_SESSION_EXPIRED  some 15 minutes are over, or very many sessions wrote to that
 *                           range since: nobody can tell any more
 *   HF_ERR_INVALID          that is no token, or not as it was given: a checksum in it tells when
 *                           a digit is wrong or missing, and nobody is asked then
 *   HF_ERR_UNSUPPORTED      a token of another version of the library, or of when tokens had no
 *                           checksum: those are not taken any more
 *   HF_ERR_UNAUTHORIZED     a token of another cluster
 *   HF_ERR_UNDETERMINED, HF_ERR_UNAVAILABLE, HF_ERR_BUSY, …   nobody could be asked: ask again
 *   HF_OK, HF_ERR_CONDITION_FAILED, …   what it came to, with its result */
int hf_resolve(struct hf_client *client, struct hf_bytes token, const struct hf_call *call,
               struct hf_result **ret_result);
int hf_resolve_async(struct hf_client *client, struct hf_bytes token, const struct hf_call *call,
                     const struct hf_then *then);

/* ---- batches ------------------------------------------------------------------------ */

/* Several changes and checks that happen all or not at all: at most 10,000, and 16 MiB
 * together. All conditions are judged first. All keys must be in one range: else
 * the commit is HF_ERR_UNSUPPORTED, which its message tells from other reasons for that code, and
 * nothing was done. Ranges are split as they grow: what fits today may not tomorrow. A batch may
 * be built by one thread at a time and committed as often as you like. */
struct hf_batch;

int hf_batch_new(struct hf_batch **ret_batch);
void hf_batch_free(struct hf_batch *batch);  /* NULL is fine */
void hf_batch_clear(struct hf_batch *batch); /* empty it, to be filled again */
size_t hf_batch_count(const struct hf_batch *batch);

/* Add one operation. HF_ERR_INVALID, HF_ERR_TOO_LARGE and HF_ERR_NOMEM leave the batch
 * as it was; hf_batch_message() says why. */
int hf_batch_put(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                 const struct hf_change *change);
int hf_batch_delete(struct hf_batch *batch, struct hf_bytes key, const struct hf_change *change);
int hf_batch_increment(struct hf_batch *batch, struct hf_bytes key, int64_t delta,
                       const struct hf_change *change);
int hf_batch_append(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                    const struct hf_change *change);
int hf_batch_get_and_set(struct hf_batch *batch, struct hf_bytes key, struct hf_bytes value,
                         const struct hf_change *change);

/* Only the condition in `change`, which may not be HF_ALWAYS. */
int hf_batch_check(struct hf_batch *batch, struct hf_bytes key, const struct hf_change *change);

/* Why the operation that came last was not added, in words; "" if it was. Of the batch, until the
 * next one. */
const char *hf_batch_message(const struct hf_batch *batch);

/* Do it. On HF_ERR_CONDITION_FAILED, result->failed_op tells which one, and items[0]
 * its present value and version. HF_ERR_INVALID if it is empty. */
int hf_batch_commit(struct hf_client *client, const struct hf_batch *batch,
                    const struct hf_call *call, struct hf_result **ret_result);
int hf_batch_commit_async(struct hf_client *client, const struct hf_batch *batch,
                          const struct hf_call *call, const struct hf_then *then);

/* ---- scanning ------------------------------------------------------------------------- */

/* Which keys; NULL wherever it is asked for means all of them. */
struct hf_span {
    size_t size;            /* set by hf_span_init() */
    struct hf_bytes start;  /* included; empty: from the first key */
    struct hf_bytes end;    /* excluded; empty: to the last key */
    struct hf_bytes prefix; /* if not empty: keys that begin so, and start and end are
                               not used */
    int reverse;            /* from the end downwards */
    int keys_only;
    uint32_t limit_keys;    /* a page's; 0: the store's (4 MiB of keys and values) */
    uint32_t limit_bytes;   /* a page's; 0: the store's */
    int as_stored;          /* the bounds, and the keys that are found, are as they stand in the
                               keyspace, slots included; it may have a name and not be opened */
    struct hf_bytes cursor; /* hf_delete_range(): of the step before; bounds or prefix as they
                               were then. Scans: of hf_scan_cursor(), or a page's result->resume;
                               nothing else of the span counts then but the limits */
};

void hf_span_init(struct hf_span *span);

/* One page of keys in order, of one range. Go on with span.cursor set to a copy of
 * result->resume, while has_more; of the call only timeout_ms and trace_id count then:
 *
 *     do {
 *         rv = hf_scan_page(client, &span, NULL, &result);
 *         … take result->items, keep result->resume for span.cursor, free the result before …
 *     } while (rv == HF_OK && result->has_more);
 *
 * All pages of a range are of the version of its first, and the next range has a version of its
 * own, also where ranges are split and merged meanwhile. For how long, and the errors, see
 * hf_scan_cursor(). Who wants to choose versions goes on with the same span and start (or end, if
 * reverse) set to result->cursor: at the same version (HF_AT and at_version = result->version), but
 * after a page with is_range_end as for a first page. A merge ends the scan's part of a range, too:
 * where it comes to keys that came from another range since, a page ends so, or is
 * HF_ERR_VERSION_GONE with is_range_end: ask for the same page as for a first one. */
int hf_scan_page(struct hf_client *client, const struct hf_span *span, const struct hf_call *call,
                 struct hf_result **ret_result);
int hf_scan_page_async(struct hf_client *client, const struct hf_span *span,
                       const struct hf_call *call, const struct hf_then *then);

/* All keys of a span, page by page, those of a range all at the version of its first page.
 * Other ranges have versions of their own, of when the scan comes there; so have the parts of
 * one that is split or merged meanwhile. Whatever becomes of ranges, no key is found older than
 * a read of it that began with the scan might find it. With a call that says HF_AT all ranges
 * are asked at that one number, which is good for a span within one of them, and
 * HF_ERR_VERSION_GONE where a merge brought keys since. HF_ERR_TOO_LARGE: a bound is longer than
 * keys are. One thread at a time. Frees with hf_scan_free(), before the client is closed. */
struct hf_scan;

int hf_scan_new(struct hf_client *client, const struct hf_span *span, const struct hf_call *call,
                struct hf_scan **ret_scan);

/* The next key: 1 and *ret_item, which points into memory of the scan until the next
 * call; 0 at the end; a negative code on failure (call again to go on). */
int hf_scan_next(struct hf_scan *scan, struct hf_item *ret_item);

/* Why hf_scan_next() failed, in words. */
const char *hf_scan_message(const struct hf_scan *scan);

/* The version that it reads at in the range of the last page; 0 before the first page. */
uint64_t hf_scan_version(const struct hf_scan *scan);

/* Where it stands: bytes to be kept, and to go on from behind the key that hf_scan_next() said
 * last, later or in another process, without a gap or a repeat: hf_scan_new() with span.cursor.
 * Borrowed until the next call. At most 12,400 bytes; in a hashed keyspace each slot adds 9, and
 * more after a failure (HF_ERR_TOO_LARGE: over 16 MiB).
 *
 * The scan goes over the same span in the same way, and reads at the same version in the range
 * (in a hashed keyspace, the slots) that it was in, as long as the keyspace's retention has it
 * (10 minutes); the cursor does not make that longer.
 *
 *   HF_ERR_CORRUPT       by hf_scan_new(), hf_scan_page(): those are not all bytes of a cursor
 *   HF_ERR_UNSUPPORTED   likewise: of another version of the library; or a page of slots
 *   HF_ERR_INVALID       likewise: the keyspace has a name, and was not opened here, unless the
 *                        span says as_stored there and here: hf_keyspace_open() first
 *   HF_ERR_STATE         hf_scan_page(): that scan is over; hf_scan_next() says 0
 *   HF_ERR_UNAUTHORIZED  by hf_scan_next(), hf_scan_page(): the cursor is of another cluster
 *   HF_ERR_VERSION_GONE  likewise: its version is not kept any more: hf_scan_renew() */
int hf_scan_cursor(struct hf_scan *scan, struct hf_bytes *ret_cursor);

/* After HF_ERR_VERSION_GONE, or at any time: all that is still to come is read at versions of then,
 * as by a scan that begins there. HF_ERR_STATE: its call said HF_AT. */
int hf_scan_renew(struct hf_scan *scan);

/* What it goes over, from its first key on: as it was given, but for a prefix, which is start and
 * end by now. Points into memory of the scan. */
void hf_scan_span(const struct hf_scan *scan, struct hf_span *ret_span, uint32_t *ret_keyspace);

void hf_scan_free(struct hf_scan *scan); /* NULL is fine */

/* ---- deleting a span ---------------------------------------------------------------------- */

/* One step of deleting all keys of a span: those that are there of the first span->limit_keys
 * (0: 1,000, and 1 MiB of keys at most) in one range, by one command: all of them or none, and
 * exactly once, so that a key which somebody puts again after its deletion stays. Go on with
 * the same span, its cursor set to a copy of result->cursor, while has_more; who keeps the
 * cursor can go on after a restart, too:
 *
 *     do {
 *         rv = hf_delete_range(client, &span, NULL, &result);
 *         … keep result->cursor, add up result->deleted, free the result before …
 *     } while (rv == HF_OK && result->has_more);
 *
 * In a hashed keyspace the span is in every slot. A step is of one slot (of several, where the
 * span has no bounds), and passes by up to 64 that have nothing: it may have deleted none, and
 * there is more. Elsewhere the cursor is a key, which may take the place of `start` instead.
 *
 * A step looks for the keys first, and its command, some milliseconds later, deletes them without
 * a look at what is there by then, which would be to read them all once more on each store. So
 * `deleted` is exact, however often the step had to be sent, as long as no key of the span is
 * deleted by somebody else, or expires, between the two: such a key counts here, too. It is never
 * less than what the step has deleted. What is put under such a key in between is deleted with it.
 * A step that ended undetermined, and was done as hf_resolve() says, is counted nowhere.
 *
 * Keys that are put behind the cursor meanwhile are deleted when it comes there. On
 * HF_ERR_UNDETERMINED the step may have been done: hf_resolve() tells, and to do the step
 * again deletes what was put since. On any other error it has deleted nothing.
 * HF_ERR_INVALID: a span that is upside down, reverse, keys_only, or has limit_bytes; a cursor
 * that is none of the span; a keyspace with a name that was not opened, unless as_stored. */
int hf_delete_range(struct hf_client *client, const struct hf_span *span,
                    const struct hf_call *call, struct hf_result **ret_result);
int hf_delete_range_async(struct hf_client *client, const struct hf_span *span,
                          const struct hf_call *call, const struct hf_then *then);

/* ---- watching -------------------------------------------------------------------- */

/* Every change of the keys of a span, from a version on: each exactly once, those of a key
 * in the order in which they happened, whatever becomes of connections, leaders and ranges
 * meanwhile. All changes of one command have the same version. Changes of keys in
 * different ranges come in no order.
 *
 *     struct hf_watch_options options;
 *     hf_watch_options_init(&options);
 *     options.prefix = hf_str("user/");
 *     if (hf_watch_open(client, &options, &watch) != HF_OK) …
 *     while ((rv = hf_watch_next(watch, 1000, &batch)) >= 0) {
 *         if (rv == 0) continue;  // nothing for a second
 *         for (size_t i = 0; i < batch->count; i++) …
 *         hf_watch_batch_free(batch);
 *     }
 *
 * A value that expires is no change: it happens by the clock, and the change that put it
 * says when. Changes are kept as long as old versions are (10 minutes, unless the keyspace
 * says otherwise): a watcher that falls further behind, or comes back later, is told
 * HF_ERR_VERSION_GONE, and hf_watch_oldest() says from where on it may go on, with a gap.
 * A watcher that is slow to call hf_watch_next() costs buffer_bytes here, and nothing at
 * the stores. */
struct hf_watch;

enum hf_event_kind {
    HF_EVENT_PUT = 1, /* whatever set the value: put, increment, append … */
    HF_EVENT_DELETE = 2
};

struct hf_event {
    int kind; /* enum hf_event_kind */
    struct hf_bytes key;
    struct hf_bytes value; /* put: what it became */
    uint64_t version;
    uint64_t expires_ms; /* put: when it expires, by the cluster's clock (milliseconds since
                            1970); 0: it does not */
    uint64_t reserved[2];
};

struct hf_watch_batch {
    size_t count; /* 0: only `complete` has moved */
    const struct hf_event *events;
    uint64_t complete; /* with this batch, every change of the whole span up to this version
                          was told */
};

struct hf_watch_options {
    size_t size;            /* set by hf_watch_options_init() */
    struct hf_bytes key;    /* this key alone; or else … */
    struct hf_bytes prefix; /* … keys that begin so; or else … */
    struct hf_bytes start;  /* … from this one on; empty: from the first */
    struct hf_bytes end;    /* … and before this one; empty: to the last */
    uint32_t keyspace;
    uint64_t from_version; /* changes of this version and later; 0: from now on */
    struct hf_bytes token; /* of hf_watch_token(): go on from there, and nothing of the above
                              counts but from_version: what is older is given up */
    int marks;             /* also return batches without changes, when `complete` moves */
    uint32_t buffer_bytes; /* of changes that wait for hf_watch_next(); 0: 4 MiB. What is on
                              its way when it is full comes on top: at most 2 MiB, or as many
                              single values as there are ranges, up to 32 */
    /* Something waits for hf_watch_next(), on the library's thread, where you may call that
     * with no time-out, but not close the watch; NULL: none. */
    void (*callback)(void *data, struct hf_watch *watch);
    void *data;
};

void hf_watch_options_init(struct hf_watch_options *options);

/* Begin. HF_ERR_INVALID: more than one of key, prefix and bounds, or a span that is empty,
 * or a token of something else; HF_ERR_TOO_LARGE: a bound is longer than a key can be.
 * Whether the cluster can be reached shows later: hf_watch_trouble(). A keyspace with a name that
 * was not opened, also a token's, is HF_ERR_INVALID. Close it before the client.
 *
 * Each range of the span is asked by itself, and waits there for changes: 32 at a time. Of a span
 * of more ranges they are asked in turns, for a fifth of a second each, so that a change may wait
 * for its range's turn: of 1,000 ranges for some six seconds. HF_ERR_TOO_LARGE by
 * hf_watch_next(): the span lies in more than 16,384 ranges. */
int hf_watch_open(struct hf_client *client, const struct hf_watch_options *options,
                  struct hf_watch **ret_watch);

/* 1: *ret_batch is yours to free; 0: there was none within the time. HF_ERR_VERSION_GONE
 * and others: the watch is over. One thread at a time. */
int hf_watch_next(struct hf_watch *watch, uint32_t timeout_ms, struct hf_watch_batch **ret_batch);
void hf_watch_batch_free(struct hf_watch_batch *batch); /* NULL is fine */

/* Readable while hf_watch_next() has something to say; for poll(), not to be read. */
int hf_watch_fd(const struct hf_watch *watch);

/* Where the batches that hf_watch_next() has returned came to: bytes to be kept, and to go
 * on from after a restart, without a gap or a repeat. Borrowed until the next call. */
int hf_watch_token(struct hf_watch *watch, struct hf_bytes *ret_token);

/* Is all of the span followed? To hf_watch_next() a quiet span and one that cannot be reached look
 * alike. HF_OK: yes, as far as is known; that a part is not shows within 15 seconds. Else why not
 * (HF_ERR_UNAVAILABLE, HF_ERR_BUSY, …): the last request for some part came to nothing, and *ret_ms
 * (NULL is fine) says for how many milliseconds nobody has answered for that one, and
 * hf_watch_message() why. The watch goes on asking by itself, and, once it is answered, goes on
 * without a gap; until then nothing but this tells. Of one that is over: what ended it. */
int hf_watch_trouble(struct hf_watch *watch, uint64_t *ret_ms);

/* Why the watch is over, or what hf_watch_trouble() told of, in words. Borrowed until the next
 * call. */
const char *hf_watch_message(struct hf_watch *watch);

/* After HF_ERR_VERSION_GONE: the oldest from_version that can be asked for. */
uint64_t hf_watch_oldest(const struct hf_watch *watch);

/* NULL is fine. HF_ERR_STATE, and nothing happens, from inside a callback. */
int hf_watch_close(struct hf_watch *watch);

/* ---- the cluster ------------------------------------------------------------------------ */

/* These ask one store, `endpoint` ("host:port"), or, if it is NULL, any that answers.
 * One that cannot be reached is HF_ERR_UNAVAILABLE at once. Answers are in result->info. */

/* The range, its members and leader, and figures of the store. */
int hf_status(struct hf_client *client, const char *endpoint, const struct hf_call *call,
              struct hf_result **ret_result);
int hf_status_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                    const struct hf_then *then);

/* The same of one range: that with this id, or, if it is 0, that which holds `place` (as
 * info->range_start; empty: the first). Of its replica on the store that answers, which may
 * be behind: ask its leader. Figures "range.bytes", "range.keys" and "range.qps" tell how
 * large and how busy it is, "range.middle" (hex) a place that would halve it.
 * HF_ERR_STATE: there is none. */
int hf_range_status(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    struct hf_bytes place, const struct hf_call *call,
                    struct hf_result **ret_result);
int hf_range_status_async(struct hf_client *client, const char *endpoint, uint64_t range_id,
                          struct hf_bytes place, const struct hf_call *call,
                          const struct hf_then *then);

/* Who a store is, born or not. */
int hf_identify(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                struct hf_result **ret_result);
int hf_identify_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                      const struct hf_then *then);

/* Figures of the store. */
int hf_stats(struct hf_client *client, const char *endpoint, const struct hf_call *call,
             struct hf_result **ret_result);
int hf_stats_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                   const struct hf_then *then);

/* Hand leadership to a replica; 0: to whichever is best. */
int hf_transfer_leader(struct hf_client *client, uint64_t replica_id, const struct hf_call *call,
                       struct hf_result **ret_result);
int hf_transfer_leader_async(struct hf_client *client, uint64_t replica_id,
                             const struct hf_call *call, const struct hf_then *then);

/* A range is cut in two: it keeps the keys below `place`, a new range gets the others. Where
 * placement gives ids (every cluster that nodes have joined) this is HF_ERR_INVALID: ask
 * placement for the split. HF_ERR_TOO_LARGE: no key is as long as that place. */
struct hf_split {
    size_t size; /* sizeof, set by the caller */
    uint64_t range_id;
    uint64_t conf_epoch; /* of the range, as hf_range_status() told: if it has changed since, */
    uint64_t span_epoch; /* the split is refused (HF_ERR_RANGE_CHANGED) */
    struct hf_bytes place;
    uint64_t new_range_id; /* never used before */
    size_t count;          /* one for each member of the range: */
    const uint64_t *store_ids;
    const uint64_t *new_replica_ids; /* never used before */
};

int hf_range_split(struct hf_client *client, const struct hf_split *split,
                   const struct hf_call *call, struct hf_result **ret_result);
int hf_range_split_async(struct hf_client *client, const struct hf_split *split,
                         const struct hf_call *call, const struct hf_then *then);

/* A range takes in its neighbour to the right, which must have its replicas on the same
 * stores in the same roles. For up to two seconds nothing is served from the right one;
 * if not all members of both are there by then, it is given up (HF_ERR_TIMEOUT): both go on
 * as before, the left one under a new epoch. */
struct hf_merge {
    size_t size;       /* sizeof, set by the caller */
    uint64_t range_id; /* the left one; its epochs as for hf_split */
    uint64_t conf_epoch;
    uint64_t span_epoch;
    uint64_t right_range_id;
    uint64_t right_conf_epoch; /* 0: whatever it is */
    uint64_t right_span_epoch;
};

int hf_range_merge(struct hf_client *client, const struct hf_merge *merge,
                   const struct hf_call *call, struct hf_result **ret_result);
int hf_range_merge_async(struct hf_client *client, const struct hf_merge *merge,
                         const struct hf_call *call, const struct hf_then *then);

/* Write a store's memory tables to its disk. */
int hf_flush(struct hf_client *client, const char *endpoint, const struct hf_call *call,
             struct hf_result **ret_result);
int hf_flush_async(struct hf_client *client, const char *endpoint, const struct hf_call *call,
                   const struct hf_then *then);

/* Have every replica of the range compute checksums over what it holds at one index of
 * the log, in the background: the same proof that its replicas are alike that the
 * simulator has. Answers result->check->index. HF_ERR_BUSY: one is running already.
 * range_id 0: the first range of the store that is asked. */
int hf_check_start(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                   struct hf_result **ret_result);
int hf_check_start_async(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                         const struct hf_then *then);

/* How far the replica of that store is with the check at `index`, or what came of it.
 * A store keeps its last few. HF_ERR_NOT_FOUND: it has no replica of that range. */
int hf_check_result(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    uint64_t index, const struct hf_call *call, struct hf_result **ret_result);
int hf_check_result_async(struct hf_client *client, const char *endpoint, uint64_t range_id,
                          uint64_t index, const struct hf_call *call, const struct hf_then *then);

/* What placement is asked, or told (docs/OPERATIONS.md, Placement). */
enum hf_placement_verb {
    HF_PLACEMENT_STORES = 1,   /* a table of all stores, or of store `id` */
    HF_PLACEMENT_STATUS = 2,   /* how placement is */
    HF_PLACEMENT_SETTINGS = 3, /* a table */
    HF_PLACEMENT_SET = 4,      /* `name` to `value` */
    HF_PLACEMENT_PAUSE = 5,    /* do nothing but what is commanded */
    HF_PLACEMENT_RESUME = 6,
    HF_PLACEMENT_EXPLAIN = 7,    /* what is done with range `id`, and why */
    HF_PLACEMENT_WHY_NOT = 8,    /* why nothing comes to store `id` or leaves it */
    HF_PLACEMENT_PLAN = 9,       /* what would be done; `name` "down", "gone": if store `id`
                                    were so; "add": if there were one of `id` bytes */
    HF_PLACEMENT_OPERATORS = 10, /* a table of what runs, and of what ended */
    HF_PLACEMENT_DRAIN = 11,     /* store `id`: leaders leave, nothing comes */
    HF_PLACEMENT_UNDRAIN = 12,
    HF_PLACEMENT_DECOMMISSION = 13,    /* replicas leave it, too; then it is removed */
    HF_PLACEMENT_REMOVE_STORE = 14,    /* forget a store that is down or holds nothing */
    HF_PLACEMENT_RANGES = 15,          /* a table: of range `id`, or from on-disk key `value` on */
    HF_PLACEMENT_KEYSPACES = 17,       /* a table of keyspaces, or of the one called `name` */
    HF_PLACEMENT_KEYSPACE_CREATE = 18, /* called `name`; `value` (or some of it):
                                          "slots=256,ranges=16,replicas=3,retention=1h" */
    HF_PLACEMENT_KEYSPACE_ALTER = 19,  /* likewise; not its slots */
    HF_PLACEMENT_KEYSPACE_DROP = 20,   /* `name` (and only if its number is `id`, unless that is
                                          0): nobody may open it any more; its keys stay until who
                                          dropped it has deleted them, and then says … */
    HF_PLACEMENT_KEYSPACE_FORGET = 21, /* … that there is nothing left: the name is free */
    HF_PLACEMENT_COMMAND = 16          /* `name`: "move", "add-replica", "remove-replica",
                                          "transfer-leader", "split", "merge", "scatter"; of range
                                          `id`, or the one that has on-disk key `value`. "cancel":
                                          of operator `id` */
};

struct hf_placement_ask {
    size_t size; /* sizeof, set by the caller */
    int verb;    /* enum hf_placement_verb */
    uint64_t id;
    const char *name; /* NULL is fine */
    struct hf_bytes value;
    uint64_t from_store;
    uint64_t to_store;
};

/* Ask placement, wherever it runs. Answers are in result->table. */
int hf_placement(struct hf_client *client, const struct hf_placement_ask *ask,
                 const struct hf_call *call, struct hf_result **ret_result);
int hf_placement_async(struct hf_client *client, const struct hf_placement_ask *ask,
                       const struct hf_call *call, const struct hf_then *then);

#ifdef __cplusplus
}
#endif

/* What the client itself did. */
#include "holdfast_stats.h"

#endif
