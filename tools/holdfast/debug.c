/* SPDX-License-Identifier: Apache-2.0
 *
 * debug log dump, sst dump|verify, manifest dump|verify|repair: a store's files as text, and
 * what can be had of a damaged engine. Reads only, but for the new folder of a repair, and
 * best while the store is stopped. Damage is shown and makes the exit code 1.
 */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "env/env.h"
#include "env/uv/env_uv.h"
#include "lsm/lsm.h"
#include "raftlog/raftlog.h"

struct dumping {
    struct cli *cli;
    uint64_t records; /* of a log */
    uint64_t damaged; /* of them */
    const char *into; /* of a repair; NULL: only say what would be done */
};

/* What a dump calls with each line. */
static void on_line(void *data, const char *line)
{
    struct cli *cli = ((struct dumping *)data)->cli;
    if (cli->is_json) {
        struct json_writer w;
        json_begin(&w, &cli->out);
        json_object_begin(&w);
        json_key(&w, "line");
        json_text(&w, line);
        json_object_end(&w);
        buf_append_u8(&cli->out, '\n');
    } else {
        buf_printf(&cli->out, "%s\n", line);
    }
    cli_flush(cli, false);
}

static int on_record(void *data, const struct raftlog_dump_record *record)
{
    struct dumping *dumping = data;
    struct cli *cli = dumping->cli;
    dumping->records++;
    dumping->damaged += record->is_damage;
    if (cli->is_json) {
        struct json_writer w;
        json_begin(&w, &cli->out);
        json_object_begin(&w);
        json_key(&w, "file");
        json_text(&w, record->file);
        json_key(&w, "segment");
        json_u64(&w, record->segment);
        json_key(&w, "offset");
        json_u64(&w, record->offset);
        json_key(&w, "group");
        json_u64(&w, record->group);
        json_key(&w, "is_damage");
        json_bool(&w, record->is_damage);
        json_key(&w, "text");
        json_text(&w, record->text);
        json_object_end(&w);
        buf_append_u8(&cli->out, '\n');
    } else {
        buf_printf(&cli->out, "%s @%" PRIu64 " group %" PRIu64 ": %s\n", record->file,
                   record->offset, record->group, record->text);
    }
    return cli_flush(cli, false) ? 0 : ERR_IO;
}

/* One of the three, on a world of its own. */
typedef int (*dump_fn)(struct dumping *dumping, struct env *env, const char *path, struct err *err);

static int dump_log(struct dumping *dumping, struct env *env, const char *path, struct err *err)
{
    int rv = raftlog_dump(env, path, on_record, dumping, err);
    if (rv == 0 && dumping->records == 0)
        return err_set(err, ERR_NOT_FOUND, "no log segments in '%s'", path);
    if (rv == 0 && dumping->damaged > 0)
        return err_set(err, ERR_CORRUPT, "%" PRIu64 " damaged places in '%s'", dumping->damaged,
                       path);
    return rv;
}

static int dump_table(struct dumping *dumping, struct env *env, const char *path, struct err *err)
{
    return lsm_dump_table(env, path, false, on_line, dumping, err);
}

static int dump_table_records(struct dumping *dumping, struct env *env, const char *path,
                              struct err *err)
{
    return lsm_dump_table(env, path, true, on_line, dumping, err);
}

static int dump_manifest(struct dumping *dumping, struct env *env, const char *path,
                         struct err *err)
{
    return lsm_dump_manifest(env, path, on_line, dumping, err);
}

static int verify_table(struct dumping *dumping, struct env *env, const char *path, struct err *err)
{
    return lsm_verify_table(env, path, on_line, dumping, err);
}

static int verify_manifest(struct dumping *dumping, struct env *env, const char *path,
                           struct err *err)
{
    return lsm_verify_folder(env, path, on_line, dumping, err);
}

static int repair_manifest(struct dumping *dumping, struct env *env, const char *path,
                           struct err *err)
{
    return lsm_repair(env, path, dumping->into, on_line, dumping, err);
}

static int run_dump(struct cli *cli, dump_fn dump, const char *path, const char *into)
{
    struct err err = {0};
    struct env *env = NULL;
    struct dumping dumping = {.cli = cli, .into = into};
    int rv = env_uv_new(NULL, &env, &err);
    if (rv != 0)
        return cli_error(cli, "%s", err.msg);
    rv = dump(&dumping, env, path, &err);
    env_stop(env);
    env_uv_free(env);
    if (rv == 0)
        return EXIT_DONE;
    return cli_error(cli, "%s: %s", err_name(rv), err.msg[0] != 0 ? err.msg : path);
}

static int run_path(struct cli *cli, int argc, const char *const *argv, dump_fn dump)
{
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 1, 1, &words, &exit_code))
        return exit_code;
    return run_dump(cli, dump, words.at[0], NULL);
}

static int run_log(struct cli *cli, int argc, const char *const *argv)
{
    return run_path(cli, argc, argv, dump_log);
}

static int run_manifest(struct cli *cli, int argc, const char *const *argv)
{
    return run_path(cli, argc, argv, dump_manifest);
}

static int run_manifest_verify(struct cli *cli, int argc, const char *const *argv)
{
    return run_path(cli, argc, argv, verify_manifest);
}

static int run_table_verify(struct cli *cli, int argc, const char *const *argv)
{
    return run_path(cli, argc, argv, verify_table);
}

static int run_repair(struct cli *cli, int argc, const char *const *argv)
{
    const char *into = NULL;
    const struct args_flag flags[] = {
        {"into", 0, ARGS_TEXT, &into, NULL, "DIR", "write to this new folder; else only say what"},
    };
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, 1, &words, &exit_code))
        return exit_code;
    return run_dump(cli, repair_manifest, words.at[0], into);
}

static int run_table(struct cli *cli, int argc, const char *const *argv)
{
    bool has_records = false;
    const struct args_flag flags[] = {
        {"records", 'r', ARGS_SWITCH, &has_records, NULL, NULL, "every record, not only the frame"},
    };
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, 1, &words, &exit_code))
        return exit_code;
    return run_dump(cli, has_records ? dump_table_records : dump_table, words.at[0], NULL);
}

static const struct cli_command log_commands[] = {
    {"dump", run_log, NULL, "DIR", "every record of a Raft log",
     "  holdfast debug log dump /var/lib/holdfast/log"},
    {0},
};

static const struct cli_command sst_commands[] = {
    {"dump", run_table, NULL, "FILE", "a table or value file of the engine",
     "  holdfast debug sst dump /var/lib/holdfast/engine/000012.tbl --records"},
    {"verify", run_table_verify, NULL, "FILE", "every block of a table or value file",
     "  holdfast debug sst verify /var/lib/holdfast/engine/000012.tbl"},
    {0},
};

static const struct cli_command manifest_commands[] = {
    {"dump", run_manifest, NULL, "DIR", "the engine's manifest",
     "  holdfast debug manifest dump /var/lib/holdfast/engine"},
    {"verify", run_manifest_verify, NULL, "DIR", "is all there that it names, and sound?",
     "  holdfast debug manifest verify /var/lib/holdfast/engine"},
    {"repair", run_repair, NULL, "DIR", "what can be had of an engine that does not open",
     "  holdfast debug manifest repair /var/lib/holdfast/engine\n"
     "  holdfast debug manifest repair /var/lib/holdfast/engine --into "
     "/var/lib/holdfast/engine.new"},
    {0},
};

const struct cli_command debug_commands[] = {
    {"log", NULL, log_commands, NULL, "the Raft log",
     "  holdfast debug log dump /var/lib/holdfast/log"},
    {"sst", NULL, sst_commands, NULL, "table files",
     "  holdfast debug sst dump /var/lib/holdfast/engine/000012.tbl"},
    {"manifest", NULL, manifest_commands, NULL, "the manifest",
     "  holdfast debug manifest dump /var/lib/holdfast/engine"},
    {0},
};
