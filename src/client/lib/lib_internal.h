/* SPDX-License-Identifier: Apache-2.0
 *
 * lib_internal — libholdfast around the client's core: a thread with a loop, an
 * inbox into it, and ways out for results.
 *
 *   any thread                    the library's thread
 *   call_new() ─▶ call_start() ─▶ inbox ─▶ client_submit() … client_cb
 *        ▲                                       │ result_of_response()
 *        └── waiter (blocking) ◀─────────────────┼─▶ callback
 *                                                └─▶ queue, its eventfd
 *
 *   holdfast.c  open, close, the thread      call.c    one operation on its way
 *   embedded.c  a store in this process
 *   result.c    what the caller gets         queue.c   completion queues
 *   keyspace.c by name, and keys behind slots
 *   scan.c, slots.c   walks over a span        place.c   where they stand, as bytes
 *   figures.c  how many calls, and how long they took
 *   read.c, change.c, resolve.c, batch.c, scan.c, admin.c: the operations of holdfast.h
 *
 * Ownership  a call owns copies of all that it sends; it is the starter's until
 *            call_start() succeeds, then the library's.
 * Threads    `lock` guards what is marked so; all else belongs to the thread.
 */
#ifndef CLIENT_LIB_LIB_INTERNAL_H_
#define CLIENT_LIB_LIB_INTERNAL_H_

#include <stdatomic.h>

#include "base/hist.h"
#include "base/log.h"
#include "client/client.h"
#include "client/scan_cursor.h"
#include "client/sweep.h"
#include "client/watch.h"
#include "env/uv/env_uv.h"
#include "wire/command.h"
#include "wire/keyspace.h"

/* Everything else of the shared object is hidden. */
#pragma GCC visibility push(default)
#include "holdfast.h"
#pragma GCC visibility pop

enum {
    OPENED_MAX = 1024,
    CALL_SPARE_MAX = 128,    /* calls whose memory is kept … */
    CALL_SPARE_BYTES = 1024, /* … with so much for each of its two bufs */
    FIGURES_CODES = 32,
    FIGURES_STRANGE = FIGURES_CODES - 1, /* … the last for all that are not known here */
};

/* Of one kind of calls: what became of them. About 35 KiB, and made for the first of them. */
struct figures {
    uint64_t by_code[FIGURES_CODES]; /* at -code */
    struct hist took_us;
};

/* A keyspace that was opened by its name. */
struct opened {
    uint32_t keyspace;
    uint32_t slots; /* 0: not hashed */
};

struct hf_client {
    /* fixed after hf_open() */
    struct client_options core_options;
    struct client_options limits; /* in_flight_max and bytes_max as given, or defaults */
    char *endpoints;              /* owned; cut into pieces at the commas */
    char *name;                   /* owned */
    const char *pieces[CLIENT_PEERS_MAX / 2];
    uint32_t timeout_ms;
    void (*log)(void *data, int level, const char *line);
    void *log_data;
    struct logger logger;
    struct env_uv_mutex log_lock; /* one line at a time, whichever thread has it */
    struct env_uv_thread *thread;
    struct embedded *embedded; /* the store in this process; NULL: none */

    struct env_uv_mutex lock;
    struct env_uv_cond changed;           /* the thread's start; blocking calls have their own */
    struct env *env;                      /* set before is_started */
    bool is_started;                      /* guarded: the thread runs, or has failed */
    bool is_closing;                      /* guarded */
    int start_error;                      /* guarded */
    struct err start_err;                 /* of it; the thread's until is_started */
    struct list inbox;                    /* guarded: calls that the thread has not seen */
    bool is_posted;                       /* guarded: it will look */
    uint32_t call_count;                  /* guarded: accepted, not delivered */
    uint32_t stuck_count;                 /* guarded: of the core's, as it was last seen */
    size_t stuck_bytes;                   /* guarded, likewise */
    struct client_stats seen_stats;       /* guarded, likewise; with an embedded store only */
    size_t call_bytes;                    /* guarded */
    struct list spare;                    /* guarded: calls that are over, for those to come … */
    uint32_t spare_count;                 /* guarded: … up to CALL_SPARE_MAX */
    uint64_t busy;                        /* guarded: calls that were not accepted */
    struct figures *figures[HF_OP_KINDS]; /* guarded; owned, or NULL: there was none yet */

    _Atomic uint64_t cluster_id; /* as the thread learned it; 0: not yet */

    _Atomic uint32_t opened_count; /* those below it never change: read without the lock */
    struct opened opened[OPENED_MAX];

    struct client *core;
    struct env_task inbox_task; /* the thread's own: it looks at the end of the turn */
    struct list calls;          /* submitted to the core */
    struct list watches;        /* guarded: all that are not closed */
};

/* Who waits for a blocking call. */
struct waiter {
    struct env_uv_cond cond;
    bool is_done; /* guarded by the client's lock */
    int code;
    struct hf_result *result;
};

/* What a call of hf_scan_page() needs, to tell how to go on behind its page. */
struct page {
    bool is_told;              /* it is one */
    bool goes_on;              /* at a version that a page before has told */
    struct request_read first; /* how each range is begun */
    struct slice start;        /* the whole span, in the call's data or keys */
    struct slice end;
};

struct call {
    struct client_op op;
    struct hf_client *client; /* borrowed */
    struct list in_list;      /* inbox or calls */
    struct hf_then then;
    struct waiter *waiter;      /* NULL: asynchronous */
    bool opens_keyspace;        /* hf_keyspace_open(): the answer is learned from */
    uint32_t slots;             /* of its keyspace: keys stand behind their slots; 0: not hashed */
    uint32_t op_count;          /* of its command; 0: nobody here knows, or it is no change */
    struct buf data;            /* owned: command, or encoded keys */
    struct buf keys;            /* owned: the key of a get, the bounds of a scan, an endpoint */
    size_t bytes;               /* counted against bytes_max */
    struct client_sweep *sweep; /* owned; NULL unless it deletes a span, by `op` */
    struct page page;
    int figures_kind;  /* enum hf_op_kind */
    uint64_t began_us; /* when it was accepted */
};

/* ---- call.c ----------------------------------------------------------------- */

/* A call of that kind with what `options` say (NULL: defaults). HF_ERR_INVALID,
 * HF_ERR_NOMEM. Here and below `err` says why, for the result of a call that is refused. */
int call_new(struct hf_client *client, enum request_kind kind, const struct hf_call *options,
             struct call **ret_call, struct err *err);

/* NULL is fine. Only before it was started. */
void call_free(struct call *call);

/* It is not to be sent: freed (NULL is fine), and *ret_result, if that is wanted, says why in the
 * words of `err`, or, if there are none (NULL is fine), in those of the code, which is returned.
 * Every blocking call that does not come to call_go() ends so: *ret_result is always written. */
int call_refuse(struct call *call, int code, const struct err *err, struct hf_result **ret_result);

/* Fill the `read` part of a request from options. */
int call_set_read(struct request_read *read, const struct hf_call *options, struct err *err);

/* Copy into call->keys; a slice of it is taken by call_key() once all are in. */
int call_keep(struct call *call, struct hf_bytes bytes, struct err *err);

/* Send it on its way. Asynchronous: HF_OK and the result goes to `then`, or an error
 * and nothing does. The call is consumed either way. */
int call_start(struct call *call, const struct hf_then *then);

/* Blocking: the outcome's code; its result to *ret_result, or freed if that is NULL. */
int call_wait(struct call *call, struct hf_result **ret_result);

/* One of the two: how x() and x_async() share what stands before. */
int call_go(struct call *call, const struct hf_then *then, struct hf_result **ret_result);

/* Before the first call. */
void call_inbox_init(struct hf_client *client);

/* After the last one. */
void call_spare_free(struct hf_client *client);

/* On the thread: take in what was started. */
void call_inbox_run(void *data);

/* On the thread, after env_stop(): deliver all that is left. */
void call_drain(struct hf_client *client);

/* Is this a thread of the library's own? Blocking there would wait for ever. */
bool client_is_own_thread(const struct hf_client *client);

/* ---- result.c ---------------------------------------------------------------- */

/* What the caller gets for the answer to `call`; NULL if there is no memory. The code is
 * in *ret_code, which may differ from result->status where the answer is unusable. */
struct hf_result *result_of(const struct call *call, const struct client_result *result,
                            int *ret_code);

/* One with a code and a message only. */
struct hf_result *result_plain(int code, const char *message);

static inline struct slice slice_of_bytes(struct hf_bytes bytes)
{
    return slice_of(bytes.data, bytes.len);
}

/* Can these be the bytes that they claim to be? */
static inline bool bytes_are_fine(struct hf_bytes bytes)
{
    return bytes.len == 0 || bytes.data != NULL;
}

/* The same of some that are called `what`. */
static inline int bytes_check(struct hf_bytes bytes, const char *what, struct err *err)
{
    if (bytes_are_fine(bytes))
        return 0;
    return err_set(err, HF_ERR_INVALID, "%s: %zu bytes at NULL", what, bytes.len);
}

/* An asynchronous call without a place for its result is refused, not turned into a
 * blocking one. */
static inline const struct hf_then *somewhere(const struct hf_then *then)
{
    static const struct hf_then nowhere;
    return then != NULL ? then : &nowhere;
}

/* ---- change.c ------------------------------------------------------------------ */

/* Fill `op` from what the caller said, and check it; slices are borrowed. HF_ERR_INVALID,
 * HF_ERR_TOO_LARGE. Value and delta count only where the kind has them. */
int op_fill(struct op *op, enum op_kind kind, struct hf_bytes key, struct hf_bytes value,
            int64_t delta, const struct hf_change *how, struct err *err);

/* Send a command of `count` operations that stand encoded in `ops`, the first on `key`. `kind` is
 * one of enum hf_op_kind. */
int command_go(struct hf_client *client, int kind, struct slice ops, uint32_t count,
               struct slice key, const struct hf_call *options, const struct hf_then *then,
               struct hf_result **ret_result);

/* ---- figures.c ------------------------------------------------------------------- */

/* The hf_op_kind of a single change, and of what is none. */
int figures_kind_of(const struct op *op);
int figures_kind_of_request(enum request_kind kind);

/* A call is accepted, or HF_ERR_NOMEM; and has ended so. With the client's lock held. */
int figures_begin(struct hf_client *client, struct call *call);
void figures_note(struct hf_client *client, const struct call *call, int code);
void figures_fini(struct hf_client *client);

/* ---- resolve.c ------------------------------------------------------------------- */

/* What hf_resolve() needs to know of a change that is over, appended; nothing where it
 * cannot be asked for. */
void token_append(struct buf *buf, const struct call *call);

/* ---- admin.c --------------------------------------------------------------------- */

/* A call that asks placement, not started. */
int placement_call(struct hf_client *client, const struct hf_placement_ask *ask,
                   const struct hf_call *options, struct call **ret_call, struct err *err);

/* ---- keyspace.c ------------------------------------------------------------------ */

/* Of a hashed keyspace that was opened; 0: it is none, or nobody opened it. */
uint32_t client_slots(const struct hf_client *client, uint32_t keyspace);

/* May keys be written there? Of one with a name only once it was opened: before, nobody here
 * knows whether they stand behind slots. And never where the cluster's own are. Else
 * HF_ERR_INVALID. */
int client_may_write(const struct hf_client *client, uint32_t keyspace, struct err *err);

/* May keys be looked for there by what the caller calls them? As above, but the cluster's own may
 * be looked at. */
int client_may_read(const struct hf_client *client, uint32_t keyspace, struct err *err);

/* The caller says that the keys of the span are as they are stored, whatever the keyspace. */
static inline bool is_as_stored(const struct hf_span *span)
{
    return span != NULL && span->size >= sizeof *span && span->as_stored;
}

/* What placement told of a keyspace that `call` opens: remembered, and put into the result.
 * The code from now on. */
int keyspace_take(const struct call *call, int code, struct hf_result *result);

/* Append a key as it is stored: behind its slot if there are any. HF_ERR_TOO_LARGE. */
int slot_key(uint32_t slots, struct slice key, struct buf *out, struct err *err);

/* A command whose operations stand encoded in `ops`, their keys put behind their slots:
 * encoded to `out`, and its first key to `first`. */
int slot_command(uint32_t slots, const struct command *command, struct slice ops, struct buf *out,
                 struct buf *first, struct err *err);

/* ---- read.c ---------------------------------------------------------------------- */

/* A page of keys as they are stored; of that cluster alone, if it is not 0. */
int scan_page_plain(struct hf_client *client, const struct hf_span *span,
                    const struct hf_call *options, uint64_t cluster_id, const struct hf_then *then,
                    struct hf_result **ret_result);

/* ---- place.c --------------------------------------------------------------------- */

/* A page from where the cursor stands: bounds, options and version. HF_ERR_STATE: that scan is
 * over; HF_ERR_NOMEM. */
int page_fill_at(struct call *call, const struct hf_span *span, const struct scan_cursor *cursor,
                 struct err *err);

/* Append the cursor that goes on behind a page; `out` has failed if that cannot be. On the thread.
 */
void page_cursor_append(struct buf *out, const struct call *call, const struct response_rows *rows);

/* Did a merge end the version that the page was to be read at, so that it is to be asked for as
 * the first of another range? The request says so from now on. */
bool page_begins_anew(struct call *call, const struct client_result *answer);

/* ---- queue.c --------------------------------------------------------------------- */

/* A call that points to the queue begins: room for its result is made, or
 * HF_ERR_NOMEM. */
int queue_begin(struct hf_queue *queue);

/* It came to nothing; or its result arrives. */
void queue_abandon(struct hf_queue *queue);
void queue_push(struct hf_queue *queue, void *data, int code, struct hf_result *result);

/* ---- watch.c ----------------------------------------------------------------------- */

/* On the thread, after env_stop(): those that were not closed are over. */
void watches_end(struct hf_client *client);

#endif
