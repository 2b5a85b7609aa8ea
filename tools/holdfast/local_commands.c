/* SPDX-License-Identifier: Apache-2.0
 *
 * local up, down, status, kill, restart, pause, resume.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "local.h"

enum { PORT_BASE = 4101, NODES = 3, READ_STEP_MS = 50 };

struct local_flags {
    const char *dir;
    uint64_t nodes;
    bool is_nodes_given;
    uint64_t port_base;
    bool is_port_given;
    const char *conf;
    uint64_t wait_us;
};

static const char *const state_names[] = {"stopped", "running", "paused"};

/* Parse, open the folder. On false the command returns *ret_exit. */
static bool begin(struct cli *cli, int argc, const char *const *argv, bool is_up, size_t words_min,
                  size_t words_max, struct local_flags *f, struct local *local,
                  struct cli_words *words, int *ret_exit)
{
    *f = (struct local_flags){.nodes = NODES, .port_base = PORT_BASE, .wait_us = 30000000};
    const struct args_flag flags[] = {
        {"dir", 'd', ARGS_TEXT, &f->dir, NULL, "DIR", "the cluster's folder (required)"},
        {"wait", 0, ARGS_DURATION, &f->wait_us, NULL, "TIME", "how long to wait at most (30s)"},
        {"nodes", 'n', ARGS_U64, &f->nodes, &f->is_nodes_given, "N", "how many, 1 to 9 (3)"},
        {"port-base", 'p', ARGS_U64, &f->port_base, &f->is_port_given, "P",
         "node I listens on port P + I - 1 (4101)"},
        {"conf", 0, ARGS_TEXT, &f->conf, NULL, "FILE", "more keys for every node's configuration"},
    };
    size_t count = is_up ? ARRAY_LEN(flags) : 2;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, flags, count, words_min, words_max, words, ret_exit))
        return false;
    if (f->dir == NULL) {
        *ret_exit = cli_usage(cli, "--dir is required");
        return false;
    }
    if (f->nodes < 1 || f->nodes > LOCAL_NODES_MAX || f->port_base < 1 || f->port_base > 65000) {
        *ret_exit = cli_usage(cli, "--nodes is 1 to %d, --port-base 1 to 65000", LOCAL_NODES_MAX);
        return false;
    }
    if (!local_open(local, cli, f->dir, is_up)) {
        local_close(local);
        *ret_exit = EXIT_ERROR;
        return false;
    }
    return true;
}

/* ---- status ----------------------------------------------------------------------- */

/* The node that leads the first range, as the running ones say; 0 if they do not know. */
static uint64_t find_leader(struct local *local)
{
    uint64_t leader = 0, best_term = 0;
    for (unsigned i = 1; i <= local->nodes; i++) {
        struct proc proc;
        struct hf_call call;
        struct hf_result *result = NULL;
        char address[CLI_ADDRESS_MAX];
        struct hf_client *client = cli_client(local->cli);
        if (client == NULL)
            return 0;
        if (local_state(local, i, &proc) != PROC_RUNNING)
            continue;
        local_address(local, i, address);
        hf_call_init(&call);
        call.timeout_ms = 1000;
        if (hf_status(client, address, &call, &result) == HF_OK &&
            result->info->leader_store_id == result->info->store_id &&
            result->info->leader_replica_id != 0 && result->info->term >= best_term) {
            best_term = result->info->term;
            leader = i;
        }
        hf_result_free(result);
    }
    return leader;
}

static void print_nodes(struct local *local, uint64_t leader)
{
    static const char *const heads[] = {"NODE", "STATE", "ROLE", "PID", "ADDRESS", "FOLDER"};
    struct cli_table table;
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    for (unsigned i = 1; i <= local->nodes; i++) {
        struct proc proc;
        char path[PATH_MAX], address[CLI_ADDRESS_MAX];
        enum proc_state state = local_state(local, i, &proc);
        local_path(local, i, "", path);
        local_address(local, i, address);
        cli_table_cell(&table, "%u", i);
        cli_table_cell(&table, "%s", state_names[state]);
        cli_table_cell(&table, "%s", leader == i ? "leader" : "-");
        if (state == PROC_STOPPED)
            cli_table_cell(&table, "-");
        else
            cli_table_cell(&table, "%d", (int)proc.pid);
        cli_table_cell(&table, "%s", address);
        cli_table_cell(&table, "%s", path);
    }
    cli_table_print(&table, &local->cli->out);
}

static void print_nodes_json(struct local *local, uint64_t leader)
{
    struct json_writer w;
    json_begin(&w, &local->cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, true);
    json_key(&w, "endpoints");
    json_text(&w, local->endpoints);
    json_key(&w, "leader");
    json_u64(&w, leader);
    json_key(&w, "nodes");
    json_array_begin(&w);
    for (unsigned i = 1; i <= local->nodes; i++) {
        struct proc proc;
        char address[CLI_ADDRESS_MAX];
        enum proc_state state = local_state(local, i, &proc);
        local_address(local, i, address);
        json_object_begin(&w);
        json_key(&w, "node");
        json_u64(&w, i);
        json_key(&w, "state");
        json_text(&w, state_names[state]);
        json_key(&w, "pid");
        json_u64(&w, state == PROC_STOPPED ? 0 : (uint64_t)proc.pid);
        json_key(&w, "address");
        json_text(&w, address);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    buf_append_str(&local->cli->out, "\n");
}

static void show_nodes(struct local *local, uint64_t leader)
{
    if (local->cli->is_json)
        print_nodes_json(local, leader);
    else
        print_nodes(local, leader);
}

static int run_status(struct cli *cli, int argc, const char *const *argv)
{
    struct local_flags f;
    struct local local;
    struct cli_words words;
    int exit_code;
    if (!begin(cli, argc, argv, false, 0, 0, &f, &local, &words, &exit_code))
        return exit_code;
    show_nodes(&local, find_leader(&local));
    local_close(&local);
    return EXIT_DONE;
}

/* ---- up and down -------------------------------------------------------------------- */

static bool settle_shape(struct local *local, const struct local_flags *f)
{
    if (local->nodes == 0)
        return local_create(local, (unsigned)f->nodes, (unsigned)f->port_base);
    if (f->is_port_given && f->port_base != local->port_base) {
        cli_error(local->cli, "'%s' holds a cluster from port %u on", local->dir, local->port_base);
        return false;
    }
    if (!f->is_nodes_given || f->nodes == local->nodes)
        return true;
    if (f->nodes > local->nodes)
        return local_grow(local, (unsigned)f->nodes);
    cli_error(local->cli,
              "'%s' holds a cluster of %u nodes: to have fewer, 'holdfast node decommission' them",
              local->dir, local->nodes);
    return false;
}

static bool is_new(const struct local *local, unsigned node)
{
    char path[PATH_MAX];
    local_path(local, node, "data/STORE", path);
    return access(path, F_OK) != 0;
}

/* All or none: a port that is taken is told before the first one starts. New nodes join one
 * after another, so that their stores' ids follow their numbers. */
static int start_all(struct local *local, uint64_t until_ms)
{
    if (local_check_ports(local) != EXIT_DONE)
        return EXIT_ERROR;
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 1; i <= local->nodes; i++) {
            struct proc proc;
            struct err err = {0};
            bool is_first = is_new(local, i);
            if (local_state(local, i, &proc) == PROC_PAUSED &&
                proc_signal(&proc, SIGCONT, &err) != 0)
                return cli_error(local->cli, "node %u: %s", i, err.msg);
            if (is_first != (pass == 1))
                continue;
            int exit_code = local_start(local, i);
            if (exit_code == EXIT_DONE && is_first)
                exit_code = local_wait_ready(local, (uint32_t)BIT(i), until_ms);
            if (exit_code != EXIT_DONE)
                return exit_code;
        }
    }
    return EXIT_DONE;
}

/* A linearizable read proves that a leader serves. */
static int wait_serving(struct local *local, uint64_t until_ms)
{
    struct hf_client *client = cli_client(local->cli);
    for (;;) {
        struct hf_call call;
        struct hf_result *result = NULL;
        hf_call_init(&call);
        call.timeout_ms = 1000;
        int rv = hf_get(client, hf_str("?"), &call, &result);
        bool is_late = cli_now_ms() >= until_ms;
        int exit_code = EXIT_DONE;
        if (rv != HF_OK && rv != HF_ERR_NOT_FOUND && is_late)
            exit_code = cli_fail(local->cli, rv, result);
        hf_result_free(result);
        if (rv == HF_OK || rv == HF_ERR_NOT_FOUND || is_late)
            return exit_code;
        cli_pause_ms(READ_STEP_MS);
    }
}

static struct hf_result *ask_placement(struct local *local, int verb)
{
    struct hf_client *client = cli_client(local->cli);
    struct hf_placement_ask ask = {.size = sizeof ask, .verb = verb};
    struct hf_call call;
    struct hf_result *result = NULL;
    hf_call_init(&call);
    call.timeout_ms = 1000;
    if (hf_placement(client, &ask, &call, &result) == HF_OK && result->table != NULL)
        return result;
    hf_result_free(result);
    return NULL;
}

/* "1,2,3(learner)" names two voters. */
static unsigned count_voters(const char *stores)
{
    unsigned count = 1;
    for (const char *p = stores; *p != 0; p++)
        count += *p == ',';
    for (const char *p = stores; (p = strstr(p, "(learner)")) != NULL; p++)
        count--;
    return count;
}

/* The voters of the range that has fewest; 0: there is no such column, or no range. */
static unsigned least_voters(const struct hf_table *table)
{
    unsigned least = 0;
    size_t column = 0;
    while (column < table->column_count && strcmp(table->columns[column], "stores") != 0)
        column++;
    for (size_t r = 0; column < table->column_count && r < table->row_count; r++) {
        unsigned count = count_voters(table->cells[r * table->column_count + column]);
        least = r == 0 ? count : MIN(least, count);
    }
    return least;
}

/* Has every range the replicas that so many nodes can carry, and do all nodes take part? */
static bool is_spread(struct local *local)
{
    struct hf_result *stores = ask_placement(local, HF_PLACEMENT_STORES);
    struct hf_result *ranges = ask_placement(local, HF_PLACEMENT_RANGES);
    bool is_done = stores != NULL && ranges != NULL && stores->table->row_count >= local->nodes &&
                   ranges->table->row_count >= 2 &&
                   least_voters(ranges->table) >= (local->nodes >= 3 ? 3 : 1);
    hf_result_free(stores);
    hf_result_free(ranges);
    return is_done;
}

/* The replicas spread by themselves; who asks for the cluster wants them there. A cluster
 * that serves is up all the same. */
static void wait_spread(struct local *local, uint64_t until_ms)
{
    while (!is_spread(local)) {
        if (cli_now_ms() >= until_ms) {
            fprintf(stderr, "replicas are still being spread: holdfast placement operators\n");
            return;
        }
        cli_pause_ms(READ_STEP_MS);
    }
}

static bool write_confs(struct local *local)
{
    for (unsigned i = 1; i <= local->nodes; i++) {
        if (!local_write_conf(local, i)) {
            cli_error(local->cli, "write the configuration of node %u", i);
            return false;
        }
    }
    return true;
}

static int bring_up(struct local *local, const struct local_flags *f)
{
    uint64_t until_ms = cli_now_ms() + f->wait_us / 1000;
    if (!settle_shape(local, f) || (f->conf != NULL && !local_set_extra(local, f->conf)))
        return EXIT_ERROR;
    int exit_code = start_all(local, until_ms);
    if (exit_code == EXIT_DONE)
        exit_code = local_wait_ready(local, UINT32_MAX, until_ms);
    if (exit_code == EXIT_DONE)
        exit_code = wait_serving(local, until_ms);
    if (exit_code == EXIT_DONE)
        wait_spread(local, until_ms);
    if (exit_code == EXIT_DONE && !write_confs(local)) /* an emptied folder joins, from now on */
        exit_code = EXIT_ERROR;
    if (exit_code == EXIT_DONE)
        exit_code = local_check_alive(local, UINT32_MAX);
    return exit_code;
}

static int run_up(struct cli *cli, int argc, const char *const *argv)
{
    struct local_flags f;
    struct local local;
    struct cli_words words;
    int exit_code;
    if (!begin(cli, argc, argv, true, 0, 0, &f, &local, &words, &exit_code))
        return exit_code;
    exit_code = bring_up(&local, &f);
    if (exit_code == EXIT_DONE) {
        show_nodes(&local, find_leader(&local));
        if (!cli->is_json)
            buf_printf(&cli->out, "\nexport HOLDFAST_ENDPOINTS=%s\n", local.endpoints);
    }
    local_close(&local);
    return exit_code;
}

static int run_down(struct cli *cli, int argc, const char *const *argv)
{
    struct local_flags f;
    struct local local;
    struct cli_words words;
    int exit_code = EXIT_DONE;
    if (!begin(cli, argc, argv, false, 0, 0, &f, &local, &words, &exit_code))
        return exit_code;
    /* all at once: one after another would wait for majorities that are gone */
    for (unsigned i = 1; i <= local.nodes; i++)
        local_ask_to_stop(&local, i);
    for (unsigned i = 1; i <= local.nodes && exit_code == EXIT_DONE; i++)
        exit_code = local_wait_stopped(&local, i);
    if (exit_code == EXIT_DONE)
        show_nodes(&local, 0);
    local_close(&local);
    return exit_code;
}

/* ---- one or several nodes --------------------------------------------------------------- */

/* Words "1", "2 3", "leader", "all" as a set of bits; 0 and *ret_exit after saying what
 * is wrong. */
static uint32_t nodes_of_words(struct local *local, const struct cli_words *words, int *ret_exit)
{
    uint32_t set = 0;
    *ret_exit = EXIT_DONE;
    for (size_t i = 0; i < words->count; i++) {
        uint64_t node = 0;
        if (strcmp(words->at[i], "all") == 0) {
            set |= BIT(local->nodes + 1) - BIT(1);
            continue;
        }
        if (strcmp(words->at[i], "leader") == 0) {
            node = find_leader(local);
            if (node == 0) {
                *ret_exit = cli_error(local->cli, "no node says who leads");
                return 0;
            }
        } else if (text_parse_u64(slice_str(words->at[i]), &node) != 0 || node < 1 ||
                   node > local->nodes) {
            *ret_exit = cli_usage(local->cli, "'%s' is no node: 1 to %u, leader or all",
                                  words->at[i], local->nodes);
            return 0;
        }
        set |= BIT(node);
    }
    return set;
}

/* Send `signum` to node i and wait until it is in `want`. */
static int signal_node(struct local *local, unsigned node, int signum, enum proc_state want)
{
    struct proc proc;
    struct err err = {0};
    if (local_state(local, node, &proc) == want)
        return EXIT_DONE;
    int rv = proc_signal(&proc, signum, &err);
    uint64_t until_ms = cli_now_ms() + LOCAL_STOP_MS;
    while (rv == 0 && proc_state(&proc) != want) {
        if (cli_now_ms() >= until_ms)
            rv = err_set(&err, ERR_TIMEOUT, "did not become %s", state_names[want]);
        cli_pause_ms(2);
    }
    return rv == 0 ? EXIT_DONE : cli_error(local->cli, "node %u: %s", node, err.msg);
}

typedef int (*node_action)(struct local *local, unsigned node);

static int act_kill(struct local *local, unsigned node)
{
    return signal_node(local, node, SIGKILL, PROC_STOPPED);
}

static int act_pause(struct local *local, unsigned node)
{
    return signal_node(local, node, SIGSTOP, PROC_PAUSED);
}

static int act_resume(struct local *local, unsigned node)
{
    return signal_node(local, node, SIGCONT, PROC_RUNNING);
}

static int act_restart(struct local *local, unsigned node)
{
    local_ask_to_stop(local, node);
    int exit_code = local_wait_stopped(local, node);
    return exit_code == EXIT_DONE ? local_start(local, node) : exit_code;
}

static int run_action(struct cli *cli, int argc, const char *const *argv, node_action act,
                      const char *done)
{
    struct local_flags f;
    struct local local;
    struct cli_words words;
    int exit_code;
    if (!begin(cli, argc, argv, false, 1, LOCAL_NODES_MAX, &f, &local, &words, &exit_code))
        return exit_code;
    uint32_t set = nodes_of_words(&local, &words, &exit_code);
    /* one that fails keeps nobody else from being acted on */
    for (unsigned i = 1; i <= local.nodes; i++) {
        if ((set & BIT(i)) == 0)
            continue;
        if (act(&local, i) != EXIT_DONE)
            exit_code = EXIT_ERROR;
        else if (!cli->is_json)
            buf_printf(&cli->out, "node %u %s\n", i, done);
    }
    if (exit_code == EXIT_DONE && act == act_restart)
        exit_code = local_wait_ready(&local, set, cli_now_ms() + f.wait_us / 1000);
    if (exit_code == EXIT_DONE && cli->is_json)
        show_nodes(&local, 0);
    local_close(&local);
    return exit_code;
}

static int run_kill(struct cli *cli, int argc, const char *const *argv)
{
    return run_action(cli, argc, argv, act_kill, "killed");
}

static int run_restart(struct cli *cli, int argc, const char *const *argv)
{
    return run_action(cli, argc, argv, act_restart, "started");
}

static int run_pause(struct cli *cli, int argc, const char *const *argv)
{
    return run_action(cli, argc, argv, act_pause, "paused");
}

static int run_resume(struct cli *cli, int argc, const char *const *argv)
{
    return run_action(cli, argc, argv, act_resume, "resumed");
}

const struct cli_command local_commands[] = {
    {"up", run_up, NULL, NULL,
     "start a cluster in the background, or what of it is not running, or more nodes",
     "  holdfast local up --dir /tmp/hf --nodes 1\n"
     "  holdfast local up --dir /tmp/hf --nodes 3\n"
     "  holdfast local up --dir /tmp/hf5 --nodes 5 --port-base 5101 --conf small.conf"},
    {"down", run_down, NULL, NULL, "stop it; the data stays",
     "  holdfast local down --dir /tmp/hf"},
    {"status", run_status, NULL, NULL, "its processes", "  holdfast local status --dir /tmp/hf"},
    {"kill", run_kill, NULL, "NODE…", "kill -9 nodes (1, 2 …, leader, all)",
     "  holdfast local kill leader --dir /tmp/hf"},
    {"restart", run_restart, NULL, "NODE…", "stop nodes gently if they run, and start them",
     "  holdfast local restart 2 --dir /tmp/hf"},
    {"pause", run_pause, NULL, "NODE…", "freeze nodes (SIGSTOP)",
     "  holdfast local pause 1 2 --dir /tmp/hf"},
    {"resume", run_resume, NULL, "NODE…", "let frozen nodes go on",
     "  holdfast local resume all --dir /tmp/hf"},
    {0},
};
