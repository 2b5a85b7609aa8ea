/* SPDX-License-Identifier: Apache-2.0
 *
 * commands — the tables that main.c and the shell put together. One file per
 * family, each with its commands as static functions.
 */
#ifndef TOOLS_HOLDFAST_COMMANDS_H_
#define TOOLS_HOLDFAST_COMMANDS_H_

#include "cli.h"

/* Reading and changing keys: what the shell offers too. */
int kv_get(struct cli *cli, int argc, const char *const *argv);
int kv_put(struct cli *cli, int argc, const char *const *argv);
int kv_delete(struct cli *cli, int argc, const char *const *argv);
int kv_cas(struct cli *cli, int argc, const char *const *argv);
int kv_resolve(struct cli *cli, int argc, const char *const *argv);
int kv_increment(struct cli *cli, int argc, const char *const *argv);
int kv_append(struct cli *cli, int argc, const char *const *argv);
int kv_get_and_set(struct cli *cli, int argc, const char *const *argv);
int kv_scan(struct cli *cli, int argc, const char *const *argv);
int kv_delete_range(struct cli *cli, int argc, const char *const *argv);
int kv_watch(struct cli *cli, int argc, const char *const *argv);
int kv_batch(struct cli *cli, int argc, const char *const *argv);

/* Many records at once, and the shell. */
int records_import(struct cli *cli, int argc, const char *const *argv);
int records_export(struct cli *cli, int argc, const char *const *argv);
int shell_run(struct cli *cli, int argc, const char *const *argv);

/* In the shell: what its client counted. */
int stats_run(struct cli *cli, int argc, const char *const *argv);

/* holdfast completion */
int completion_run(struct cli *cli, int argc, const char *const *argv);

/* holdfast range check */
int range_check_run(struct cli *cli, int argc, const char *const *argv);

/* holdfast node, store, placement, keyspace */
extern const struct cli_command node_commands[];
extern const struct cli_command store_commands[];
extern const struct cli_command placement_commands[];
extern const struct cli_command keyspace_commands[];

/* holdfast cluster, range, local, bench, debug */
extern const struct cli_command cluster_commands[];
extern const struct cli_command range_commands[];
extern const struct cli_command local_commands[];
extern const struct cli_command bench_commands[];
extern const struct cli_command debug_commands[];

/* The keys' commands as a table, for main and shell. */
extern const struct cli_command kv_commands[];

#endif
