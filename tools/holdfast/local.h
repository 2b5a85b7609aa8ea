/* SPDX-License-Identifier: Apache-2.0
 *
 * local — the folder of a cluster on this machine:
 *
 *   DIR/local.conf          nodes = N, port_base = P: by the first `up`; N may grow
 *   DIR/extra.conf          keys for every node's configuration (up --conf FILE)
 *   DIR/lock                held while a `holdfast local` command works
 *   DIR/node-I/holdfast.conf  data/  log  pid
 *
 * Node I listens on 127.0.0.1, port P + I - 1. Deleting DIR when all are stopped is
 * the way to forget the cluster.
 */
#ifndef TOOLS_HOLDFAST_LOCAL_H_
#define TOOLS_HOLDFAST_LOCAL_H_

#include "cli.h"
#include "proc.h"

enum {
    LOCAL_NODES_MAX = 9,
    LOCAL_DIR_MAX = 200, /* so that data_dir fits into a configuration */
    LOCAL_STOP_MS = 15000,
};

struct local {
    struct cli *cli;
    char dir[LOCAL_DIR_MAX]; /* absolute */
    char exe[PATH_MAX];      /* holdfastd beside this program */
    unsigned nodes;          /* 0: no cluster here yet */
    unsigned port_base;
    int lock_fd;
    long log_from[LOCAL_NODES_MAX + 1]; /* where the log of node I begins that we started */
    char endpoints[LOCAL_NODES_MAX * 32];
};

/* Open folder `dir`, made if `is_new_fine`, lock it and read what it says. False after
 * saying what is wrong. local_close() in both cases. */
bool local_open(struct local *local, struct cli *cli, const char *dir, bool is_new_fine);
void local_close(struct local *local);

/* Fix nodes and ports of a new cluster and write local.conf, if the ports are free. */
bool local_create(struct local *local, unsigned nodes, unsigned port_base);

/* More nodes from now on, which the next local_start() makes, if their ports are free. */
bool local_grow(struct local *local, unsigned nodes);

/* Write the configuration of a node, as it is to be from its next start on. */
bool local_write_conf(const struct local *local, unsigned node);

/* "DIR/node-I/NAME" */
void local_path(const struct local *local, unsigned node, const char *name,
                char ret_path[PATH_MAX]);

/* "127.0.0.1:port" */
void local_address(const struct local *local, unsigned node, char ret_address[CLI_ADDRESS_MAX]);

/* The process of a node, as its file says, and what it does now. */
enum proc_state local_state(const struct local *local, unsigned node, struct proc *ret_proc);

/* Could all nodes that do not run listen? Else says which could not. Whoever else has such
 * a port could pass for the node. */
int local_check_ports(struct local *local);

/* Write the node's configuration and start its process, unless it runs. An
 * exit code; says why on failure. */
int local_start(struct local *local, unsigned node);

/* Wait until each node in the set `nodes` (BIT(i)) answers and belongs to the cluster. Says which
 * did not and shows the end of its log. */
int local_wait_ready(struct local *local, uint32_t nodes, uint64_t until_ms);

/* Is each node in the set still a process of ours? Else says which is not. */
int local_check_alive(struct local *local, uint32_t nodes);

/* Ask a node to stop, if it runs: SIGTERM, and SIGCONT for one that is paused. */
void local_ask_to_stop(struct local *local, unsigned node);

/* Wait until a node that was asked has stopped, and SIGKILL when that takes too long. */
int local_wait_stopped(struct local *local, unsigned node);

/* Copy the file `path` to DIR/extra.conf. */
bool local_set_extra(struct local *local, const char *path);

#endif
