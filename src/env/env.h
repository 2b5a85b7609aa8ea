/* SPDX-License-Identifier: Apache-2.0
 *
 * env — the world as an interface: clocks, timers, randomness, files, background
 * work, connections, faults. Nothing else in Holdfast touches the system.
 * env/uv is the real world on libuv, env/sim a simulated one; code above this
 * header cannot tell which one it lives in.
 *
 *               one struct env = one loop = one thread of control
 *   sockets, timers ──▶ callbacks on the loop ──▶ env_task (end of this turn)
 *                             │      ▲
 *           env_work_submit() ▼      │ complete()
 *                      lanes of background work: execute() may block on files
 *
 * Units      times are microseconds of the monotonic clock unless named _ms;
 *            offsets and lengths are bytes.
 * Ownership  timers, tasks and work items are the caller's memory and must stay
 *            in place while active. Connections, listeners, files and locks are
 *            the env's, handed out and given back by the calls below.
 * Threads    loop calls: everything but the file calls that wait, env_now_us(),
 *            env_wall_ms() and env_fault(), which any execute() may use too.
 *            No callback ever runs from inside the call that asked for it.
 * Errors     0 or a negative ERR_*; a struct err * may be NULL.
 * Teardown   one path for both worlds: env_stop() first, then every owner frees
 *            its memory with its own x_free(), which does no I/O and waits for
 *            nothing.
 * Limits     ENV_PATH_MAX; what may wait in a connection is for the caller to
 *            bound (env_conn_pending()).
 */
#ifndef ENV_ENV_H_
#define ENV_ENV_H_

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"

enum { ENV_PATH_MAX = 512 };

struct env;

/* ---- the loop ---------------------------------------------------------- */

/* Monotonic time, read afresh at each call. Never goes backwards. */
uint64_t env_now_us(struct env *env);

/* Wall clock in milliseconds since 1970. May jump either way. */
uint64_t env_wall_ms(struct env *env);

/* The same two clocks, read once in a part of a turn (its timers, its input, its tasks): for what
 * is noted of each of many requests. At most that part behind the clock, never ahead of it, and so
 * never to be subtracted from a time of env_now_us() without a look. Loop only. */
uint64_t env_turn_us(struct env *env);
uint64_t env_turn_wall_ms(struct env *env);

/* Not for secrets; seeded by the world. Loop only. */
uint64_t env_random(struct env *env);

/* Unpredictable bytes in the real world (ids, nonces), seeded ones in the
 * simulated. Loop only. */
void env_random_bytes(struct env *env, void *data, size_t len);

/* This process must not go on (a failed fsync, damage found where nothing may be
 * served): say why and end. The real world exits with status 1 and never
 * returns. The simulated one marks the process as dead and RETURNS: from then on
 * every file call fails with ERR_IO, nothing more is sent or delivered, and the
 * caller must unwind without relying on any of it. Any thread. */
void env_fatal(struct env *env, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Much memory was freed and will not be wanted again soon: give it back to the system. Takes
 * milliseconds. */
void env_trim_memory(struct env *env);

/* A named fault point (FoundationDB's BUGGIFY): false unless this site is
 * switched on for this run. Costs a pointer test when no faults are on. */
bool env_fault(struct env *env, const char *site);

/* Ends background work: waits for running execute() calls, drops everything
 * queued, and guarantees that after its return no callback of any kind (complete,
 * timer, task, connection, accept) is ever delivered again. All connections and
 * listeners are gone. Files stay usable until closed. Idempotent. */
void env_stop(struct env *env);

struct env_timer;
typedef void (*env_timer_cb)(struct env_timer *timer);

/* Caller's memory. One shot; start again from the callback to repeat. */
struct env_timer {
    void *data; /* caller's */
    env_timer_cb cb;
    /* private */
    struct env *env;
    uint64_t due_us;
    uint64_t order;    /* ties fire in starting order */
    size_t heap_index; /* 1-based place in the heap; 0 while not active */
};

/* Does not start it. `cb` runs on the loop with the timer no longer active. */
void env_timer_init(struct env_timer *timer, struct env *env, env_timer_cb cb, void *data);

/* (Re)start: fires once at `due_us` or as soon after as the loop gets to it. */
void env_timer_start_at(struct env_timer *timer, uint64_t due_us);
void env_timer_start(struct env_timer *timer, uint64_t delay_us);

/* Harmless when not active. The memory is free after. */
void env_timer_stop(struct env_timer *timer);

static inline bool env_timer_is_active(const struct env_timer *timer)
{
    return timer->heap_index != 0;
}

struct env_task;
typedef void (*env_task_cb)(struct env_task *task);

/* Work for the end of the present loop turn: runs once, after all input that is
 * ready now was handled. This is where a turn's batches are closed. */
struct env_task {
    void *data; /* caller's */
    env_task_cb cb;
    struct list in_tasks; /* private */
};

/* Does not post it. */
void env_task_init(struct env_task *task, env_task_cb cb, void *data);

/* Queue it, unless it is queued already. A task queued by a task runs in the
 * same turn, at most ENV_TASK_ROUNDS_MAX rounds deep, then in the next. */
void env_task_post(struct env *env, struct env_task *task);

/* As above, but not before what the turn has written to connections so far is on its way: for
 * work that others need not wait for. */
void env_task_post_late(struct env *env, struct env_task *task);
void env_task_cancel(struct env_task *task);
enum { ENV_TASK_ROUNDS_MAX = 8 };

/* ---- background work --------------------------------------------------- */

/* Lanes never wait for each other. Those with one thread run in FIFO order. FLUSH and SNAPSHOT
 * have less claim to the processors than the rest, and COMPACT the least. */
enum env_lane {
    ENV_LANE_LOG,      /* log writes and syncs; one thread */
    ENV_LANE_READ,     /* reads that missed the cache; several threads */
    ENV_LANE_FLUSH,    /* memtable flush; one thread */
    ENV_LANE_COMPACT,  /* compaction; one thread by default */
    ENV_LANE_SNAPSHOT, /* building and taking in snapshots; one thread */
    ENV_LANE_NR,
};

struct env_work;
typedef void (*env_work_cb)(struct env_work *work);

/* Caller's memory. `execute` runs off the loop on what the owner handed it
 * (copies, immutable or own inputs), may block, and reports by fields of its
 * container; then `complete` runs on the loop. In the simulated world both run at
 * virtual times of the world's choice. */
struct env_work {
    void *data; /* caller's */
    env_work_cb execute;
    env_work_cb complete;
    /* private */
    struct env *env;
    enum env_lane lane;
    struct list in_lane;
    bool is_active; /* from submit until just before complete() is called */
};

/* Does not submit it. */
void env_work_init(struct env_work *work, env_work_cb execute, env_work_cb complete, void *data);

/* Queue it at the end of `lane`; the memory is the env's until complete(). It must
 * not be active already. */
void env_work_submit(struct env *env, enum env_lane lane, struct env_work *work);

/* ---- files (blocking; any thread) --------------------------------------
 *
 * Crash semantics that callers must assume, and that env/sim enforces:
 *  - written bytes survive a crash only after env_file_sync() of that file; until
 *    then any subset of 512-byte sectors may have reached the disk, in any order;
 *  - a created, renamed, linked or removed NAME survives only after
 *    env_dir_sync() of its folder; until then any subset may have happened;
 *  - env_file_sync() also makes the file's length durable;
 *  - after a failed sync, nothing is known about what is on the disk.
 */
struct env_file;
struct env_lock;

enum env_open_flags {
    ENV_OPEN_READ = 1 << 0,
    ENV_OPEN_WRITE = 1 << 1,
    ENV_OPEN_CREATE = 1 << 2,    /* create if missing */
    ENV_OPEN_EXCLUSIVE = 1 << 3, /* with CREATE: ERR_EXISTS if it is there */
    ENV_OPEN_TRUNCATE = 1 << 4,  /* with WRITE: cut to length 0 */
};

/* Flags of enum env_open_flags; READ or WRITE or both. ERR_NOT_FOUND, ERR_EXISTS,
 * ERR_IO, ERR_NO_SPACE. */
int env_file_open(struct env *env, const char *path, int flags, struct env_file **ret_file,
                  struct err *err);

/* NULL is fine. Does not sync. */
void env_file_close(struct env_file *file);

/* Up to `len` bytes at `offset`; *ret_len < len only at the end of the file. */
int env_file_read(struct env_file *file, uint64_t offset, void *data, size_t len, size_t *ret_len,
                  struct err *err);

/* All `len` bytes, or an error (ERR_NO_SPACE, ERR_IO) with an unknown part
 * written. Writing past the end extends with zeroes. */
int env_file_write(struct env_file *file, uint64_t offset, const void *data, size_t len,
                   struct err *err);

/* Write whole blocks past all caches, and make them durable: as a write and a sync, in less time.
 * `parts` follow each other from `offset` on; their addresses and lengths and the offset are
 * multiples of ENV_BLOCK, and all lies within the file. Of what is overwritten by the same bytes
 * nothing changes at any instant. ERR_UNSUPPORTED: this file knows no such way, and nothing was
 * written. Any other failure is that of a sync. One thread at a time, and nobody else writes to
 * the file; any may read. */
enum { ENV_BLOCK = 4096, ENV_PARTS_MAX = 4 };
int env_file_write_through(struct env_file *file, uint64_t offset, const struct slice *parts,
                           size_t count, struct err *err);

struct env_write;
typedef void (*env_write_cb)(struct env_write *write);

/* A write through that no thread waits for. Caller's memory. */
struct env_write {
    void *data; /* caller's */
    env_write_cb complete;
    int rv;         /* at complete(): what became of it, … */
    struct err err; /* … and why */
    /* private */
    struct env_file *file;
    uint64_t offset;
    size_t len;
    struct slice parts[ENV_PARTS_MAX];
    size_t count;
    bool is_active; /* from start until just before complete() is called */
    struct list in_writes;
    struct env_work work; /* where a world has only threads for it */
};

/* Does not start it. */
void env_write_init(struct env_write *write, env_write_cb complete, void *data);

/* As env_file_write_through(), but it returns once the disk has been told, and write->complete()
 * runs on the loop when it is done. Until then the bytes stay where and as they are, the file stays
 * open, and nobody else writes to it. ERR_UNSUPPORTED, here or as write->rv: not this file, or not
 * now; an unknown part was written, and all of it is to be written by env_file_write_through().
 * For what is small: it takes the loop's time to tell the disk, now and then as long as a sync
 * does; so not where syncs take long. Loop only. */
int env_file_write_start(struct env_file *file, uint64_t offset, const struct slice *parts,
                         size_t count, struct env_write *write);

/* A write past the page cache, of whole blocks: for who writes much that hardly anybody reads
 * soon. Nothing is durable by it: that takes a sync, as after any write. Address, length and
 * offset are multiples of ENV_BLOCK; the file grows where it ends before. ERR_UNSUPPORTED: this
 * file knows no such way, and an unknown part was written, as after other failures: write it again.
 * One thread at a time. */
int env_file_write_past(struct env_file *file, uint64_t offset, const void *data, size_t len,
                        struct err *err);

/* fdatasync: bytes and length are durable. Never retry a failed one. */
int env_file_sync(struct env_file *file, struct err *err);

/* Send what was written there on its way to the disk, and wait for what the call
 * before this one on `file` sent. It makes NOTHING durable: it is for who writes much,
 * so that his sync finds little left to do and other files' syncs do not queue behind
 * all of it. Pieces of one file, in order, by one thread at a time. A failure is that
 * of a sync: it will not be told again. */
int env_file_write_back(struct env_file *file, uint64_t offset, size_t len, struct err *err);

/* Length as the process sees it now. */
int env_file_size(struct env_file *file, uint64_t *ret_size, struct err *err);

/* Cut to a length, or extend to it by zeroes that have their room on the disk: what is
 * written there later meets no full disk. ERR_NO_SPACE: the length is what it was. */
int env_file_truncate(struct env_file *file, uint64_t size, struct err *err);

/* `to` is replaced at once if it is there (rename), ERR_EXISTS (link). A name is
 * durable only after env_dir_sync(). */
int env_file_rename(struct env *env, const char *from, const char *to, struct err *err);
int env_file_unlink(struct env *env, const char *path, struct err *err);
int env_file_link(struct env *env, const char *from, const char *to, struct err *err);

/* ERR_NOT_FOUND if there is nothing at `path`. */
int env_file_stat(struct env *env, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                  struct err *err);

/* ERR_EXISTS if it is there. */
int env_dir_make(struct env *env, const char *path, struct err *err);
int env_dir_remove(struct env *env, const char *path, struct err *err);

/* ERR_BUSY: no descriptor is free, or no memory; nothing was synced, nor has failed to be. */
int env_dir_sync(struct env *env, const char *path, struct err *err);

/* Names in `path` without "." and "..", in byte order. *ret_names is one
 * allocation (an array of pointers into itself) that the caller free()s. */
int env_dir_list(struct env *env, const char *path, char ***ret_names, size_t *ret_count,
                 struct err *err);

/* Exclusive lock on folder `path` (a file LOCK in it), held until unlock or
 * death. ERR_LOCKED names the holder's process id where it is known. Once somebody removes or
 * replaces the folder, what opens, changes or syncs by path there fails with ERR_IO, so that
 * nothing of the other's is touched or taken for ours; stat, list and disk space only look, and
 * tell of what stands there now. */
int env_dir_lock(struct env *env, const char *path, struct env_lock **ret_lock, struct err *err);
void env_dir_unlock(struct env_lock *lock);

/* Bytes of the file system that holds `path`. */
int env_disk_space(struct env *env, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                   struct err *err);

/* ---- connections ------------------------------------------------------- */

/* An address is text "host:port": IPv4, [IPv6] or a name; port 1..65535. */
enum { ENV_ADDRESS_MAX = 128 };

struct env_conn;
struct env_listener;

/* Called on the loop. `data` is what was given with the handler. */
struct env_conn_handler {
    /* Only for env_connect(): the connection stands; writes are welcome. NULL is fine. */
    void (*on_open)(void *data);
    /* Where the next bytes shall stand, and at most how many: they need not be copied there then.
     * NULL, or no such call: anywhere. The next on_read() may bring bytes from elsewhere all the
     * same. */
    uint8_t *(*on_room)(void *data, size_t *ret_len);
    /* Bytes in order, borrowed until return. */
    void (*on_read)(void *data, struct slice bytes);
    /* Everything written so far left for the kernel. NULL is fine. */
    void (*on_drain)(void *data);
    /* It ended, or never came to stand: ERR_EOF, ERR_IO, ERR_TIMEOUT. Called
     * once, last; the env_conn is gone when it returns. Not called after
     * env_conn_close(). */
    void (*on_close)(void *data, int status, const char *reason);
};

/* A new incoming connection: call env_conn_accept() or env_conn_close() on it
 * before returning. `peer` is its address in text. */
typedef void (*env_accept_cb)(void *data, struct env_conn *conn, const char *peer);

/* Port 0 picks a free one (see env_listener_address()). */
int env_listen(struct env *env, const char *address, env_accept_cb cb, void *data,
               struct env_listener **ret_listener, struct err *err);
const char *env_listener_address(const struct env_listener *listener);
void env_listener_close(struct env_listener *listener);

/* Start to connect: on_open or on_close follows. On an error return none does. */
int env_connect(struct env *env, const char *address, const struct env_conn_handler *handler,
                void *data, struct env_conn **ret_conn, struct err *err);
/* Take an incoming connection: from here on `handler` hears of it. */
void env_conn_accept(struct env_conn *conn, const struct env_conn_handler *handler, void *data);

/* Hand over `len` bytes at `bytes` (from malloc; env frees them). Order is kept.
 * Legal before on_open (they wait). Several writes of one loop turn leave in one
 * system call where the world can. */
void env_conn_write(struct env_conn *conn, uint8_t *bytes, size_t len);

/* Bytes accepted by env_conn_write() that have not left yet. */
size_t env_conn_pending(const struct env_conn *conn);

/* Stop and restart on_read: back-pressure on the other side. */
void env_conn_pause(struct env_conn *conn);
void env_conn_resume(struct env_conn *conn);

/* Drop it now; what is pending may be lost. No callback follows. */
void env_conn_close(struct env_conn *conn);

/* Is the other end on this machine's loopback? */
bool env_conn_is_loopback(const struct env_conn *conn);

#endif
