/* SPDX-License-Identifier: Apache-2.0
 *
 * A range's state from one world into another: whole, damaged, given up, and with a
 * crash at every step of the receiver.
 */
#include "range_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env_ops.h"
#include "range/snapshot.h"
#include "range/stream.h"

enum { CHUNKS_MAX = 64, PATIENCE_US = 60 * 1000 * 1000 };

/* All of a stream, kept. */
struct stream {
    struct buf meta;
    uint32_t count;
    struct buf chunks[CHUNKS_MAX];
    bool is_pending;
    bool is_last;
};

static void on_chunk(void *data, int status, struct slice chunk, bool is_last,
                     const struct err *err)
{
    struct stream *s = data;
    if (status != 0)
        fail_msg("snapshot: %s", err->msg);
    assert_true(s->count < CHUNKS_MAX);
    assert_true(chunk.len <= RANGE_CHUNK_MAX);
    buf_init(&s->chunks[s->count], RANGE_CHUNK_MAX);
    buf_append_slice(&s->chunks[s->count++], chunk);
    s->is_last = is_last;
    s->is_pending = false;
}

static bool stream_is_pending(void *data)
{
    return ((struct stream *)data)->is_pending;
}

static void stream_make(struct stream *s, struct world *w)
{
    struct range_snapshot *snapshot = NULL;
    *s = (struct stream){0};
    assert_int_equal(range_snapshot_new(w->range, &snapshot, NULL), 0);
    assert_true(range_snapshot_index(snapshot) == range_meta(w->range)->applied_index);
    buf_init(&s->meta, RANGE_META_MAX);
    buf_append_slice(&s->meta, range_snapshot_meta(snapshot));
    while (!s->is_last) {
        s->is_pending = true;
        range_snapshot_next(snapshot, on_chunk, s);
        assert_true(range_snapshot_is_busy(snapshot));
        sim_run_while(w->sim, stream_is_pending, s, sim_now_us(w->sim) + PATIENCE_US);
        assert_false(s->is_pending);
    }
    range_snapshot_free(snapshot);
    assert_false(range_is_busy(w->range));
}

static void stream_fini(struct stream *s)
{
    buf_fini(&s->meta);
    for (uint32_t i = 0; i < s->count; i++)
        buf_fini(&s->chunks[i]);
}

/* ---- the receiver ------------------------------------------------------------------ */

enum { PENDING = 1 };

static void on_install(void *data, int status, const struct err *err)
{
    (void)err;
    *(int *)data = status;
}

static bool is_pending(void *data)
{
    return *(int *)data == PENDING;
}

static int wait_for(struct world *w, int *status)
{
    sim_run_while(w->sim, is_pending, status, sim_now_us(w->sim) + PATIENCE_US);
    return *status;
}

static struct range_install *install_begin(struct world *w, const struct stream *s)
{
    struct range_install *in = NULL;
    struct err err = {0};
    if (range_install_new(w->env, w->lsm, w->options.replica_id, w->range, buf_slice(&s->meta), &in,
                          &err) != 0)
        fail_msg("install: %s", err.msg);
    return in;
}

static int install_give(struct world *w, struct range_install *in, struct slice chunk)
{
    int status = PENDING;
    int rv = range_install_chunk(in, chunk, on_install, &status);
    if (rv != 0)
        return rv;
    assert_int_equal(range_install_chunk(in, chunk, on_install, &status), ERR_BUSY);
    return wait_for(w, &status);
}

static int install_end(struct world *w, struct range_install *in)
{
    int status = PENDING;
    int rv = range_install_finish(in, on_install, &status);
    if (rv != 0)
        return rv;
    rv = wait_for(w, &status);
    if (rv == 0 && w->range == NULL)
        assert_int_equal(range_new(w->env, w->lsm, w->options.replica_id, range_install_meta(in),
                                   &w->range, NULL),
                         0);
    return rv;
}

static void install_abort(struct world *w, struct range_install *in)
{
    int status = PENDING;
    assert_int_equal(range_install_abort(in, on_install, &status), 0);
    assert_int_equal(wait_for(w, &status), 0);
    range_install_free(in);
}

static void install_all(struct world *w, const struct stream *s)
{
    struct range_install *in = install_begin(w, s);
    for (uint32_t i = 0; i < s->count; i++) {
        assert_false(range_install_is_complete(in));
        assert_int_equal(install_give(w, in, buf_slice(&s->chunks[i])), 0);
    }
    assert_true(range_install_is_complete(in));
    assert_int_equal(install_end(w, in), 0);
    range_install_free(in);
    range_check(w->range);
}

static uint64_t hash_of(struct world *w)
{
    uint64_t hash = 0;
    struct err err = {0};
    if (range_hash(w->range, &hash, &err) != 0)
        fail_msg("hash: %s", err.msg);
    return hash;
}

/* ---- worlds with something in them ---------------------------------------------------- */

struct source {
    struct world w;
    struct rng rng;
    struct model model;
};

static void source_open(struct source *s, uint64_t seed, size_t memtable_bytes)
{
    *s = (struct source){0};
    rng_init(&s->rng, seed);
    world_open(&s->w, &(struct world_options){.seed = seed, .memtable_bytes = memtable_bytes});
}

/* Apply `n` random entries, to `also` as well if it is given. */
static void source_grow(struct source *s, int n, struct world *also)
{
    while (n-- > 0) {
        struct model_entry entry;
        int status[MODEL_COMMANDS_MAX];
        model_draw(&s->model, &s->rng, &entry);
        model_apply(&s->model, &entry, status);
        world_apply(&s->w, entry.payload, NULL);
        if (also != NULL)
            world_apply(also, entry.payload, NULL);
        free((void *)entry.payload.data);
    }
}

static void test_to_blank(void **state)
{
    (void)state;
    struct source s;
    struct world to;
    struct stream stream;
    source_open(&s, 1, 0);
    source_grow(&s, 100, NULL);
    world_open(&to, &(struct world_options){.seed = 2, .replica_id = 9, .is_blank = true});
    stream_make(&stream, &s.w);
    install_all(&to, &stream);
    assert_true(hash_of(&to) == hash_of(&s.w));
    assert_true(range_flushed_index(to.range) == range_meta(s.w.range)->applied_index);
    source_grow(&s, 50, &to); /* and on, as if it had been there always */
    assert_true(hash_of(&to) == hash_of(&s.w));
    stream_fini(&stream);
    world_close(&to);
    world_close(&s.w);
}

/* What the receiver had goes, whether flushed or not; nothing of it shines through. */
static void test_to_lagging(void **state)
{
    (void)state;
    for (int is_flushed = 0; is_flushed < 2; is_flushed++) {
        struct source s;
        struct world to;
        struct stream stream;
        source_open(&s, 3, 4096);
        world_open(&to, &(struct world_options){.seed = 4, .replica_id = 2});
        source_grow(&s, 60, &to);
        if (is_flushed)
            world_flush(&to);
        source_grow(&s, 60, NULL);
        stream_make(&stream, &s.w);
        install_all(&to, &stream);
        assert_true(hash_of(&to) == hash_of(&s.w));
        world_crash(&to, SIM_CRASH_POWER); /* it is durable */
        assert_true(hash_of(&to) == hash_of(&s.w));
        source_grow(&s, 30, &to);
        world_flush(&to);
        world_crash(&to, SIM_CRASH_POWER);
        assert_true(hash_of(&to) == hash_of(&s.w));
        stream_fini(&stream);
        world_close(&to);
        world_close(&s.w);
    }
}

/* Values larger than a chunk; chunks that end inside a key, a length, a value. */
static void test_large_values(void **state)
{
    (void)state;
    static const size_t lens[] = {600000, 1, RANGE_CHUNK_MAX, 0, RANGE_CHUNK_MAX - 14, 262130};
    struct world from, to;
    struct stream stream;
    uint8_t *big = calloc(1, 600000);
    world_open(&from, &(struct world_options){.seed = 1});
    world_open(&to, &(struct world_options){.seed = 2, .is_blank = true});
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        uint8_t key[1] = {(uint8_t)('a' + i)};
        memset(big, (int)i, lens[i]);
        struct op op = {.kind = OP_PUT, .key = slice_of(key, 1), .value = slice_of(big, lens[i])};
        world_do(&from, 1000, &op, NULL);
    }
    stream_make(&stream, &from);
    assert_true(stream.count >= 5);
    install_all(&to, &stream);
    assert_true(hash_of(&to) == hash_of(&from));
    stream_fini(&stream);
    free(big);
    world_close(&to);
    world_close(&from);
}

static void test_empty(void **state)
{
    (void)state;
    struct world from, to;
    struct stream stream;
    world_open(&from, &(struct world_options){.seed = 1});
    world_open(&to, &(struct world_options){.seed = 2, .is_blank = true});
    range_apply_barrier(from.range, WORLD_BIRTH + 1, 6);
    stream_make(&stream, &from);
    assert_int_equal(stream.count, 1);
    install_all(&to, &stream);
    assert_true(hash_of(&to) == hash_of(&from));
    stream_fini(&stream);
    world_close(&to);
    world_close(&from);
}

/* ---- refusals ------------------------------------------------------------------------ */

static void test_damaged_and_misplaced(void **state)
{
    (void)state;
    struct source s;
    struct world to;
    struct stream stream;
    struct buf forged;
    source_open(&s, 5, 0);
    source_grow(&s, 50, NULL);
    world_open(&to, &(struct world_options){.seed = 6, .is_blank = true});
    stream_make(&stream, &s.w);
    struct buf *only = &stream.chunks[0];
    assert_int_equal(stream.count, 1);

    struct range_install *in = install_begin(&to, &stream);
    only->data[only->len / 2] ^= 1;
    assert_int_equal(install_give(&to, in, buf_slice(only)), ERR_CORRUPT);
    only->data[only->len / 2] ^= 1;
    assert_int_equal(install_end(&to, in), ERR_STATE); /* not complete */
    assert_int_equal(install_give(&to, in, buf_slice(only)), 0);
    assert_int_equal(install_give(&to, in, buf_slice(only)), ERR_STATE); /* twice */
    install_abort(&to, in);
    assert_null(to.range);

    /* A last chunk with a good checksum that cuts the stream: every length. */
    buf_init(&forged, RANGE_CHUNK_MAX);
    for (size_t len = 0; len < only->len - RANGE_CHUNK_HEAD_LEN; len += 7) {
        in = install_begin(&to, &stream);
        stream_chunk_encode(&forged, 0, true, slice_of(only->data + RANGE_CHUNK_HEAD_LEN, len));
        assert_int_equal(install_give(&to, in, buf_slice(&forged)), ERR_CORRUPT);
        assert_int_equal(install_end(&to, in), ERR_STATE);
        install_abort(&to, in);
    }
    buf_fini(&forged);
    stream_fini(&stream);
    world_close(&to);
    world_close(&s.w);
}

/* ---- a disk that cannot read what it took in -------------------------------------------- */

static const struct env_ops *whole;
static char taken_in[ENV_PATH_MAX]; /* a staged file's name in the tree; "": none yet */
static struct env_file *unreadable; /* … while it is open */

static int rename_noted(struct env *env, const char *from, const char *to, struct err *err)
{
    if (strstr(from, ".stage") != NULL)
        snprintf(taken_in, sizeof taken_in, "%s", to);
    return whole->file_rename(env, from, to, err);
}

static int open_noted(struct env *env, const char *path, int flags, struct env_file **ret_file,
                      struct err *err)
{
    int rv = whole->file_open(env, path, flags, ret_file, err);
    if (rv == 0 && strcmp(path, taken_in) == 0)
        unreadable = *ret_file;
    return rv;
}

static void close_noted(struct env_file *file)
{
    if (file == unreadable)
        unreadable = NULL;
    whole->file_close(file);
}

static int read_the_others(struct env_file *file, uint64_t offset, void *data, size_t len,
                           size_t *ret_len, struct err *err)
{
    if (file == unreadable)
        return err_set(err, ERR_IO, "read '%s': a bad sector", taken_in);
    return whole->file_read(file, offset, data, len, ret_len, err);
}

/* The install ends after a while, the receiver is what it was, and takes in the next. */
static void test_unreadable(void **state)
{
    (void)state;
    for (int is_blank = 0; is_blank < 2; is_blank++) {
        struct source s;
        struct world to;
        struct stream stream;
        source_open(&s, 3, 0);
        world_open(&to, &(struct world_options){.seed = 4, .replica_id = 2, .is_blank = is_blank});
        if (!is_blank)
            source_grow(&s, 30, &to);
        uint64_t before = is_blank ? 0 : hash_of(&to);
        source_grow(&s, 60, NULL);
        stream_make(&stream, &s.w);
        struct env_ops ops = *to.env->ops;
        whole = to.env->ops;
        ops.file_rename = rename_noted;
        ops.file_open = open_noted;
        ops.file_close = close_noted;
        ops.file_read = read_the_others;
        to.env->ops = &ops;
        struct range_install *in = install_begin(&to, &stream);
        for (uint32_t i = 0; i < stream.count; i++)
            assert_int_equal(install_give(&to, in, buf_slice(&stream.chunks[i])), 0);
        assert_int_equal(install_end(&to, in), ERR_CORRUPT);
        range_install_free(in);
        to.env->ops = whole;
        taken_in[0] = 0;
        if (is_blank)
            assert_null(to.range);
        else
            assert_true(hash_of(&to) == before);
        install_all(&to, &stream);
        assert_true(hash_of(&to) == hash_of(&s.w));
        stream_fini(&stream);
        world_close(&to);
        world_close(&s.w);
    }
}

static void test_old_or_foreign(void **state)
{
    (void)state;
    struct source s;
    struct stream stream;
    struct range_install *in = NULL;
    source_open(&s, 7, 0);
    source_grow(&s, 5, NULL);
    stream_make(&stream, &s.w);
    int rv = range_install_new(s.w.env, s.w.lsm, 1, s.w.range, buf_slice(&stream.meta), &in, NULL);
    assert_int_equal(rv, ERR_INVALID);
    stream.meta.data[0] = 9;
    rv = range_install_new(s.w.env, s.w.lsm, 1, NULL, buf_slice(&stream.meta), &in, NULL);
    assert_int_equal(rv, ERR_UNSUPPORTED);
    stream_fini(&stream);
    world_close(&s.w);
}

/* ---- crashes ---------------------------------------------------------------------------- */

/* Take in `s` but lose power after `steps` events, or in the midst of the `disk_call`th
 * mutating file call (0: none); true if it was through before. */
static bool install_with_crash(struct world *w, const struct stream *s, int steps,
                               uint64_t disk_call)
{
    struct range_install *in = install_begin(w, s);
    sim_node_crash_after(w->node, disk_call);
    int status = 0;
    uint32_t next = 0;
    bool is_finishing = false;
    while (steps-- > 0 && !(is_finishing && status != PENDING) && !sim_node_is_dead(w->node)) {
        if (status != PENDING) {
            status = PENDING;
            if (next < s->count) {
                struct slice chunk = buf_slice(&s->chunks[next++]);
                assert_int_equal(range_install_chunk(in, chunk, on_install, &status), 0);
            } else {
                is_finishing = true;
                assert_int_equal(range_install_finish(in, on_install, &status), 0);
            }
        }
        if (!sim_step(w->sim))
            break;
    }
    sim_node_crash(w->node, SIM_CRASH_POWER);
    range_install_free(in);
    world_crash(w, SIM_CRASH_POWER);
    return is_finishing && status == 0;
}

/* One install that is cut off there; what is left must be the old state or the new,
 * and the install can be done again. Returns true if it was through before the cut. */
static bool cut_install(int steps, uint64_t disk_call, int *olds, int *news)
{
    struct source s;
    struct world to;
    struct stream stream;
    source_open(&s, 8, 0);
    world_open(&to, &(struct world_options){.seed = 9, .replica_id = 2});
    source_grow(&s, 20, &to);
    world_flush(&to);
    uint64_t old_hash = hash_of(&to);
    source_grow(&s, 40, NULL);
    stream_make(&stream, &s.w);
    bool is_through = install_with_crash(&to, &stream, steps, disk_call);
    bool is_new = hash_of(&to) == hash_of(&s.w);
    if (!is_new)
        assert_true(hash_of(&to) == old_hash);
    assert_true(is_new || !is_through);
    *news += is_new;
    *olds += !is_new;
    if (!is_new)
        install_all(&to, &stream);
    assert_true(hash_of(&to) == hash_of(&s.w));
    stream_fini(&stream);
    world_close(&to);
    world_close(&s.w);
    return is_through;
}

static void test_crash_at_every_step(void **state)
{
    (void)state;
    int olds = 0, news = 0, steps = 0;
    while (!cut_install(steps, 0, &olds, &news))
        assert_true(++steps < 200);
    assert_true(olds > 5);
    assert_true(news > 0);
}

static void test_crash_at_every_disk_call(void **state)
{
    (void)state;
    int olds = 0, news = 0;
    uint64_t call = 1;
    while (!cut_install(10000, call, &olds, &news))
        assert_true(++call < 200);
    assert_true(olds > 2);
    assert_true(news > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_blank),
        cmocka_unit_test(test_to_lagging),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_damaged_and_misplaced),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_old_or_foreign),
        cmocka_unit_test(test_crash_at_every_step),
        cmocka_unit_test(test_crash_at_every_disk_call),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
