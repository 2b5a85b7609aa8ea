/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: blocking calls, any thread. The two loops at the top are the only place
 * where short counts and EINTR are handled. A failed sync is reported, never
 * tried again: after it nothing is known about what is on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

enum { FILE_MODE = 0640 };

/* Linux moves at most this in one call, and a bound keeps size_t in ssize_t. */
static const size_t IO_MAX = 1u << 30;

/* The second descriptor of a file, for direct I/O. */
enum { DIRECT_UNTRIED = -1, DIRECT_REFUSED = -2 };

/* Writes that are not tried without a thread, where many were refused. */
static const uint32_t REFUSALS_MAX = 1023;

/* Is what is written by it with RWF_DSYNC durable? WAITING: if the call waits for it, on every
 * kernel. */
enum direct_durable { DURABLE_UNKNOWN, DURABLE_YES, DURABLE_WAITING, DURABLE_NO };

struct real_file {
    struct env_file base;
    int fd;
    bool may_write; /* it was opened to be written */
    int direct_fd;  /* or one of the above */
    enum direct_durable durable;
    uint32_t refusals; /* of write_start(): grows fast, falls by one with each that went well */
    uint32_t rest;     /* as many are not tried */
    bool must_drop;    /* one was refused, maybe for pages in the cache */
    uint64_t sent_at;  /* the piece that write_back() has begun and not waited for */
    size_t sent_len;   /* 0: none */
    char path[ENV_PATH_MAX];
};

static struct real_file *file_of(struct env_file *base)
{
    return container_of(base, struct real_file, base);
}

/* Bytes read, less than `len` only at the end of the file; or -errno. */
static ssize_t read_full(int fd, uint64_t offset, uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, data + done, MIN(len - done, IO_MAX), (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* 0 when all of it was written; or -errno. */
static int write_full(int fd, uint64_t offset, const uint8_t *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, data + done, MIN(len - done, IO_MAX), (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int open_flags(int flags)
{
    int rw = flags & (ENV_OPEN_READ | ENV_OPEN_WRITE);
    int ret = O_CLOEXEC;
    ASSERT(rw != 0);
    if (rw == (ENV_OPEN_READ | ENV_OPEN_WRITE))
        ret |= O_RDWR;
    else if (rw == ENV_OPEN_WRITE)
        ret |= O_WRONLY;
    if (flags & ENV_OPEN_CREATE)
        ret |= O_CREAT;
    if (flags & ENV_OPEN_EXCLUSIVE)
        ret |= O_EXCL;
    if (flags & ENV_OPEN_TRUNCATE)
        ret |= O_TRUNC;
    return ret;
}

static bool is_range_valid(uint64_t offset, size_t len)
{
    return offset <= INT64_MAX && len <= (size_t)(INT64_MAX - (int64_t)offset);
}

static int op_file_open(struct env *env, const char *path, int flags, struct env_file **ret_file,
                        struct err *err)
{
    size_t path_len = strlen(path);
    if (path_len >= ENV_PATH_MAX)
        return err_set(err, ERR_INVALID, "open %.40s…: path longer than %d bytes", path,
                       ENV_PATH_MAX - 1);
    int rv = real_locks_check(real_world_of(env), path, err);
    if (rv != 0)
        return rv;
    struct real_file *file = malloc(sizeof *file);
    if (file == NULL)
        return err_set(err, ERR_NOMEM, "open %s: out of memory", path);
    do {
        file->fd = open(path, open_flags(flags), FILE_MODE);
    } while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        int code = err_set_errno(err, errno, "open %s", path);
        free(file);
        return code;
    }
    file->base.env = env;
    file->direct_fd = DIRECT_UNTRIED;
    file->durable = DURABLE_UNKNOWN;
    file->may_write = (flags & ENV_OPEN_WRITE) != 0;
    file->sent_len = 0;
    file->refusals = file->rest = 0;
    file->must_drop = false;
    memcpy(file->path, path, path_len + 1);
    *ret_file = &file->base;
    return 0;
}

static void op_file_close(struct env_file *base)
{
    struct real_file *file = file_of(base);
    ASSERT(file->fd >= 0);
    if (file->direct_fd >= 0)
        close(file->direct_fd);
    close(file->fd); /* what matters was synced; EINTR closes it too on Linux */
    free(file);
}

static int op_file_read(struct env_file *base, uint64_t offset, void *data, size_t len,
                        size_t *ret_len, struct err *err)
{
    struct real_file *file = file_of(base);
    ASSERT(is_range_valid(offset, len));
    ssize_t n = read_full(file->fd, offset, data, len);
    if (n < 0)
        return err_set_errno(err, (int)-n, "read %zu bytes at %llu of %s", len,
                             (unsigned long long)offset, file->path);
    ASSERT((size_t)n <= len);
    *ret_len = (size_t)n;
    return 0;
}

static int op_file_write(struct env_file *base, uint64_t offset, const void *data, size_t len,
                         struct err *err)
{
    struct real_file *file = file_of(base);
    ASSERT(is_range_valid(offset, len));
    int status = write_full(file->fd, offset, data, len);
    if (status == 0)
        return 0;
    return err_set_errno(err, -status, "write %zu bytes at %llu of %s", len,
                         (unsigned long long)offset, file->path);
}

/* File systems that sync a direct write for RWF_DSYNC before it is done. Others take the flag and
 * do not look at it: those on Linux's netfs (9p, cifs, afs); or leave it to who serves them, as
 * FUSE does; or skip the flush of the disk's cache after a write that changed nothing but bytes, as
 * F2FS does. There a write is durable after an fdatasync(), and not before. Btrfs forgot
 * the sync of one that nobody waits for until Linux 6.1 ("btrfs: fix lost file sync on direct IO
 * write with nowait and dsync iocb"), and a container may have any kernel under it. */
static bool is_direct_durable(struct real_file *file)
{
    struct statfs st;
    int status;
    if (file->durable != DURABLE_UNKNOWN)
        return file->durable != DURABLE_NO;
    do {
        status = fstatfs(file->fd, &st);
    } while (status != 0 && errno == EINTR);
    uint32_t type = status == 0 ? (uint32_t)st.f_type : 0;
    if (type == EXT4_SUPER_MAGIC || type == XFS_SUPER_MAGIC)
        file->durable = DURABLE_YES;
    else
        file->durable = type == BTRFS_SUPER_MAGIC ? DURABLE_WAITING : DURABLE_NO;
    return file->durable != DURABLE_NO;
}

/* By way of /proc, because the name may be another's by now. */
static int direct_open(struct real_file *file)
{
    char path[64];
    file->direct_fd = DIRECT_REFUSED;
    if (!file->may_write)
        return file->direct_fd;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    do {
        file->direct_fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    } while (file->direct_fd < 0 && errno == EINTR);
    if (file->direct_fd < 0)
        file->direct_fd = DIRECT_REFUSED;
    return file->direct_fd;
}

static int direct_of(struct real_file *file)
{
    return file->direct_fd == DIRECT_UNTRIED ? direct_open(file) : file->direct_fd;
}

static void direct_refuse(struct real_file *file)
{
    close(file->direct_fd);
    file->direct_fd = DIRECT_REFUSED;
}

/* Drop the first `n` bytes of what is to be written. */
static void iov_advance(struct iovec **iov, int *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    ASSERT(n == 0 || *count > 0);
    if (n == 0)
        return;
    (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
    (*iov)->iov_len -= n;
}

static bool is_refusal(int errnum)
{
    return errnum == EINVAL || errnum == EOPNOTSUPP || errnum == ENOSYS;
}

static int op_file_write_past(struct env_file *base, uint64_t offset, const void *data, size_t len,
                              struct err *err)
{
    struct real_file *file = file_of(base);
    const uint8_t *bytes = data;
    size_t done = 0;
    ASSERT(is_range_valid(offset, len));
    int fd = direct_of(file);
    if (fd < 0)
        return ERR_UNSUPPORTED;
    while (done < len) {
        ssize_t n = pwrite(fd, bytes + done, MIN(len - done, IO_MAX), (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && is_refusal(errno)) {
            direct_refuse(file);
            return ERR_UNSUPPORTED;
        }
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "write %zu bytes at %llu of %s", len,
                                 (unsigned long long)offset, file->path);
        done += (size_t)n;
    }
    return 0;
}

/* RWF_DSYNC: durable when it returns, flush of the disk's cache included. */
static int op_file_write_through(struct env_file *base, uint64_t offset, const struct slice *parts,
                                 size_t count, struct err *err)
{
    struct real_file *file = file_of(base);
    struct iovec all[ENV_PARTS_MAX], *iov = all;
    size_t len = 0, done = 0;
    int left = (int)count;
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].len};
        len += parts[i].len;
    }
    ASSERT(is_range_valid(offset, len));
    int fd = is_direct_durable(file) ? direct_of(file) : DIRECT_REFUSED;
    if (fd < 0)
        return ERR_UNSUPPORTED;
    if (file->must_drop) /* from here on, so that the next ones are not refused for them */
        (void)posix_fadvise(file->fd, (off_t)offset, 0, POSIX_FADV_DONTNEED);
    file->must_drop = false;
    while (done < len) {
        ssize_t n = pwritev2(fd, iov, left, (off_t)(offset + done), RWF_DSYNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && done == 0 && is_refusal(errno)) {
            direct_refuse(file);
            return ERR_UNSUPPORTED;
        }
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "write %zu bytes through at %llu of %s",
                                 len, (unsigned long long)offset, file->path);
        iov_advance(&iov, &left, (size_t)n);
        done += (size_t)n;
    }
    return 0;
}

/* Where each try is in vain, few are made. */
static int start_refused(struct real_file *file)
{
    file->refusals = MIN(file->refusals * 2 + 1, REFUSALS_MAX);
    file->rest = file->refusals;
    return ERR_UNSUPPORTED;
}

/* Whether this file knows that way has been found out by a write that waits: that may take long. */
static int op_file_write_start(struct env_file *base, struct env_write *write)
{
    struct real_file *file = file_of(base);
    struct real_world *world = real_world_of(base->env);
    ASSERT(is_range_valid(write->offset, write->len));
    if (file->durable != DURABLE_YES || file->direct_fd < 0 || !real_writes_can_start(world))
        return ERR_UNSUPPORTED;
    if (file->rest > 0) {
        file->rest--;
        return ERR_UNSUPPORTED;
    }
    return real_writes_start(world, file->direct_fd, write) == 0 ? 0 : start_refused(file);
}

/* What is short did not fail: the thread that writes it again hears why, if there is a reason. */
int real_file_wrote(struct env_write *write, int64_t res)
{
    struct real_file *file = file_of(write->file);
    ASSERT(res <= (int64_t)write->len);
    bool is_short = res >= 0 && res < (int64_t)write->len;
    if (is_short || res == -EAGAIN || res == -EINTR || (res < 0 && is_refusal((int)-res))) {
        file->must_drop = res == -EAGAIN;
        return start_refused(file);
    }
    file->refusals -= file->refusals > 0;
    if (res >= 0)
        return 0;
    return err_set_errno(&write->err, (int)-res, "write %zu bytes through at %llu of %s",
                         write->len, (unsigned long long)write->offset, file->path);
}

static int op_file_sync(struct env_file *base, struct err *err)
{
    struct real_file *file = file_of(base);
    if (fdatasync(file->fd) == 0)
        return 0;
    return err_set_errno(err, errno, "sync %s", file->path);
}

/* 0 where the file system knows no ranges: then there is nothing to be early with. */
static int range_sync(const struct real_file *file, uint64_t offset, size_t len, unsigned flags,
                      struct err *err)
{
    if (sync_file_range(file->fd, (off_t)offset, (off_t)len, flags) == 0 || errno == ENOSYS ||
        errno == EOPNOTSUPP || errno == ESPIPE)
        return 0;
    return err_set_errno(err, errno, "write back %zu bytes at %llu of %s", len,
                         (unsigned long long)offset, file->path);
}

static int op_file_write_back(struct env_file *base, uint64_t offset, size_t len, struct err *err)
{
    struct real_file *file = file_of(base);
    ASSERT(is_range_valid(offset, len));
    ASSERT(len > 0);
    int rv = range_sync(file, offset, len, SYNC_FILE_RANGE_WRITE, err);
    if (rv == 0 && file->sent_len > 0)
        rv = range_sync(
            file, file->sent_at, file->sent_len,
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER, err);
    file->sent_at = offset;
    file->sent_len = len;
    return rv;
}

static int op_file_size(struct env_file *base, uint64_t *ret_size, struct err *err)
{
    struct real_file *file = file_of(base);
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return err_set_errno(err, errno, "stat %s", file->path);
    ASSERT(st.st_size >= 0);
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int set_length(int fd, uint64_t size)
{
    int status;
    do {
        status = ftruncate(fd, (off_t)size);
    } while (status != 0 && errno == EINTR);
    return status;
}

/* posix_fallocate() writes where the file system has no better way. It returns its error. */
static int reserve(int fd, uint64_t from, uint64_t size)
{
    int error;
    do {
        error = posix_fallocate(fd, (off_t)from, (off_t)(size - from));
    } while (error == EINTR);
    return error;
}

static int op_file_truncate(struct env_file *base, uint64_t size, struct err *err)
{
    struct real_file *file = file_of(base);
    uint64_t before = 0;
    ASSERT(is_range_valid(size, 0));
    int rv = op_file_size(base, &before, err);
    if (rv != 0)
        return rv;
    int error = 0;
    if (size > before)
        error = reserve(file->fd, before, size);
    else if (set_length(file->fd, size) != 0)
        error = errno;
    if (error == 0)
        return 0;
    if (size > before)
        (void)set_length(file->fd, before); /* what was reserved until then */
    return err_set_errno(err, error, "truncate %s to %llu bytes", file->path,
                         (unsigned long long)size);
}

static int op_file_rename(struct env *env, const char *from, const char *to, struct err *err)
{
    int rv = real_locks_check(real_world_of(env), to, err);
    if (rv != 0)
        return rv;
    if (rename(from, to) == 0)
        return 0;
    return err_set_errno(err, errno, "rename %s to %s", from, to);
}

static int op_file_unlink(struct env *env, const char *path, struct err *err)
{
    int rv = real_locks_check(real_world_of(env), path, err);
    if (rv != 0)
        return rv;
    if (unlink(path) == 0)
        return 0;
    return err_set_errno(err, errno, "remove %s", path);
}

static int op_file_link(struct env *env, const char *from, const char *to, struct err *err)
{
    int rv = real_locks_check(real_world_of(env), to, err);
    if (rv != 0)
        return rv;
    if (link(from, to) == 0)
        return 0;
    return err_set_errno(err, errno, "link %s to %s", from, to);
}

static int op_file_stat(struct env *env, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                        struct err *err)
{
    (void)env;
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set_errno(err, errno, "stat %s", path);
    *ret_size = (uint64_t)st.st_size;
    *ret_is_dir = S_ISDIR(st.st_mode);
    return 0;
}

void real_files_fill(struct env_ops *ops)
{
    ops->file_open = op_file_open;
    ops->file_close = op_file_close;
    ops->file_read = op_file_read;
    ops->file_write = op_file_write;
    ops->file_write_past = op_file_write_past;
    ops->file_write_through = op_file_write_through;
    ops->file_write_start = op_file_write_start;
    ops->file_sync = op_file_sync;
    ops->file_write_back = op_file_write_back;
    ops->file_size = op_file_size;
    ops->file_truncate = op_file_truncate;
    ops->file_rename = op_file_rename;
    ops->file_unlink = op_file_unlink;
    ops->file_link = op_file_link;
    ops->file_stat = op_file_stat;
}
