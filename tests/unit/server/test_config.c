/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "server/config.h"

#define REQUIRED "data_dir = /d\nlisten = 127.0.0.1:4102\n"

static int parse(struct config *config, const char *text, struct err *err)
{
    config_init(config);
    int rv = config_parse(config, slice_str(text), "f", err);
    return rv == 0 ? config_finish(config, err) : rv;
}

static void test_whole_file(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "\n"
                               "labels=zone=a,rack=2\r\n"
                               "  data_dir = /var/lib/hold fast   # with a comment\n"
                               "listen = [::1]:4102\n"
                               "join = 127.0.0.1:4101, [::1]:4102,localhost:4103\n"
                               "memtable_bytes = 8MiB\n"
                               "election_timeout = 250ms\n"
                               "heartbeat\t=\t50ms\n"
                               "log_level = warn\n"
                               "log_format = json";
    struct config c;
    struct err err = {0};
    int rv = parse(&c, text, &err);
    assert_string_equal(err.msg, "");
    assert_int_equal(rv, 0);
    assert_string_equal(c.labels, "zone=a,rack=2");
    assert_string_equal(c.data_dir, "/var/lib/hold fast");
    assert_string_equal(c.listen, "[::1]:4102");
    assert_string_equal(c.advertise, "");
    assert_int_equal(c.join_count, 3);
    assert_string_equal(c.join[2], "localhost:4103");
    assert_int_equal(c.memtable_bytes, 8 << 20);
    assert_int_equal(c.election_timeout_us, 250000);
    assert_int_equal(c.heartbeat_us, 50000);
    assert_int_equal(c.log_level, LOG_LEVEL_WARN);
    assert_int_equal(c.log_format, CONFIG_LOG_JSON);
    assert_int_equal(c.log_cache_bytes, 64 << 20); /* a default */
}

/* Each row is one wrong file and what the operator reads. */
#define UNSAYABLE                                                                                  \
    "a '#' in front or behind a blank, a blank at an end or a control character cannot stand in "  \
    "a file"

static const struct {
    const char *text;
    const char *want;
} damage[] = {
    {"", "data_dir: is required"},
    {"listen = 127.0.0.1:1\n", "data_dir: is required"},
    {"store_id = 1\n",
     "f:1: store_id: a store gets its id from the cluster that it founds or joins: take this line "
     "out"},
    {"members = 1=127.0.0.1:1\n",
     "f:1: members: there is no list of members any more: take this line out. The first node "
     "founds the cluster; give the others 'join = host:port' of any that runs"},
    {"data_dir = /d\nlisten = 0.0.0.0:1\n",
     "advertise: is needed, because others cannot dial 0.0.0.0:1"},
    {"\n\nmemtable_byte = 1\n",
     "f:3: unknown key 'memtable_byte' (did you mean 'memtable_bytes'?)"},
    {"colour = red\n", "f:1: unknown key 'colour'"},
    {"[storage]\n", "f:1: sections are not used: one flat list of keys"},
    {"read_threads\n", "f:1: no 'key = value'"},
    {"read_threads =\n", "f:1: read_threads: has no value"},
    {"read_threads = # none\n", "f:1: read_threads: has no value"},
    {"read_threads = 1\nread_threads = 1\n", "f:2: read_threads is given a second time"},
    {"read_threads = one\n", "f:1: read_threads: 'one' is no number"},
    {"read_threads = 0\n", "f:1: read_threads: must be 1 to 64"},
    {"read_threads = cores\n", "f:1: read_threads: 'cores' is no number"},
    {"stores = 0\n", "f:1: stores: must be 1 to 64"},
    {"stores = core\n", "f:1: stores: 'core' is no number, and not 'cores'"},
    {"memtable_bytes = 5parsec\n", "f:1: memtable_bytes: '5parsec' is no size such as 64MiB"},
    {"memtable_bytes = 1KiB\n", "f:1: memtable_bytes: must be 16KiB to 1GiB"},
    {"heartbeat = 5\n", "f:1: heartbeat: '5' is no duration such as 10ms"},
    {"retention = 0\n", "f:1: retention: must be 1s to 720h"},
    {"heartbeat = 1h\n", "f:1: heartbeat: must be 5ms to 1m"},
    {"log_level = loud\n", "f:1: log_level: must be debug, info, warn, error or off"},
    {"log_level = informationally\n", "f:1: log_level: must be debug, info, warn, error or off"},
    {"log_format = xml\n", "f:1: log_format: must be text or json"},
    {"listen = nowhere\n", "f:1: listen: 'nowhere' is no host:port"},
    {"listen = :4101\n", "f:1: listen: ':4101' is no host:port"},
    {"listen = a:65536\n", "f:1: listen: 'a:65536' is no host:port"},
    {"listen = a:b:1\n", "f:1: listen: 'a:b:1' is no host:port (IPv6 stands in [ ])"},
    {"join = a\n", "f:1: join: 'a' is no host:port"},
    {"join = a:0\n", "f:1: join: 'a:0' is no host:port"},
    {"join = a:1,,b:1\n", "f:1: join: '' is no host:port"},
    {"join = a:1, a:1\n", "f:1: join: address a:1 is named twice"},
    {"labels = zone=a, rack=2\n",
     "f:1: labels: label 2 has a blank or what is no ASCII: wanted is name=value,name=value"},
    {"labels = zone\n", "f:1: labels: label 1 is no name=value: wanted is name=value,name=value"},
    {"labels = zone=a,\n", "f:1: labels: label 2 is empty: wanted is name=value,name=value"},
    {"data_dir = a\xff\n", "f:1: bytes that are no text"},
    {"data_dir =#d\n", "f:1: data_dir: " UNSAYABLE},
    {"data_dir = /a\tb\n", "f:1: data_dir: " UNSAYABLE},
    {REQUIRED "join = 10.0.0.1:1\n",
     "cluster_secret_file: is needed, because 10.0.0.1:1 is not on loopback"},
    {REQUIRED "heartbeat = 600ms\n", "heartbeat: must be at most half of election_timeout"},
    {REQUIRED "log_budget_bytes = 128MiB\n",
     "log_budget_bytes: must be at least 4 log_segment_bytes"},
    {REQUIRED "batch_bytes_max = 1MiB\n", "batch_bytes_max: must be at least value_bytes_max"},
    {REQUIRED "requests_bytes_max = 8MiB\n",
     "requests_bytes_max: must be at least batch_bytes_max"},
    {REQUIRED "disk_full_bytes = 3GiB\n",
     "disk_low_bytes >= disk_full_bytes >= disk_reserve_bytes must hold"},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct config c;
        struct err err = {0};
        int rv = parse(&c, damage[i].text, &err);
        if (rv != ERR_INVALID || strcmp(err.msg, damage[i].want) != 0)
            fail_msg("row %zu: %d, '%s' instead of '%s'", i, rv, err.msg, damage[i].want);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct config c, before;
    struct err err = {0};
    struct buf text;
    buf_init(&text, 2 * CONFIG_TEXT_MAX);
    buf_append_str(&text, REQUIRED "join = ");
    for (int i = 1; i <= CONFIG_JOIN_MAX + 1; i++)
        buf_printf(&text, "127.0.0.1:%d,", i);
    config_init(&c);
    before = c;
    assert_int_equal(config_parse(&c, buf_slice(&text), "f", &err), ERR_INVALID);
    assert_string_equal(err.msg, "f:3: join: over 16 addresses");
    assert_memory_equal(&c, &before, sizeof c); /* all or nothing */

    buf_clear(&text);
    for (int i = 0; i <= CONFIG_TEXT_MAX; i++)
        buf_append_u8(&text, '\n');
    assert_int_equal(config_parse(&c, buf_slice(&text), "f", &err), ERR_INVALID);
    assert_string_equal(err.msg, "f: over 65536 bytes");

    buf_clear(&text);
    buf_append_str(&text, "data_dir = ");
    for (int i = 0; i < CONFIG_PATH_MAX; i++)
        buf_append_u8(&text, 'x');
    assert_int_equal(config_parse(&c, buf_slice(&text), "f", &err), ERR_INVALID);
    assert_string_equal(err.msg, "f:1: data_dir: longer than 255 bytes");
    buf_fini(&text);
}

/* What --check-config prints is a file that means the same. */
static void test_print_parses_back(void **state)
{
    (void)state;
    static const char *const files[] = {
        REQUIRED,
        REQUIRED "join = 127.0.0.1:4103, 127.0.0.1:1\nwait = 5s\nlog_level = off\n"
                 "memtable_bytes = 100000\nelection_timeout = 1234567us\ndisk_reserve_bytes = 0\n",
        ("data_dir = x\nlisten = 0.0.0.0:4101\nadvertise = db1:4101\nlabels = zone=a\n"
         "join = db2:4101, db3:4101\ncluster_secret_file = /etc/secret\n"),
        "data_dir = x\nstores = cores\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config c, again;
        struct err err = {0};
        struct buf text;
        buf_init(&text, CONFIG_TEXT_MAX);
        assert_int_equal(parse(&c, files[i], &err), 0);
        config_print(&c, &text);
        buf_append_u8(&text, 0);
        assert_false(text.failed);
        int rv = parse(&again, (const char *)text.data, &err);
        if (rv != 0)
            fail_msg("%s", err.msg);
        assert_memory_equal(&c, &again, sizeof c);
        buf_fini(&text);
    }
}

static void test_flags_win(void **state)
{
    (void)state;
    const char *argv[] = {"--config", "x.conf", "--listen=127.0.0.1:9", "--memtable-bytes", "1MiB"};
    struct config_command command;
    struct config c;
    struct err err = {0};
    assert_int_equal(config_command_parse(&command, ARRAY_LEN(argv), argv, &err), 0);
    assert_string_equal(command.file, "x.conf");
    assert_false(command.is_check || command.is_help || command.is_version);
    config_init(&c);
    assert_int_equal(config_parse(&c, slice_str(REQUIRED "memtable_bytes = 2MiB\n"), "f", &err), 0);
    assert_int_equal(config_apply(&c, &command, &err), 0);
    assert_int_equal(config_finish(&c, &err), 0);
    assert_string_equal(c.listen, "127.0.0.1:9");
    assert_int_equal(c.memtable_bytes, 1 << 20);
    assert_string_equal(c.data_dir, "/d");
}

static void test_bad_flags(void **state)
{
    (void)state;
    static const struct {
        const char *arg;
        const char *want;
    } cases[] = {
        {"--memtable_bytes=1MiB", "unknown flag '--memtable_bytes'"},
        {"--nonsense", "unknown flag '--nonsense'"},
        {"--listen", "--listen needs a value (HOST:PORT)"},
        {"word", "unexpected 'word'"},
        {"--data-dir=#d", "command line: data_dir: " UNSAYABLE},
        {"--data-dir=/d #1", "command line: data_dir: " UNSAYABLE},
        {"--data-dir=/d ", "command line: data_dir: " UNSAYABLE},
        {"--listen=x", "command line: listen: 'x' is no host:port"},
        {"--store-id=1", "unknown flag '--store-id'"},
        {"--data=#d", "command line: data_dir: " UNSAYABLE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *argv[] = {cases[i].arg};
        struct config_command command;
        struct config c;
        struct err err = {0};
        config_init(&c);
        int rv = config_command_parse(&command, 1, argv, &err);
        if (rv == 0)
            rv = config_apply(&c, &command, &err);
        assert_int_equal(rv, ERR_INVALID);
        assert_string_equal(err.msg, cases[i].want);
    }
}

static void test_help_names_every_key(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, CONFIG_TEXT_MAX);
    config_help(&text);
    buf_append_u8(&text, 0);
    assert_false(text.failed);
    static const char *const some[] = {"--config", "--check-config", "--data-dir",
                                       "--disk-low-bytes", "--log-format"};
    for (size_t i = 0; i < ARRAY_LEN(some); i++)
        assert_non_null(strstr((const char *)text.data, some[i]));
    buf_fini(&text);
}

/* Any bytes: a config or a message. */
static void test_mutations(void **state)
{
    (void)state;
    static const char seed_text[] = REQUIRED "join = 127.0.0.1:4102, [::1]:1\nwait = 5s # x\n";
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 20000; round++) {
        uint8_t text[sizeof seed_text];
        memcpy(text, seed_text, sizeof text);
        size_t len = rng_between(&rng, 0, sizeof text - 1);
        for (uint64_t flips = rng_below(&rng, 6); flips > 0 && len > 0; flips--)
            text[rng_below(&rng, len)] =
                rng_chance(&rng, 1, 2) ? (uint8_t)rng_u64(&rng) : (uint8_t) "=,:#[]\n 0"[flips];
        struct config c;
        struct err err = {0};
        config_init(&c);
        int rv = config_parse(&c, slice_of(text, len), "f", &err);
        if (rv == 0)
            rv = config_finish(&c, &err);
        assert_true(rv == 0 || (rv == ERR_INVALID && err.msg[0] != 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_print_parses_back),
        cmocka_unit_test(test_flags_win),
        cmocka_unit_test(test_bad_flags),
        cmocka_unit_test(test_help_names_every_key),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
