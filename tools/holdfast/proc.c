/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

enum { WAIT_STEP_MS = 10, STAT_MAX = 1024 };

/* State letter and start time of a process; false if there is none. A process whose first
 * thread has ended while others still hold its files and ports is no zombie yet. */
static bool read_stat(pid_t pid, char *ret_state, uint64_t *ret_start_ticks)
{
    char path[64], text[STAT_MAX];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    /* the name in parentheses may hold anything: go on behind the last one */
    char *p = strrchr(text, ')');
    if (p == NULL)
        return false;
    char state;
    long threads;
    unsigned long long start;
    if (sscanf(p + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
               &state, &threads, &start) != 3)
        return false;
    *ret_state = state == 'Z' && threads > 1 ? 'R' : state;
    *ret_start_ticks = start;
    return true;
}

/* Does the process run the program `exe`? After an upgrade in place the kernel says
 * "… (deleted)". Without a link it is about to end: its memory is gone first, and its
 * files and ports only then. */
static bool runs_program(pid_t pid, const char *exe)
{
    char path[64], target[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return n < 0 && errno == ENOENT;
    target[n] = 0;
    size_t len = strlen(exe);
    return strncmp(target, exe, len) == 0 &&
           (target[len] == 0 || strcmp(target + len, " (deleted)") == 0);
}

void proc_read(const char *path, struct proc *ret_proc)
{
    *ret_proc = (struct proc){0};
    char text[PATH_MAX + 64] = "";
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    int pid, used = 0;
    unsigned long long start;
    if (sscanf(text, "%d %llu %n", &pid, &start, &used) != 2 || used == 0 || pid <= 1)
        return;
    size_t len = strcspn(text + used, "\n");
    if (len == 0 || len >= sizeof ret_proc->exe)
        return;
    memcpy(ret_proc->exe, text + used, len);
    ret_proc->pid = pid;
    ret_proc->start_ticks = start;
}

int proc_write(const char *path, const struct proc *proc, struct err *err)
{
    char next[PATH_MAX];
    snprintf(next, sizeof next, "%s.new", path);
    FILE *file = fopen(next, "w");
    if (file == NULL)
        return err_set_errno(err, errno, "write '%s'", next);
    bool is_good = fprintf(file, "%d %llu %s\n", (int)proc->pid,
                           (unsigned long long)proc->start_ticks, proc->exe) > 0;
    is_good = fclose(file) == 0 && is_good;
    if (!is_good || rename(next, path) != 0)
        return err_set_errno(err, errno, "write '%s'", path);
    return 0;
}

enum proc_state proc_state(const struct proc *proc)
{
    char state;
    uint64_t start;
    if (proc->pid <= 1 || !read_stat(proc->pid, &state, &start) || start != proc->start_ticks)
        return PROC_STOPPED;
    if (state == 'Z' || state == 'X' || !runs_program(proc->pid, proc->exe))
        return PROC_STOPPED;
    return state == 'T' || state == 't' ? PROC_PAUSED : PROC_RUNNING;
}

int proc_signal(const struct proc *proc, int signum, struct err *err)
{
    if (proc->pid <= 1)
        return err_set(err, ERR_NOT_FOUND, "not running");
    /* from here on the descriptor means this very process, even if the id is reused */
    int fd = (int)syscall(SYS_pidfd_open, proc->pid, 0);
    if (fd < 0)
        return errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "not running")
                              : err_set_errno(err, errno, "pidfd_open %d", (int)proc->pid);
    int rv = 0;
    if (proc_state(proc) == PROC_STOPPED)
        rv = err_set(err, ERR_NOT_FOUND, "not running");
    else if (syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0) != 0)
        rv = errno == ESRCH ? err_set(err, ERR_NOT_FOUND, "not running")
                            : err_set_errno(err, errno, "signal %d", (int)proc->pid);
    close(fd);
    return rv;
}

bool proc_wait_gone(const struct proc *proc, uint64_t timeout_ms)
{
    uint64_t until_ms = cli_now_ms() + timeout_ms;
    while (proc_state(proc) != PROC_STOPPED) {
        if (cli_now_ms() >= until_ms)
            return false;
        (void)waitpid(proc->pid, NULL, WNOHANG); /* in case it is a child of ours */
        cli_pause_ms(WAIT_STEP_MS);
    }
    return true;
}

/* The child between fork and exec. Does not return; a failure goes up the pipe. */
static void run_child(const char *exe, const char *const *argv, int log_fd, int pipe_fd)
{
    int null_fd = open("/dev/null", O_RDONLY);
    bool is_good = setsid() >= 0 && null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(log_fd, 1) >= 0 &&
                   dup2(log_fd, 2) >= 0 && dup2(pipe_fd, 3) >= 0 &&
                   fcntl(3, F_SETFD, FD_CLOEXEC) == 0;
    if (is_good) {
        (void)syscall(SYS_close_range, 4u, ~0u, 0u);
        signal(SIGPIPE, SIG_DFL);
        execv(exe, (char *const *)argv);
        pipe_fd = 3;
    }
    int errnum = errno;
    (void)!write(pipe_fd, &errnum, sizeof errnum);
    _exit(127);
}

int proc_start(const char *exe, const char *const *argv, const char *log_path,
               struct proc *ret_proc, struct err *err)
{
    int fds[2];
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return err_set_errno(err, errno, "open '%s'", log_path);
    if (pipe2(fds, O_CLOEXEC) != 0) {
        close(log_fd);
        return err_set_errno(err, errno, "pipe");
    }
    pid_t pid = fork();
    if (pid == 0)
        run_child(exe, argv, log_fd, fds[1]);
    int errnum = errno;
    close(log_fd);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return err_set_errno(err, errnum, "fork");
    }
    ssize_t n = read(fds[0], &errnum, sizeof errnum); /* ends at exec or death */
    close(fds[0]);
    if (n == (ssize_t)sizeof errnum) {
        waitpid(pid, NULL, 0);
        return err_set_errno(err, errnum, "run '%s'", exe);
    }
    char state;
    struct proc proc = {.pid = pid};
    if (!read_stat(pid, &state, &proc.start_ticks))
        return err_set(err, ERR_IO, "'%s' ended at once", exe);
    snprintf(proc.exe, sizeof proc.exe, "%s", exe);
    *ret_proc = proc;
    return 0;
}

bool proc_has_ended(const struct proc *proc, char *ret_how, size_t size)
{
    int status;
    if (waitpid(proc->pid, &status, WNOHANG) != proc->pid)
        return false;
    if (WIFSIGNALED(status))
        snprintf(ret_how, size, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(ret_how, size, "exit status %d", WEXITSTATUS(status));
    return true;
}
