/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast — the command line of a Holdfast cluster.
 */
#include <signal.h>
#include <stdio.h>

#include "commands.h"

enum { OUT_MAX = 1 << 30 };

static int run_version(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    if (cli->is_json)
        buf_printf(&cli->out, "{\"version\":\"%s\"}\n", hf_version());
    else
        buf_printf(&cli->out, "holdfast %s\n", hf_version());
    return EXIT_DONE;
}

static const struct cli_command commands[] = {
    {"get", kv_get, NULL, "KEY…", "print a key's value, byte for byte; of several keys, lines",
     "  holdfast get name\n  holdfast get name --json\n  holdfast get name city age\n"
     "  holdfast get name --read stale --max-age 2s\n"
     "  holdfast get name --at-version 1870264938496000000"},
    {"put", kv_put, NULL, "KEY [VALUE]", "set a value; without VALUE, from standard input",
     "  holdfast put name Ada\n  holdfast put logo < logo.png\n"
     "  holdfast put lock mine --if-absent --ttl 30s\n  holdfast put lock mine2 --if-value mine "
     "--keep-ttl"},
    {"del", kv_delete, NULL, "KEY…", "remove keys", "  holdfast del name"},
    {"delete-range", kv_delete_range, NULL, "START END", "remove all keys of a span, step by step",
     "  holdfast delete-range user:a user:b\n  holdfast delete-range --prefix tmp: --yes\n"
     "  holdfast delete-range '' '' --yes   # everything"},
    {"cas", kv_cas, NULL, "KEY [EXPECTED] VALUE",
     "set a value only if the present one is as expected",
     "  holdfast cas name Ada Grace\n  holdfast cas name Grace --if-version 1234\n"
     "  holdfast cas lock mine mine --ttl 30s   # hold it for longer"},
    {"incr", kv_increment, NULL, "KEY [DELTA]", "add to a number and print the sum",
     "  holdfast incr visits\n  holdfast incr stock -5\n  holdfast incr today --ttl 24h\n"
     "\nWithout --ttl the key expires as it did before, or not at all."},
    {"append", kv_append, NULL, "KEY VALUE", "add bytes to the end of a value",
     "  holdfast append journal 'one more line'\n"
     "\nWithout --ttl the key expires as it did before, or not at all."},
    {"get-and-set", kv_get_and_set, NULL, "KEY VALUE", "set a value and print the one before",
     "  holdfast get-and-set name Grace\n  holdfast get-and-set name Grace --json\n"
     "\nIf there was none, nothing is printed ('found' tells with --json)."},
    {"resolve", kv_resolve, NULL, "TOKEN", "settle a change whose outcome stayed undetermined",
     "  holdfast resolve 88000101cf…   # as the command that failed printed it"},
    {"scan", kv_scan, NULL, "[PREFIX]", "list keys in order",
     "  holdfast scan user: --limit 20\n  holdfast scan --start b --end d --keys-only\n"
     "  holdfast scan --reverse --json\n"
     "  holdfast scan user: -n 1000 --cursor place   # the next 1000 when started again"},
    {"watch", kv_watch, NULL, "[KEY]", "print changes as they happen, each once",
     "  holdfast watch name\n  holdfast watch --prefix user: --json\n"
     "  holdfast watch --resume place --marks   # goes on there when started again\n"
     "\nWhat a file is resumed with is what it was begun with: the same keys and keyspace, or\n"
     "none of them. Others are refused."},
    {"batch", kv_batch, NULL, "[FILE]", "several operations, all or none",
     "  printf 'put a 1\\ndel b\\nincr c 5\\n' | holdfast batch\n"
     "  holdfast batch transfer.txt\n"
     "\nOne operation a line:\n"
     "\n  put KEY VALUE [TTL]\n  del KEY\n  incr KEY [DELTA]\n  append KEY VALUE\n"
     "\nor a condition. All of them are judged first, by what was there before; unless all hold,\n"
     "nothing happens:\n"
     "\n  absent KEY\n  present KEY\n  version KEY V\n  value KEY X\n"
     "\nWords are quoted with '…', where nothing else has a meaning, or \"…\"; there and outside\n"
     "of quotes \\n, \\t, \\r and \\xNN are bytes, and \\ in front of anything else is that.\n"
     "A TTL is a duration such as 30s. Lines that begin with # are comments. All keys must be in\n"
     "one range; there are at most 10,000 operations, of 16 MiB together."},
    {"import", records_import, NULL, "[FILE]", "put one record per line of JSON",
     "  holdfast import words.ndjson\n  gzip -dc dump.gz | holdfast import\n"
     "  holdfast import big.ndjson --cursor big.cursor   # again, if it was killed\n"
     "\nA line is an object such as\n"
     "\n  {\"key\":\"name\",\"value\":\"Ada\"}\n"
     "  {\"key_b64\":\"/wA=\",\"value_b64\":\"3q2+7w==\",\"ttl_ms\":60000}\n"
     "\nwith key and value as text, or as base64 of any bytes. ttl_ms is how many milliseconds\n"
     "the record lives from when it is put; without it, or with 0, it does not expire. What\n"
     "else get --json and scan --json print of a key (version, found, ok) is passed by; any other\n"
     "member is refused, and a second one of the same name. Empty lines are passed by. Of lines\n"
     "with the same key the last one wins."},
    {"export", records_export, NULL, "[FILE]", "write records as lines of JSON, in order of keys",
     "  holdfast export all.ndjson\n  holdfast export --prefix user: | gzip > users.gz\n"
     "\nThis is no cut through the whole cluster: each range (in a hashed keyspace: each slot) is\n"
     "read at one version, of when the export comes there; one that is split or merged meanwhile,\n"
     "at a later one from there on. When a version is not kept any more (retention of the\n"
     "keyspace), the rest is read at those of then, which is said ('renewals' with --json).\n"
     "Each key comes once, no older than when the export began. FILE is written under the name\n"
     "FILE.new and is there when it is whole, unless it is a link or a device. With a cursor it\n"
     "is written in place. A cursor is of one cluster, keyspace and span, and refused for others."},
    {"shell", shell_run, NULL, NULL, "commands about keys and the cluster, line by line",
     "  holdfast shell\n  printf 'put a 1\\nget a\\nstats\\n' | holdfast shell\n"
     "\nLines that do not come from a terminal are all run, also behind one that failed; the exit\n"
     "code is that of the first that did."},
    {"cluster", NULL, cluster_commands, NULL, "health of a cluster", "  holdfast cluster status"},
    {"node", NULL, node_commands, NULL, "the cluster's nodes: who they are, and who shall leave",
     "  holdfast node list\n  holdfast node decommission 2"},
    {"store", NULL, store_commands, NULL, "the cluster's stores", "  holdfast store list"},
    {"placement", NULL, placement_commands, NULL, "where replicas go, and why",
     "  holdfast placement status\n  holdfast placement explain 2"},
    {"keyspace", NULL, keyspace_commands, NULL, "keyspaces: who they are, and how they are stored",
     "  holdfast keyspace create users --partition hash"},
    {"range", NULL, range_commands, NULL, "ranges and their leaders",
     "  holdfast range transfer-leader 2"},
    {"local", NULL, local_commands, NULL, "a cluster on this machine",
     "  holdfast local up --dir /tmp/hf --nodes 3"},
    {"bench", NULL, bench_commands, NULL, "measure throughput and latency",
     "  holdfast bench put --clients 64 --seconds 10"},
    {"debug", NULL, debug_commands, NULL, "look into a stopped store's files",
     "  holdfast debug log dump /var/lib/holdfast/log"},
    {"completion", completion_run, NULL, "SHELL",
     "print a completion script for a shell (bash, zsh or fish)",
     "  source <(holdfast completion bash)\n"
     "  source <(holdfast completion zsh)    # behind compinit\n"
     "  holdfast completion fish | source"},
    {"version", run_version, NULL, NULL, "print the version", "  holdfast version"},
    {0},
};

int main(int argc, char **argv)
{
    struct cli cli = {.path = "holdfast"};
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, and said so */
    buf_init(&cli.out, OUT_MAX);
    int exit_code;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        exit_code = run_version(&cli, 0, NULL);
    else
        exit_code = cli_dispatch(&cli, commands, argc - 1, (const char *const *)(argv + 1));
    if (exit_code == EXIT_USAGE && cli.open_exit != EXIT_DONE)
        exit_code = cli.open_exit; /* not the person's: a folder, memory, a keyspace */
    if (!cli_flush(&cli, true) && exit_code == EXIT_DONE)
        exit_code = EXIT_ERROR;
    cli_client_close(&cli);
    buf_fini(&cli.out);
    return exit_code;
}
