/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes that no thread waits for (Linux AIO): the loop tells the disk, and hears of the end by the
 * event descriptor of the inbox. A thread would have to be woken, to be given a processor, to wait
 * for the disk, and to wake the loop.
 *
 *   start ─▶ io_submit() ─▶ the disk ─▶ event descriptor ─▶ reap ─▶ complete() on the loop
 *
 * Much of what the kernel could only do by waiting (RWF_NOWAIT) it refuses, at once or at the end,
 * and a thread does it. Not all: where the disk has the bytes before the call is through, the call
 * waits for the flush of the disk's cache (one in ten of small writes on a quick disk); the time of
 * the change may wait for the file system's journal; and one that is frozen is waited for. So who
 * starts writes has an eye on how long they take. Not io_uring, which does the same and is denied
 * to many containers.
 */
#include <errno.h>
#include <sys/uio.h>

#include "env/uv/real_internal.h"

void real_writes_init(struct real_writes *writes)
{
    *writes = (struct real_writes){0};
    list_init(&writes->active);
}

/* False: this kernel, or who guards it, has none for us. */
static bool has_context(struct real_writes *writes)
{
    if (!writes->is_ready && !writes->is_refused) {
        writes->is_ready = io_setup(REAL_WRITES_MAX, &writes->context) == 0;
        writes->is_refused = !writes->is_ready;
    }
    return writes->is_ready;
}

bool real_writes_can_start(struct real_world *world)
{
    struct real_writes *writes = &world->writes;
    return !world->is_stopped && writes->count < REAL_WRITES_MAX && has_context(writes);
}

int real_writes_start(struct real_world *world, int fd, struct env_write *write)
{
    struct real_writes *writes = &world->writes;
    struct iovec iov[ENV_PARTS_MAX];
    struct iocb cb, *cbs[1] = {&cb};
    ASSERT(!list_is_linked(&write->in_writes));
    ASSERT(writes->is_ready && writes->count < REAL_WRITES_MAX);
    for (size_t i = 0; i < write->count; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)write->parts[i].data, write->parts[i].len};
    io_prep_pwritev2(&cb, fd, iov, (int)write->count, (long long)write->offset,
                     RWF_DSYNC | RWF_NOWAIT);
    io_set_eventfd(&cb, world->inbox.fd);
    cb.data = write;
    if (io_submit(writes->context, 1, cbs) != 1)
        return ERR_UNSUPPORTED;
    write->is_active = true;
    writes->count++;
    list_push_back(&writes->active, &write->in_writes);
    return 0;
}

static void write_finish(struct real_writes *writes, struct env_write *write, int64_t res)
{
    ASSERT(write->is_active);
    ASSERT(writes->count > 0);
    writes->count--;
    list_remove(&write->in_writes);
    write->is_active = false;
    write->rv = real_file_wrote(write, res);
    write->complete(write);
}

void real_writes_reap(struct real_world *world)
{
    struct real_writes *writes = &world->writes;
    struct io_event events[REAL_WRITES_MAX];
    struct timespec none = {0};
    int n;
    if (writes->count == 0)
        return;
    do {
        n = io_getevents(writes->context, 0, REAL_WRITES_MAX, events, &none);
    } while (n == -EINTR);
    ASSERT(n >= 0 && (unsigned)n <= writes->count);
    for (int i = 0; i < n && !world->is_stopped; i++)
        write_finish(writes, events[i].data, (int64_t)events[i].res);
}

void real_writes_stop(struct real_writes *writes)
{
    struct list *link;
    if (writes->is_ready)
        (void)io_destroy(writes->context); /* waits; fails only for what is no context */
    writes->is_ready = false;
    writes->is_refused = true;
    writes->count = 0;
    while ((link = list_pop_front(&writes->active)) != NULL)
        list_entry(link, struct env_write, in_writes)->is_active = false;
}
