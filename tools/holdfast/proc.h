/* SPDX-License-Identifier: Apache-2.0
 *
 * proc — a holdfastd that `holdfast local` started: it is known by a file with its
 * process id, start time and program, and before every signal all are compared with what
 * runs under that id now, so that no other process is ever hit.
 *
 * Errors     0 or a negative ERR_*, with a message.
 */
#ifndef TOOLS_HOLDFAST_PROC_H_
#define TOOLS_HOLDFAST_PROC_H_

#include <limits.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/err.h"

enum proc_state { PROC_STOPPED, PROC_RUNNING, PROC_PAUSED };

struct proc {
    pid_t pid;            /* 0: never started */
    uint64_t start_ticks; /* since boot: field 22 of /proc/PID/stat */
    char exe[PATH_MAX];   /* the program, without links */
};

/* Read the file `path`. A file that is missing or no process file gives {0}. */
void proc_read(const char *path, struct proc *ret_proc);

/* Write it, replacing the old one at once. */
int proc_write(const char *path, const struct proc *proc, struct err *err);

/* Is it there still? A zombie is stopped. */
enum proc_state proc_state(const struct proc *proc);

/* Send `signum` to it and to nothing else. ERR_NOT_FOUND if it is gone. */
int proc_signal(const struct proc *proc, int signum, struct err *err);

/* Wait until it is gone; false after `timeout_ms`. */
bool proc_wait_gone(const struct proc *proc, uint64_t timeout_ms);

/* Start the program `exe` (an absolute path without links) with argv in the background: a session
 * of its own, standard input empty, output appended to `log_path`, nothing else of ours open. */
int proc_start(const char *exe, const char *const *argv, const char *log_path,
               struct proc *ret_proc, struct err *err);

/* Did a child of ours end already? Then how, in words. Does not wait. */
bool proc_has_ended(const struct proc *proc, char *ret_how, size_t size);

#endif
