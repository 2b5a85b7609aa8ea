/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "env/uv/env_uv.h"
#include "support/check.h"

enum { ENDS = 128, ANSWER_LEN = 100000 };

#define LONG_PRIVATE "@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1"

struct fixture;

/* One end of a connection and what it saw. */
struct end {
    struct fixture *f;
    struct env_conn *conn; /* NULL once it ended */
    struct buf received;
    int opens, drains, reads;
    int placed;         /* reads that brought bytes where it wanted them */
    uint8_t room[3000]; /* where it wants them, … */
    size_t room_len;    /* … so many at most; 0: anywhere */
    int status;
    char reason[128];
    size_t close_at; /* close from on_read when so much arrived; 0: never */
    bool must_echo;
    bool must_pause;
    bool must_refill; /* write again in on_drain */
    size_t burst_len; /* written in on_open */
    int answers;      /* written from on_read, ANSWER_LEN each; so many are left */
};

struct fixture {
    struct env *env;
    struct env_listener *listener;
    struct end dialled[ENDS];
    struct end accepted[ENDS];
    size_t accept_count;
    bool must_refuse;
    struct end model; /* what an accepted end is made like */
    struct env_timer timer;
    bool (*is_done)(struct fixture *f);
};

static void check_done(struct fixture *f)
{
    if (f->is_done != NULL && f->is_done(f))
        env_uv_quit(f->env);
}

static uint8_t *pattern_new(size_t at, size_t len)
{
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((at + i) * 7 + (at + i) / 251);
    return bytes;
}

static void assert_pattern(const struct buf *buf)
{
    uint8_t *want = pattern_new(0, buf->len + 1);
    assert_memory_equal(buf->data, want, buf->len);
    free(want);
}

static void on_open(void *data)
{
    struct end *end = data;
    end->opens++;
    if (end->burst_len > 0)
        env_conn_write(end->conn, pattern_new(0, end->burst_len), end->burst_len);
    check_done(end->f);
}

static uint8_t *on_room(void *data, size_t *ret_len)
{
    struct end *end = data;
    if (end->room_len == 0)
        return NULL;
    *ret_len = end->room_len;
    return end->room;
}

static void on_read(void *data, struct slice bytes)
{
    struct end *end = data;
    end->reads++;
    end->placed += bytes.data == end->room;
    assert_true(bytes.len > 0);
    assert_true(bytes.data != end->room || bytes.len <= end->room_len);
    buf_append_slice(&end->received, bytes);
    if (end->must_echo) {
        uint8_t *copy = malloc(bytes.len);
        memcpy(copy, bytes.data, bytes.len);
        env_conn_write(end->conn, copy, bytes.len);
    }
    if (end->answers > 0) {
        end->answers--;
        env_conn_write(end->conn, pattern_new(0, ANSWER_LEN), ANSWER_LEN);
    }
    if (end->must_pause)
        env_conn_pause(end->conn);
    if (end->close_at > 0 && end->received.len >= end->close_at) {
        env_conn_close(end->conn);
        end->conn = NULL;
    }
    check_done(end->f);
}

static void on_drain(void *data)
{
    struct end *end = data;
    end->drains++;
    assert_int_equal(env_conn_pending(end->conn), 0);
    if (end->must_refill) {
        struct end *next = end + 1;
        env_conn_write(end->conn, pattern_new(0, 10), 10);
        if (next->conn != NULL)
            env_conn_close(next->conn); /* perhaps queued behind this one */
        next->conn = NULL;
    }
    check_done(end->f);
}

static void on_close(void *data, int status, const char *reason)
{
    struct end *end = data;
    assert_int_equal(end->status, 0); /* once */
    end->status = status;
    snprintf(end->reason, sizeof end->reason, "%s", reason);
    env_conn_close(end->conn); /* harmless here */
    end->conn = NULL;
    check_done(end->f);
}

static const struct env_conn_handler HANDLER = {
    .on_open = on_open,
    .on_room = on_room,
    .on_read = on_read,
    .on_drain = on_drain,
    .on_close = on_close,
};

static void on_accept(void *data, struct env_conn *conn, const char *peer)
{
    struct fixture *f = data;
    bool is_private = env_listener_address(f->listener)[0] == '@';
    assert_non_null(strstr(peer, is_private ? "this process" : "127.0.0.1:"));
    assert_true(env_conn_is_loopback(conn));
    if (f->must_refuse) {
        env_conn_close(conn);
        f->accept_count++;
        check_done(f);
        return;
    }
    struct end *end = &f->accepted[f->accept_count++];
    struct buf received = end->received;
    *end = f->model;
    end->received = received;
    end->f = f;
    end->conn = conn;
    env_conn_accept(conn, &HANDLER, end);
    check_done(f);
}

static void on_deadline(struct env_timer *timer)
{
    (void)timer;
    fail_msg("the world came to rest before the test was done");
}

static int setup_at(void **state, const char *address)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(env_uv_new(NULL, &f->env, NULL), 0);
    assert_int_equal(env_listen(f->env, address, on_accept, f, &f->listener, NULL), 0);
    for (size_t i = 0; i < ENDS; i++) {
        buf_init(&f->dialled[i].received, (size_t)64 << 20);
        buf_init(&f->accepted[i].received, (size_t)64 << 20);
        f->dialled[i].f = f;
    }
    env_timer_init(&f->timer, f->env, on_deadline, f);
    env_timer_start(&f->timer, 60 * 1000 * 1000);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_at(state, "127.0.0.1:0");
}

static int setup_private(void **state)
{
    char address[ENV_ADDRESS_MAX];
    snprintf(address, sizeof address, "@test-conns-%ld:1", (long)getpid());
    return setup_at(state, address);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    env_stop(f->env);
    env_uv_free(f->env);
    for (size_t i = 0; i < ENDS; i++) {
        buf_fini(&f->dialled[i].received);
        buf_fini(&f->accepted[i].received);
    }
    free(f);
    return 0;
}

static void dial(struct fixture *f, size_t i)
{
    assert_int_equal(env_connect(f->env, env_listener_address(f->listener), &HANDLER,
                                 &f->dialled[i], &f->dialled[i].conn, NULL),
                     0);
}

static bool is_echoed(struct fixture *f)
{
    return f->dialled[0].received.len == 3000;
}

static void test_writes_before_open_and_of_one_turn_keep_their_order(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_echoed;
    f->model.must_echo = true;
    dial(f, 0);
    for (size_t at = 0; at < 3000; at += 10)
        env_conn_write(f->dialled[0].conn, pattern_new(at, 10), 10);
    env_conn_write(f->dialled[0].conn, malloc(1), 0); /* nothing */
    assert_int_equal(env_conn_pending(f->dialled[0].conn), 3000);
    env_uv_run(f->env);
    assert_pattern(&f->dialled[0].received);
    assert_int_equal(f->dialled[0].opens, 1);
    assert_int_equal(f->dialled[0].drains, 1);
    assert_int_equal(f->accepted[0].opens, 0);
    assert_int_equal(env_conn_pending(f->dialled[0].conn), 0);
}

enum { BULK = 20 << 20 };

static bool is_bulk_there(struct fixture *f)
{
    return f->accepted[0].received.len == BULK && f->dialled[0].drains == 1;
}

static void test_much_more_than_the_kernel_takes_arrives_whole(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_bulk_there;
    dial(f, 0);
    size_t step = 40000;
    for (size_t at = 0; at < BULK; at += step) {
        size_t len = MIN(step, BULK - at);
        env_conn_write(f->dialled[0].conn, pattern_new(at, len), len);
    }
    env_uv_run(f->env);
    assert_pattern(&f->accepted[0].received);
}

static void test_bytes_come_where_they_are_wanted(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_bulk_there;
    f->model.room_len = sizeof f->model.room;
    f->dialled[0].burst_len = BULK;
    dial(f, 0);
    env_uv_run(f->env);
    assert_pattern(&f->accepted[0].received);
    assert_int_equal(f->accepted[0].placed, f->accepted[0].reads);
    assert_true(f->accepted[0].reads >= BULK / (int)sizeof f->model.room);
}

enum { ANSWERS = 300 };

static bool are_answers_echoed(struct fixture *f)
{
    return f->dialled[0].received.len == f->dialled[0].burst_len + (size_t)ANSWERS * ANSWER_LEN;
}

/* It is readable and writable at once: what is written from on_read meets what the kernel did not
 * take before. */
static void test_writes_from_on_read_while_others_wait(void **state)
{
    struct fixture *f = *state;
    f->model.must_echo = true;
    f->dialled[0].burst_len = 4 << 20;
    f->dialled[0].answers = ANSWERS;
    f->is_done = are_answers_echoed;
    dial(f, 0);
    env_uv_run(f->env);
    assert_true(are_answers_echoed(f));
}

static bool is_paused_and_stuck(struct fixture *f)
{
    return f->accepted[0].reads == 1;
}

static void test_pause_holds_the_other_side_and_resume_lets_it_go(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_paused_and_stuck;
    f->model.must_pause = true;
    f->dialled[0].burst_len = BULK;
    dial(f, 0);
    env_uv_run(f->env);
    /* Some turns more: nothing is read, and what the kernel does not hold waits. */
    for (int i = 0; i < 20; i++) {
        env_uv_quit(f->env);
        env_uv_run(f->env);
    }
    assert_int_equal(f->accepted[0].reads, 1);
    assert_true(env_conn_pending(f->dialled[0].conn) > BULK - (BULK / 4)); /* it holds little */
    assert_int_equal(f->dialled[0].drains, 0);
    f->accepted[0].must_pause = false;
    env_conn_resume(f->accepted[0].conn);
    f->is_done = is_bulk_there;
    env_uv_run(f->env);
    assert_pattern(&f->accepted[0].received);
}

static bool is_other_closed(struct fixture *f)
{
    return f->dialled[0].status != 0;
}

static void test_close_inside_on_read_is_heard_by_the_other_side(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_other_closed;
    f->model.close_at = 1;
    dial(f, 0);
    env_conn_write(f->dialled[0].conn, pattern_new(0, 5), 5);
    env_uv_run(f->env);
    assert_int_equal(f->dialled[0].status, ERR_EOF);
    assert_non_null(strstr(f->dialled[0].reason, env_listener_address(f->listener)));
    assert_int_equal(f->accepted[0].status, 0);
}

static void test_close_with_bytes_pending_frees_them(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_paused_and_stuck;
    f->model.must_pause = true;
    f->dialled[0].burst_len = BULK;
    dial(f, 0);
    env_uv_run(f->env);
    env_conn_write(f->dialled[0].conn, pattern_new(0, 100), 100);
    env_conn_close(f->dialled[0].conn);
    env_conn_close(f->accepted[0].conn);
    env_uv_quit(f->env);
    env_uv_run(f->env);
    assert_int_equal(f->dialled[0].status, 0);
}

static void test_refused_and_impossible_addresses(void **state)
{
    struct fixture *f = *state;
    char address[ENV_ADDRESS_MAX];
    snprintf(address, sizeof address, "%s", env_listener_address(f->listener));
    env_listener_close(f->listener);
    f->is_done = is_other_closed;
    assert_int_equal(
        env_connect(f->env, address, &HANDLER, &f->dialled[0], &f->dialled[0].conn, NULL), 0);
    env_conn_write(f->dialled[0].conn, pattern_new(0, 10), 10);
    env_uv_run(f->env);
    assert_int_equal(f->dialled[0].status, ERR_IO);
    assert_non_null(strstr(f->dialled[0].reason, address));
    assert_non_null(strstr(f->dialled[0].reason, "refused"));

    static const char *const BAD[] = {"",           "host",    "host:", ":1",         "host:0",
                                      "host:65536", "host:1x", "::1:5", "1.2.3.4:-1", "[::1]",
                                      "h:99999999", "[]:4",    "@:1",   LONG_PRIVATE};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct env_conn *conn = NULL;
        struct err err = {0};
        if (env_connect(f->env, BAD[i], &HANDLER, &f->dialled[1], &conn, &err) != ERR_INVALID)
            fail_msg("'%s' was taken for an address", BAD[i]);
        assert_true(err.msg[0] != '\0');
    }
}

static bool is_named_open(struct fixture *f)
{
    return f->dialled[0].opens == 1 && f->dialled[1].status != 0;
}

static void test_names_are_resolved_and_unknown_ones_reported(void **state)
{
    struct fixture *f = *state;
    const char *port = strrchr(env_listener_address(f->listener), ':');
    char address[ENV_ADDRESS_MAX];
    snprintf(address, sizeof address, "localhost%s", port);
    f->is_done = is_named_open;
    assert_int_equal(
        env_connect(f->env, address, &HANDLER, &f->dialled[0], &f->dialled[0].conn, NULL), 0);
    assert_int_equal(env_connect(f->env, "no-such-host.invalid:80", &HANDLER, &f->dialled[1],
                                 &f->dialled[1].conn, NULL),
                     0);
    env_uv_run(f->env);
    assert_int_equal(f->dialled[0].status, 0);
    assert_true(f->dialled[1].status == ERR_IO || f->dialled[1].status == ERR_TIMEOUT);
    assert_non_null(strstr(f->dialled[1].reason, "no-such-host.invalid"));

    /* Closed while the name is being looked up: the answer finds nobody. */
    assert_int_equal(
        env_connect(f->env, address, &HANDLER, &f->dialled[2], &f->dialled[2].conn, NULL), 0);
    env_conn_close(f->dialled[2].conn);
}

static void test_a_port_in_use_is_one_clear_line(void **state)
{
    struct fixture *f = *state;
    const char *address = env_listener_address(f->listener);
    struct env_listener *second = NULL;
    struct err err = {0};
    assert_int_equal(env_listen(f->env, address, on_accept, f, &second, &err), ERR_IO);
    assert_non_null(strstr(err.msg, address));
    assert_non_null(strstr(err.msg, "in use"));
    assert_null(strchr(err.msg, '\n'));
    assert_null(second);

    char again[ENV_ADDRESS_MAX];
    snprintf(again, sizeof again, "%s", address);
    env_listener_close(f->listener);
    assert_int_equal(env_listen(f->env, again, on_accept, f, &f->listener, NULL), 0);
    assert_string_equal(env_listener_address(f->listener), again);
}

static bool are_two_open(struct fixture *f)
{
    return f->dialled[0].opens + f->dialled[1].opens == 2;
}

static bool has_drained_often(struct fixture *f)
{
    return f->dialled[0].drains > 1000;
}

static void test_writing_again_on_drain_does_not_hold_the_loop(void **state)
{
    struct fixture *f = *state;
    f->is_done = are_two_open;
    dial(f, 0);
    dial(f, 1);
    env_uv_run(f->env);
    f->dialled[0].must_refill = true;
    f->is_done = has_drained_often;
    env_conn_write(f->dialled[0].conn, pattern_new(0, 10), 10);
    env_conn_write(f->dialled[1].conn, pattern_new(0, 10), 10);
    env_uv_run(f->env);
    assert_true(f->accepted[0].received.len + f->accepted[1].received.len > 0);
    f->dialled[0].must_refill = false;
}

static bool is_refused(struct fixture *f)
{
    return f->accept_count == 1 && f->dialled[0].status != 0;
}

static void test_an_accept_callback_may_close(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_refused;
    f->must_refuse = true;
    dial(f, 0);
    env_uv_run(f->env);
    assert_int_equal(f->dialled[0].status, ERR_EOF);
}

static bool are_all_accepted(struct fixture *f)
{
    return f->accept_count == ENDS / 2;
}

/* Clients come by plain sockets, all descriptors are used up, then some are free
 * again: everybody gets in at last. */
static void test_running_out_of_descriptors_only_delays(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (size_t i = 0; i < ENDS / 2; i++)
        dial(f, i);
    int spare = dup(0);
    assert_true(spare >= 0);
    close(spare);
    tight = before;
    tight.rlim_cur = (rlim_t)spare; /* no new descriptor at all */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < 20; i++) {
        env_uv_quit(f->env);
        env_uv_run(f->env);
    }
    assert_int_equal(f->accept_count, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    f->is_done = are_all_accepted;
    env_uv_run(f->env);
    assert_int_equal(f->accept_count, ENDS / 2);
}

static void test_stop_drops_connections_in_every_state(void **state)
{
    struct fixture *f = *state;
    f->is_done = is_paused_and_stuck;
    f->model.must_pause = true;
    f->dialled[0].burst_len = BULK;
    dial(f, 0);
    env_uv_run(f->env);
    dial(f, 1); /* dialling */
    assert_int_equal(
        env_connect(f->env, "localhost:1", &HANDLER, &f->dialled[2], &f->dialled[2].conn, NULL),
        0); /* resolving */
    env_conn_write(f->dialled[1].conn, pattern_new(0, 10), 10);
    env_stop(f->env);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f->dialled[i].status, 0);
    struct env_conn *conn;
    assert_int_equal(env_connect(f->env, "127.0.0.1:1", &HANDLER, &f->dialled[3], &conn, NULL),
                     ERR_CANCELED);
}

/* Another process cannot reach a private address, though it knows the name: it is let in by
 * the kernel, and shown out before anybody hears of it. */
static bool is_child_done(struct fixture *f)
{
    return f->dialled[0].received.len == 1;
}

static int stranger(const char *address)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, "holdfast/%s", address + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, size) != 0)
        return 1; /* it must get so far, or the test would prove nothing */
    return read(fd, &byte, 1) == 0 ? 0 : 2;
}

static void test_a_private_address_is_of_one_process(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(stranger(env_listener_address(f->listener)));
    assert_true(pid > 0);
    f->is_done = is_child_done;
    f->model.must_echo = true;
    int status = -1;
    while (waitpid(pid, &status, WNOHANG) == 0) { /* turns of the loop let it in and out */
        dial(f, 0);
        env_conn_write(f->dialled[0].conn, pattern_new(0, 1), 1);
        env_uv_run(f->env);
        env_conn_close(f->dialled[0].conn);
        buf_clear(&f->dialled[0].received);
        f->dialled[0].opens = 0;
        for (size_t i = 0; i < f->accept_count; i++) {
            if (f->accepted[i].conn != NULL)
                env_conn_close(f->accepted[i].conn);
            f->accepted[i].conn = NULL;
            buf_clear(&f->accepted[i].received);
        }
        f->accept_count = 0;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_private_name_is_taken_once(void **state)
{
    struct fixture *f = *state;
    struct env_listener *second = NULL;
    struct err err = {0};
    const char *address = env_listener_address(f->listener);
    assert_int_equal(env_listen(f->env, address, on_accept, f, &second, &err), ERR_IO);
    assert_non_null(strstr(err.msg, address));
    struct env_conn *conn = NULL;
    assert_int_equal(
        env_connect(f->env, "@nobody-is-here:1", &HANDLER, &f->dialled[0], &conn, &err), ERR_IO);
    assert_null(conn);
}

int main(void)
{
#define PRIVATE(fn) cmocka_unit_test_setup_teardown(fn, setup_private, teardown)
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_writes_before_open_and_of_one_turn_keep_their_order),
        TEST(test_much_more_than_the_kernel_takes_arrives_whole),
        TEST(test_bytes_come_where_they_are_wanted),
        TEST(test_writes_from_on_read_while_others_wait),
        TEST(test_pause_holds_the_other_side_and_resume_lets_it_go),
        TEST(test_close_inside_on_read_is_heard_by_the_other_side),
        TEST(test_close_with_bytes_pending_frees_them),
        TEST(test_refused_and_impossible_addresses),
        TEST(test_names_are_resolved_and_unknown_ones_reported),
        TEST(test_a_port_in_use_is_one_clear_line),
        TEST(test_writing_again_on_drain_does_not_hold_the_loop),
        TEST(test_an_accept_callback_may_close),
        TEST(test_running_out_of_descriptors_only_delays),
        TEST(test_stop_drops_connections_in_every_state),
        PRIVATE(test_writes_before_open_and_of_one_turn_keep_their_order),
        PRIVATE(test_much_more_than_the_kernel_takes_arrives_whole),
        PRIVATE(test_pause_holds_the_other_side_and_resume_lets_it_go),
        PRIVATE(test_close_inside_on_read_is_heard_by_the_other_side),
        PRIVATE(test_close_with_bytes_pending_frees_them),
        PRIVATE(test_an_accept_callback_may_close),
        PRIVATE(test_stop_drops_connections_in_every_state),
        PRIVATE(test_a_private_address_is_of_one_process),
        PRIVATE(test_a_private_name_is_taken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
