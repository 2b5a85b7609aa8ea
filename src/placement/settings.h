/* SPDX-License-Identifier: Apache-2.0
 *
 * settings — what an operator may set of placement, by name. All of them are durable rows
 * of range 1 and act at once.
 */
#ifndef PLACEMENT_SETTINGS_H_
#define PLACEMENT_SETTINGS_H_

#include "base/buf.h"
#include "base/err.h"

enum { SETTINGS_TEXT_MAX = 128 }; /* bytes of a setting that is a text, with its NUL */

struct settings {
    uint64_t replicas;        /* voters that a range should have; odd */
    uint64_t system_replicas; /* … range 1, from five nodes on */
    uint64_t split_bytes;
    uint64_t split_qps;
    uint64_t merge_bytes;    /* both neighbours below */
    uint64_t merge_after_us; /* … for so long; also how long after a split or merge */
    uint64_t store_down_after_us;
    uint64_t retention_us;    /* where a keyspace does not say; 0: as the cluster was founded */
    uint64_t adds_per_store;  /* replicas that come to a store at once */
    uint64_t sends_per_store; /* … and that it sends */
    uint64_t transfers_per_store;
    uint64_t operators_max;
    uint64_t merges_max;       /* at once */
    uint64_t balance_permille; /* of the mean: stores closer to it are left alone */
    bool balance;              /* the schedulers, or only the checkers */
    bool balance_load;
    bool split;
    bool merge;
    bool paused;
    char spread[SETTINGS_TEXT_MAX];  /* labels that tell places apart, the most important first */
    char require[SETTINGS_TEXT_MAX]; /* "disk=ssd": only such stores get replicas; empty: all */
};

/* The defaults. */
void settings_init(struct settings *settings);

/* How many there are; names are a fixed list in a fixed order. */
uint32_t settings_count(void);
const char *settings_name(uint32_t i);
const char *settings_help(uint32_t i);

/* The index of a name; settings_count() if there is none. */
uint32_t settings_find(struct slice name);

/* Append the value of setting `i` in the form that settings_set() takes. */
void settings_get(const struct settings *settings, uint32_t i, struct buf *value);

/* ERR_INVALID says which values it takes; nothing is changed then. */
int settings_set(struct settings *settings, uint32_t i, struct slice value, struct err *err);

#define SETTINGS_RETENTION_MAX_US (UINT64_C(720) * 3600 * 1000000)

/* How long old versions are kept: a duration of 1 s to 720 h, or 0 for "as else". ERR_INVALID
 * says so. */
int settings_parse_retention(struct slice value, uint64_t *ret_us, struct err *err);

#endif
