/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/version.h"

#include <stdlib.h>

#include "base/coding.h"

enum { KEYS_MAX = LSM_KEY_MAX + 1 }; /* a bound may be a key and a zero byte */

/* ---- pieces ------------------------------------------------------------- */

struct piece *piece_new(struct slice lo, struct slice hi)
{
    ASSERT(hi.len > 0);
    ASSERT(slice_compare(lo, hi) < 0);
    struct piece *p = malloc(sizeof *p + lo.len + hi.len);
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    atomic_init(&p->refs, 1);
    if (lo.len > 0)
        memcpy(p->keys, lo.data, lo.len);
    memcpy(p->keys + lo.len, hi.data, hi.len);
    p->lo = slice_of(p->keys, lo.len);
    p->hi = slice_of(p->keys + lo.len, hi.len);
    return p;
}

struct piece *version_file_piece(void)
{
    static const uint8_t end[1];
    return piece_new((struct slice){0}, slice_of(end, 1));
}

struct piece *piece_ref(struct piece *p)
{
    unsigned before = atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return p;
}

void piece_unref(struct piece *p)
{
    if (p == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    table_unref(p->table);
    free(p);
}

/* ---- versions ----------------------------------------------------------- */

struct version *version_new(void)
{
    struct version *v = calloc(1, sizeof *v);
    if (v != NULL)
        atomic_init(&v->refs, 1);
    return v;
}

struct version *version_ref(struct version *v)
{
    unsigned before = atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return v;
}

void version_unref(struct version *v)
{
    if (v == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < v->count[level]; i++)
            piece_unref(v->at[level][i]);
        free(v->at[level]);
    }
    free(v);
}

size_t version_find(const struct version *v, unsigned level, struct slice key)
{
    ASSERT(level > 0 && level < LSM_LEVELS);
    size_t lo = 0, hi = v->count[level];
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (slice_compare(v->at[level][mid]->hi, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool version_overlaps(const struct version *v, unsigned level, struct slice start, struct slice end)
{
    if (level > 0) {
        size_t i = version_find(v, level, start);
        return i < v->count[level] && piece_overlaps(v->at[level][i], start, end);
    }
    for (size_t i = 0; i < v->count[0]; i++) {
        if (piece_overlaps(v->at[0][i], start, end))
            return true;
    }
    return false;
}

struct piece *version_find_file(const struct version *v, uint64_t file)
{
    size_t lo = 0, hi = v->count[VERSION_VALUES];
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->at[VERSION_VALUES][mid]->file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool found = lo < v->count[VERSION_VALUES] && v->at[VERSION_VALUES][lo]->file == file;
    return found ? v->at[VERSION_VALUES][lo] : NULL;
}

uint64_t version_level_bytes(const struct version *v, unsigned level)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < v->count[level]; i++)
        bytes += v->at[level][i]->bytes;
    return bytes;
}

static const uint8_t after_local = 1; /* the first key that is not the owner's own */

/* Pieces of one table overlap nowhere, so a key is looked for in one of them at most. They have
 * one order, and stand side by side by it. */
static size_t l0_depth(const struct version *v)
{
    const struct piece *last_local = NULL, *last_other = NULL;
    size_t local = 0, others = 0;
    for (size_t i = 0; i < v->count[0]; i++) {
        const struct piece *p = v->at[0][i];
        if (p->lo.len == 0 || key_is_local(p->lo)) {
            local += last_local == NULL || last_local->order != p->order;
            last_local = p;
        }
        if (slice_compare(p->hi, slice_of(&after_local, 1)) > 0) {
            others += last_other == NULL || last_other->order != p->order;
            last_other = p;
        }
    }
    return MAX(local, others);
}

static int compare_l0(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a;
    const struct piece *y = *(struct piece *const *)b;
    if (x->order != y->order)
        return x->order > y->order ? -1 : 1;
    return slice_compare(x->lo, y->lo);
}

static int compare_lo(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a;
    const struct piece *y = *(struct piece *const *)b;
    return slice_compare(x->lo, y->lo);
}

static int compare_file(const void *a, const void *b)
{
    const struct piece *x = *(struct piece *const *)a;
    const struct piece *y = *(struct piece *const *)b;
    return (x->file > y->file) - (x->file < y->file);
}

/* Two neighbours may stand side by side. */
static bool may_follow(unsigned level, const struct piece *a, const struct piece *b)
{
    if (level == VERSION_VALUES)
        return a->file < b->file;
    if (level == 0 && a->order > b->order)
        return true;
    if (level == 0 && a->file != b->file)
        return false; /* two tables may not share an order */
    return slice_compare(a->hi, b->lo) <= 0;
}

void version_check(const struct version *v)
{
    ASSERT(atomic_load(&v->refs) > 0);
    ASSERT(v->l0_depth == l0_depth(v));
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            ASSERT(atomic_load(&p->refs) > 0);
            ASSERT(p->table != NULL);
            ASSERT(p->table->number == p->file);
            ASSERT(p->table->is_values == (level == VERSION_VALUES));
            ASSERT(atomic_load(&p->table->refs) > 0);
            ASSERT(slice_compare(p->lo, p->hi) < 0);
            if (i > 0)
                ASSERT(may_follow(level, v->at[level][i - 1], p));
        }
    }
}

/* ---- edits -------------------------------------------------------------- */

void edit_fini(struct edit *edit)
{
    for (size_t i = 0; i < edit->add_count; i++)
        piece_unref(edit->adds[i].piece);
    free(edit->adds);
    free(edit->drops);
    *edit = (struct edit){0};
}

static int grow(void **items, size_t count, size_t *cap, size_t item_size)
{
    if (count < *cap)
        return 0;
    size_t want = MAX(*cap * 2, (size_t)8);
    ASSERT(want <= SIZE_MAX / item_size);
    void *more = realloc(*items, want * item_size);
    if (more == NULL)
        return ERR_NOMEM;
    *items = more;
    *cap = want;
    return 0;
}

int edit_drop(struct edit *edit, unsigned level, uint64_t id)
{
    ASSERT(level < VERSION_LISTS);
    void *items = edit->drops;
    int rv = grow(&items, edit->drop_count, &edit->drop_cap, sizeof *edit->drops);
    edit->drops = items;
    if (rv == 0)
        edit->drops[edit->drop_count++] = (struct edit_drop){.level = level, .id = id};
    return rv;
}

int edit_add(struct edit *edit, unsigned level, struct piece *piece)
{
    ASSERT(level < VERSION_LISTS);
    void *items = edit->adds;
    int rv = grow(&items, edit->add_count, &edit->add_cap, sizeof *edit->adds);
    edit->adds = items;
    if (rv != 0) {
        piece_unref(piece);
        return rv;
    }
    edit->adds[edit->add_count++] = (struct edit_add){.level = level, .piece = piece};
    return 0;
}

static bool is_dropped(const struct edit *edit, unsigned level, uint64_t id, size_t *found)
{
    for (size_t i = 0; i < edit->drop_count; i++) {
        if (edit->drops[i].level == level && edit->drops[i].id == id) {
            (*found)++;
            return true;
        }
    }
    return false;
}

static int apply_level(const struct version *v, const struct edit *edit, unsigned level,
                       struct version *to, size_t *dropped, struct err *err)
{
    size_t adds = 0, n = 0;
    for (size_t i = 0; i < edit->add_count; i++)
        adds += edit->adds[i].level == level;
    size_t room = v->count[level] + adds;
    struct piece **at = calloc(MAX(room, (size_t)1), sizeof(*at));
    if (at == NULL)
        return err_set(err, ERR_NOMEM, "level %u", level);
    for (size_t i = 0; i < v->count[level]; i++) {
        if (!is_dropped(edit, level, v->at[level][i]->id, dropped))
            at[n++] = piece_ref(v->at[level][i]);
    }
    for (size_t i = 0; i < edit->add_count; i++) {
        if (edit->adds[i].level == level)
            at[n++] = piece_ref(edit->adds[i].piece);
    }
    to->at[level] = at;
    to->count[level] = n;
    qsort(at, n, sizeof(*at),
          level == 0                ? compare_l0
          : level == VERSION_VALUES ? compare_file
                                    : compare_lo);
    for (size_t i = 1; i < n; i++) {
        if (!may_follow(level, at[i - 1], at[i]))
            return err_set(err, ERR_CORRUPT, "level %u: pieces %llu and %llu overlap", level,
                           (unsigned long long)at[i - 1]->id, (unsigned long long)at[i]->id);
    }
    return 0;
}

int version_apply(const struct version *v, const struct edit *edit, struct version **ret_version,
                  struct err *err)
{
    size_t dropped = 0;
    int rv = 0;
    struct version *to = version_new();
    if (to == NULL)
        return err_set(err, ERR_NOMEM, "version");
    for (unsigned level = 0; rv == 0 && level < VERSION_LISTS; level++)
        rv = apply_level(v, edit, level, to, &dropped, err);
    if (rv == 0 && dropped != edit->drop_count)
        rv = err_set(err, ERR_CORRUPT, "an edit drops a piece that is not there");
    if (rv == 0) {
        to->l0_depth = l0_depth(to);
        *ret_version = to;
    } else {
        version_unref(to);
    }
    return rv;
}

/* ---- encoding ----------------------------------------------------------- */

/* A record is a sequence of fields, each `tag varint` and what the tag says. */
enum { TAG_NUMBERS = 1, TAG_DROP = 2, TAG_ADD = 3 };

static void encode_numbers(uint64_t next_number, uint64_t next_order, struct buf *out)
{
    buf_append_varint(out, TAG_NUMBERS);
    buf_append_varint(out, next_number);
    buf_append_varint(out, next_order);
}

static void encode_slice(struct slice s, struct buf *out)
{
    buf_append_varint(out, s.len);
    buf_append_slice(out, s);
}

static void encode_add(unsigned level, const struct piece *p, struct buf *out)
{
    buf_append_varint(out, TAG_ADD);
    buf_append_varint(out, level);
    buf_append_varint(out, p->id);
    buf_append_varint(out, p->file);
    buf_append_varint(out, p->order);
    buf_append_varint(out, p->file_size);
    buf_append_u32(out, p->file_crc);
    buf_append_varint(out, p->bytes);
    buf_append_varint(out, p->records);
    buf_append_varint(out, p->deletes);
    buf_append_u8(out, p->is_cut);
    encode_slice(p->lo, out);
    encode_slice(p->hi, out);
}

void edit_encode(const struct edit *edit, struct buf *out)
{
    encode_numbers(edit->next_number, edit->next_order, out);
    for (size_t i = 0; i < edit->drop_count; i++) {
        buf_append_varint(out, TAG_DROP);
        buf_append_varint(out, edit->drops[i].level);
        buf_append_varint(out, edit->drops[i].id);
    }
    for (size_t i = 0; i < edit->add_count; i++)
        encode_add(edit->adds[i].level, edit->adds[i].piece, out);
}

void version_encode(const struct version *v, uint64_t next_number, uint64_t next_order,
                    struct buf *out)
{
    encode_numbers(next_number, next_order, out);
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < v->count[level]; i++)
            encode_add(level, v->at[level][i], out);
    }
}

static int decode_add(struct reader *r, struct edit *edit)
{
    struct piece head = {0};
    uint64_t level = read_varint(r);
    head.id = read_varint(r);
    head.file = read_varint(r);
    head.order = read_varint(r);
    head.file_size = read_varint(r);
    head.file_crc = read_u32(r);
    head.bytes = read_varint(r);
    head.records = read_varint(r);
    head.deletes = read_varint(r);
    uint8_t is_cut = read_u8(r);
    struct slice lo = read_bytes_prefixed(r);
    struct slice hi = read_bytes_prefixed(r);
    if (r->bad || level >= VERSION_LISTS || is_cut > 1 || head.file_size == 0 ||
        lo.len > KEYS_MAX || hi.len > KEYS_MAX || slice_compare(lo, hi) >= 0)
        return ERR_CORRUPT;
    struct piece *p = piece_new(lo, hi);
    if (p == NULL)
        return ERR_NOMEM;
    p->id = head.id;
    p->file = head.file;
    p->order = head.order;
    p->file_size = head.file_size;
    p->file_crc = head.file_crc;
    p->bytes = head.bytes;
    p->records = head.records;
    p->deletes = head.deletes;
    p->is_cut = is_cut == 1;
    return edit_add(edit, (unsigned)level, p);
}

static int decode_field(struct reader *r, struct edit *edit)
{
    uint64_t tag = read_varint(r);
    if (tag == TAG_NUMBERS) {
        edit->next_number = read_varint(r);
        edit->next_order = read_varint(r);
        return r->bad ? ERR_CORRUPT : 0;
    }
    if (tag == TAG_DROP) {
        uint64_t level = read_varint(r);
        uint64_t id = read_varint(r);
        return r->bad || level >= VERSION_LISTS ? ERR_CORRUPT
                                                : edit_drop(edit, (unsigned)level, id);
    }
    return tag == TAG_ADD ? decode_add(r, edit) : ERR_CORRUPT;
}

int edit_decode(struct slice raw, struct edit *ret_edit, struct err *err)
{
    struct edit edit = {0};
    struct reader r = reader_of(raw);
    int rv = 0;
    while (rv == 0 && r.left > 0)
        rv = decode_field(&r, &edit);
    if (rv != 0) {
        edit_fini(&edit);
        return err_set(err, rv, "edit does not decode at byte %zu", raw.len - r.left);
    }
    *ret_edit = edit;
    return 0;
}
