/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/json.h"
#include "bench.h"

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double micros_per_op(const struct result *r)
{
    return r->ops == 0 ? 0 : (double)r->elapsed_ns / 1e3 / (double)r->ops;
}

static double per_second(const struct result *r)
{
    return r->elapsed_ns == 0 ? 0 : (double)r->ops / seconds(r->elapsed_ns);
}

void report_result(const struct bench *b, const struct result *r)
{
    if (b->set.json)
        return;
    printf("%-22s : %11.3f micros/op %9.0f ops/sec %8.3f seconds %" PRIu64
           " operations; %7.1f MB/s",
           r->name, micros_per_op(r), per_second(r), seconds(r->elapsed_ns), r->ops,
           (double)r->bytes / 1048576.0 / seconds(MAX(r->elapsed_ns, (uint64_t)1)));
    if (r->found > 0)
        printf(" (%" PRIu64 " of %" PRIu64 " found)", r->found, r->ops);
    printf("\n");
    if (r->is_edit)
        printf("  %.3f ms on the loop's thread; folder %.1f MiB before, %.1f MiB after\n",
               (double)r->loop_ns / 1e6, (double)r->folder_before / 1048576,
               (double)r->folder_after / 1048576);
    if (r->has_hist)
        printf("  us: p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  p99.99 %.2f  max %.2f\n",
               (double)r->permille_ns[0] / 1e3, (double)r->permille_ns[1] / 1e3,
               (double)r->permille_ns[2] / 1e3, (double)r->permille_ns[3] / 1e3,
               (double)r->p9999_ns / 1e3, (double)r->permille_ns[4] / 1e3);
    fflush(stdout);
}

struct totals {
    uint64_t table_bytes, written, peak_bytes;
    double amplification;
    struct lsm_stats stats;
    struct db_stats db;
};

static struct totals totals_of(const struct bench *b)
{
    struct totals t = {.written = b->disk_bytes_written};
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        t.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (b->db != NULL) {
        lsm_stats(db_lsm(b->db), &t.stats);
        db_stats(b->db, &t.db);
        t.written += t.stats.flush_bytes + t.stats.compact_write_bytes + t.db.log_bytes;
    }
    for (unsigned level = 0; level < LSM_LEVELS; level++)
        t.table_bytes += t.stats.levels[level].bytes;
    t.table_bytes += t.stats.value_bytes;
    t.amplification = b->user_bytes == 0 ? 0 : (double)t.written / (double)b->user_bytes;
    return t;
}

static void json_result(struct json_writer *w, const struct result *r)
{
    static const char *const names[] = {"p50_us", "p90_us", "p99_us", "p999_us", "max_us"};
    json_object_begin(w);
    json_key(w, "name");
    json_text(w, r->name);
    json_key(w, "ops");
    json_u64(w, r->ops);
    json_key(w, "found");
    json_u64(w, r->found);
    json_key(w, "bytes");
    json_u64(w, r->bytes);
    json_key(w, "seconds");
    json_double(w, seconds(r->elapsed_ns));
    json_key(w, "micros_per_op");
    json_double(w, micros_per_op(r));
    json_key(w, "ops_per_sec");
    json_double(w, per_second(r));
    for (size_t i = 0; r->has_hist && i < ARRAY_LEN(names); i++) {
        json_key(w, names[i]);
        json_double(w, (double)r->permille_ns[i] / 1e3);
    }
    if (r->has_hist) {
        json_key(w, "p9999_us");
        json_double(w, (double)r->p9999_ns / 1e3);
    }
    const struct {
        const char *name;
        uint64_t value;
    } edit[] = {
        {"loop_ns", r->loop_ns},
        {"folder_before", r->folder_before},
        {"folder_after", r->folder_after},
    };
    for (size_t i = 0; r->is_edit && i < ARRAY_LEN(edit); i++) {
        json_key(w, edit[i].name);
        json_u64(w, edit[i].value);
    }
    json_object_end(w);
}

static void json_levels(struct json_writer *w, const struct totals *t)
{
    json_key(w, "levels");
    json_array_begin(w);
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        const struct lsm_level_stats *l = &t->stats.levels[level];
        json_object_begin(w);
        json_key(w, "files");
        json_u64(w, l->files);
        json_key(w, "bytes");
        json_u64(w, l->bytes);
        json_key(w, "records");
        json_u64(w, l->records);
        json_key(w, "write_bytes");
        json_u64(w, l->write_bytes);
        json_key(w, "read_bytes");
        json_u64(w, l->read_bytes);
        json_key(w, "gets");
        json_u64(w, l->gets);
        json_object_end(w);
    }
    json_array_end(w);
}

static void json_report(const struct bench *b, const struct totals *t)
{
    struct json_writer w;
    struct buf out;
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"num", b->set.num},
        {"key_size", b->set.key_size},
        {"value_size", b->set.value_size},
        {"user_bytes", b->user_bytes},
        {"written_bytes", t->written},
        {"table_bytes", t->table_bytes},
        {"peak_memory_bytes", t->peak_bytes},
        {"flush_bytes", t->stats.flush_bytes},
        {"compact_read_bytes", t->stats.compact_read_bytes},
        {"compact_write_bytes", t->stats.compact_write_bytes},
        {"compactions", t->stats.compactions},
        {"value_files", t->stats.value_files},
        {"value_bytes", t->stats.value_bytes},
        {"value_live_bytes", t->stats.value_live_bytes},
        {"value_write_bytes", t->stats.value_write_bytes},
        {"value_moved_bytes", t->stats.value_moved_bytes},
        {"value_garbage_permille_max", b->garbage_permille_max},
        {"moves", t->stats.compact_moves},
        {"cache_hits", t->stats.cache_hits},
        {"cache_misses", t->stats.cache_misses},
        {"cache_bytes", t->stats.cache_bytes},
        {"log_bytes", t->db.log_bytes},
        {"refusals", t->stats.refusals},
        {"slow_us", t->stats.slow_us},
        {"stop_us", t->stats.stop_us},
    };
    buf_init(&out, 1 << 24);
    json_begin(&w, &out);
    json_object_begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        json_key(&w, figures[i].name);
        json_u64(&w, figures[i].value);
    }
    json_key(&w, "write_amplification");
    json_double(&w, t->amplification);
    json_levels(&w, t);
    json_key(&w, "results");
    json_array_begin(&w);
    for (size_t i = 0; i < b->result_count; i++)
        json_result(&w, &b->results[i]);
    json_array_end(&w);
    json_object_end(&w);
    printf("%.*s\n", (int)out.len, (const char *)out.data);
    buf_fini(&out);
}

void report_end(struct bench *b)
{
    struct totals t = totals_of(b);
    if (b->set.json) {
        json_report(b, &t);
        return;
    }
    printf("\nlevel  files      bytes    records    written       read       gets\n");
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        const struct lsm_level_stats *l = &t.stats.levels[level];
        if (l->files > 0 || l->write_bytes > 0)
            printf("L%u    %6u %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
                   "\n",
                   level, l->files, l->bytes, l->records, l->write_bytes, l->read_bytes, l->gets);
    }
    if (t.stats.value_files > 0)
        printf("values %6u %10" PRIu64
               " of which %.1f %% are garbage (%.1f %% at most); written %" PRIu64
               ", moved %" PRIu64 "\n",
               t.stats.value_files, t.stats.value_bytes,
               100 * (double)(t.stats.value_bytes - t.stats.value_live_bytes) /
                   (double)MAX(t.stats.value_bytes, (uint64_t)1),
               (double)b->garbage_permille_max / 10, t.stats.value_write_bytes,
               t.stats.value_moved_bytes);
    printf("data %.1f MiB, written %.1f MiB for %.1f MiB of user data (write amplification "
           "%.2f), cache %.1f MiB (%" PRIu64 " hits, %" PRIu64 " misses), peak memory %.1f MiB\n",
           (double)t.table_bytes / 1048576, (double)t.written / 1048576,
           (double)b->user_bytes / 1048576, t.amplification, (double)t.stats.cache_bytes / 1048576,
           t.stats.cache_hits, t.stats.cache_misses, (double)t.peak_bytes / 1048576);
}
