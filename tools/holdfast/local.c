/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 60000, READY_STEP_MS = 50, LOG_TAIL = 2000, EXTRA_MAX = 1 << 16 };

/* ---- the folder ----------------------------------------------------------------- */

static bool take_lock(struct local *local)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", local->dir);
    local->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (local->lock_fd < 0) {
        cli_error(local->cli, "open '%s': %s", path, strerror(errno));
        return false;
    }
    uint64_t until_ms = cli_now_ms() + LOCK_WAIT_MS;
    while (flock(local->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || cli_now_ms() >= until_ms) {
            cli_error(local->cli, "another 'holdfast local' works in '%s'", local->dir);
            return false;
        }
        cli_pause_ms(READY_STEP_MS);
    }
    return true;
}

static bool read_conf(struct local *local)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/local.conf", local->dir);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return true; /* new */
    unsigned nodes = 0, port_base = 0;
    int n = fscanf(file, "nodes = %u port_base = %u", &nodes, &port_base);
    fclose(file);
    if (n != 2 || nodes < 1 || nodes > LOCAL_NODES_MAX || port_base < 1 || port_base > 65000) {
        cli_error(local->cli, "'%s' is damaged", path);
        return false;
    }
    local->nodes = nodes;
    local->port_base = port_base;
    return true;
}

static void fill_endpoints(struct local *local)
{
    char address[CLI_ADDRESS_MAX];
    size_t len = 0;
    for (unsigned i = 1; i <= local->nodes; i++) {
        local_address(local, i, address);
        len += (size_t)snprintf(local->endpoints + len, sizeof local->endpoints - len, "%s%s",
                                i > 1 ? "," : "", address);
        ASSERT(len < sizeof local->endpoints);
    }
    local->cli->endpoints = local->endpoints;
}

/* holdfastd stands beside this program. */
static bool find_server(struct local *local)
{
    char self[PATH_MAX - 16], path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = 0;
        char *slash = strrchr(self, '/');
        ASSERT(slash != NULL);
        *slash = 0;
        snprintf(path, sizeof path, "%s/holdfastd", self);
        if (realpath(path, local->exe) != NULL)
            return true;
    }
    cli_error(local->cli, "no holdfastd beside this program");
    return false;
}

/* mkdir -p */
static bool make_folders(struct cli *cli, const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (char *p = path + 1;; p++) {
        char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            cli_error(cli, "make folder '%s': %s", path, strerror(errno));
            return false;
        }
        *p = c;
        if (c == 0)
            return true;
    }
}

bool local_open(struct local *local, struct cli *cli, const char *dir, bool is_new_fine)
{
    *local = (struct local){.cli = cli, .lock_fd = -1};
    char real[PATH_MAX];
    if (is_new_fine && !make_folders(cli, dir))
        return false;
    if (realpath(dir, real) == NULL) {
        cli_error(cli, "folder '%s': %s", dir, strerror(errno));
        return false;
    }
    if (strlen(real) >= sizeof local->dir || strpbrk(real, "#\n") != NULL) {
        cli_error(cli, "'%s': use a shorter path without '#'", real);
        return false;
    }
    memcpy(local->dir, real, strlen(real) + 1);
    if (!find_server(local) || !take_lock(local) || !read_conf(local))
        return false;
    if (local->nodes == 0 && !is_new_fine) {
        cli_error(cli, "no cluster in '%s': holdfast local up --dir %s", dir, dir);
        return false;
    }
    if (local->nodes > 0)
        fill_endpoints(local);
    return true;
}

void local_close(struct local *local)
{
    cli_client_close(local->cli);
    local->cli->endpoints = NULL;
    if (local->lock_fd >= 0)
        close(local->lock_fd);
    local->lock_fd = -1;
}

bool local_create(struct local *local, unsigned nodes, unsigned port_base)
{
    char path[PATH_MAX];
    ASSERT(local->nodes == 0);
    local->nodes = nodes;
    local->port_base = port_base;
    snprintf(path, sizeof path, "%s/local.conf", local->dir);
    FILE *file = fopen(path, "w");
    bool is_good =
        file != NULL && fprintf(file, "nodes = %u\nport_base = %u\n", nodes, port_base) > 0;
    is_good = file != NULL && fclose(file) == 0 && is_good;
    if (!is_good) {
        cli_error(local->cli, "write '%s': %s", path, strerror(errno));
        return false;
    }
    fill_endpoints(local);
    return true;
}

void local_path(const struct local *local, unsigned node, const char *name, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/node-%u%s%s", local->dir, node,
                     name[0] != 0 ? "/" : "", name);
    ASSERT(n > 0 && n < PATH_MAX);
}

void local_address(const struct local *local, unsigned node, char ret_address[CLI_ADDRESS_MAX])
{
    ASSERT(node >= 1);
    snprintf(ret_address, CLI_ADDRESS_MAX, "127.0.0.1:%u", local->port_base + node - 1);
}

/* ---- nodes ------------------------------------------------------------------------ */

enum proc_state local_state(const struct local *local, unsigned node, struct proc *ret_proc)
{
    char path[PATH_MAX];
    local_path(local, node, "pid", path);
    proc_read(path, ret_proc);
    return proc_state(ret_proc);
}

bool local_set_extra(struct local *local, const char *path)
{
    struct buf text;
    char to[PATH_MAX];
    buf_init(&text, EXTRA_MAX);
    bool is_good = cli_read_file(local->cli, path, &text);
    snprintf(to, sizeof to, "%s/extra.conf", local->dir);
    if (is_good) {
        FILE *file = fopen(to, "w");
        is_good = file != NULL && cli_write(file, buf_slice(&text));
        is_good = file != NULL && fclose(file) == 0 && is_good;
        if (!is_good)
            cli_error(local->cli, "write '%s': %s", to, strerror(errno));
    }
    buf_fini(&text);
    return is_good;
}

static void append_extra(const struct local *local, FILE *to)
{
    char path[PATH_MAX], line[1024];
    snprintf(path, sizeof path, "%s/extra.conf", local->dir);
    FILE *extra = fopen(path, "r");
    if (extra == NULL)
        return;
    fprintf(to, "\n# from extra.conf\n");
    while (fgets(line, sizeof line, extra) != NULL)
        fputs(line, to);
    fclose(extra);
}

static bool write_node_conf(const struct local *local, unsigned node, const char *path)
{
    char address[CLI_ADDRESS_MAX];
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    local_address(local, node, address);
    fprintf(file, "# Written by 'holdfast local up'; put changes into extra.conf.\n");
    fprintf(file, "store_id = %u\n", node);
    fprintf(file, "data_dir = %s/node-%u/data\n", local->dir, node);
    fprintf(file, "listen = %s\n", address);
    fprintf(file, "members = ");
    for (unsigned i = 1; i <= local->nodes; i++) {
        local_address(local, i, address);
        fprintf(file, "%s%u=%s", i > 1 ? ", " : "", i, address);
    }
    fprintf(file, "\n");
    append_extra(local, file);
    bool is_good = ferror(file) == 0;
    return fclose(file) == 0 && is_good;
}

int local_start(struct local *local, unsigned node)
{
    struct proc proc;
    struct err err = {0};
    char conf[PATH_MAX], log[PATH_MAX], pid[PATH_MAX], folder[PATH_MAX];
    if (local_state(local, node, &proc) != PROC_STOPPED)
        return EXIT_DONE;
    local_path(local, node, "", folder);
    local_path(local, node, "holdfast.conf", conf);
    local_path(local, node, "log", log);
    local_path(local, node, "pid", pid);
    if (!make_folders(local->cli, folder))
        return EXIT_ERROR;
    if (!write_node_conf(local, node, conf))
        return cli_error(local->cli, "write '%s': %s", conf, strerror(errno));
    const char *const argv[] = {"holdfastd", "--config", conf, NULL};
    int rv = proc_start(local->exe, argv, log, &proc, &err);
    if (rv == 0)
        rv = proc_write(pid, &proc, &err);
    return rv == 0 ? EXIT_DONE : cli_error(local->cli, "node %u: %s", node, err.msg);
}

static void show_log_tail(const struct local *local, unsigned node)
{
    char path[PATH_MAX], text[LOG_TAIL + 1];
    local_path(local, node, "log", path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    long from = fseek(file, 0, SEEK_END) == 0 ? ftell(file) - LOG_TAIL : 0;
    if (fseek(file, from > 0 ? from : 0, SEEK_SET) == 0) {
        size_t n = fread(text, 1, LOG_TAIL, file);
        fprintf(stderr, "the end of %s:\n%.*s", path, (int)n, text);
    }
    fclose(file);
}

/* One question to one node, not longer than is left. */
static bool node_answers(struct local *local, struct hf_client *client, unsigned node)
{
    char address[CLI_ADDRESS_MAX];
    struct hf_call call;
    struct hf_result *result = NULL;
    local_address(local, node, address);
    hf_call_init(&call);
    call.timeout_ms = 500;
    int rv = hf_identify(client, address, &call, &result);
    hf_result_free(result);
    return rv == HF_OK;
}

int local_wait_ready(struct local *local, uint32_t nodes, uint64_t until_ms)
{
    struct hf_client *client = cli_client(local->cli);
    if (client == NULL)
        return EXIT_ERROR;
    for (unsigned i = 1; i <= local->nodes; i++) {
        char how[64];
        struct proc proc;
        if ((nodes & BIT(i)) == 0)
            continue;
        while (!node_answers(local, client, i)) {
            enum proc_state state = local_state(local, i, &proc);
            bool has_ended = proc.pid > 1 && proc_has_ended(&proc, how, sizeof how);
            if (has_ended || state == PROC_STOPPED) {
                int exit_code = cli_error(local->cli, "node %u ended at its start (%s)", i,
                                          has_ended ? how : "gone");
                show_log_tail(local, i);
                return exit_code;
            }
            if (cli_now_ms() >= until_ms) {
                int exit_code = cli_error(local->cli, "node %u does not answer yet", i);
                show_log_tail(local, i);
                return exit_code;
            }
            cli_pause_ms(READY_STEP_MS);
        }
    }
    return EXIT_DONE;
}

int local_stop(struct local *local, unsigned node)
{
    struct proc proc;
    struct err err = {0};
    enum proc_state state = local_state(local, node, &proc);
    if (state == PROC_STOPPED)
        return EXIT_DONE;
    int rv = proc_signal(&proc, SIGTERM, &err);
    if (rv == 0 && state == PROC_PAUSED)
        rv = proc_signal(&proc, SIGCONT, &err);
    if (rv == 0 && !proc_wait_gone(&proc, LOCAL_STOP_MS)) {
        fprintf(stderr, "node %u did not stop within %d s: killed\n", node, LOCAL_STOP_MS / 1000);
        rv = proc_signal(&proc, SIGKILL, &err);
        if (rv == 0 && !proc_wait_gone(&proc, LOCAL_STOP_MS))
            rv = err_set(&err, ERR_TIMEOUT, "still there after SIGKILL");
    }
    if (rv == 0 || rv == ERR_NOT_FOUND)
        return EXIT_DONE;
    return cli_error(local->cli, "node %u: %s", node, err.msg);
}
