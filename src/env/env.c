/* SPDX-License-Identifier: Apache-2.0 */
#include "env/env.h"

#include <stdarg.h>
#include <stdio.h>

#include "env/env_ops.h"

uint64_t env_now_us(struct env *env)
{
    return env->ops->now_us(env);
}

uint64_t env_wall_ms(struct env *env)
{
    return env->ops->wall_ms(env);
}

uint64_t env_turn_us(struct env *env)
{
    return env->ops->turn_us != NULL ? env->ops->turn_us(env) : env->ops->now_us(env);
}

uint64_t env_turn_wall_ms(struct env *env)
{
    return env->ops->turn_wall_ms != NULL ? env->ops->turn_wall_ms(env) : env->ops->wall_ms(env);
}

uint64_t env_random(struct env *env)
{
    return env->ops->random(env);
}

void env_random_bytes(struct env *env, void *data, size_t len)
{
    env->ops->random_bytes(env, data, len);
}

void env_fatal(struct env *env, const char *fmt, ...)
{
    char message[ERR_MSG_MAX * 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    env->ops->fatal(env, message);
}

void env_trim_memory(struct env *env)
{
    if (env->ops->trim_memory != NULL)
        env->ops->trim_memory(env);
}

bool env_fault(struct env *env, const char *site)
{
    return env->ops->fault != NULL && env->ops->fault(env, site);
}

void env_stop(struct env *env)
{
    env->ops->stop(env);
}

void env_timer_init(struct env_timer *timer, struct env *env, env_timer_cb cb, void *data)
{
    ASSERT(cb != NULL);
    *timer = (struct env_timer){.data = data, .cb = cb, .env = env};
}

void env_timer_start_at(struct env_timer *timer, uint64_t due_us)
{
    ASSERT(timer->env != NULL);
    env_timer_stop(timer);
    timer->due_us = due_us;
    timer->env->ops->timer_start(timer->env, timer);
    ASSERT(env_timer_is_active(timer));
}

void env_timer_start(struct env_timer *timer, uint64_t delay_us)
{
    env_timer_start_at(timer, env_now_us(timer->env) + delay_us);
}

void env_timer_stop(struct env_timer *timer)
{
    if (env_timer_is_active(timer))
        timer->env->ops->timer_stop(timer->env, timer);
    ASSERT(!env_timer_is_active(timer));
}

void env_task_init(struct env_task *task, env_task_cb cb, void *data)
{
    ASSERT(cb != NULL);
    *task = (struct env_task){.data = data, .cb = cb};
    list_init(&task->in_tasks);
}

void env_task_post(struct env *env, struct env_task *task)
{
    if (!list_is_linked(&task->in_tasks))
        env->ops->task_post(env, task);
}

void env_task_post_late(struct env *env, struct env_task *task)
{
    if (!list_is_linked(&task->in_tasks))
        env->ops->task_post_late(env, task);
}

void env_task_cancel(struct env_task *task)
{
    list_remove(&task->in_tasks);
}

void env_work_init(struct env_work *work, env_work_cb execute, env_work_cb complete, void *data)
{
    ASSERT(execute != NULL);
    ASSERT(complete != NULL);
    *work = (struct env_work){.data = data, .execute = execute, .complete = complete};
    list_init(&work->in_lane);
}

void env_work_submit(struct env *env, enum env_lane lane, struct env_work *work)
{
    ASSERT(lane < ENV_LANE_NR);
    ASSERT(!work->is_active);
    work->env = env;
    work->lane = lane;
    work->is_active = true;
    env->ops->work_submit(env, work);
}

int env_file_open(struct env *env, const char *path, int flags, struct env_file **ret_file,
                  struct err *err)
{
    return env->ops->file_open(env, path, flags, ret_file, err);
}

void env_file_close(struct env_file *file)
{
    if (file != NULL)
        file->env->ops->file_close(file);
}

int env_file_read(struct env_file *file, uint64_t offset, void *data, size_t len, size_t *ret_len,
                  struct err *err)
{
    return file->env->ops->file_read(file, offset, data, len, ret_len, err);
}

int env_file_write(struct env_file *file, uint64_t offset, const void *data, size_t len,
                   struct err *err)
{
    return file->env->ops->file_write(file, offset, data, len, err);
}

static void parts_check(uint64_t offset, const struct slice *parts, size_t count)
{
    ASSERT(count > 0 && count <= ENV_PARTS_MAX);
    ASSERT(offset % ENV_BLOCK == 0);
    for (size_t i = 0; i < count; i++)
        ASSERT(parts[i].len > 0 && parts[i].len % ENV_BLOCK == 0 &&
               (uintptr_t)parts[i].data % ENV_BLOCK == 0);
}

void env_write_init(struct env_write *write, env_write_cb complete, void *data)
{
    *write = (struct env_write){.data = data, .complete = complete};
    list_init(&write->in_writes);
}

int env_file_write_start(struct env_file *file, uint64_t offset, const struct slice *parts,
                         size_t count, struct env_write *write)
{
    ASSERT(!write->is_active);
    parts_check(offset, parts, count);
    write->file = file;
    write->offset = offset;
    write->count = count;
    write->len = 0;
    for (size_t i = 0; i < count; i++) {
        write->parts[i] = parts[i];
        write->len += parts[i].len;
    }
    write->err = (struct err){0};
    write->rv = file->env->ops->file_write_start(file, write);
    ASSERT(write->rv == 0 || write->rv == ERR_UNSUPPORTED);
    return write->rv;
}

int env_file_write_through(struct env_file *file, uint64_t offset, const struct slice *parts,
                           size_t count, struct err *err)
{
    parts_check(offset, parts, count);
    return file->env->ops->file_write_through(file, offset, parts, count, err);
}

int env_file_write_past(struct env_file *file, uint64_t offset, const void *data, size_t len,
                        struct err *err)
{
    ASSERT(len > 0 && len % ENV_BLOCK == 0);
    ASSERT(offset % ENV_BLOCK == 0 && (uintptr_t)data % ENV_BLOCK == 0);
    return file->env->ops->file_write_past(file, offset, data, len, err);
}

int env_file_sync(struct env_file *file, struct err *err)
{
    return file->env->ops->file_sync(file, err);
}

int env_file_write_back(struct env_file *file, uint64_t offset, size_t len, struct err *err)
{
    return file->env->ops->file_write_back(file, offset, len, err);
}

int env_file_size(struct env_file *file, uint64_t *ret_size, struct err *err)
{
    return file->env->ops->file_size(file, ret_size, err);
}

int env_file_truncate(struct env_file *file, uint64_t size, struct err *err)
{
    return file->env->ops->file_truncate(file, size, err);
}

int env_file_rename(struct env *env, const char *from, const char *to, struct err *err)
{
    return env->ops->file_rename(env, from, to, err);
}

int env_file_unlink(struct env *env, const char *path, struct err *err)
{
    return env->ops->file_unlink(env, path, err);
}

int env_file_link(struct env *env, const char *from, const char *to, struct err *err)
{
    return env->ops->file_link(env, from, to, err);
}

int env_file_stat(struct env *env, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                  struct err *err)
{
    return env->ops->file_stat(env, path, ret_size, ret_is_dir, err);
}

int env_dir_make(struct env *env, const char *path, struct err *err)
{
    return env->ops->dir_make(env, path, err);
}

int env_dir_remove(struct env *env, const char *path, struct err *err)
{
    return env->ops->dir_remove(env, path, err);
}

int env_dir_sync(struct env *env, const char *path, struct err *err)
{
    return env->ops->dir_sync(env, path, err);
}

int env_dir_list(struct env *env, const char *path, char ***ret_names, size_t *ret_count,
                 struct err *err)
{
    return env->ops->dir_list(env, path, ret_names, ret_count, err);
}

int env_dir_lock(struct env *env, const char *path, struct env_lock **ret_lock, struct err *err)
{
    return env->ops->dir_lock(env, path, ret_lock, err);
}

void env_dir_unlock(struct env_lock *lock)
{
    if (lock != NULL)
        lock->env->ops->dir_unlock(lock);
}

int env_disk_space(struct env *env, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                   struct err *err)
{
    return env->ops->disk_space(env, path, ret_free, ret_total, err);
}

int env_listen(struct env *env, const char *address, env_accept_cb cb, void *data,
               struct env_listener **ret_listener, struct err *err)
{
    return env->ops->listen(env, address, cb, data, ret_listener, err);
}

const char *env_listener_address(const struct env_listener *listener)
{
    return listener->env->ops->listener_address(listener);
}

void env_listener_close(struct env_listener *listener)
{
    if (listener != NULL)
        listener->env->ops->listener_close(listener);
}

int env_connect(struct env *env, const char *address, const struct env_conn_handler *handler,
                void *data, struct env_conn **ret_conn, struct err *err)
{
    return env->ops->connect(env, address, handler, data, ret_conn, err);
}

void env_conn_accept(struct env_conn *conn, const struct env_conn_handler *handler, void *data)
{
    conn->env->ops->conn_accept(conn, handler, data);
}

void env_conn_write(struct env_conn *conn, uint8_t *bytes, size_t len)
{
    conn->env->ops->conn_write(conn, bytes, len);
}

size_t env_conn_pending(const struct env_conn *conn)
{
    return conn->env->ops->conn_pending(conn);
}

void env_conn_pause(struct env_conn *conn)
{
    conn->env->ops->conn_pause(conn);
}

void env_conn_resume(struct env_conn *conn)
{
    conn->env->ops->conn_resume(conn);
}

void env_conn_close(struct env_conn *conn)
{
    if (conn != NULL)
        conn->env->ops->conn_close(conn);
}

bool env_conn_is_loopback(const struct env_conn *conn)
{
    return conn->env->ops->conn_is_loopback(conn);
}
