/* SPDX-License-Identifier: Apache-2.0
 *
 * leveldb_bench — the workloads of holdfast-enginebench on LevelDB, through its C API.
 * Built by tools/compare-engine, which installs libleveldb-dev for it; no part of the
 * project's own build. One line for each workload: "name seconds operations".
 *
 *   leveldb_bench DIR KEYS OPERATIONS SEEK_NEXTS SYNC(0|1) SEED WORKLOAD,WORKLOAD…
 */
#include <leveldb/c.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/coding.h"
#include "base/rng.h"

enum { KEY = 16, VALUE = 100, POOL = 1 << 20, PIECE = 100 };

struct bench {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *write;
    leveldb_iterator_t *walk;
    const char *dir;
    uint64_t num, ops, seek_nexts, done, next;
    struct rng rng;
    uint8_t pool[POOL];
    size_t pool_at;
};

static void must(char *err, const char *what)
{
    if (err == NULL)
        return;
    fprintf(stderr, "leveldb_bench: %s: %s\n", what, err);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void key_of(uint64_t n, char out[KEY + 1])
{
    put_u64be((uint8_t *)out, n);
    out[0] = 1;
    memset(out + 8, '0', KEY + 1 - 8);
}

static void fill_pool(struct bench *b)
{
    struct rng rng;
    rng_init(&rng, 301);
    for (size_t i = 0; i < POOL; i++)
        b->pool[i] =
            i % PIECE < PIECE / 2 ? (uint8_t)(' ' + rng_below(&rng, 95)) : b->pool[i - PIECE / 2];
}

static void put(struct bench *b, uint64_t n)
{
    char key[KEY + 1], *err = NULL;
    if (b->pool_at + VALUE > POOL)
        b->pool_at = 0;
    key_of(n, key);
    leveldb_put(b->db, b->write, key, KEY, (const char *)b->pool + b->pool_at, VALUE, &err);
    b->pool_at += VALUE;
    must(err, "put");
}

static int op_fillseq(struct bench *b)
{
    put(b, b->next++);
    return 1;
}

static int op_fillrandom(struct bench *b)
{
    put(b, rng_below(&b->rng, b->num));
    return 1;
}

static int get(struct bench *b, size_t key_len)
{
    char key[KEY + 1], *err = NULL;
    size_t len = 0;
    key_of(rng_below(&b->rng, b->num), key);
    free(leveldb_get(b->db, b->read, key, key_len, &len, &err));
    must(err, "get");
    return 1;
}

static int op_readrandom(struct bench *b)
{
    return get(b, KEY);
}

static int op_readmissing(struct bench *b)
{
    return get(b, KEY + 1);
}

/* Touch what an iterator shows, as the other benches do. */
static size_t show(leveldb_iterator_t *it)
{
    size_t key_len = 0, value_len = 0;
    (void)leveldb_iter_key(it, &key_len);
    (void)leveldb_iter_value(it, &value_len);
    return key_len + value_len;
}

static int op_seekrandom(struct bench *b)
{
    char key[KEY + 1];
    leveldb_iterator_t *it = leveldb_create_iterator(b->db, b->read);
    key_of(rng_below(&b->rng, b->num), key);
    leveldb_iter_seek(it, key, KEY);
    for (uint64_t i = 0; i < b->seek_nexts && leveldb_iter_valid(it); i++) {
        show(it);
        leveldb_iter_next(it);
    }
    leveldb_iter_destroy(it);
    return 1;
}

static int op_readseq(struct bench *b)
{
    if (b->walk == NULL) {
        b->walk = leveldb_create_iterator(b->db, b->read);
        leveldb_iter_seek_to_first(b->walk);
    } else {
        leveldb_iter_next(b->walk);
    }
    if (!leveldb_iter_valid(b->walk))
        return 0;
    show(b->walk);
    return 1;
}

static int op_compact(struct bench *b)
{
    leveldb_compact_range(b->db, NULL, 0, NULL, 0);
    b->done = b->ops; /* once */
    return 1;
}

static const struct {
    const char *name;
    int is_fresh;
    int (*op)(struct bench *b); /* 0: the end */
} workloads[] = {
    {"fillseq", 1, op_fillseq},         {"fillrandom", 1, op_fillrandom},
    {"overwrite", 0, op_fillrandom},    {"readrandom", 0, op_readrandom},
    {"readmissing", 0, op_readmissing}, {"seekrandom", 0, op_seekrandom},
    {"readseq", 0, op_readseq},         {"compact", 0, op_compact},
};

static void open_db(struct bench *b, int is_fresh)
{
    char *err = NULL;
    if (is_fresh) {
        if (b->db != NULL)
            leveldb_close(b->db);
        b->db = NULL;
        leveldb_destroy_db(b->options, b->dir, &err);
        must(err, "destroy");
    }
    if (b->db == NULL)
        b->db = leveldb_open(b->options, b->dir, &err);
    must(err, "open");
}

static void run(struct bench *b, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (strlen(workloads[i].name) != len || memcmp(workloads[i].name, name, len) != 0)
            continue;
        open_db(b, workloads[i].is_fresh);
        b->next = b->done = 0;
        double began = now();
        while (b->done < b->ops && workloads[i].op(b))
            b->done++;
        double took = now() - began;
        if (b->walk != NULL)
            leveldb_iter_destroy(b->walk);
        b->walk = NULL;
        printf("%s %.6f %llu\n", workloads[i].name, took,
               (unsigned long long)(workloads[i].op == op_compact ? 1 : b->done));
        fflush(stdout);
        return;
    }
    fprintf(stderr, "leveldb_bench: no workload '%.*s'\n", (int)len, name);
    exit(2);
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc != 8) {
        fprintf(stderr,
                "usage: leveldb_bench DIR KEYS OPERATIONS SEEK_NEXTS SYNC SEED WORKLOADS\n");
        return 2;
    }
    b.dir = argv[1];
    b.num = strtoull(argv[2], NULL, 10);
    b.ops = strtoull(argv[3], NULL, 10);
    b.seek_nexts = strtoull(argv[4], NULL, 10);
    rng_init(&b.rng, strtoull(argv[6], NULL, 10));
    fill_pool(&b);
    b.options = leveldb_options_create();
    leveldb_options_set_create_if_missing(b.options, 1);
    leveldb_options_set_cache(b.options, leveldb_cache_create_lru(256 << 20));
    leveldb_options_set_write_buffer_size(b.options, 64 << 20);
    leveldb_options_set_block_size(b.options, 4 << 10);
    leveldb_options_set_filter_policy(b.options, leveldb_filterpolicy_create_bloom(10));
    leveldb_options_set_compression(b.options, leveldb_snappy_compression);
    leveldb_options_set_max_open_files(b.options, 5000);
    b.read = leveldb_readoptions_create();
    b.write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(b.write, argv[5][0] == '1');
    for (const char *at = argv[7]; *at != 0;) {
        size_t len = strcspn(at, ",");
        run(&b, at, len);
        at += len + (at[len] == ',');
    }
    if (b.db != NULL)
        leveldb_close(b.db);
    return 0;
}
