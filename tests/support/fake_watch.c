/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "support/fake_store.h"

enum { LIMIT_DEFAULT = 1000 };

static struct slice change_key(const struct fake_change *c)
{
    return slice_of(c->key, c->key_len);
}

void fake_changes_add(struct fake_cluster *cluster, const struct op *op, struct slice value)
{
    size_t value_len = op->kind == OP_DELETE ? 0 : value.len;
    uint8_t *bytes = malloc(op->key.len + value_len + 1);
    ASSERT(bytes != NULL);
    memcpy(bytes, op->key.data, op->key.len);
    if (value_len > 0)
        memcpy(bytes + op->key.len, value.data, value_len);
    cluster->changes =
        realloc(cluster->changes, (cluster->change_count + 1) * sizeof *cluster->changes);
    ASSERT(cluster->changes != NULL);
    cluster->changes[cluster->change_count++] = (struct fake_change){
        .key = bytes,
        .key_len = op->key.len,
        .value_len = value_len,
        .version = cluster->version,
        .is_delete = op->kind == OP_DELETE,
    };
}

void fake_changes_fini(struct fake_cluster *cluster)
{
    for (size_t i = 0; i < cluster->change_count; i++)
        free(cluster->changes[i].key);
    free(cluster->changes);
    cluster->changes = NULL;
    cluster->change_count = 0;
}

/* What is asked for, as far as it is in the range of its start. */
struct view {
    const struct fake_cluster *cluster;
    struct slice start, end;
    uint64_t after, upto;
    uint32_t limit;
};

static bool is_seen(const struct view *v, const struct fake_change *c)
{
    return c->version > v->after && c->version <= v->upto &&
           slice_compare(v->start, change_key(c)) <= 0 &&
           (v->end.len == 0 || slice_compare(change_key(c), v->end) < 0);
}

static void add(const struct fake_change *c, struct response_watch *to, struct buf *raw)
{
    change_append(raw, &(struct change){
                           .kind = c->is_delete ? CHANGE_DELETE : CHANGE_PUT,
                           .key = change_key(c),
                           .value = slice_of(c->key + c->key_len, c->value_len),
                           .version = c->version,
                       });
    to->changes.count++;
}

/* In order of version, cut between two versions. */
static void feed_page(const struct view *v, struct response_watch *to, struct buf *raw)
{
    const struct fake_change *last = NULL;
    for (size_t i = 0; i < v->cluster->change_count; i++) {
        const struct fake_change *c = &v->cluster->changes[i];
        if (!is_seen(v, c))
            continue;
        if (to->changes.count >= v->limit && c->version != last->version) {
            to->version = c->version - 1;
            return;
        }
        add(c, to, raw);
        last = c;
    }
}

/* The least key above `above` (or from the start on) with a change. */
static const struct fake_change *next_key(const struct view *v, const struct fake_change *above)
{
    const struct fake_change *found = NULL;
    for (size_t i = 0; i < v->cluster->change_count; i++) {
        const struct fake_change *c = &v->cluster->changes[i];
        if (is_seen(v, c) &&
            (above == NULL || slice_compare(change_key(above), change_key(c)) < 0) &&
            (found == NULL || slice_compare(change_key(c), change_key(found)) < 0))
            found = c;
    }
    return found;
}

/* Key by key, cut between two keys or inside one. */
static void engine_page(const struct view *v, struct response_watch *to, struct buf *raw)
{
    const struct fake_change *key = NULL;
    while ((key = next_key(v, key)) != NULL) {
        uint64_t last = 0;
        for (size_t i = 0; i < v->cluster->change_count; i++) {
            const struct fake_change *c = &v->cluster->changes[i];
            if (!is_seen(v, c) || !slice_equal(change_key(c), change_key(key)))
                continue;
            if (to->changes.count >= v->limit) {
                to->has_more = true;
                to->is_range_end = false;
                to->cursor = change_key(key);
                to->cursor_version = last;
                return;
            }
            add(c, to, raw);
            last = c->version;
        }
    }
}

void fake_changes_page(struct fake_cluster *cluster, const struct request_watch *watch,
                       struct response *to, struct buf *raw)
{
    struct response_watch *page = &to->watch;
    struct view v = {.cluster = cluster,
                     .start = watch->start,
                     .end = watch->end,
                     .after = watch->after,
                     .upto = MAX(cluster->version, watch->after),
                     .limit = cluster->watch_limit == 0 ? LIMIT_DEFAULT : cluster->watch_limit};
    if (watch->upto > 0)
        v.upto = MIN(v.upto, watch->upto);
    *page = (struct response_watch){.version = v.upto, .range_id = cluster->range_base};
    cluster->watched++;
    if (!watch->is_from_now && watch->after < cluster->gone_version) {
        to->status = ERR_VERSION_GONE;
        page->version = cluster->gone_version;
        return;
    }
    for (int i = 0; i < FAKE_SEAMS_MAX && cluster->seams[i] != NULL; i++) {
        struct slice seam = slice_str(cluster->seams[i]);
        if (slice_compare(seam, v.start) <= 0)
            page->range_id++;
        else if (!page->has_more && (v.end.len == 0 || slice_compare(seam, v.end) < 0)) {
            page->has_more = page->is_range_end = true;
            page->cursor = v.end = seam;
        }
    }
    if (watch->is_from_now)
        return;
    if (cluster->watched % 2 == 0)
        feed_page(&v, page, raw);
    else
        engine_page(&v, page, raw);
    page->changes.raw = buf_slice(raw);
}
