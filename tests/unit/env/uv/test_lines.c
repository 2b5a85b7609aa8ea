/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "env/uv/env_uv.h"
#include "support/check.h"

enum { LINES_MAX = 10000 };

/* As many as it takes: nothing waits for a reader, and O_NONBLOCK is not set. */
static size_t fill(int fd, const char *line)
{
    size_t count = 0;
    while (env_uv_write_line(fd, line, ENV_UV_LINE_MAX, 0)) {
        count++;
        assert_true(count < LINES_MAX);
    }
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    return count;
}

static void check_unread(int reader, int writer)
{
    char line[ENV_UV_LINE_MAX], got[ENV_UV_LINE_MAX];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    size_t count = fill(writer, line);
    assert_true(count > 0);
    assert_false(env_uv_write_line(writer, line, sizeof line, 1));
    for (size_t i = 0; i < count; i++) { /* whole ones, and no part of the one refused */
        for (size_t len = 0; len < sizeof got;) {
            ssize_t n = read(reader, got + len, sizeof got - len);
            assert_true(n > 0);
            len += (size_t)n;
        }
        assert_memory_equal(got, line, sizeof line);
    }
    assert_true(env_uv_write_line(writer, "again\n", 6, 0));
    assert_int_equal(read(reader, got, sizeof got), 6);
    assert_memory_equal(got, "again\n", 6);
    close(reader);
    close(writer);
}

static void test_a_pipe_that_nobody_reads(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    check_unread(fds[0], fds[1]);
}

static void test_a_socket_that_nobody_reads(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_unread(fds[0], fds[1]);
}

static void test_nothing_to_write_to(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    close(fds[1]);
    assert_false(env_uv_write_line(fds[1], "line\n", 5, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pipe_that_nobody_reads),
        cmocka_unit_test(test_a_socket_that_nobody_reads),
        cmocka_unit_test(test_nothing_to_write_to),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
