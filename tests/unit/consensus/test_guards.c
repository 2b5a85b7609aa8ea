/* SPDX-License-Identifier: Apache-2.0
 *
 * Each guard of the room, with the defect that it is there for. A case runs twice, in
 * a child process each: with the guard it must come out safe; without it the defect
 * must show, as a wrong answer, an assertion, a sanitizer's report or a crash. A guard
 * whose case passes without it would be unproven.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"
#include "support/check.h"

enum { CASE_ALARM_S = 60 };

/* 0: safe; 1: the defect shows; anything else: died of it. */
static int run_case(guard_case run, uint64_t off)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct rig r;
        if (off != 0) { /* it may well die, and say so: that is the point */
            struct rlimit no_core = {0, 0};
            setrlimit(RLIMIT_CORE, &no_core);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(9);
            signal(SIGABRT, SIG_DFL);
            signal(SIGSEGV, SIG_DFL);
            signal(SIGFPE, SIG_DFL);
        }
        alarm(CASE_ALARM_S);
        bool is_safe = run(&r, off);
        rig_close(&r);
        exit(is_safe ? 0 : 1); /* leaks are looked for on the way out */
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return 128 + WTERMSIG(status);
}

static int check_rows(const struct guard_row *rows, size_t n)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        int with = run_case(rows[i].run, 0);
        int without = run_case(rows[i].run, rows[i].guards);
        print_message("%-45s without: %s %d\n", rows[i].name,
                      without == 1     ? "wrong answer"
                      : without >= 128 ? "died of signal"
                                       : "exit",
                      without >= 128 ? without - 128 : without);
        if (with != 0)
            print_error("%s: not safe with its guard (%d)\n", rows[i].name, with);
        if (without == 0)
            print_error("%s: passes without its guard: the case proves nothing\n", rows[i].name);
        bad += with != 0 || without == 0;
    }
    return bad;
}

static void test_library_defects(void **state)
{
    (void)state;
    assert_int_equal(check_rows(library_rows, library_rows_n), 0);
}

static void test_reads(void **state)
{
    (void)state;
    assert_int_equal(check_rows(read_rows, read_rows_n), 0);
}

static void test_rules(void **state)
{
    (void)state;
    assert_int_equal(check_rows(rule_rows, rule_rows_n), 0);
}

static bool has_row(const struct guard_row *rows, size_t n, uint64_t guards)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].guards == guards)
            return true;
    }
    return false;
}

/* No guard without a case in which it alone is left out. */
static void test_every_guard_has_a_case(void **state)
{
    (void)state;
    for (int g = 0; g < GUARD_NR; g++) {
        if (!has_row(library_rows, library_rows_n, BIT64(g)) &&
            !has_row(read_rows, read_rows_n, BIT64(g)) &&
            !has_row(rule_rows, rule_rows_n, BIT64(g)))
            fail_msg("guard %s has no case", guard_name((enum cons_guard)g));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_guard_has_a_case),
        cmocka_unit_test(test_library_defects),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
