/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
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

static bool write_shape(struct local *local)
{
    char path[PATH_MAX], path_new[PATH_MAX];
    snprintf(path, sizeof path, "%s/local.conf", local->dir);
    snprintf(path_new, sizeof path_new, "%s/local.conf.new", local->dir);
    FILE *file = fopen(path_new, "w");
    bool is_good = file != NULL && fprintf(file, "nodes = %u\nport_base = %u\n", local->nodes,
                                           local->port_base) > 0;
    is_good = file != NULL && fclose(file) == 0 && is_good;
    if (is_good && rename(path_new, path) == 0)
        return true;
    cli_error(local->cli, "write '%s': %s", path, strerror(errno));
    return false;
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

/* Nothing is written into a folder that is not ours. */
static bool has_cluster(const struct local *local, const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/local.conf", local->dir);
    if (access(path, F_OK) == 0)
        return true;
    cli_error(local->cli, "no cluster in '%s': holdfast local up --dir %s", dir, dir);
    return false;
}

/* A name that a configuration can hold. */
static bool is_fine_dir(struct cli *cli, const char *dir)
{
    if (strlen(dir) < LOCAL_DIR_MAX && strpbrk(dir, "#\n") == NULL)
        return true;
    cli_error(cli, "'%s': use a shorter path without '#'", dir);
    return false;
}

bool local_open(struct local *local, struct cli *cli, const char *dir, bool is_new_fine)
{
    *local = (struct local){.cli = cli, .lock_fd = -1};
    char real[PATH_MAX];
    if (is_new_fine && (!is_fine_dir(cli, dir) || !make_folders(cli, dir)))
        return false;
    if (realpath(dir, real) == NULL) {
        cli_error(cli, "folder '%s': %s", dir, strerror(errno));
        return false;
    }
    if (!is_fine_dir(cli, real))
        return false;
    memcpy(local->dir, real, strlen(real) + 1);
    if (!is_new_fine && !has_cluster(local, dir))
        return false;
    if (!find_server(local) || !take_lock(local) || !read_conf(local))
        return false;
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

/* Could a node listen there? It would find out by itself, but only after another cluster
 * had answered in its place. */
static int check_port(struct local *local, unsigned node)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(local->port_base + node - 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                   bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
                   listen(fd, 1) == 0;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    if (is_free)
        return EXIT_DONE;
    char text[CLI_ADDRESS_MAX];
    local_address(local, node, text);
    return cli_error(local->cli, "node %u cannot listen on %s: %s", node, text, strerror(errnum));
}

int local_check_ports(struct local *local)
{
    for (unsigned i = 1; i <= local->nodes; i++) {
        struct proc proc;
        if (local_state(local, i, &proc) == PROC_STOPPED && check_port(local, i) != EXIT_DONE)
            return EXIT_ERROR;
    }
    return EXIT_DONE;
}

bool local_create(struct local *local, unsigned nodes, unsigned port_base)
{
    ASSERT(local->nodes == 0);
    local->nodes = nodes;
    local->port_base = port_base;
    if (local_check_ports(local) != EXIT_DONE || !write_shape(local))
        return false;
    fill_endpoints(local);
    return true;
}

bool local_grow(struct local *local, unsigned nodes)
{
    unsigned before = local->nodes;
    ASSERT(nodes > before);
    local->nodes = nodes;
    if (local_check_ports(local) != EXIT_DONE || !write_shape(local)) {
        local->nodes = before;
        return false;
    }
    cli_client_close(local->cli);
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

/* Does the cluster live on another node? Then an empty folder joins it; only the first one
 * of all founds one. */
static bool has_others(const struct local *local, unsigned node)
{
    for (unsigned i = 1; i <= local->nodes; i++) {
        char path[PATH_MAX];
        local_path(local, i, "data/STORE", path);
        if (i != node && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

bool local_write_conf(const struct local *local, unsigned node)
{
    char path[PATH_MAX];
    char address[CLI_ADDRESS_MAX];
    local_path(local, node, "holdfast.conf", path);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    local_address(local, node, address);
    fprintf(file, "# Written by 'holdfast local up'; put changes into extra.conf.\n");
    fprintf(file, "data_dir = %s/node-%u/data\n", local->dir, node);
    fprintf(file, "listen = %s\n", address);
    const char *comma = "join = ";
    for (unsigned i = 1; i <= local->nodes && (node > 1 || has_others(local, node)); i++) {
        if (i == node)
            continue;
        local_address(local, i, address);
        fprintf(file, "%s%s", comma, address);
        comma = ", ";
    }
    fprintf(file, "\n");
    append_extra(local, file);
    bool is_good = ferror(file) == 0;
    return fclose(file) == 0 && is_good;
}

/* The bytes of its log so far: what it says from now on is about this start. */
static long log_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

int local_start(struct local *local, unsigned node)
{
    struct proc proc;
    struct err err = {0};
    char conf[PATH_MAX], log[PATH_MAX], pid[PATH_MAX], folder[PATH_MAX];
    if (local_state(local, node, &proc) != PROC_STOPPED)
        return EXIT_DONE;
    if (check_port(local, node) != EXIT_DONE)
        return EXIT_ERROR;
    local_path(local, node, "", folder);
    local_path(local, node, "holdfast.conf", conf);
    local_path(local, node, "log", log);
    local_path(local, node, "pid", pid);
    if (!make_folders(local->cli, folder))
        return EXIT_ERROR;
    if (!local_write_conf(local, node))
        return cli_error(local->cli, "write '%s': %s", conf, strerror(errno));
    local->log_from[node] = log_size(log);
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
    bool is_cut = from > local->log_from[node];
    if (fseek(file, is_cut ? from : local->log_from[node], SEEK_SET) == 0) {
        size_t n = fread(text, 1, LOG_TAIL, file);
        text[n] = 0;
        const char *end_of_cut = is_cut ? strchr(text, '\n') : NULL;
        fprintf(stderr, "the end of %s:\n%s", path, end_of_cut != NULL ? end_of_cut + 1 : text);
    }
    fclose(file);
}

/* One question to one node, not longer than is left: does it belong to a cluster? */
static bool node_answers(struct local *local, struct hf_client *client, unsigned node)
{
    char address[CLI_ADDRESS_MAX];
    struct hf_call call;
    struct hf_result *result = NULL;
    local_address(local, node, address);
    hf_call_init(&call);
    call.timeout_ms = 500;
    int rv = hf_identify(client, address, &call, &result);
    bool is_born = rv == HF_OK && result->info->is_born;
    hf_result_free(result);
    return is_born;
}

int local_check_alive(struct local *local, uint32_t nodes)
{
    for (unsigned i = 1; i <= local->nodes; i++) {
        char how[64];
        struct proc proc;
        if ((nodes & BIT(i)) == 0)
            continue;
        enum proc_state state = local_state(local, i, &proc);
        bool has_ended = proc.pid > 1 && proc_has_ended(&proc, how, sizeof how);
        if (!has_ended && state != PROC_STOPPED)
            continue;
        int exit_code =
            cli_error(local->cli, "node %u ended at its start (%s)", i, has_ended ? how : "gone");
        show_log_tail(local, i);
        return exit_code;
    }
    return EXIT_DONE;
}

int local_wait_ready(struct local *local, uint32_t nodes, uint64_t until_ms)
{
    struct hf_client *client = cli_client(local->cli);
    if (client == NULL)
        return EXIT_ERROR;
    for (unsigned i = 1; i <= local->nodes; i++) {
        if ((nodes & BIT(i)) == 0)
            continue;
        while (!node_answers(local, client, i)) {
            if (local_check_alive(local, BIT(i)) != EXIT_DONE)
                return EXIT_ERROR;
            if (cli_now_ms() >= until_ms) {
                int exit_code =
                    cli_error(local->cli, "node %u does not answer, or has not joined yet", i);
                show_log_tail(local, i);
                return exit_code;
            }
            cli_pause_ms(READY_STEP_MS);
        }
    }
    return local_check_alive(local, nodes);
}

/* One SIGTERM only: a second one means "at once, without handing over". */
void local_ask_to_stop(struct local *local, unsigned node)
{
    struct proc proc;
    if (local_state(local, node, &proc) == PROC_STOPPED)
        return;
    proc_signal(&proc, SIGTERM, NULL);
    proc_signal(&proc, SIGCONT, NULL);
}

int local_wait_stopped(struct local *local, unsigned node)
{
    struct proc proc;
    struct err err = {0};
    int rv = 0;
    if (local_state(local, node, &proc) == PROC_STOPPED)
        return EXIT_DONE;
    if (!proc_wait_gone(&proc, LOCAL_STOP_MS)) {
        fprintf(stderr, "node %u did not stop within %d s: killed\n", node, LOCAL_STOP_MS / 1000);
        rv = proc_signal(&proc, SIGKILL, &err);
        if (rv == 0 && !proc_wait_gone(&proc, LOCAL_STOP_MS))
            rv = err_set(&err, ERR_TIMEOUT, "still there after SIGKILL");
    }
    if (rv == 0 || rv == ERR_NOT_FOUND)
        return EXIT_DONE;
    return cli_error(local->cli, "node %u: %s", node, err.msg);
}
