/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines to a descriptor that others share and read, or do not. O_NONBLOCK is of the open file, so
 * of all processes that have it: it is not for us to set. Ready for writing a pipe has room for
 * PIPE_BUF bytes, a socket and a terminal for more.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

_Static_assert((int)ENV_UV_LINE_MAX <= PIPE_BUF, "whole or not at all");

/* Another process may have taken the room since: where the kernel can, it is told not to wait. */
static ssize_t write_at_once(int fd, const char *line, size_t len)
{
    struct stat st;
    struct iovec part = {.iov_base = (void *)line, .iov_len = len};
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
        ssize_t n = pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
        if (n >= 0 || errno == EAGAIN)
            return n;
    }
    return write(fd, line, len);
}

bool env_uv_write_line(int fd, const char *line, size_t len, int wait_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    ASSERT(len <= ENV_UV_LINE_MAX);
    if (poll(&ready, 1, wait_ms) != 1 || (ready.revents & POLLOUT) == 0)
        return false;
    return write_at_once(fd, line, len) == (ssize_t)len;
}
