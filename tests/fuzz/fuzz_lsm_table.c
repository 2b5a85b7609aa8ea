/* SPDX-License-Identifier: Apache-2.0
 *
 * Any content as the blocks of a table or of a value file, each with a good checksum: what
 * a bug or an enemy wrote, not rot. Opening, reading both ways, verifying and salvaging end,
 * read nothing outside, and what comes out is in order.
 *
 *   kind u8 | (len u16 | block)*    the last three: filter, properties, top index; of a value
 *                                   file the last one: the directory
 */
#include <stdlib.h>

#include "base/coding.h"
#include "env/sim/sim.h"
#include "lsm/block_writer.h"
#include "lsm/merge.h"
#include "lsm/salvage.h"
#include "lsm/table_read.h"
#include "lsm/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCKS_MAX = 64, RECORDS_MAX = 100000 };

/* The file; how many blocks it has. */
static size_t write_file(struct env *env, struct slice in, bool is_values)
{
    struct block_writer w;
    struct table_handle at[BLOCKS_MAX];
    struct table_footer footer = {.is_values = is_values};
    uint8_t raw[TABLE_FOOTER];
    size_t n = 0;
    ASSERT(block_writer_open(&w, env, "t", true, NULL) == 0);
    for (; in.len >= 2 && n < BLOCKS_MAX; n++) {
        size_t len = MIN((size_t)get_u16(in.data), in.len - 2);
        ASSERT(block_writer_add(&w, slice_of(in.data + 2, len), false, &at[n], NULL) == 0);
        in = slice_of(in.data + 2 + len, in.len - 2 - len);
    }
    if (n > 0)
        footer.top = at[n - 1];
    if (n > 1 && !is_values)
        footer.props = at[n - 2];
    if (n > 2 && !is_values)
        footer.filter = at[n - 3];
    table_footer_encode(&footer, raw);
    ASSERT(block_writer_raw(&w, slice_of(raw, sizeof raw), NULL) == 0);
    ASSERT(block_writer_finish(&w, NULL) == 0);
    block_writer_fini(&w, true);
    return n;
}

static void walk(struct cursor *c, bool forward)
{
    struct buf last;
    size_t n = 0;
    ASSERT(c != NULL);
    buf_init(&last, 1 << 20);
    if (forward)
        cursor_first(c);
    else
        cursor_last(c);
    while (c->is_valid && n++ < RECORDS_MAX) {
        ASSERT(c->at->key.len > 0);
        ASSERT(!c->at->is_ref || c->at->value.len == ENTRY_REF_BYTES);
        buf_clear(&last);
        buf_append_slice(&last, c->at->key);
        if (forward)
            cursor_next(c);
        else
            cursor_prev(c);
    }
    buf_fini(&last);
    cursor_free(c);
}

/* What a repair lets through is in order. */
static void salvage(struct table *t)
{
    struct version *none = version_new();
    struct salvage_told told = {0};
    static const uint8_t hi[] = {0xff, 0xff};
    struct piece *p = piece_new((struct slice){0}, slice_of(hi, sizeof hi));
    struct buf last;
    uint64_t last_version = 0;
    ASSERT(none != NULL && p != NULL);
    p->table = table_ref(t);
    struct cursor *c = salvage_cursor(p, none, &told);
    ASSERT(c != NULL);
    buf_init(&last, 1 << 20);
    for (cursor_first(c); c->is_valid; cursor_next(c)) {
        ASSERT(last.len == 0 ||
               entry_compare(buf_slice(&last), last_version, c->at->key, c->at->version) < 0);
        buf_clear(&last);
        buf_append_slice(&last, c->at->key);
        last_version = c->at->version;
    }
    cursor_free(c);
    buf_fini(&last);
    piece_unref(p);
    version_unref(none);
}

/* All of it is what its partitions tell, whatever that is. */
static void approximate(const struct table *t)
{
    uint64_t bytes, records, told = 0;
    table_approximate(t, slice_str("b"), slice_str("y"), &bytes, &records);
    table_approximate(t, (struct slice){0}, (struct slice){0}, &bytes, &records);
    for (size_t i = 0; i < t->parts.count; i++)
        told += t->parts.items[i].at.data_bytes;
    ASSERT(bytes == told || t->damage[0] != 0);
}

static void read_table(struct table *t)
{
    static const char *const keys[] = {"a", "k000", "k050", "zzz"};
    (void)table_verify(t, NULL, NULL, NULL, NULL);
    walk(table_cursor(t, (struct slice){0}, (struct slice){0}, LSM_READ_NO_FILL, NULL), true);
    walk(table_cursor(t, slice_str("k010"), slice_str("k050"), 0, NULL), false);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct entry e;
        struct block *block = NULL;
        (void)table_may_contain(t, i * UINT64_C(0x9e3779b97f4a7c15), 0, NULL);
        if (table_get(t, slice_str(keys[i]), 7, 0, &e, &block, NULL) == 0)
            block_unref(block);
    }
    approximate(t);
    salvage(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sim *sim = sim_new(NULL, 1);
    struct env *env = sim_node_env(sim_node_new(sim, "n1"));
    struct cache *cache = cache_new(1 << 20);
    struct table *t = NULL;
    bool is_values = (data[0] & 1) != 0;
    write_file(env, slice_of(data + 1, size - 1), is_values);
    int rv = is_values ? table_open_values(&t, env, cache, "t", 3, 0, NULL)
                       : table_open(&t, env, cache, "t", 3, 0, NULL);
    ASSERT(rv == 0);
    if (is_values) {
        size_t part = 0, turns = 0;
        uint64_t bytes;
        (void)table_verify(t, NULL, NULL, NULL, NULL);
        while (table_scrub(t, &part, &bytes, NULL) == 1)
            ASSERT(++turns < RECORDS_MAX);
    } else {
        read_table(t);
    }
    table_unref(t);
    cache_free(cache);
    sim_free(sim);
    return 0;
}
