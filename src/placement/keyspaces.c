/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyspaces that have names: rows, in order of their numbers, and the cuts that each wants.
 * A keyspace begins and ends with a range of its own, so that what is said of it (its
 * replicas) is true of all its keys and of no others; a hashed one is cut at slots, too, from
 * the start. Whatever cut is missing is made by and by, and is never merged away.
 *
 *   create ─▶ LIVE ─▶ drop: DROPPING (nobody may open it) ─▶ forget: gone, its number with it
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/text.h"
#include "placement/placement_internal.h"
#include "wire/pack.h"

enum {
    CUT_LEN_MAX = KEYSPACE_PREFIX_LEN + KEYSPACE_SLOT_LEN,
    CUTS_A_TICK = 256, /* looked at */
    SPLITS_A_TICK = 4,
    REPLICAS_MAX = 7, /* as the setting 'replicas' */
    USER_PREFIX = 0x02,
};

/* Of a row. FIELD_RETENTION is in microseconds, 0 as else; rows of before do not have it. */
enum { FIELD_NAME = 1, FIELD_SLOTS, FIELD_RANGES, FIELD_REPLICAS, FIELD_DROPPING, FIELD_RETENTION };

/* ---- finding ------------------------------------------------------------------------------- */

uint32_t pl_keyspaces_from(const struct placement *p, uint32_t id)
{
    uint32_t low = 0;
    uint32_t high = p->keyspace_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (p->keyspaces[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pl_keyspace *find_id(const struct placement *p, uint32_t id)
{
    uint32_t i = id < KEYSPACE_NAMED_FIRST ? p->keyspace_count : pl_keyspaces_from(p, id);
    return i < p->keyspace_count && p->keyspaces[i].id == id ? &p->keyspaces[i] : NULL;
}

static struct pl_keyspace *find_name(const struct placement *p, struct slice name)
{
    for (uint32_t i = 0; i < p->keyspace_count; i++) {
        if (slice_equal(slice_str(p->keyspaces[i].name), name))
            return &p->keyspaces[i];
    }
    return NULL;
}

static int need(const struct placement *p, struct slice name, struct pl_keyspace **ret_keyspace,
                struct err *err)
{
    if (!p->is_loaded || p->is_broken)
        return err_set(err, ERR_BUSY, "placement is beginning its term");
    *ret_keyspace = find_name(p, name);
    if (*ret_keyspace == NULL)
        return err_set(err, ERR_NOT_FOUND, "no keyspace '%.*s'",
                       (int)MIN(name.len, (size_t)KEYSPACE_NAME_MAX), (const char *)name.data);
    return 0;
}

/* A new one in its place; pointers to others are void. NULL: memory is out, or too many. */
static struct pl_keyspace *insert(struct placement *p, uint32_t id)
{
    uint32_t at = pl_keyspaces_from(p, id);
    if (p->keyspace_count == PLACEMENT_KEYSPACES_MAX)
        return NULL;
    struct pl_keyspace *all = realloc(p->keyspaces, (p->keyspace_count + 1) * sizeof *p->keyspaces);
    if (all == NULL)
        return NULL;
    p->keyspaces = all;
    memmove(all + at + 1, all + at, (p->keyspace_count - at) * sizeof *all);
    p->keyspace_count++;
    all[at] = (struct pl_keyspace){.id = id};
    return &all[at];
}

int pl_keyspaces_copy(struct placement *to, const struct placement *from)
{
    if (from->keyspace_count == 0)
        return 0;
    to->keyspaces = malloc(from->keyspace_count * sizeof *to->keyspaces);
    if (to->keyspaces == NULL)
        return ERR_NOMEM;
    memcpy(to->keyspaces, from->keyspaces, from->keyspace_count * sizeof *to->keyspaces);
    to->keyspace_count = from->keyspace_count;
    return 0;
}

/* ---- rows ---------------------------------------------------------------------------------- */

void pl_keyspace_encode(struct buf *buf, const struct pl_keyspace *k)
{
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_str(&f, FIELD_NAME, slice_str(k->name));
    pack_field_uint(&f, FIELD_SLOTS, k->slots);
    pack_field_uint(&f, FIELD_RANGES, k->ranges);
    pack_field_uint(&f, FIELD_REPLICAS, k->replicas);
    pack_field_bool(&f, FIELD_DROPPING, k->is_dropping);
    pack_field_uint(&f, FIELD_RETENTION, k->retention_us);
    pack_fields_end(&f);
}

static void set_name(struct pl_keyspace *k, struct slice name)
{
    memcpy(k->name, name.data, name.len);
    k->name[name.len] = 0;
}

int pl_keyspace_load(struct placement *p, uint64_t id, struct slice value, struct err *err)
{
    struct pl_keyspace row = {.ranges = 1};
    struct slice name = {0};
    struct unpack u = unpack_of(value);
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(&u);
    for (uint32_t i = 0; i < pairs && !u.bad; i++) {
        switch (unpack_key(&u, &seen)) {
        case FIELD_NAME:
            name = unpack_str_max(&u, KEYSPACE_NAME_MAX);
            break;
        case FIELD_SLOTS:
            row.slots = (uint32_t)unpack_uint_max(&u, KEYSPACE_SLOTS_MAX);
            break;
        case FIELD_RANGES:
            row.ranges = (uint32_t)unpack_uint_max(&u, KEYSPACE_RANGES_MAX);
            break;
        case FIELD_REPLICAS:
            row.replicas = (uint32_t)unpack_uint_max(&u, REPLICAS_MAX);
            break;
        case FIELD_DROPPING:
            row.is_dropping = unpack_bool(&u);
            break;
        case FIELD_RETENTION:
            row.retention_us = unpack_uint_max(&u, SETTINGS_RETENTION_MAX_US);
            break;
        default:
            unpack_skip(&u);
        }
    }
    int rv = unpack_finish(&u, "keyspace", err);
    if (rv != 0)
        return rv;
    if (id < KEYSPACE_NAMED_FIRST || id > KEYSPACE_NAMED_LAST || row.ranges == 0 ||
        row.ranges > MAX(row.slots, 1) || keyspace_check_name(name, err) != 0)
        return ERR_CORRUPT;
    struct pl_keyspace *k = insert(p, (uint32_t)id);
    if (k == NULL)
        return ERR_NOMEM;
    row.id = (uint32_t)id;
    *k = row;
    set_name(k, name);
    pl_ids_used(p, PLACEMENT_IDS_KEYSPACE, id);
    return 0;
}

/* ---- what a person says of one ----------------------------------------------------------------
 */

static int bad_number(const char *name, uint64_t max, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s takes a number from 1 to %llu", name,
                   (unsigned long long)max);
}

/* One "name=value". */
static int take_option(struct pl_keyspace *k, struct slice name, struct slice value,
                       struct err *err)
{
    uint64_t n = 0;
    bool is_number = text_parse_u64(value, &n) == 0 && n > 0;
    if (slice_equal(name, slice_str("slots"))) {
        if (!is_number || n > KEYSPACE_SLOTS_MAX)
            return bad_number("slots", KEYSPACE_SLOTS_MAX, err);
        k->slots = (uint32_t)n;
    } else if (slice_equal(name, slice_str("ranges"))) {
        if (!is_number || n > KEYSPACE_RANGES_MAX)
            return bad_number("ranges", KEYSPACE_RANGES_MAX, err);
        k->ranges = (uint32_t)n;
    } else if (slice_equal(name, slice_str("replicas"))) {
        is_number = text_parse_u64(value, &n) == 0;
        if (!is_number || n > REPLICAS_MAX || (n > 0 && n % 2 == 0))
            return err_set(err, ERR_INVALID,
                           "replicas takes an odd number from 1 to %d, or 0 for the setting's",
                           REPLICAS_MAX);
        k->replicas = (uint32_t)n;
    } else if (slice_equal(name, slice_str("retention"))) {
        return settings_parse_retention(value, &k->retention_us, err);
    } else {
        return err_set(err, ERR_INVALID,
                       "a keyspace has slots, ranges, replicas and retention, no '%.*s'",
                       (int)MIN(name.len, 40), (const char *)name.data);
    }
    return 0;
}

/* "slots=256,replicas=3" into `k`. */
static int take_options(struct pl_keyspace *k, struct slice text, struct err *err)
{
    int rv = 0;
    while (text.len > 0 && rv == 0) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma == NULL ? text.len : (size_t)(comma - text.data);
        const uint8_t *equals = memchr(text.data, '=', len);
        if (equals == NULL)
            return err_set(err, ERR_INVALID, "options are name=value,name=value");
        size_t name_len = (size_t)(equals - text.data);
        rv = take_option(k, slice_of(text.data, name_len), slice_of(equals + 1, len - name_len - 1),
                         err);
        len += comma != NULL;
        text = slice_of(text.data + len, text.len - len);
    }
    if (rv == 0 && k->ranges > MAX(k->slots, 1))
        return err_set(err, ERR_INVALID,
                       k->slots == 0
                           ? "only a keyspace with slots is cut into ranges from the start"
                           : "there are %u slots for %u ranges",
                       k->slots, k->ranges);
    return rv;
}

int placement_keyspace_create(struct placement *p, struct slice name, struct slice options,
                              struct err *err)
{
    struct pl_keyspace wanted = {.ranges = 1};
    struct pl_keyspace *k;
    uint64_t id;
    int rv = keyspace_check_name(name, err);
    if (rv == 0)
        rv = take_options(&wanted, options, err);
    if (rv != 0)
        return rv;
    rv = need(p, name, &k, err);
    if (rv == 0)
        return err_set(err, ERR_EXISTS, "keyspace '%s' is there already%s", k->name,
                       k->is_dropping ? ", and is being dropped" : "");
    if (rv != ERR_NOT_FOUND)
        return rv;
    if (p->keyspace_count == PLACEMENT_KEYSPACES_MAX)
        return err_set(err, ERR_NO_SPACE, "there are %d keyspaces", PLACEMENT_KEYSPACES_MAX);
    if (!pl_ids_take(p, PLACEMENT_IDS_KEYSPACE, 1, &id))
        return err_set(err, ERR_BUSY, "numbers are on their way");
    if (id > KEYSPACE_NAMED_LAST)
        return err_set(err, ERR_NO_SPACE, "all numbers of keyspaces were used");
    k = insert(p, (uint32_t)id);
    if (k == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    wanted.id = (uint32_t)id;
    *k = wanted;
    set_name(k, name);
    k->is_dirty = true;
    return 0;
}

int placement_keyspace_alter(struct placement *p, struct slice name, struct slice options,
                             struct err *err)
{
    struct pl_keyspace *k;
    int rv = need(p, name, &k, err);
    if (rv != 0)
        return rv;
    struct pl_keyspace wanted = *k;
    if (k->is_dropping)
        return err_set(err, ERR_STATE, "keyspace '%s' is being dropped", k->name);
    rv = take_options(&wanted, options, err);
    if (rv != 0)
        return rv;
    if (wanted.slots != k->slots)
        return err_set(err, ERR_INVALID,
                       "how keys are stored cannot change: make another keyspace and copy");
    /* have all ranges looked at */
    p->is_store_set_new |= wanted.replicas != k->replicas || wanted.retention_us != k->retention_us;
    *k = wanted;
    k->is_dirty = true;
    return 0;
}

int placement_keyspace_drop(struct placement *p, struct slice name, struct err *err)
{
    struct pl_keyspace *k;
    int rv = need(p, name, &k, err);
    if (rv == 0 && !k->is_dropping)
        k->is_dropping = k->is_dirty = true;
    return rv;
}

int placement_keyspace_forget(struct placement *p, struct slice name, struct err *err)
{
    struct pl_keyspace *k;
    int rv = need(p, name, &k, err);
    if (rv != 0)
        return rv;
    if (!k->is_dropping)
        return err_set(err, ERR_STATE, "keyspace '%s' is to be dropped first", k->name);
    pl_rows_keyspace_gone(p, k->id);
    size_t at = (size_t)(k - p->keyspaces);
    memmove(k, k + 1, (p->keyspace_count - at - 1) * sizeof *k);
    p->keyspace_count--;
    return 0;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

/* Cut 0 is where it begins, cut `ranges` where it ends; between them those at slots. */
static struct slice cut_of(const struct pl_keyspace *k, uint32_t i, uint8_t out[CUT_LEN_MAX])
{
    out[0] = USER_PREFIX;
    put_u32be(out + 1, k->id + (i == k->ranges));
    if (i == 0 || i == k->ranges)
        return slice_of(out, KEYSPACE_PREFIX_LEN);
    keyspace_put_slot(out + KEYSPACE_PREFIX_LEN, (uint16_t)((uint64_t)i * k->slots / k->ranges));
    return slice_of(out, CUT_LEN_MAX);
}

static bool is_cut_at_slot(const struct pl_keyspace *k, struct slice slot)
{
    if (slot.len != KEYSPACE_SLOT_LEN || k->slots == 0)
        return false;
    uint64_t at = keyspace_get_slot(slot.data);
    uint64_t i = (at * k->ranges + k->slots - 1) / k->slots;
    return i > 0 && i < k->ranges && i * k->slots / k->ranges == at;
}

bool pl_is_cut_inside(const struct placement *p, const struct pl_range *right)
{
    struct slice start = pl_range_start(right);
    if (start.len < KEYSPACE_PREFIX_LEN || start.data[0] != USER_PREFIX)
        return start.len > KEYSPACE_PREFIX_LEN;
    uint32_t id = get_u32be(start.data + 1);
    const struct pl_keyspace *k = find_id(p, id);
    if (start.len == KEYSPACE_PREFIX_LEN)
        return id >= KEYSPACE_NAMED_FIRST && id <= KEYSPACE_NAMED_LAST && k == NULL &&
               find_id(p, id - 1) == NULL;
    return k == NULL || !is_cut_at_slot(k, slice_of(start.data + KEYSPACE_PREFIX_LEN,
                                                    start.len - KEYSPACE_PREFIX_LEN));
}

uint32_t pl_keyspace_replicas(const struct placement *p, const struct pl_range *r)
{
    struct slice start = pl_range_start(r);
    if (p->keyspace_count == 0 || start.len < KEYSPACE_PREFIX_LEN || start.data[0] != USER_PREFIX)
        return 0;
    const struct pl_keyspace *k = find_id(p, get_u32be(start.data + 1));
    return k == NULL ? 0 : k->replicas;
}

/* Make a cut that is missing, if its range is free for it. */
static bool begin_cut(struct placement *p, const struct pl_keyspace *k, uint32_t i)
{
    uint8_t raw[CUT_LEN_MAX];
    char why[PLACEMENT_REASON_MAX];
    struct slice cut = cut_of(k, i, raw);
    struct pl_range *r = pl_tree_floor(p, cut);
    if (r == NULL || r->id == PLACEMENT_SYSTEM_RANGE || slice_equal(pl_range_start(r), cut) ||
        (r->end_len > 0 && slice_compare(pl_range_end(r), cut) <= 0) || r->op != NULL ||
        !pl_range_is_free(p, r) || !pl_range_is_led(p, r))
        return false;
    snprintf(why, sizeof why, "keyspace %s %s here", k->name,
             i == 0           ? "begins"
             : i == k->ranges ? "ends"
                              : "is cut");
    return pl_begin_split(p, r, PL_SPLIT, PLACEMENT_SPLIT_BY_KEY, cut, why);
}

void pl_keyspaces_tick(struct placement *p)
{
    uint32_t begun = 0;
    if (p->settings.paused)
        return;
    for (uint32_t n = 0; n < CUTS_A_TICK && begun < SPLITS_A_TICK; n++) {
        uint32_t at = pl_keyspaces_from(p, p->cut_keyspace);
        if (at == p->keyspace_count) { /* from the first one again, at the next tick */
            p->cut_keyspace = 0;
            p->cut_at = 0;
            return;
        }
        const struct pl_keyspace *k = &p->keyspaces[at];
        p->cut_at = k->id == p->cut_keyspace ? p->cut_at : 0;
        p->cut_keyspace = k->id;
        if (k->is_dropping || p->cut_at > k->ranges) {
            p->cut_keyspace = k->id + 1;
            p->cut_at = 0;
            continue;
        }
        begun += begin_cut(p, k, p->cut_at++);
    }
}

/* ---- what there is -----------------------------------------------------------------------------
 */

/* Ranges, bytes and keys of what begins inside it; is each cut that it wants there? */
static void sum_up(const struct placement *p, const struct pl_keyspace *k,
                   struct placement_keyspace_status *to)
{
    uint8_t raw[CUT_LEN_MAX];
    uint8_t end_raw[CUT_LEN_MAX];
    struct slice start = cut_of(k, 0, raw);
    struct slice end = cut_of(k, k->ranges, end_raw);
    struct slice last_end = {0};
    uint32_t cuts = 0;
    for (const struct pl_range *r = pl_tree_floor(p, start); r != NULL; r = pl_tree_next(p, r)) {
        struct slice at = pl_range_start(r);
        if (slice_compare(at, end) >= 0)
            break;
        last_end = pl_range_end(r);
        if (slice_compare(at, start) < 0)
            continue;
        to->ranges++;
        to->bytes += r->bytes;
        to->keys += r->keys_count;
        to->is_retained = to->is_retained && (r->retention_ms == to->retention_ms ||
                                              (!to->is_retention_its_own && r->retention_ms == 0));
        cuts += at.len == start.len ||
                is_cut_at_slot(k, slice_of(at.data + start.len, at.len - start.len));
    }
    to->is_cut = cuts == k->ranges && slice_equal(last_end, end);
}

static void fill(const struct placement *p, const struct pl_keyspace *k,
                 struct placement_keyspace_status *ret_status)
{
    struct placement_keyspace_status s = {
        .id = k->id,
        .name = k->name,
        .slots = k->slots,
        .replicas = k->replicas,
        .retention_ms = pl_keyspace_retention_ms(p, k),
        .is_retention_its_own = k->retention_us != 0,
        .is_retained = true,
        .ranges_wanted = k->ranges,
        .is_dropping = k->is_dropping,
    };
    sum_up(p, k, &s);
    *ret_status = s;
}

bool placement_keyspace_at(const struct placement *p, uint32_t i,
                           struct placement_keyspace_status *ret_status)
{
    if (i >= p->keyspace_count)
        return false;
    fill(p, &p->keyspaces[i], ret_status);
    return true;
}

int placement_keyspace_status(const struct placement *p, struct slice name,
                              struct placement_keyspace_status *ret_status, struct err *err)
{
    struct pl_keyspace *k;
    int rv = need(p, name, &k, err);
    if (rv == 0)
        fill(p, k, ret_status);
    return rv;
}
