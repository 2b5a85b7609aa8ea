/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-enginebench — db_bench for Holdfast's engine, with db_bench's names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/args.h"
#include "bench.h"
#include "env/uv/env_uv.h"

static const char about[] =
    "usage: holdfast-enginebench [flags]\n\n"
    "Measure Holdfast's storage engine alone, with the workloads and flags of db_bench.\n\n"
    "Workloads, in the order given with --benchmarks:\n";

static const char more_workloads[] =
    "  compact                flush, then compact everything into one sorted level\n"
    "  flush                  write the memtable out\n"
    "  waitforcompaction      flush, then until no work is due\n"
    "  excise                 drop the middle tenth of the keys in one edit\n"
    "  replace                the same, and take files with all of its keys in\n"
    "  verify                 every block and file against its checksum\n\nFlags:\n";

static void settings_init(struct settings *s)
{
    *s = (struct settings){
        .benchmarks = "fillseq,fillrandom,overwrite,readrandom,readmissing,seekrandom,readseq",
        .num = 1000000,
        .reads = UINT64_MAX,
        .key_size = 16,
        .value_size = 100,
        .batch_size = 1,
        .threads = 1,
        .cache_size = 256 << 20,
        .write_buffer_size = 64 << 20,
        .max_write_buffers = 2,
        .block_size = 4 << 10,
        .restart_interval = 16,
        .target_file_size = 64 << 20,
        .level_base = 256 << 20,
        .level_ratio = 10,
        .l0_trigger = 4,
        .subcompactions = 1,
        .bloom_bits = 10,
        .value_garbage = 25,
        .seek_nexts = 0,
        .readwritepercent = 90,
        .compression_percent = 50,
        .seed = 1,
        .compression = "lz4",
    };
}

static bool settings_are_sane(const struct settings *s, struct err *err)
{
    const struct {
        const char *name;
        uint64_t value, min, max;
    } bounds[] = {
        {"num", s->num, 1, UINT64_C(1) << 40},
        {"key_size", s->key_size, KEY_MIN, KEY_MAX},
        {"value_size", s->value_size, 0, VALUE_MAX},
        {"batch_size", s->batch_size, 1, 100000},
        {"threads", s->threads, 1, THREADS_MAX},
        {"write_buffer_size", s->write_buffer_size, 64 << 10, UINT64_C(4) << 30},
        {"max_write_buffer_number", s->max_write_buffers, 2, 32},
        {"block_size", s->block_size, 256, 1 << 20},
        {"block_restart_interval", s->restart_interval, 1, 1024},
        {"target_file_size_base", s->target_file_size, 64 << 10, UINT64_C(4) << 30},
        {"max_bytes_for_level_multiplier", s->level_ratio, 2, 100},
        {"level0_file_num_compaction_trigger", s->l0_trigger, 1, 20},
        {"subcompactions", s->subcompactions, 1, ENV_UV_LANE_THREADS_MAX},
        {"bloom_bits", s->bloom_bits, 0, 30},
        {"value_threshold", s->value_threshold, 0, UINT64_C(1) << 30},
        {"value_garbage", s->value_garbage, 1, 100},
        {"readwritepercent", s->readwritepercent, 0, 100},
        {"compression_percent", s->compression_percent, 1, 100},
    };
    if (s->memory_budget != 0 && s->memory_budget < 2 * LSM_MEMORY_MIN)
        return err_set(err, ERR_INVALID, "--memory_budget: at least %d", 2 * LSM_MEMORY_MIN) == 0;
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        if (bounds[i].value < bounds[i].min || bounds[i].value > bounds[i].max)
            return err_set(err, ERR_INVALID, "--%s: %llu is not within %llu and %llu",
                           bounds[i].name, (unsigned long long)bounds[i].value,
                           (unsigned long long)bounds[i].min,
                           (unsigned long long)bounds[i].max) == 0;
    }
    if (s->dir == NULL)
        return err_set(err, ERR_INVALID, "--db is needed: a folder for the database") == 0;
    if (strcmp(s->compression, "lz4") != 0 && strcmp(s->compression, "none") != 0)
        return err_set(err, ERR_INVALID, "--compression_type: lz4 or none") == 0;
    if (s->sync && s->disable_wal)
        return err_set(err, ERR_INVALID, "--sync needs a log: not with --disable_wal") == 0;
    return true;
}

static int on_flush_or_verify(struct bench *b, const char *name, size_t len);

/* One name of the list. */
static int run_named(struct bench *b, const char *name, size_t len)
{
    const struct workload *w = workload_find(name, len);
    if (b->result_count + 2 > RESULTS_MAX)
        return err_set(&b->err, ERR_INVALID, "too many workloads");
    if (w != NULL)
        return run_workload(b, w);
    if (b->db == NULL && bench_open(b) != 0)
        return b->err.code;
    return on_flush_or_verify(b, name, len);
}

static bool is_name(const char *name, size_t len, const char *other)
{
    return strlen(other) == len && memcmp(name, other, len) == 0;
}

static int on_flush_or_verify(struct bench *b, const char *name, size_t len)
{
    uint64_t began_ns = now_ns();
    int rv = 0;
    if (is_name(name, len, "excise") || is_name(name, len, "replace"))
        return run_edit(b, is_name(name, len, "replace"));
    if (is_name(name, len, "compact")) {
        rv = run_compact(b);
    } else if (is_name(name, len, "flush") || is_name(name, len, "waitforcompaction")) {
        rv = run_until_quiet(b, true);
    } else if (is_name(name, len, "verify")) {
        struct lsm_view *view = lsm_view_take(db_lsm(b->db));
        rv = view == NULL ? err_set(&b->err, ERR_NOMEM, "view")
                          : lsm_verify(view, NULL, NULL, &b->err);
        lsm_view_unref(view);
    } else {
        return err_set(&b->err, ERR_INVALID, "no workload '%.*s'; see --help", (int)len, name);
    }
    struct result *r = &b->results[b->result_count++];
    *r = (struct result){.ops = 1, .elapsed_ns = now_ns() - began_ns};
    snprintf(r->name, sizeof r->name, "%.*s", (int)len, name);
    report_result(b, r);
    return rv;
}

static int run_all(struct bench *b)
{
    int rv = 0;
    for (const char *at = b->set.benchmarks; rv == 0 && *at != 0;) {
        size_t len = strcspn(at, ",");
        if (len > 0)
            rv = run_named(b, at, len);
        at += len + (at[len] == ',');
    }
    if (rv == 0)
        report_end(b);
    return rv;
}

/* -1: go on; else the exit status. */
static int parse(struct settings *s, int argc, const char *const *argv, struct err *err)
{
    bool help = false;
    const char *words[1];
    size_t word_count = 0;
    const struct args_flag flags[] = {
        {"benchmarks", 0, ARGS_TEXT, &s->benchmarks, NULL, "LIST", "workloads, with commas"},
        {"db", 0, ARGS_TEXT, &s->dir, NULL, "DIR", "folder of the database"},
        {"num", 0, ARGS_U64, &s->num, NULL, "N", "keys, and writes of a workload (1000000)"},
        {"reads", 0, ARGS_U64, &s->reads, NULL, "N", "reads of a workload (num)"},
        {"duration", 0, ARGS_DURATION, &s->duration_us, NULL, "TIME", "instead of counts: 10s"},
        {"threads", 0, ARGS_U64, &s->threads, NULL, "N", "that read (1)"},
        {"key_size", 0, ARGS_U64, &s->key_size, NULL, "N", "bytes (16)"},
        {"value_size", 0, ARGS_SIZE, &s->value_size, NULL, "SIZE", "bytes (100)"},
        {"batch_size", 0, ARGS_U64, &s->batch_size, NULL, "N", "records of a write (1)"},
        {"seek_nexts", 0, ARGS_U64, &s->seek_nexts, NULL, "N", "after each seek (0)"},
        {"readwritepercent", 0, ARGS_U64, &s->readwritepercent, NULL, "N", "share of reads (90)"},
        {"memory_budget", 0, ARGS_SIZE, &s->memory_budget, NULL, "SIZE",
         "for cache, memtables and background work together (none)"},
        {"cache_size", 0, ARGS_SIZE, &s->cache_size, NULL, "SIZE", "block cache (256MiB)"},
        {"write_buffer_size", 0, ARGS_SIZE, &s->write_buffer_size, NULL, "SIZE",
         "memtable (64MiB)"},
        {"max_write_buffer_number", 0, ARGS_U64, &s->max_write_buffers, NULL, "N",
         "memtables, the active one included (2)"},
        {"block_size", 0, ARGS_SIZE, &s->block_size, NULL, "SIZE", "of data (4KiB)"},
        {"block_restart_interval", 0, ARGS_U64, &s->restart_interval, NULL, "N", "entries (16)"},
        {"target_file_size_base", 0, ARGS_SIZE, &s->target_file_size, NULL, "SIZE", "(64MiB)"},
        {"max_bytes_for_level_base", 0, ARGS_SIZE, &s->level_base, NULL, "SIZE", "(256MiB)"},
        {"max_bytes_for_level_multiplier", 0, ARGS_U64, &s->level_ratio, NULL, "N", "(10)"},
        {"level0_file_num_compaction_trigger", 0, ARGS_U64, &s->l0_trigger, NULL, "N", "(4)"},
        {"subcompactions", 0, ARGS_U64, &s->subcompactions, NULL, "N",
         "threads of one compaction (1)"},
        {"bloom_bits", 0, ARGS_U64, &s->bloom_bits, NULL, "N", "filter bits a key (10)"},
        {"value_threshold", 0, ARGS_SIZE, &s->value_threshold, NULL, "SIZE",
         "values from this size on go to value files (0: none)"},
        {"value_garbage", 0, ARGS_U64, &s->value_garbage, NULL, "N",
         "percent of value files that may be garbage (25)"},
        {"compression_type", 0, ARGS_TEXT, &s->compression, NULL, "TYPE", "lz4 or none (lz4)"},
        {"compression_percent", 0, ARGS_U64, &s->compression_percent, NULL, "N",
         "values compress to (50)"},
        {"writes_per_second", 0, ARGS_U64, &s->writes_per_second, NULL, "N", "at most (no limit)"},
        {"disable_wal", 0, ARGS_SWITCH, &s->disable_wal, NULL, NULL, "no log"},
        {"sync", 0, ARGS_SWITCH, &s->sync, NULL, NULL, "each write waits until it is durable"},
        {"sync_on_thread", 0, ARGS_SWITCH, &s->sync_on_thread, NULL, NULL, "never by the loop"},
        {"use_existing_db", 0, ARGS_SWITCH, &s->use_existing_db, NULL, NULL,
         "do not empty the folder before a fill"},
        {"histogram", 0, ARGS_SWITCH, &s->histogram, NULL, NULL, "percentiles of each operation"},
        {"seed", 0, ARGS_U64, &s->seed, NULL, "N", "of all random choices (1)"},
        {"json", 0, ARGS_SWITCH, &s->json, NULL, NULL, "one object instead of lines"},
        {"help", 'h', ARGS_SWITCH, &help, NULL, NULL, "this text"},
    };
    if (args_parse(flags, ARRAY_LEN(flags), argc, argv, words, 1, &word_count, err) != 0)
        return 2;
    if (help) {
        struct buf out;
        buf_init(&out, 1 << 20);
        buf_append_str(&out, about);
        workload_list(&out);
        buf_append_str(&out, more_workloads);
        args_help(flags, ARRAY_LEN(flags), &out);
        printf("%.*s", (int)out.len, (const char *)out.data);
        buf_fini(&out);
        return 0;
    }
    if (word_count > 0) {
        err_set(err, ERR_INVALID, "'%s' is no flag", words[0]);
        return 2;
    }
    return settings_are_sane(s, err) ? -1 : 2;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    env_uv_tune_memory();
    settings_init(&b.set);
    int status = parse(&b.set, argc - 1, (const char *const *)argv + 1, &b.err);
    if (status < 0) {
        b.pool = data_pool(b.set.seed, b.set.compression_percent);
        status = b.pool == NULL || run_all(&b) != 0 ? 1 : 0;
        bench_close(&b);
        free(b.pool);
    }
    if (status != 0)
        fprintf(stderr, "holdfast-enginebench: %s\n", b.err.msg);
    return status;
}
