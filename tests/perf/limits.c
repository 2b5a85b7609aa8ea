/* SPDX-License-Identifier: Apache-2.0
 *
 * limits — what the machine itself allows, measured the way that stores use it: syncs
 * of small writes into files that are zero-filled already, by one process and by three
 * at once, alone and beside processes that fill a file of 64 MiB over and over; one round
 * trip of a small message over loopback; and copies in memory that is in no cache.
 *
 *   limits FOLDER [--seconds N] [--json]
 *
 * --json measures only what needs nothing beside it, and prints one object.
 *
 * Beside "whole" files, each is written in one go and synced at its end; beside "paced"
 * ones, each MiB is sent to the disk before the next is written.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/hist.h"

enum {
    FILE_BYTES = 64 << 20,
    PIECE = 1 << 20,
    RECORD = 4096,
    COPY = 64 << 10,
    COPY_BYTES = 256 << 20, /* more than caches hold, twice */
    MESSAGE = 128,
    PROCESSES_MAX = 8,
    PATH_LEN = 512,
};

enum filling { FILL_NONE, FILL_WHOLE, FILL_PACED };

struct report {
    struct hist hist;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    perror(what);
    exit(1);
}

static void file_path(char path[PATH_LEN], const char *folder, const char *kind, int i)
{
    snprintf(path, PATH_LEN, "%s/limits-%s-%d", folder, kind, i);
}

static void fill_file(int fd, bool is_paced)
{
    static uint8_t piece[PIECE];
    for (off_t at = 0; at < FILE_BYTES; at += PIECE) {
        must(pwrite(fd, piece, PIECE, at) == PIECE, "write");
        if (is_paced)
            must(sync_file_range(fd, at, PIECE,
                                 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                     SYNC_FILE_RANGE_WAIT_AFTER) == 0,
                 "sync_file_range");
    }
    must(fdatasync(fd) == 0, "fdatasync");
}

/* A child that fills files until it is killed. */
static pid_t start_filler(const char *folder, int i, bool is_paced)
{
    char path[PATH_LEN];
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    file_path(path, folder, "fill", i);
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        must(fd >= 0, path);
        (void)unlink(path);
        fill_file(fd, is_paced);
        close(fd);
    }
}

/* A file that is on the disk already: its syncs write no metadata. */
static int make_file(const char *folder, int i)
{
    char path[PATH_LEN];
    file_path(path, folder, "sync", i);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0, path);
    (void)unlink(path);
    fill_file(fd, false);
    return fd;
}

/* A child that writes a record and syncs it, over and over; its figures go to `pipe`. */
static pid_t start_syncer(int fd, uint64_t seconds, int pipe)
{
    static const uint8_t record[RECORD] = {1};
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    struct report *report = calloc(1, sizeof *report);
    must(report != NULL, "calloc");
    hist_init(&report->hist);
    uint64_t until_us = now_us() + seconds * 1000000, began;
    for (off_t at = 0; (began = now_us()) < until_us; at = (at + RECORD) % FILE_BYTES) {
        must(pwrite(fd, record, RECORD, at) == RECORD, "write");
        must(fdatasync(fd) == 0, "fdatasync");
        hist_add(&report->hist, now_us() - began);
    }
    const uint8_t *bytes = (const uint8_t *)report;
    for (size_t done = 0; done < sizeof *report;) {
        ssize_t n = write(pipe, bytes + done, sizeof *report - done);
        must(n > 0, "pipe");
        done += (size_t)n;
    }
    _exit(0);
}

static void read_report(int pipe, struct hist *all)
{
    struct report *report = malloc(sizeof *report);
    must(report != NULL, "malloc");
    uint8_t *bytes = (uint8_t *)report;
    for (size_t done = 0; done < sizeof *report;) {
        ssize_t n = read(pipe, bytes + done, sizeof *report - done);
        must(n > 0, "pipe");
        done += (size_t)n;
    }
    hist_merge(all, &report->hist);
    free(report);
}

static void print_json(const char *name, const struct hist *h, double seconds, const char *after)
{
    printf("\"%s\": {\"per_sec\": %.1f, \"p50_us\": %" PRIu64 ", \"p99_us\": %" PRIu64
           ", \"p999_us\": %" PRIu64 "}%s",
           name, (double)h->count / seconds, hist_permille(h, 500), hist_permille(h, 990),
           hist_permille(h, 999), after);
}

static void print_line(const char *what, const struct hist *h, double seconds)
{
    printf("%-46s %8.0f/s  p50 %6" PRIu64 "  p99 %6" PRIu64 "  p99.9 %6" PRIu64 "  max %6" PRIu64
           " us\n",
           what, (double)h->count / seconds, hist_permille(h, 500), hist_permille(h, 990),
           hist_permille(h, 999), h->max);
    fflush(stdout);
}

static void measure_syncs(const char *folder, int writers, enum filling filling, uint64_t seconds,
                          struct hist *all)
{
    pid_t syncers[PROCESSES_MAX], fillers[PROCESSES_MAX];
    int pipes[PROCESSES_MAX][2], files[PROCESSES_MAX];
    hist_init(all);
    int n_fillers = filling == FILL_NONE ? 0 : 3;
    for (int i = 0; i < writers; i++)
        files[i] = make_file(folder, i);
    for (int i = 0; i < writers; i++) {
        must(pipe(pipes[i]) == 0, "pipe");
        syncers[i] = start_syncer(files[i], seconds, pipes[i][1]);
    }
    for (int i = 0; i < n_fillers; i++)
        fillers[i] = start_filler(folder, i, filling == FILL_PACED);
    for (int i = 0; i < writers; i++) {
        read_report(pipes[i][0], all);
        (void)waitpid(syncers[i], NULL, 0);
        close(pipes[i][0]);
        close(pipes[i][1]);
        close(files[i]);
    }
    for (int i = 0; i < n_fillers; i++) {
        kill(fillers[i], SIGKILL);
        (void)waitpid(fillers[i], NULL, 0);
    }
}

static void echo(int fd)
{
    uint8_t message[MESSAGE];
    ssize_t n;
    while ((n = recv(fd, message, sizeof message, 0)) > 0)
        must(send(fd, message, (size_t)n, MSG_NOSIGNAL) == n, "send");
    _exit(0);
}

static void measure_loopback(uint64_t seconds, struct hist *h)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    must(listener >= 0 && bind(listener, (struct sockaddr *)&address, len) == 0 &&
             listen(listener, 1) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &len) == 0,
         "listen");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, len) == 0, "connect");
    int peer = accept(listener, NULL, NULL);
    must(peer >= 0, "accept");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        close(fd);
        echo(peer);
    }
    close(peer);
    close(listener);
    uint8_t message[MESSAGE] = {0};
    hist_init(h);
    uint64_t until_us = now_us() + seconds * 1000000, began;
    while ((began = now_us()) < until_us) {
        must(send(fd, message, MESSAGE, MSG_NOSIGNAL) == MESSAGE, "send");
        must(recv(fd, message, MESSAGE, MSG_WAITALL) == MESSAGE, "recv");
        hist_add(h, now_us() - began);
    }
    close(fd);
    (void)waitpid(pid, NULL, 0);
}

/* Pieces of COPY from one place in memory to another. */
static void measure_copy(uint64_t seconds, struct hist *h)
{
    uint8_t *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
    must(from != NULL && to != NULL, "malloc");
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    hist_init(h);
    uint64_t until_us = now_us() + seconds * 1000000, began;
    for (size_t at = 0; (began = now_us()) < until_us; at = (at + COPY) % COPY_BYTES) {
        memcpy(to + at, from + at, COPY);
        hist_add(h, now_us() - began);
    }
    must(to[0] == 1, "memcpy");
    free(from);
    free(to);
}

/* What the stores' own load is held against. */
static void measure_json(const char *folder, uint64_t seconds, struct hist *h)
{
    printf("{");
    measure_loopback(seconds, h);
    print_json("loopback", h, (double)seconds, ", ");
    measure_syncs(folder, 1, FILL_NONE, seconds, h);
    print_json("fdatasync_1", h, (double)seconds, ", ");
    measure_syncs(folder, 3, FILL_NONE, seconds, h);
    print_json("fdatasync_3", h, (double)seconds, "}\n");
}

static void measure_text(const char *folder, uint64_t seconds, struct hist *h)
{
    static const struct {
        const char *what;
        int writers;
        enum filling filling;
    } rows[] = {
        {"write 4 KiB + fdatasync, 1 at once", 1, FILL_NONE},
        {"write 4 KiB + fdatasync, 3 at once", 3, FILL_NONE},
        {"write 4 KiB + fdatasync, 3 at once beside 3 filling, whole", 3, FILL_WHOLE},
        {"write 4 KiB + fdatasync, 3 at once beside 3 filling, paced", 3, FILL_PACED},
    };
    measure_loopback(seconds, h);
    print_line("128 bytes there and back over loopback", h, (double)seconds);
    measure_copy(seconds, h);
    print_line("64 KiB copied in memory", h, (double)seconds);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        measure_syncs(folder, rows[i].writers, rows[i].filling, seconds, h);
        print_line(rows[i].what, h, (double)seconds);
    }
}

int main(int argc, char **argv)
{
    uint64_t seconds = 5;
    bool is_json = false;
    const struct args_flag flags[] = {
        {"seconds", 0, ARGS_U64, &seconds, NULL, "N", "of each measurement"},
        {"json", 0, ARGS_SWITCH, &is_json, NULL, NULL, "one object"},
    };
    const char *words[1];
    size_t count = 0;
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        1, &count, NULL);
    if (rv != 0 || count != 1 || seconds < 1) {
        fprintf(stderr, "usage: limits FOLDER [--seconds N] [--json]\n");
        return 2;
    }
    struct hist *h = malloc(sizeof *h);
    must(h != NULL, "malloc");
    (is_json ? measure_json : measure_text)(words[0], seconds, h);
    free(h);
    return 0;
}
