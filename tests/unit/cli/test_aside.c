/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are there when they are whole: until then the old one is. */
#include "support/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tools/holdfast/aside.h"

struct fixture {
    char folder[32];
    char path[64];
    char beside[64];
    struct aside aside;
    struct err err;
};

static void start(struct fixture *f)
{
    *f = (struct fixture){.folder = "aside-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/out", f->folder);
    snprintf(f->beside, sizeof f->beside, "%s/out.new", f->folder);
}

static void finish(struct fixture *f)
{
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0); /* nothing else is left */
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool says(const char *path, const char *want)
{
    char text[64];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    return len == strlen(want) && memcmp(text, want, len) == 0;
}

static void begin(struct fixture *f)
{
    assert_int_equal(aside_open(&f->aside, f->path, &f->err), 0);
    assert_true(fputs("new", f->aside.file) >= 0);
    fflush(f->aside.file);
}

static void test_new_file(void **state)
{
    struct fixture f;
    (void)state;
    start(&f);
    begin(&f);
    assert_true(says(f.beside, "new") && access(f.path, F_OK) != 0);
    aside_drop(&f.aside);
    assert_true(access(f.beside, F_OK) != 0 && access(f.path, F_OK) != 0);
    begin(&f);
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_true(says(f.path, "new"));
    aside_drop(&f.aside); /* it is not open any more */
    finish(&f);
}

static void test_the_old_one_stays(void **state)
{
    struct fixture f;
    struct stat st;
    (void)state;
    start(&f);
    write_text(f.path, "old");
    assert_int_equal(chmod(f.path, 0640), 0);
    begin(&f);
    assert_true(says(f.path, "old"));
    aside_drop(&f.aside);
    assert_true(says(f.path, "old"));
    begin(&f);
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_true(says(f.path, "new"));
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    finish(&f);
}

/* Its disk is full: what was there stays. */
static void test_what_fails_at_its_end(void **state)
{
    struct fixture f;
    (void)state;
    start(&f);
    write_text(f.path, "old");
    begin(&f);
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    assert_true(fputs(" and more", f.aside.file) >= 0);
    assert_true(dup2(full, fileno(f.aside.file)) >= 0);
    close(full);
    assert_int_equal(aside_finish(&f.aside, &f.err), ERR_IO);
    assert_non_null(strstr(f.err.msg, f.path));
    assert_null(f.aside.file);
    assert_true(says(f.path, "old"));
    finish(&f);
}

/* Whoever knows the file by another name sees what was written. */
static void test_links_are_followed(void **state)
{
    struct fixture f;
    char other[64];
    (void)state;
    for (int is_hard = 0; is_hard < 2; is_hard++) {
        start(&f);
        snprintf(other, sizeof other, "%s/other", f.folder);
        write_text(other, "old");
        assert_int_equal(is_hard ? link(other, f.path) : symlink("other", f.path), 0);
        begin(&f);
        assert_int_equal(aside_finish(&f.aside, &f.err), 0);
        assert_true(says(f.path, "new") && says(other, "new"));
        unlink(other);
        finish(&f);
    }
}

static void test_devices_and_what_cannot_be(void **state)
{
    struct fixture f;
    struct stat st;
    (void)state;
    start(&f);
    assert_int_equal(aside_open(&f.aside, "/dev/null", &f.err), 0);
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(aside_open(&f.aside, "no-such-folder/out", &f.err), ERR_IO);
    assert_non_null(strstr(f.err.msg, "no-such-folder/out"));
    assert_int_equal(aside_open(&f.aside, f.folder, &f.err), ERR_IO);
    assert_null(f.aside.file);
    char name[64 + 252];
    memset(name, 'n', sizeof name);
    int len = snprintf(name, sizeof name, "%s/", f.folder);
    name[len] = 'n';
    name[len + 252] = 0; /* as long as names are, nearly */
    assert_int_equal(aside_open(&f.aside, name, &f.err), 0);
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_int_equal(unlink(name), 0);
    finish(&f);
}

/* The second of two commands writes nothing, neither beside the file nor in place. */
static void test_one_at_a_time(void **state)
{
    struct fixture f;
    struct aside second = {0};
    FILE *file = NULL;
    (void)state;
    start(&f);
    begin(&f);
    assert_int_equal(aside_open(&second, f.path, &f.err), ERR_BUSY);
    assert_non_null(strstr(f.err.msg, f.path));
    assert_null(second.file);
    assert_true(says(f.beside, "new"));
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_true(says(f.path, "new"));
    assert_int_equal(aside_open(&second, f.path, &f.err), 0);
    assert_int_equal(aside_open(&f.aside, f.path, &f.err), ERR_BUSY);
    aside_drop(&second);

    assert_int_equal(aside_open_in_place(f.path, false, &file, &f.err), 0);
    assert_true(says(f.path, "new"));
    FILE *other = NULL;
    for (int is_new = 0; is_new < 2; is_new++)
        assert_int_equal(aside_open_in_place(f.path, is_new, &other, &f.err), ERR_BUSY);
    assert_null(other);
    assert_true(says(f.path, "new"));
    fclose(file);
    assert_int_equal(aside_open_in_place(f.path, true, &file, &f.err), 0);
    assert_true(says(f.path, ""));
    fclose(file);
    finish(&f);
}

/* What a killed command left is nobody's. */
static void test_what_was_left_is_written_over(void **state)
{
    struct fixture f;
    (void)state;
    start(&f);
    write_text(f.beside, "half of what a killed one wrote");
    begin(&f);
    assert_true(says(f.beside, "new"));
    assert_int_equal(aside_finish(&f.aside, &f.err), 0);
    assert_true(says(f.path, "new"));
    finish(&f);
}

/* In a child: it is ended in the middle, or, where the signal is ignored, goes on. */
static int end_in_the_middle(struct fixture *f, int number, bool is_ignored)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(number, is_ignored ? SIG_IGN : SIG_DFL);
        if (aside_open(&f->aside, f->path, &f->err) != 0 || fputs("new", f->aside.file) < 0 ||
            fflush(f->aside.file) != 0)
            _exit(1);
        (void)raise(number);
        _exit(aside_finish(&f->aside, &f->err) == 0 && raise(number) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_signals_that_end_it(void **state)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct fixture f;
    (void)state;
    start(&f);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        write_text(f.path, "old");
        int status = end_in_the_middle(&f, numbers[i], false);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i]);
        assert_true(access(f.beside, F_OK) != 0 && says(f.path, "old"));
        status = end_in_the_middle(&f, numbers[i], true);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_true(says(f.path, "new"));
    }
    finish(&f);
}

/* Once it is whole or gone, signals are as before. */
static void test_signals_are_given_back(void **state)
{
    struct fixture f;
    struct sigaction now;
    (void)state;
    start(&f);
    for (int is_dropped = 0; is_dropped < 2; is_dropped++) {
        begin(&f);
        assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
        assert_true(now.sa_handler != SIG_DFL);
        if (is_dropped)
            aside_drop(&f.aside);
        else
            assert_int_equal(aside_finish(&f.aside, &f.err), 0);
        assert_int_equal(sigaction(SIGTERM, NULL, &now), 0);
        assert_true(now.sa_handler == SIG_DFL);
    }
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file),
        cmocka_unit_test(test_the_old_one_stays),
        cmocka_unit_test(test_what_fails_at_its_end),
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_what_was_left_is_written_over),
        cmocka_unit_test(test_signals_that_end_it),
        cmocka_unit_test(test_signals_are_given_back),
        cmocka_unit_test(test_links_are_followed),
        cmocka_unit_test(test_devices_and_what_cannot_be),
    };
    return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
