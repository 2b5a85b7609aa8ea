/* SPDX-License-Identifier: Apache-2.0 */
#include "placement/settings.h"

#include "base/text.h"

enum kind { NUMBER, ODD, SIZE, DURATION, RETENTION, SWITCH, SPREAD, REQUIRE };

struct row {
    const char *name;
    enum kind kind;
    size_t at; /* in struct settings */
    uint64_t min;
    uint64_t max;
    const char *help;
};

#define AT(m) offsetof(struct settings, m)
#define HOUR_US UINT64_C(3600000000)
#define RETENTION_MIN_US UINT64_C(1000000)

static const struct row rows[] = {
    {"replicas", ODD, AT(replicas), 1, 7, "copies of a range"},
    {"system-replicas", ODD, AT(system_replicas), 1, 7, "copies of range 1, from five nodes on"},
    {"split-bytes", SIZE, AT(split_bytes), 1 << 10, UINT64_C(1) << 40,
     "a range that grows beyond is split"},
    {"split-qps", NUMBER, AT(split_qps), 1, 1000000000,
     "a range asked more often a second is split"},
    {"merge-bytes", SIZE, AT(merge_bytes), 0, UINT64_C(1) << 40,
     "neighbours that both are smaller are merged"},
    {"merge-after", DURATION, AT(merge_after_us), 0, 24 * HOUR_US,
     "how long both must be small, and how long after a split or merge the other may come"},
    {"store-down-after", DURATION, AT(store_down_after_us), 5000000, 24 * 30 * HOUR_US,
     "a store silent for so long is down: its replicas are rebuilt elsewhere"},
    {"retention", RETENTION, AT(retention_us), 0, 0,
     "how long old versions are kept where a keyspace does not say; 0: as when the cluster was "
     "founded"},
    {"adds-per-store", NUMBER, AT(adds_per_store), 1, 1000,
     "replicas that come to a store at once"},
    {"sends-per-store", NUMBER, AT(sends_per_store), 1, 1000,
     "replicas that a store sends to others at once"},
    {"transfers-per-store", NUMBER, AT(transfers_per_store), 1, 1000,
     "leaders that leave or come to a store at once"},
    {"operators-max", NUMBER, AT(operators_max), 1, 4096, "operators that run at once"},
    {"merges-max", NUMBER, AT(merges_max), 0, 1000, "merges that run at once"},
    {"balance-permille", NUMBER, AT(balance_permille), 1, 500,
     "stores that are closer to the mean are left alone"},
    {"balance", SWITCH, AT(balance), 0, 0, "move replicas and leaders to balance stores"},
    {"balance-load", SWITCH, AT(balance_load), 0, 0, "… to balance requests and bytes written"},
    {"split", SWITCH, AT(split), 0, 0, "split ranges that are large or hot"},
    {"merge", SWITCH, AT(merge), 0, 0, "merge neighbours that are small and cold"},
    {"paused", SWITCH, AT(paused), 0, 0, "begin nothing but what is commanded"},
    {"spread", SPREAD, AT(spread), 0, 0,
     "labels of stores that tell places apart, the most important first"},
    {"require", REQUIRE, AT(require), 0, 0, "a label that stores must have to get replicas"},
};

void settings_init(struct settings *s)
{
    *s = (struct settings){
        .replicas = 3,
        .system_replicas = 5,
        .split_bytes = 96 << 20,
        .split_qps = 25000,
        .merge_bytes = 20 << 20,
        .merge_after_us = UINT64_C(600000000),
        .store_down_after_us = UINT64_C(600000000),
        .adds_per_store = 2,
        .sends_per_store = 2,
        .transfers_per_store = 8,
        .operators_max = 1024,
        .merges_max = 4,
        .balance_permille = 20,
        .balance = true,
        .balance_load = true,
        .split = true,
        .merge = true,
        .spread = "zone,rack,host",
    };
}

uint32_t settings_count(void)
{
    return ARRAY_LEN(rows);
}

const char *settings_name(uint32_t i)
{
    ASSERT(i < ARRAY_LEN(rows));
    return rows[i].name;
}

const char *settings_help(uint32_t i)
{
    ASSERT(i < ARRAY_LEN(rows));
    return rows[i].help;
}

uint32_t settings_find(struct slice name)
{
    uint32_t i = 0;
    while (i < ARRAY_LEN(rows) && !slice_equal(slice_str(rows[i].name), name))
        i++;
    return i;
}

static uint64_t number_at(const struct settings *s, const struct row *row)
{
    uint64_t v;
    memcpy(&v, (const char *)s + row->at, sizeof v);
    return v;
}

void settings_get(const struct settings *s, uint32_t i, struct buf *value)
{
    ASSERT(i < ARRAY_LEN(rows));
    const struct row *row = &rows[i];
    bool is_on;
    switch (row->kind) {
    case NUMBER:
    case ODD:
        buf_printf(value, "%llu", (unsigned long long)number_at(s, row));
        break;
    case SIZE:
        text_append_size(value, number_at(s, row));
        break;
    case DURATION:
    case RETENTION:
        text_append_duration(value, number_at(s, row));
        break;
    case SWITCH:
        memcpy(&is_on, (const char *)s + row->at, sizeof is_on);
        buf_append_str(value, is_on ? "on" : "off");
        break;
    case SPREAD:
    case REQUIRE:
        buf_append_str(value, (const char *)s + row->at);
        break;
    }
}

static int set_number(struct settings *s, const struct row *row, struct slice value,
                      struct err *err)
{
    uint64_t v = 0;
    int rv = row->kind == SIZE       ? text_parse_size(value, &v)
             : row->kind == DURATION ? text_parse_duration(value, &v)
                                     : text_parse_u64(value, &v);
    bool is_fine = rv == 0 && v >= row->min && v <= row->max && (row->kind != ODD || v % 2 == 1);
    if (!is_fine) {
        struct buf text;
        buf_init(&text, 256);
        struct settings limit = *s;
        memcpy((char *)&limit + row->at, &row->min, sizeof row->min);
        settings_get(&limit, (uint32_t)(row - rows), &text);
        buf_append_str(&text, " to ");
        memcpy((char *)&limit + row->at, &row->max, sizeof row->max);
        settings_get(&limit, (uint32_t)(row - rows), &text);
        err_set(err, ERR_INVALID, "%s takes %s from %.*s", row->name,
                row->kind == ODD        ? "an odd number"
                : row->kind == SIZE     ? "a size (64MiB)"
                : row->kind == DURATION ? "a duration (10m)"
                                        : "a number",
                (int)text.len, (const char *)text.data);
        buf_fini(&text);
        return ERR_INVALID;
    }
    memcpy((char *)s + row->at, &v, sizeof v);
    return 0;
}

static bool is_label_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static int set_text(struct settings *s, const struct row *row, struct slice value, struct err *err)
{
    char *out = (char *)s + row->at;
    uint32_t equals = 0;
    bool is_bad = value.len >= SETTINGS_TEXT_MAX;
    for (size_t i = 0; i < value.len && !is_bad; i++) {
        uint8_t c = value.data[i];
        equals += c == '=';
        is_bad = !is_label_char(c) && c != (row->kind == SPREAD ? ',' : '=');
    }
    if (is_bad || (row->kind == REQUIRE && value.len > 0 && equals != 1))
        return err_set(err, ERR_INVALID, "%s takes %s", row->name,
                       row->kind == SPREAD ? "names of labels, as zone,rack,host"
                                           : "one label, as disk=ssd, or nothing");
    if (value.len > 0)
        memcpy(out, value.data, value.len);
    out[value.len] = 0;
    return 0;
}

int settings_parse_retention(struct slice value, uint64_t *ret_us, struct err *err)
{
    uint64_t us = 0;
    int rv = text_parse_duration(value, &us);
    if (rv != 0 || (us > 0 && us < RETENTION_MIN_US) || us > SETTINGS_RETENTION_MAX_US)
        return err_set(
            err, ERR_INVALID,
            "retention takes a duration (10m) from 1s to 720h, or 0 for what else holds");
    *ret_us = us;
    return 0;
}

int settings_set(struct settings *s, uint32_t i, struct slice value, struct err *err)
{
    ASSERT(i < ARRAY_LEN(rows));
    const struct row *row = &rows[i];
    if (row->kind == SPREAD || row->kind == REQUIRE)
        return set_text(s, row, value, err);
    if (row->kind == RETENTION)
        return settings_parse_retention(value, (uint64_t *)((char *)s + row->at), err);
    if (row->kind != SWITCH)
        return set_number(s, row, value, err);
    bool is_on = slice_equal(value, slice_str("on")) || slice_equal(value, slice_str("true"));
    bool is_off = slice_equal(value, slice_str("off")) || slice_equal(value, slice_str("false"));
    if (!is_on && !is_off)
        return err_set(err, ERR_INVALID, "%s is on or off", row->name);
    memcpy((char *)s + row->at, &is_on, sizeof is_on);
    return 0;
}
