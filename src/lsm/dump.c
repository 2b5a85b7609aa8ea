/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables and manifests as lines of text, for people.
 */
#include <stdarg.h>
#include <stdio.h>

#include "lsm/lsm_internal.h"
#include "lsm/values.h"

enum { DUMP_STALE_PERMILLE = 200, LINE_MAX = 512, SHOWN_MAX = 96, LIST_NAME = 16 };

/* Bytes as text: printable ones as they are, the rest as \xx; cut with "…". */
static void show_bytes(struct slice s, char out[SHOWN_MAX * 4 + 8])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;
    for (size_t i = 0; i < s.len && i < SHOWN_MAX; i++) {
        uint8_t c = s.data[i];
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            *p++ = (char)c;
        } else {
            *p++ = '\\';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    if (s.len > SHOWN_MAX) {
        memcpy(p, "...", 3);
        p += 3;
    }
    *p = 0;
}

struct dump {
    lsm_line_fn on_line;
    void *data;
};

static void line(const struct dump *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void line(const struct dump *d, const char *fmt, ...)
{
    char text[LINE_MAX * 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    d->on_line(d->data, text);
}

static void dump_entry(const struct dump *d, const struct entry *e)
{
    char key[SHOWN_MAX * 4 + 8], value[SHOWN_MAX * 4 + 8];
    unsigned long long version = e->version, expiry = e->expiry_ms;
    size_t value_len = e->value.len;
    show_bytes(e->key, key);
    show_bytes(e->value, value);
    if (e->is_ref) {
        struct value_ref ref = value_ref_decode(e->value);
        snprintf(value, sizeof value, "at %llu of %06llu.val", (unsigned long long)ref.at.offset,
                 (unsigned long long)ref.file);
        value_len = ref.size;
    }
    if (e->kind == ENTRY_DELETE)
        line(d, "%s @%llu delete", key, version);
    else if (e->kind == ENTRY_PUT)
        line(d, "%s @%llu put %zu bytes %s", key, version, value_len, value);
    else
        line(d, "%s @%llu put expires=%llu %zu bytes %s", key, version, expiry, value_len, value);
}

static void dump_props(const struct dump *d, const struct table *t)
{
    char smallest[SHOWN_MAX * 4 + 8], largest[SHOWN_MAX * 4 + 8];
    const struct table_props *p = &t->props;
    show_bytes(buf_slice(&p->smallest), smallest);
    show_bytes(buf_slice(&p->largest), largest);
    line(d, "file_bytes=%llu records=%llu deletes=%llu expiring=%llu", (unsigned long long)t->size,
         (unsigned long long)p->records, (unsigned long long)p->deletes,
         (unsigned long long)p->expiring);
    line(d, "version_min=%llu version_max=%llu key_bytes=%llu value_bytes=%llu",
         (unsigned long long)p->version_min, (unsigned long long)p->version_max,
         (unsigned long long)p->key_bytes, (unsigned long long)p->value_bytes);
    line(d, "data_bytes=%llu data_blocks=%llu filter_bytes=%u", (unsigned long long)p->data_bytes,
         (unsigned long long)p->data_blocks, t->footer.filter.len);
    line(d, "stale_hidden_at=%llu stale_expired_at=%llu made_safe=%llu made_ms=%llu",
         (unsigned long long)stale_safe_at(&p->stale, DUMP_STALE_PERMILLE),
         (unsigned long long)stale_ms_at(&p->stale, DUMP_STALE_PERMILLE),
         (unsigned long long)p->stale.made_safe, (unsigned long long)p->stale.made_ms);
    line(d, "large_bytes=%llu", (unsigned long long)p->large_bytes);
    for (size_t i = 0; i < p->ref_count; i++)
        line(d, "refers to %llu bytes of %06llu.val", (unsigned long long)p->refs[i].bytes,
             (unsigned long long)p->refs[i].file);
    line(d, "smallest=%s", smallest);
    line(d, "largest=%s", largest);
}

/* The blocks of a value file by its directory. */
static int dump_values(const struct dump *d, struct table *t, bool records, struct err *err)
{
    struct block *directory = NULL;
    struct values_walk walk = {.size = t->size};
    uint64_t count = 0;
    int rv = table_block(t, t->footer.top, LSM_READ_NO_FILL, &directory, err);
    if (rv != 0)
        return rv;
    walk.raw = block_slice(directory);
    for (; values_walk(&walk); count++) {
        if (records)
            line(d, "block at %llu: %u bytes", (unsigned long long)walk.at.offset, walk.at.len);
    }
    line(d, "file_bytes=%llu values=%llu value_bytes=%llu", (unsigned long long)t->size,
         (unsigned long long)count, (unsigned long long)walk.next);
    block_unref(directory);
    return walk.is_bad ? err_set(err, ERR_CORRUPT, "'%s': the directory makes no sense", t->name)
                       : 0;
}

static bool is_value_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t number;
    return disk_parse(slash != NULL ? slash + 1 : path, &number) == DISK_VALUES;
}

static int open_any(struct table **ret_table, struct env *env, struct cache *cache,
                    const char *path, struct err *err)
{
    return is_value_file(path) ? table_open_values(ret_table, env, cache, path, 0, 0, err)
                               : table_open(ret_table, env, cache, path, 0, 0, err);
}

static void on_bad_block(void *data, const char *file, uint64_t offset, const char *text)
{
    (void)file;
    line(data, "damage at %llu: %s", (unsigned long long)offset, text);
}

int lsm_dump_table(struct env *env, const char *path, bool records, lsm_line_fn on_line, void *data,
                   struct err *err)
{
    struct dump d = {.on_line = on_line, .data = data};
    struct table *t = NULL;
    struct cursor *c = NULL;
    struct cache *cache = cache_new(0);
    int rv = cache == NULL ? err_set(err, ERR_NOMEM, "cache") : 0;
    if (rv == 0)
        rv = open_any(&t, env, cache, path, err);
    if (rv == 0) {
        rv = table_verify(t, NULL, on_bad_block, &d, err);
        if (t->damage[0] == 0 && t->is_values && rv == 0)
            rv = dump_values(&d, t, records, err);
        else if (t->damage[0] == 0)
            dump_props(&d, t);
    }
    if (t != NULL && t->damage[0] == 0 && records && !t->is_values) {
        c = table_cursor(t, (struct slice){0}, (struct slice){0}, LSM_READ_NO_FILL, err);
        if (c == NULL)
            rv = err_set(err, ERR_NOMEM, "cursor");
        for (c != NULL ? cursor_first(c) : (void)0; c != NULL && c->is_valid; cursor_next(c))
            dump_entry(&d, c->at);
    }
    cursor_free(c);
    table_unref(t);
    cache_free(cache);
    return rv;
}

int lsm_verify_table(struct env *env, const char *path, lsm_line_fn on_line, void *data,
                     struct err *err)
{
    struct dump d = {.on_line = on_line, .data = data};
    struct table *t = NULL;
    struct cache *cache = cache_new(0);
    int rv = cache == NULL ? err_set(err, ERR_NOMEM, "cache") : 0;
    if (rv == 0)
        rv = open_any(&t, env, cache, path, err);
    if (rv == 0)
        rv = table_verify(t, NULL, on_bad_block, &d, err);
    if (rv == 0)
        line(&d, "%s: sound", path);
    table_unref(t);
    cache_free(cache);
    return rv;
}

/* "L6", or what stands beside the levels. */
static const char *list_name(unsigned level, char room[LIST_NAME])
{
    if (level == VERSION_VALUES)
        return "values";
    snprintf(room, LIST_NAME, "L%u", level);
    return room;
}

static int dump_record(void *data, uint64_t seq, struct slice payload, struct err *err)
{
    const struct dump *d = data;
    struct edit edit = {0};
    char list[LIST_NAME];
    int rv = edit_decode(payload, &edit, err);
    if (rv != 0)
        return rv;
    line(d, "record %llu: %zu bytes, next_number=%llu next_order=%llu", (unsigned long long)seq,
         payload.len, (unsigned long long)edit.next_number, (unsigned long long)edit.next_order);
    for (size_t i = 0; i < edit.drop_count; i++)
        line(d, "  drop %s piece=%llu", list_name(edit.drops[i].level, list),
             (unsigned long long)edit.drops[i].id);
    for (size_t i = 0; i < edit.add_count; i++) {
        const struct piece *p = edit.adds[i].piece;
        unsigned level = edit.adds[i].level;
        char lo[SHOWN_MAX * 4 + 8], hi[SHOWN_MAX * 4 + 8], span[sizeof lo + sizeof hi + 8] = "";
        show_bytes(p->lo, lo);
        show_bytes(p->hi, hi);
        if (level != VERSION_VALUES) /* which have no keys */
            snprintf(span, sizeof span, "%s [%s, %s)", p->is_cut ? " cut" : "", lo, hi);
        line(d, "  add %s piece=%llu file=%llu bytes=%llu records=%llu%s", list_name(level, list),
             (unsigned long long)p->id, (unsigned long long)p->file, (unsigned long long)p->bytes,
             (unsigned long long)p->records, span);
    }
    edit_fini(&edit);
    return 0;
}

int lsm_dump_manifest(struct env *env, const char *dir, lsm_line_fn on_line, void *data,
                      struct err *err)
{
    struct dump d = {.on_line = on_line, .data = data};
    uint64_t number = 0;
    bool is_torn = false;
    int rv = manifest_current(env, dir, &number, err);
    if (rv != 0)
        return rv;
    line(&d, "CURRENT names MANIFEST-%06llu", (unsigned long long)number);
    rv = manifest_load(env, dir, number, dump_record, &d, &is_torn, err);
    if (rv != 0 && err != NULL)
        line(&d, "damage: %s", err->msg);
    else if (is_torn)
        line(&d, "the last record is torn (never acknowledged)");
    return rv;
}
