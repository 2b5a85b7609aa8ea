/* SPDX-License-Identifier: Apache-2.0
 *
 * A client in holdfast-ranges-sim that scans all plain keys many times at once, upwards or
 * downwards, few keys at a time and with pauses in which ranges are split and merged: as the
 * library does, at the version of the first page as long as it is in the same range. What a page
 * finds must be as new as what was acknowledged, or seen, when that version was asked for; no key
 * is found twice, and none is missed. Now and then it stops in the middle of a page, and another
 * client goes on with all that the cursor's bytes say, and nothing else.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "client/progress.h"
#include "client/scan_cursor.h"
#include "ranges.h"

enum {
    TIMEOUT_MS = 3000,
    THINK_MAX_US = 4000 * 1000,
    PAGE_KEYS_MAX = 3,
    SCANS = 8,
    CLIENTS = 2,
    CURSOR_BYTES_MAX = 1024,
    CURSOR_MAX = 64
};

struct scan {
    struct ranges_scan *all;
    struct client_op op;
    bool is_busy;
    bool is_reverse;
    uint64_t version; /* of the range that it is in; 0: the next page says it */
    uint8_t cursor[CURSOR_MAX];
    size_t cursor_len; /* 0: it begins */
    uint64_t least[KEYS];
    uint64_t gone[KEYS];
    bool is_passed[KEYS];
    uint64_t next_us;    /* when it asks again */
    size_t by;           /* of the clients, the one that asks … */
    uint64_t cluster_id; /* … this cluster and no other; 0: whichever */
};

struct ranges_scan {
    struct sim_node *nodes[CLIENTS];
    struct client *clients[CLIENTS];
    struct rng rng; /* apart from all else */
    struct scan scans[SCANS];
};

static void begin(struct scan *s)
{
    s->cluster_id = 0;
    s->is_reverse = rng_below(&s->all->rng, 2) == 0;
    s->version = 0;
    s->cursor_len = 0;
    memset(s->is_passed, 0, sizeof s->is_passed);
}

static struct slice cursor_of(const struct scan *s)
{
    return slice_of(s->cursor, s->cursor_len);
}

/* Is the key at or behind the cursor, in the scan's direction? */
static bool is_ahead(const struct scan *s, uint32_t number)
{
    uint8_t raw[16];
    int order = slice_compare(key_stored(number, raw), cursor_of(s));
    return s->cursor_len == 0 || (s->is_reverse ? order < 0 : order >= 0);
}

static void take_row(struct scan *s, const struct row *row, uint64_t version)
{
    char text[24] = "";
    uint32_t number = key_number(0, row->key);
    if (ranges_twice_is_key(row->key))
        return;
    if (number == KEYS || s->is_passed[number] || !is_ahead(s, number))
        die("a page finds a key twice, or one that is not there");
    if (row->version > version)
        die("a page finds what is newer than it is");
    struct key_state *k = &run.keys[number];
    memcpy(text, row->value.data, MIN(row->value.len, sizeof text - 1));
    uint64_t value = strtoull(text, NULL, 10);
    settle_key(k);
    key_found(k, value, s->gone[number], version);
    if (value < s->least[number]) {
        printf("key k%02u: %llu at %llu, must be %llu or newer\n", number,
               (unsigned long long)value, (unsigned long long)version,
               (unsigned long long)s->least[number]);
        die("a page finds what was written over before it began");
    }
    k->seen = MAX(k->seen, value);
    s->is_passed[number] = true;
}

/* What the page went by and did not find. */
static void take_absent(struct scan *s, const struct scan *before)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        if (key_is_hashed(i) || s->is_passed[i] || !is_ahead(before, i) ||
            (s->cursor_len > 0 && is_ahead(s, i)))
            continue;
        settle_key(&run.keys[i]);
        key_found_absent(&run.keys[i], s->least[i]);
        s->is_passed[i] = true;
    }
}

/* The place behind a row, or, downwards, in front of it. */
static void set_behind(struct scan *s, struct slice key)
{
    uint8_t behind[KEY_WIRE_MAX];
    size_t len = s->is_reverse ? key.len : progress_key_behind(key, behind);
    if (len == 0 || len > CURSOR_MAX)
        die("a page finds a key that nobody has put");
    s->cursor_len = len;
    memcpy(s->cursor, s->is_reverse ? key.data : behind, len);
}

/* Of a page that it stopped in: the first rows, and the rest at the same version. */
static void take_part(struct scan *s, const struct response_rows *rows, uint32_t count)
{
    const struct scan before = *s;
    struct unpack cursor = unpack_of(rows->rows.raw);
    for (uint32_t n = 0; n < count; n++) {
        struct row row;
        row_next(&cursor, &row);
        take_row(s, &row, rows->version);
        if (n + 1 == count)
            set_behind(s, row.key);
    }
    if (count > 0)
        take_absent(s, &before);
    s->version = rows->version;
    ranges_met("scan: stopped in a page");
}

static void take_page(struct scan *s, const struct response_rows *rows)
{
    const struct scan before = *s;
    struct unpack cursor = unpack_of(rows->rows.raw);
    if (s->version != 0 && rows->version != s->version)
        die("a page is of another version than was asked for");
    if (rows->rows.count > 0 && rng_below(&s->all->rng, 4) == 0) {
        take_part(s, rows, (uint32_t)rng_below(&s->all->rng, rows->rows.count));
        return;
    }
    for (uint32_t n = 0; n < rows->rows.count; n++) {
        struct row row;
        row_next(&cursor, &row);
        take_row(s, &row, rows->version);
    }
    if (rows->cursor.len > CURSOR_MAX)
        die("a page ends at no key");
    s->cursor_len = rows->cursor.len;
    if (rows->cursor.len > 0)
        memcpy(s->cursor, rows->cursor.data, rows->cursor.len);
    take_absent(s, &before);
    if (s->version != 0)
        ranges_met("scan: a page at a version");
    s->version = rows->is_range_end ? 0 : rows->version;
    if (rows->has_more)
        return;
    ranges_met("scan: all keys");
    begin(s);
}

static void on_page(struct client_op *op, const struct client_result *result)
{
    struct scan *s = op->data;
    s->is_busy = false;
    s->next_us = sim_now_us(run.rig.sim) + rng_below(&s->all->rng, THINK_MAX_US);
    bool has_rows = result->response != NULL && result->response->kind == REQUEST_SCAN;
    if (result->status == 0) {
        take_page(s, &result->response->rows);
    } else if (result->status == ERR_VERSION_GONE) {
        bool is_merged = has_rows && result->response->rows.is_range_end;
        if (!is_merged && run.retain == NULL && run.leapt_ms == 0)
            die("a version is gone that no merge has ended");
        if (s->version == 0)
            die("a version is gone that nobody asked for");
        if (is_merged)
            ranges_met("scan: a merge ended its version");
        s->version = 0;
    } else if (result->status == ERR_INVALID) {
        die("a version is said never to have been given");
    } else if (result->status == ERR_UNAUTHORIZED) {
        die("a cursor is said to be of another cluster");
    }
}

struct ranges_scan *ranges_scan_new(const char *const *endpoints, size_t count, uint64_t seed)
{
    struct ranges_scan *all = calloc(1, sizeof *all);
    struct client_options options = {.endpoints = endpoints, .endpoint_count = count};
    ASSERT(all != NULL);
    rng_init(&all->rng, seed * 5 + 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        all->nodes[i] = sim_node_new(run.rig.sim, i == 0 ? "scan" : "scan2");
        if (client_new(sim_node_env(all->nodes[i]), &options, &all->clients[i], NULL) != 0)
            die("no client");
    }
    for (size_t i = 0; i < SCANS; i++) {
        all->scans[i].all = all;
        begin(&all->scans[i]);
    }
    return all;
}

/* What it knows, as bytes, and only what they say: for another client. */
static void go_elsewhere(struct scan *s)
{
    struct buf parts, bytes;
    struct scan_cursor c = {
        .cluster_id =
            s->cluster_id != 0 ? s->cluster_id : client_cluster_id(s->all->clients[s->by]),
        .is_reverse = s->is_reverse,
        .position = cursor_of(s),
    };
    struct scan_part part = {.state = s->version == 0 ? SCAN_PART_FRESH : SCAN_PART_AT,
                             .version = s->version};
    buf_init(&parts, CURSOR_BYTES_MAX);
    buf_init(&bytes, CURSOR_BYTES_MAX);
    scan_part_append(&parts, &part);
    c.parts = buf_slice(&parts);
    scan_cursor_encode(&c, &bytes);
    s->is_reverse = false;
    s->version = s->cursor_len = 0;
    memset(s->cursor, 0xaa, sizeof s->cursor);
    if (scan_cursor_decode(buf_slice(&bytes), &c, NULL) != 0)
        die("a cursor cannot be read");
    struct reader r = reader_of(c.parts);
    s->version = scan_part_next(&r).version;
    s->is_reverse = c.is_reverse;
    s->cluster_id = c.cluster_id;
    s->cursor_len = c.position.len;
    if (c.position.len > 0)
        memcpy(s->cursor, c.position.data, c.position.len);
    s->by = (s->by + 1) % CLIENTS;
    if (s->version != 0)
        ranges_met("scan: gone on elsewhere at a version");
    buf_fini(&parts);
    buf_fini(&bytes);
}

/* A version is asked for: what it must show. */
static void note_least(struct scan *s)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        settle_key(&run.keys[i]);
        s->least[i] = MAX(run.keys[i].acked, run.keys[i].seen);
        s->gone[i] = run.keys[i].gone;
    }
}

static void ask(struct scan *s)
{
    struct rng *rng = &s->all->rng;
    if (rng_below(rng, 4) == 0)
        go_elsewhere(s);
    struct request_scan scan = {.is_reverse = s->is_reverse};
    if (s->version == 0)
        note_least(s);
    if (s->version == 0 || rng_below(rng, 3) == 0) /* else all that the range has */
        scan.limit_keys = 1 + (uint32_t)rng_below(rng, PAGE_KEYS_MAX);
    scan.read.any_replica = rng_below(rng, 3) == 0;
    if (s->version != 0) {
        scan.read.consistency = READ_AT;
        scan.read.at_version = s->version;
    }
    if (s->is_reverse)
        scan.end = cursor_of(s);
    else
        scan.start = cursor_of(s);
    s->op = (struct client_op){
        .data = s,
        .timeout_ms = TIMEOUT_MS,
        .cb = on_page,
        .cluster_id = s->cluster_id,
        .request = {.kind = REQUEST_SCAN, .scan = scan},
    };
    s->is_busy = client_submit(s->all->clients[s->by], &s->op) == 0;
}

void ranges_scan_act(struct ranges_scan *all)
{
    for (size_t i = 0; i < SCANS; i++) {
        struct scan *s = &all->scans[i];
        if (!s->is_busy && sim_now_us(run.rig.sim) >= s->next_us)
            ask(s);
    }
}

void ranges_scan_from(struct ranges_scan *all, uint32_t number)
{
    for (size_t i = 0; i < SCANS; i++) {
        struct scan *s = &all->scans[i];
        if (s->is_busy)
            continue;
        begin(s);
        s->is_reverse = false;
        s->cursor_len = key_stored(number, s->cursor).len;
        ask(s);
    }
}

bool ranges_scan_is_in(const struct ranges_scan *all, struct slice end)
{
    for (size_t i = 0; i < SCANS; i++) {
        const struct scan *s = &all->scans[i];
        if (!s->is_busy && s->version != 0 && !s->is_reverse &&
            slice_compare(cursor_of(s), end) < 0)
            return true;
    }
    return false;
}

void ranges_scan_expect(struct cover *cover)
{
    cover_expect(cover, "scan: a page at a version");
    if (!run.is_grown)
        cover_expect(cover, "scan: a merge ended its version");
    cover_expect(cover, "scan: all keys");
    cover_expect(cover, "scan: stopped in a page");
    cover_expect(cover, "scan: gone on elsewhere at a version");
}

void ranges_scan_free(struct ranges_scan *all)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        env_stop(sim_node_env(all->nodes[i]));
        client_free(all->clients[i]);
    }
    free(all);
}
