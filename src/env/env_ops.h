/* SPDX-License-Identifier: Apache-2.0
 *
 * env_ops — the table behind env.h, for those who build a world (env/uv,
 * env/sim, and tests that stand between). Everybody else calls env.h.
 *
 * A world embeds struct env as its first member; its files, connections,
 * listeners and locks embed struct env_file and so on, which name their world.
 */
#ifndef ENV_ENV_OPS_H_
#define ENV_ENV_OPS_H_

#include <stdarg.h>

#include "env/env.h"

struct env_ops {
    uint64_t (*now_us)(struct env *env);
    uint64_t (*wall_ms)(struct env *env);
    uint64_t (*turn_us)(struct env *env);      /* NULL: as now_us() */
    uint64_t (*turn_wall_ms)(struct env *env); /* NULL: as wall_ms() */
    uint64_t (*random)(struct env *env);
    void (*random_bytes)(struct env *env, void *data, size_t len);
    void (*fatal)(struct env *env, const char *message);
    bool (*fault)(struct env *env, const char *site); /* NULL: never */
    void (*stop)(struct env *env);
    void (*trim_memory)(struct env *env); /* NULL: nothing to be done */

    void (*timer_start)(struct env *env, struct env_timer *timer); /* due_us is set */
    void (*timer_stop)(struct env *env, struct env_timer *timer);
    void (*task_post)(struct env *env, struct env_task *task); /* not queued yet */
    void (*task_post_late)(struct env *env, struct env_task *task);
    void (*work_submit)(struct env *env, struct env_work *work); /* env, lane are set */

    int (*file_open)(struct env *env, const char *path, int flags, struct env_file **ret_file,
                     struct err *err);
    void (*file_close)(struct env_file *file);
    int (*file_read)(struct env_file *file, uint64_t offset, void *data, size_t len,
                     size_t *ret_len, struct err *err);
    int (*file_write)(struct env_file *file, uint64_t offset, const void *data, size_t len,
                      struct err *err);
    int (*file_write_past)(struct env_file *file, uint64_t offset, const void *data, size_t len,
                           struct err *err);
    int (*file_write_through)(struct env_file *file, uint64_t offset, const struct slice *parts,
                              size_t count, struct err *err);
    int (*file_write_start)(struct env_file *file,
                            struct env_write *write); /* what and where: set */
    int (*file_sync)(struct env_file *file, struct err *err);
    int (*file_write_back)(struct env_file *file, uint64_t offset, size_t len, struct err *err);
    int (*file_size)(struct env_file *file, uint64_t *ret_size, struct err *err);
    int (*file_truncate)(struct env_file *file, uint64_t size, struct err *err);
    int (*file_rename)(struct env *env, const char *from, const char *to, struct err *err);
    int (*file_unlink)(struct env *env, const char *path, struct err *err);
    int (*file_link)(struct env *env, const char *from, const char *to, struct err *err);
    int (*file_stat)(struct env *env, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                     struct err *err);
    int (*dir_make)(struct env *env, const char *path, struct err *err);
    int (*dir_remove)(struct env *env, const char *path, struct err *err);
    int (*dir_sync)(struct env *env, const char *path, struct err *err);
    int (*dir_list)(struct env *env, const char *path, char ***ret_names, size_t *ret_count,
                    struct err *err);
    int (*dir_lock)(struct env *env, const char *path, struct env_lock **ret_lock, struct err *err);
    void (*dir_unlock)(struct env_lock *lock);
    int (*disk_space)(struct env *env, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                      struct err *err);

    int (*listen)(struct env *env, const char *address, env_accept_cb cb, void *data,
                  struct env_listener **ret_listener, struct err *err);
    const char *(*listener_address)(const struct env_listener *listener);
    void (*listener_close)(struct env_listener *listener);
    int (*connect)(struct env *env, const char *address, const struct env_conn_handler *handler,
                   void *data, struct env_conn **ret_conn, struct err *err);
    void (*conn_accept)(struct env_conn *conn, const struct env_conn_handler *handler, void *data);
    void (*conn_write)(struct env_conn *conn, uint8_t *bytes, size_t len);
    size_t (*conn_pending)(const struct env_conn *conn);
    void (*conn_pause)(struct env_conn *conn);
    void (*conn_resume)(struct env_conn *conn);
    void (*conn_close)(struct env_conn *conn);
    bool (*conn_is_loopback)(const struct env_conn *conn);
};

struct env {
    const struct env_ops *ops;
};

struct env_file {
    struct env *env;
};

struct env_lock {
    struct env *env;
};

struct env_conn {
    struct env *env;
};

struct env_listener {
    struct env *env;
};

#endif
