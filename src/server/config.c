/* SPDX-License-Identifier: Apache-2.0
 *
 * One table says everything about a key: where it lives, its kind, bounds,
 * default and one line for people. File, flags, --help and --check-config all
 * read that table.
 */
#include "server/config.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/args.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"
#include "placement/placement.h"

enum key_kind {
    KEY_TEXT,
    KEY_ADDRESS,
    KEY_JOIN,
    KEY_LABELS,
    KEY_NUMBER,
    KEY_STORES, /* a number, or CORES for 0 */
    KEY_SIZE,
    KEY_DURATION,
    KEY_SWITCH,
    KEY_LEVEL,
    KEY_FORMAT,
};

struct key_row {
    const char *name;
    enum key_kind kind;
    uint32_t offset; /* in struct config */
    uint32_t size;   /* KEY_TEXT, KEY_ADDRESS, KEY_LABELS: of the array */
    uint64_t min;
    uint64_t max;
    uint64_t value; /* default */
    const char *help;
};

#define AT(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define MS UINT64_C(1000)
#define SEC (1000 * MS)

#define LISTEN_DEFAULT "127.0.0.1:4101"
#define CORES "cores"

static const struct key_row rows[] = {
    {"data_dir", KEY_TEXT, AT(data_dir), 0, 0, 0, "folder of log and engine (required)"},
    {"listen", KEY_ADDRESS, AT(listen), 0, 0, 0,
     "host:port for peers and clients; port 0 takes a free one; default: " LISTEN_DEFAULT},
    {"advertise", KEY_ADDRESS, AT(advertise), 0, 0, 0,
     "host:port that others use; default: as in listen"},
    {"join", KEY_JOIN, AT(join), 0, 0, 0,
     "stores of the cluster that a new folder joins: host:port, host:port, …; without it, a "
     "new folder founds a cluster"},
    {"labels", KEY_LABELS, AT(labels), 0, 0, 0, "where it stands, for placement: zone=a,rack=2"},
    {"cluster_secret_file", KEY_TEXT, AT(cluster_secret_file), 0, 0, 0,
     "file with the secret that peers prove; without one, peers come from loopback only"},
    {"stores", KEY_STORES, AT(stores), 1, 64, 1,
     "in this process, a thread each: store K listens on port + 100 x (K - 1) and is in "
     "data_dir/store-K; all sizes are those of each store. '" CORES "': one for each core that "
     "the process may use, and no fewer than data_dir has"},

    {"memtable_bytes", KEY_SIZE, AT(memtable_bytes), 16 * KIB, GIB, 64 * MIB,
     "writes in memory before a flush to disk"},
    {"memtables_max", KEY_NUMBER, AT(memtables_max), 1, 16, 4,
     "full memtables that may wait for their flush"},
    {"block_cache_bytes", KEY_SIZE, AT(block_cache_bytes), MIB, TIB, 64 * MIB,
     "cache of table blocks, filters and indexes"},
    {"large_value_bytes", KEY_SIZE, AT(large_value_bytes), 0, GIB, 4 * KIB,
     "values from this size on stand in value files beside the tables; 0: none"},
    {"table_bytes", KEY_SIZE, AT(table_bytes), 16 * KIB, GIB, 64 * MIB, "size of a table file"},
    {"level_base_bytes", KEY_SIZE, AT(level_base_bytes), 64 * KIB, TIB, 256 * MIB,
     "size of the first level below L0"},
    {"log_segment_bytes", KEY_SIZE, AT(log_segment_bytes), 64 * KIB, GIB, 64 * MIB,
     "size of a log segment"},
    {"log_budget_bytes", KEY_SIZE, AT(log_budget_bytes), 256 * KIB, TIB, GIB,
     "log on disk; beyond it memtables are flushed early"},
    {"log_cache_bytes", KEY_SIZE, AT(log_cache_bytes), 64 * KIB, TIB, 64 * MIB,
     "recent log entries kept in memory"},
    {"check_bytes_per_s", KEY_SIZE, AT(check_bytes_per_s), 64 * KIB, TIB, 256 * MIB,
     "what 'holdfast range check' reads in a second at most, of each store"},
    {"snapshot_bytes_per_s", KEY_SIZE, AT(snapshot_bytes_per_s), 256 * KIB, TIB, 64 * MIB,
     "that a store sends at most, and takes in, for moves and repair; less while writes suffer"},
    {"compaction_bytes_per_s", KEY_SIZE, AT(compaction_bytes_per_s), 0, TIB, 0,
     "that compaction reads at most, while it keeps up; 0: no limit but its own, 16 MiB, while it "
     "is hardly behind"},
    {"compaction_threads", KEY_NUMBER, AT(compaction_threads), 1, 16, 1,
     "that work at one compaction side by side"},
    {"scrub_bytes_per_s", KEY_SIZE, AT(scrub_bytes_per_s), 0, GIB, 4 * MIB,
     "of table files that are checked for damage in the background; 0: none"},
    {"read_threads", KEY_NUMBER, AT(read_threads), 1, 64, 2, "threads for reads from disk"},

    {"election_timeout", KEY_DURATION, AT(election_timeout_us), 50 * MS, 600 * SEC, 600 * MS,
     "silence of a leader after which others stand for election"},
    {"heartbeat", KEY_DURATION, AT(heartbeat_us), 5 * MS, 60 * SEC, 60 * MS,
     "a leader's sign of life; at most half of election_timeout"},
    {"hibernate_after", KEY_DURATION, AT(hibernate_after_us), 0, 3600 * SEC, 2 * SEC,
     "a range without work for so long sleeps until there is some; 0: never"},
    {"max_clock_offset", KEY_DURATION, AT(max_clock_offset_us), 10 * MS, 3600 * SEC, 10 * SEC,
     "a clock further from the majority's refuses to lead"},
    {"lease_reads", KEY_SWITCH, AT(lease_reads), 0, 0, 0,
     "serve lease reads: a leader answers without asking, as long as clocks run alike"},
    {"max_clock_drift", KEY_NUMBER, AT(max_clock_drift_ppm), 0, 200000, 500,
     "by which a clock may run fast or slow, in parts per million; lease_reads rests on it"},

    {"retention", KEY_DURATION, AT(retention_us), SEC, 30 * 24 * 3600 * SEC, 600 * SEC,
     "how long old versions can be read, and changes be watched, in a cluster that this store "
     "founds, where neither a keyspace nor the setting 'retention' says otherwise"},
    {"key_bytes_max", KEY_SIZE, AT(key_bytes_max), 1, 4096, 4096, "longest key"},
    {"value_bytes_max", KEY_SIZE, AT(value_bytes_max), 1, 8 * MIB, 8 * MIB, "longest value"},
    {"batch_bytes_max", KEY_SIZE, AT(batch_bytes_max), KIB, 16 * MIB, 16 * MIB, "largest batch"},
    {"batch_ops_max", KEY_NUMBER, AT(batch_ops_max), 1, 10000, 10000, "operations in a batch"},
    {"scan_page_bytes", KEY_SIZE, AT(scan_page_bytes), KIB, 4 * MIB, 4 * MIB, "one page of a scan"},
    {"connections_max", KEY_NUMBER, AT(connections_max), 1, 1000000, 16384,
     "clients connected at a time; other stores are let in beyond it"},
    {"client_requests_max", KEY_NUMBER, AT(client_requests_max), 1, 1000000, 4096,
     "requests in flight on one connection, without watches that wait; then it is not read"},
    {"client_queue_bytes", KEY_SIZE, AT(client_queue_bytes), 64 * KIB, GIB, 32 * MIB,
     "answers waiting for one client to read; then it is not read"},
    {"requests_max", KEY_NUMBER, AT(requests_max), 16, 1000000, 65536,
     "requests of all clients in flight; then they hear BUSY"},
    {"requests_bytes_max", KEY_SIZE, AT(requests_bytes_max), MIB, TIB, 256 * MIB,
     "bytes of all requests in flight; then clients hear BUSY"},
    {"slow_request", KEY_DURATION, AT(slow_request_us), 0, 3600 * SEC, 500 * MS,
     "reads and writes that take so long are logged with their trace id, ten a second at most; "
     "0: none"},
    {"client_stall", KEY_DURATION, AT(client_stall_us), 100 * MS, 3600 * SEC, 30 * SEC,
     "a client that leaves answers unread for so long is closed"},

    {"disk_low_bytes", KEY_SIZE, AT(disk_low_bytes), 0, TIB, 2 * GIB,
     "free space below which no new replica is taken"},
    {"disk_full_bytes", KEY_SIZE, AT(disk_full_bytes), 0, TIB, GIB,
     "free space below which puts are refused, deletes go on"},
    {"disk_reserve_bytes", KEY_SIZE, AT(disk_reserve_bytes), 0, TIB, 256 * MIB,
     "free space below which nothing is written"},

    {"log_level", KEY_LEVEL, AT(log_level), 0, 0, LOG_LEVEL_INFO,
     "debug, info, warn, error or off"},
    {"log_format", KEY_FORMAT, AT(log_format), 0, 0, CONFIG_LOG_TEXT, "text or json"},
    {"wait", KEY_DURATION, AT(wait_us), 0, 600 * SEC, 0,
     "at start: how long a locked folder or a taken port is tried again"},
    {"stop", KEY_DURATION, AT(stop_us), 0, 600 * SEC, 10 * SEC,
     "at SIGTERM: how long handing over and flushing may take"},
};
_Static_assert(ARRAY_LEN(rows) <= CONFIG_KEYS_MAX, "room for a flag of each key");
_Static_assert(ARRAY_LEN(rows) <= 64, "a bit for each key of a file");

static const char *const format_names[] = {"text", "json"};

static void *row_field(const struct key_row *row, struct config *config)
{
    return (uint8_t *)config + row->offset;
}

static const void *row_value(const struct key_row *row, const struct config *config)
{
    return (const uint8_t *)config + row->offset;
}

static bool row_is_number(const struct key_row *row)
{
    return row->kind == KEY_NUMBER || row->kind == KEY_STORES || row->kind == KEY_SIZE ||
           row->kind == KEY_DURATION;
}

void config_init(struct config *config)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (row_is_number(&rows[i]))
            *(uint64_t *)row_field(&rows[i], config) = rows[i].value;
    }
    config->log_level = LOG_LEVEL_INFO;
    config->log_format = CONFIG_LOG_TEXT;
}

/* ---- one value ----------------------------------------------------------- */

/* Would a file that says it be read as it? A flag may say more than a line can. */
static bool is_sayable(struct slice value)
{
    uint8_t before = ' ';
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c < ' ' || c == 0x7f || (before == ' ' && (c == '#' || (c == ' ' && i == 0))))
            return false;
        before = c;
    }
    return value.len == 0 || before != ' ';
}

static int set_text(char *field, size_t size, struct slice value, struct err *err)
{
    if (value.len >= size)
        return err_set(err, ERR_INVALID, "longer than %zu bytes", size - 1);
    if (!is_sayable(value))
        return err_set(err, ERR_INVALID,
                       "a '#' in front or behind a blank, a blank at an end or a "
                       "control character cannot stand in a file");
    memcpy(field, value.data, value.len);
    field[value.len] = 0;
    return 0;
}

/* "host:port" or "[v6]:port": the shape only; whether the host exists is for the
 * world to say. */
static int check_address(struct slice text, uint64_t port_min, struct err *err)
{
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    uint64_t port;
    if (colon < 2 || text_parse_u64(slice_of(text.data + colon, text.len - colon), &port) != 0 ||
        port < port_min || port > 65535)
        return err_set(err, ERR_INVALID, "'%.*s' is no host:port", (int)text.len,
                       (const char *)text.data);
    struct slice host = slice_of(text.data, colon - 1);
    bool is_bracketed = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.data[i];
        if (c <= ' ' || c == 0x7f || c == ',' || c == '=' || (c == ':' && !is_bracketed))
            return err_set(err, ERR_INVALID, "'%.*s' is no host:port (IPv6 stands in [ ])",
                           (int)text.len, (const char *)text.data);
    }
    return 0;
}

static int set_address(char *field, size_t size, struct slice value, struct err *err)
{
    int rv = check_address(value, 0, err);
    return rv != 0 ? rv : set_text(field, size, value, err);
}

static int set_labels(char *field, size_t size, struct slice value, struct err *err)
{
    int rv = placement_labels_check(value, err);
    return rv != 0 ? rv : set_text(field, size, value, err);
}

/* Cut `rest` at the first `c`: what stands before it, trimmed; `rest` moves on. */
static struct slice cut_at(struct slice *rest, uint8_t c)
{
    const uint8_t *at = rest->len == 0 ? NULL : memchr(rest->data, c, rest->len);
    size_t len = at == NULL ? rest->len : (size_t)(at - rest->data);
    struct slice head = slice_of(rest->data, len);
    size_t gone = at == NULL ? len : len + 1;
    *rest = slice_of(rest->data + gone, rest->len - gone);
    return text_trim(head);
}

static int set_join(struct config *config, struct slice value, struct err *err)
{
    char join[CONFIG_JOIN_MAX][CONFIG_ADDRESS_MAX];
    uint32_t count = 0;
    memset(join, 0, sizeof join);
    while (value.len > 0) {
        struct slice item = cut_at(&value, ',');
        if (count == CONFIG_JOIN_MAX)
            return err_set(err, ERR_INVALID, "over %d addresses", CONFIG_JOIN_MAX);
        int rv = check_address(item, 1, err);
        if (rv == 0)
            rv = set_text(join[count], sizeof join[count], item, err);
        if (rv != 0)
            return rv;
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(join[i], join[count]) == 0)
                return err_set(err, ERR_INVALID, "address %s is named twice", join[i]);
        }
        count++;
    }
    memcpy(config->join, join, sizeof join);
    config->join_count = count;
    return 0;
}

static void print_number(const struct key_row *row, uint64_t value, struct buf *buf)
{
    if (row->kind == KEY_SIZE)
        text_append_size(buf, value);
    else if (row->kind == KEY_DURATION)
        text_append_duration(buf, value);
    else if (row->kind == KEY_STORES && value == CONFIG_STORES_CORES)
        buf_append_str(buf, CORES);
    else
        buf_printf(buf, "%" PRIu64, value);
}

static int number_out_of_bounds(const struct key_row *row, struct err *err)
{
    struct buf text;
    buf_init(&text, 128);
    print_number(row, row->min, &text);
    buf_append_str(&text, " to ");
    print_number(row, row->max, &text);
    int rv = err_set(err, ERR_INVALID, "must be %.*s", (int)text.len, (const char *)text.data);
    buf_fini(&text);
    return rv;
}

static int set_number(const struct key_row *row, struct config *config, struct slice value,
                      struct err *err)
{
    static const char *const wanted[] = {
        [KEY_NUMBER] = "number",
        [KEY_STORES] = "number, and not '" CORES "'",
        [KEY_SIZE] = "size such as 64MiB",
        [KEY_DURATION] = "duration such as 10ms",
    };
    uint64_t number;
    int rv = row->kind == KEY_SIZE       ? text_parse_size(value, &number)
             : row->kind == KEY_DURATION ? text_parse_duration(value, &number)
                                         : text_parse_u64(value, &number);
    if (rv != 0)
        return err_set(err, ERR_INVALID, "'%.*s' is no %s", (int)value.len,
                       (const char *)value.data, wanted[row->kind]);
    if (number < row->min || number > row->max)
        return number_out_of_bounds(row, err);
    *(uint64_t *)row_field(row, config) = number;
    return 0;
}

static int set_stores(const struct key_row *row, struct config *config, struct slice value,
                      struct err *err)
{
    if (!slice_equal(value, slice_str(CORES)))
        return set_number(row, config, value, err);
    *(uint64_t *)row_field(row, config) = CONFIG_STORES_CORES;
    return 0;
}

static int set_switch(const struct key_row *row, struct config *config, struct slice value,
                      struct err *err)
{
    bool is_on = slice_equal(value, slice_str("on"));
    if (!is_on && !slice_equal(value, slice_str("off")))
        return err_set(err, ERR_INVALID, "must be on or off");
    *(bool *)row_field(row, config) = is_on;
    return 0;
}

static int set_level(struct config *config, struct slice value, struct err *err)
{
    char text[16] = "";
    if (value.len < sizeof text)
        memcpy(text, value.data, value.len);
    if (log_level_parse(text, &config->log_level) != 0)
        return err_set(err, ERR_INVALID, "must be debug, info, warn, error or off");
    return 0;
}

static int set_format(struct config *config, struct slice value, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++) {
        if (slice_equal(value, slice_str(format_names[i]))) {
            config->log_format = (enum config_log_format)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "must be text or json");
}

static int row_set(const struct key_row *row, struct config *config, struct slice value,
                   struct err *err)
{
    if (value.len == 0)
        return err_set(err, ERR_INVALID, "has no value");
    switch (row->kind) {
    case KEY_TEXT:
        return set_text(row_field(row, config), row->size, value, err);
    case KEY_ADDRESS:
        return set_address(row_field(row, config), row->size, value, err);
    case KEY_LABELS:
        return set_labels(row_field(row, config), row->size, value, err);
    case KEY_JOIN:
        return set_join(config, value, err);
    case KEY_NUMBER:
    case KEY_SIZE:
    case KEY_DURATION:
        return set_number(row, config, value, err);
    case KEY_STORES:
        return set_stores(row, config, value, err);
    case KEY_SWITCH:
        return set_switch(row, config, value, err);
    case KEY_LEVEL:
        return set_level(config, value, err);
    case KEY_FORMAT:
        return set_format(config, value, err);
    }
    ASSERT(false);
    return ERR_INVALID;
}

/* ---- keys ---------------------------------------------------------------- */

enum { NAME_LEN_MAX = 32 };

static size_t edit_distance(const char *a, struct slice b)
{
    size_t above[NAME_LEN_MAX + 1];
    size_t len = strlen(a);
    ASSERT(len <= NAME_LEN_MAX);
    for (size_t i = 0; i <= len; i++)
        above[i] = i;
    for (size_t k = 0; k < b.len; k++) {
        size_t diagonal = above[0]++;
        for (size_t i = 0; i < len; i++) {
            size_t best = diagonal + (a[i] != (char)b.data[k]);
            diagonal = above[i + 1];
            best = MIN(best, MIN(above[i], diagonal) + 1);
            above[i + 1] = best;
        }
    }
    return above[len];
}

/* Keys of earlier versions, and what to do instead. */
static const struct {
    const char *name;
    const char *instead;
} gone_keys[] = {
    {"store_id",
     "a store gets its id from the cluster that it founds or joins: take this line out"},
    {"members", "there is no list of members any more: take this line out. The first node founds "
                "the cluster; give the others 'join = host:port' of any that runs"},
};

static int unknown_key(struct slice key, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(gone_keys); i++) {
        if (slice_equal(key, slice_str(gone_keys[i].name)))
            return err_set(err, ERR_INVALID, "%s: %s", gone_keys[i].name, gone_keys[i].instead);
    }
    const char *nearest = NULL;
    size_t least = 4;
    for (size_t i = 0; key.len <= NAME_LEN_MAX && i < ARRAY_LEN(rows); i++) {
        size_t distance = edit_distance(rows[i].name, key);
        if (distance < least) {
            least = distance;
            nearest = rows[i].name;
        }
    }
    int shown = (int)MIN(key.len, (size_t)NAME_LEN_MAX);
    if (nearest == NULL)
        return err_set(err, ERR_INVALID, "unknown key '%.*s'", shown, (const char *)key.data);
    return err_set(err, ERR_INVALID, "unknown key '%.*s' (did you mean '%s'?)", shown,
                   (const char *)key.data, nearest);
}

static const struct key_row *find_row(struct slice key)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (slice_equal(key, slice_str(rows[i].name)))
            return &rows[i];
    }
    return NULL;
}

int config_set(struct config *config, struct slice key, struct slice value, struct err *err)
{
    const struct key_row *row = find_row(key);
    if (row == NULL)
        return unknown_key(key, err);
    int rv = row_set(row, config, value, err);
    return rv == 0 ? 0 : err_wrap(err, rv, "%s", row->name);
}

/* ---- the file ------------------------------------------------------------ */

/* Without its comment and the blanks around. */
static struct slice bare_line(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        bool is_after_blank = i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t';
        if (line.data[i] == '#' && is_after_blank)
            line.len = i;
    }
    return text_trim(line);
}

static int parse_line(struct config *config, struct slice line, uint64_t *seen, struct err *err)
{
    if (line.data[0] == '[')
        return err_set(err, ERR_INVALID, "sections are not used: one flat list of keys");
    if (memchr(line.data, '=', line.len) == NULL)
        return err_set(err, ERR_INVALID, "no 'key = value'");
    struct slice value = line;
    struct slice key = cut_at(&value, '=');
    const struct key_row *row = find_row(key);
    if (row != NULL && (*seen & UINT64_C(1) << (row - rows)) != 0)
        return err_set(err, ERR_INVALID, "%s is given a second time", row->name);
    int rv = config_set(config, key, text_trim(value), err);
    if (rv == 0)
        *seen |= UINT64_C(1) << (row - rows);
    return rv;
}

int config_parse(struct config *config, struct slice text, const char *name, struct err *err)
{
    if (text.len > CONFIG_TEXT_MAX)
        return err_set(err, ERR_INVALID, "%s: over %d bytes", name, CONFIG_TEXT_MAX);
    struct config next = *config;
    uint64_t seen = 0;
    for (unsigned number = 1; text.len > 0; number++) {
        struct slice raw = text;
        struct slice line = bare_line(cut_at(&raw, '\n'));
        text = raw;
        if (line.len == 0)
            continue;
        int rv = text_is_utf8(line) && memchr(line.data, 0, line.len) == NULL
                     ? parse_line(&next, line, &seen, err)
                     : err_set(err, ERR_INVALID, "bytes that are no text");
        if (rv != 0)
            return err_wrap(err, rv, "%s:%u", name, number);
    }
    *config = next;
    return 0;
}

/* ---- what belongs together ------------------------------------------------ */

static bool address_is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost:", 10) == 0 ||
           strncmp(address, "[::1]:", 6) == 0;
}

static int finish_join(const struct config *config, struct err *err)
{
    if (config->cluster_secret_file[0] != 0)
        return 0;
    for (uint32_t i = 0; i < config->join_count; i++) {
        if (!address_is_loopback(config->join[i]))
            return err_set(err, ERR_INVALID,
                           "cluster_secret_file: is needed, because %s is not on loopback",
                           config->join[i]);
    }
    return 0;
}

/* What others shall dial. */
static int finish_addresses(struct config *config, struct err *err)
{
    if (config->listen[0] == 0)
        memcpy(config->listen, LISTEN_DEFAULT, sizeof LISTEN_DEFAULT);
    bool is_any =
        strncmp(config->listen, "0.0.0.0:", 8) == 0 || strncmp(config->listen, "[::]:", 5) == 0;
    if (is_any && config->advertise[0] == 0)
        return err_set(err, ERR_INVALID, "advertise: is needed, because others cannot dial %s",
                       config->listen);
    return 0;
}

static int finish_bounds(const struct config *c, struct err *err)
{
    if (c->heartbeat_us > c->election_timeout_us / 2)
        return err_set(err, ERR_INVALID, "heartbeat: must be at most half of election_timeout");
    if (c->log_budget_bytes / 4 < c->log_segment_bytes)
        return err_set(err, ERR_INVALID, "log_budget_bytes: must be at least 4 log_segment_bytes");
    if (c->batch_bytes_max < c->value_bytes_max)
        return err_set(err, ERR_INVALID, "batch_bytes_max: must be at least value_bytes_max");
    if (c->requests_bytes_max < c->batch_bytes_max)
        return err_set(err, ERR_INVALID, "requests_bytes_max: must be at least batch_bytes_max");
    if (c->disk_low_bytes < c->disk_full_bytes || c->disk_full_bytes < c->disk_reserve_bytes)
        return err_set(err, ERR_INVALID,
                       "disk_low_bytes >= disk_full_bytes >= disk_reserve_bytes must hold");
    return 0;
}

int config_finish(struct config *config, struct err *err)
{
    if (config->data_dir[0] == 0)
        return err_set(err, ERR_INVALID, "data_dir: is required");
    int rv = finish_addresses(config, err);
    if (rv == 0)
        rv = finish_join(config, err);
    if (rv == 0)
        rv = finish_bounds(config, err);
    return rv;
}

/* ---- printing ------------------------------------------------------------- */

static void print_join(const struct config *config, struct buf *buf)
{
    for (uint32_t i = 0; i < config->join_count; i++)
        buf_printf(buf, "%s%s", i > 0 ? ", " : "", config->join[i]);
}

static bool row_is_empty(const struct key_row *row, const struct config *config)
{
    if (row->kind == KEY_JOIN)
        return config->join_count == 0;
    if (row->kind == KEY_TEXT || row->kind == KEY_ADDRESS || row->kind == KEY_LABELS)
        return *(const char *)row_value(row, config) == 0;
    return false;
}

static void print_row(const struct key_row *row, const struct config *config, struct buf *buf)
{
    buf_printf(buf, "# %s\n", row->help);
    if (row_is_empty(row, config)) {
        buf_printf(buf, "# %s =\n\n", row->name);
        return;
    }
    buf_printf(buf, "%s = ", row->name);
    if (row_is_number(row))
        print_number(row, *(const uint64_t *)row_value(row, config), buf);
    else if (row->kind == KEY_SWITCH)
        buf_append_str(buf, *(const bool *)row_value(row, config) ? "on" : "off");
    else if (row->kind == KEY_JOIN)
        print_join(config, buf);
    else if (row->kind == KEY_LEVEL)
        buf_append_str(buf, log_level_name(config->log_level));
    else if (row->kind == KEY_FORMAT)
        buf_append_str(buf, format_names[config->log_format]);
    else
        buf_append_str(buf, row_value(row, config));
    buf_append_str(buf, "\n\n");
}

void config_print(const struct config *config, struct buf *buf)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_row(&rows[i], config, buf);
}

/* ---- the command line ------------------------------------------------------ */

enum { FLAGS_MAX = CONFIG_KEYS_MAX + 5 };

struct flag_table {
    char names[CONFIG_KEYS_MAX][NAME_LEN_MAX + 1];
    struct args_flag flags[FLAGS_MAX];
    size_t count;
};

static void flag_name(const char *key, char ret_name[NAME_LEN_MAX + 1])
{
    int n = snprintf(ret_name, NAME_LEN_MAX + 1, "%s", key);
    ASSERT(n > 0 && n <= NAME_LEN_MAX);
    for (char *p = ret_name; *p != 0; p++) {
        if (*p == '_')
            *p = '-';
    }
}

static const char *flag_metavar(const struct key_row *row)
{
    static const char *const names[] = {
        [KEY_TEXT] = "PATH",       [KEY_ADDRESS] = "HOST:PORT", [KEY_JOIN] = "LIST",
        [KEY_NUMBER] = "N",        [KEY_SIZE] = "SIZE",         [KEY_DURATION] = "TIME",
        [KEY_LEVEL] = "LEVEL",     [KEY_FORMAT] = "FORMAT",     [KEY_SWITCH] = "on|off",
        [KEY_STORES] = "N|" CORES, [KEY_LABELS] = "LABELS",
    };
    return names[row->kind];
}

static void flags_fill(struct flag_table *table, struct config_command *command)
{
    const struct args_flag own[] = {
        {"config", 'c', ARGS_TEXT, &command->file, NULL, "FILE", "read this file first"},
        {"check-config", 0, ARGS_SWITCH, &command->is_check, NULL, NULL,
         "print the effective configuration and exit"},
        {"recover", 0, ARGS_TEXT, &command->recover, NULL, "STORE,…",
         "unsafe recovery: these stores are lost for good; see holdfast range recover"},
        {"plan", 0, ARGS_SWITCH, &command->is_plan, NULL, NULL,
         "with --recover: say what would be done, and change nothing"},
        {"help", 'h', ARGS_SWITCH, &command->is_help, NULL, NULL, "this text"},
        {"version", 0, ARGS_SWITCH, &command->is_version, NULL, NULL, "print the version"},
    };
    memcpy(table->flags, own, sizeof own);
    table->count = ARRAY_LEN(own);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        flag_name(rows[i].name, table->names[i]);
        ASSERT(table->count < FLAGS_MAX);
        table->flags[table->count++] = (struct args_flag){
            table->names[i],        0,           ARGS_TEXT, &command->values[i], NULL,
            flag_metavar(&rows[i]), rows[i].help};
        if (strcmp(rows[i].name, "data_dir") == 0)
            table->flags[table->count++] = (struct args_flag){"data",
                                                              'd',
                                                              ARGS_TEXT,
                                                              &command->values[i],
                                                              NULL,
                                                              "PATH",
                                                              "the same as --data-dir"};
    }
}

int config_command_parse(struct config_command *ret_command, int argc, const char *const *argv,
                         struct err *err)
{
    struct config_command command = {0};
    struct flag_table table;
    size_t words;
    flags_fill(&table, &command);
    int rv = args_parse(table.flags, table.count, argc, argv, NULL, 0, &words, err);
    if (rv != 0)
        return rv;
    *ret_command = command;
    return 0;
}

int config_parse_lost(const char *text, uint64_t *ids, size_t max, size_t *ret_count,
                      struct err *err)
{
    const char *at = text;
    size_t count = 0;
    for (;;) {
        uint64_t id = 0;
        size_t digits = 0;
        for (; *at >= '0' && *at <= '9' && digits < 18; at++, digits++)
            id = id * 10 + (uint64_t)(*at - '0');
        if (digits == 0 || id == 0 || (*at != ',' && *at != 0))
            return err_set(err, ERR_INVALID, "--recover: '%s' are no store ids like 2,3", text);
        if (count == max)
            return err_set(err, ERR_INVALID, "--recover: more than %zu stores", max);
        ids[count++] = id;
        if (*at++ == 0)
            break;
    }
    *ret_count = count;
    return 0;
}

int config_apply(struct config *config, const struct config_command *command, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (command->values[i] == NULL)
            continue;
        int rv = config_set(config, slice_str(rows[i].name), slice_str(command->values[i]), err);
        if (rv != 0)
            return err_wrap(err, rv, "command line");
    }
    return 0;
}

void config_help(struct buf *buf)
{
    struct config_command command = {0};
    struct flag_table table;
    flags_fill(&table, &command);
    buf_append_str(buf, "usage: holdfastd --data DIR [--join HOST:PORT,…] [--KEY VALUE …]\n"
                        "       holdfastd --config FILE [--KEY VALUE …]\n"
                        "\n"
                        "The server of a Holdfast cluster: one store. An empty folder founds a\n"
                        "cluster, or joins the one that --join names. Every key of the file is a\n"
                        "flag too (data_dir is --data-dir), and flags win.\n"
                        "\n");
    args_help(table.flags, table.count, buf);
    buf_append_str(buf, "\n"
                        "example:\n"
                        "  holdfastd --data /var/lib/hf1\n"
                        "  holdfastd --data /var/lib/hf2 --listen 127.0.0.1:4102 \\\n"
                        "    --join 127.0.0.1:4101\n"
                        "  holdfastd --config /etc/holdfast/holdfast.conf --check-config\n");
}
