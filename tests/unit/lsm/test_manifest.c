/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/sim/sim.h"
#include "support/check.h"

struct place {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
};

static void place_init(struct place *p)
{
    p->sim = sim_new(NULL, 1);
    p->node = sim_node_new(p->sim, "n1");
    p->env = sim_node_env(p->node);
    assert_int_equal(env_dir_make(p->env, "db", NULL), 0);
}

static int collect(void *data, uint64_t seq, struct slice payload, struct err *err)
{
    char *text = data;
    (void)err;
    snprintf(text + strlen(text), 200 - strlen(text), "%llu:%.*s ", (unsigned long long)seq,
             (int)payload.len, payload.data);
    return 0;
}

static void test_append_and_load(void **state)
{
    (void)state;
    struct place p;
    struct manifest m;
    struct err err = {0};
    char got[200] = "";
    uint64_t number = 0;
    bool torn = true;
    place_init(&p);
    manifest_init(&m, p.env, "db");
    assert_int_equal(manifest_current(p.env, "db", &number, &err), ERR_NOT_FOUND);
    assert_int_equal(manifest_begin(&m, 7, slice_str("base"), &err), 0);
    assert_int_equal(manifest_append(&m, slice_str("one"), &err), 0);
    assert_int_equal(manifest_append(&m, slice_str(""), &err), 0);
    assert_int_equal(manifest_current(p.env, "db", &number, &err), 0);
    assert_int_equal(number, 7);
    assert_int_equal(manifest_load(p.env, "db", 7, collect, got, &torn, &err), 0);
    assert_string_equal(got, "1:base 2:one 3: ");
    assert_false(torn);
    assert_int_equal(manifest_begin(&m, 9, slice_str("again"), &err), 0);
    assert_int_equal(manifest_current(p.env, "db", &number, &err), 0);
    assert_int_equal(number, 9);
    got[0] = 0;
    assert_int_equal(manifest_load(p.env, "db", 9, collect, got, NULL, &err), 0);
    assert_string_equal(got, "1:again ");
    manifest_fini(&m);
    sim_free(p.sim);
}

/* head 24 | record 24 + 4 "base" | seal 24 | record 24 + 3 "one" | seal 24 | record 24 +
 * 3 "two" | seal 24: where the pieces of the sample begin. */
enum {
    R1 = 24,
    S1 = R1 + 28,
    R2 = S1 + 24,
    S2 = R2 + 27,
    R3 = S2 + 24,
    S3 = R3 + 27,
    END = S3 + 24
};

static const struct {
    const char *name;
    size_t keep;  /* bytes of the file that stay */
    size_t flip;  /* byte that is flipped, END for none */
    size_t flip2; /* another one */
    int want;
    const char *got;
    bool want_torn;
} rows[] = {
    {"whole", END, END, END, 0, "1:base 2:one 3:two ", false},
    {"seal of the last is torn", END - 1, END, END, 0, "1:base 2:one 3:two ", true},
    {"no seal of the last", S3, END, END, 0, "1:base 2:one 3:two ", false},
    {"seal of the last is damaged", END, S3 + 5, END, 0, "1:base 2:one 3:two ", true},
    {"the last record is torn", S3 - 1, END, END, 0, "1:base 2:one ", true},
    {"only its head", R3 + 24, END, END, 0, "1:base 2:one ", true},
    {"half a head", R3 + 5, END, END, 0, "1:base 2:one ", true},
    {"unsealed and damaged: never acknowledged", S3, R3 + 25, END, 0, "1:base 2:one ", true},
    {"sealed and damaged", END, R3 + 25, END, ERR_CORRUPT, "1:base 2:one ", false},
    {"sealed, its head damaged", END, R3 + 1, END, ERR_CORRUPT, "1:base 2:one ", false},
    {"sealed, its length damaged", END, R3 + 12, END, ERR_CORRUPT, "1:base 2:one ", false},
    {"in the middle", END, R2 + 26, END, ERR_CORRUPT, "1:base ", false},
    {"in the middle, seal and all", END, R2 + 26, S2 + 3, ERR_CORRUPT, "1:base ", false},
    {"a seal in the middle", END, S2 + 3, END, ERR_CORRUPT, "1:base 2:one ", false},
    {"the first record", END, R1 + 25, END, ERR_CORRUPT, "", false},
    {"the head", END, 3, END, ERR_CORRUPT, "", false},
    {"the number", END, 14, END, ERR_CORRUPT, "", false},
    {"the file is empty", 0, END, END, ERR_CORRUPT, "", false},
    {"nothing but a head", R1, END, END, ERR_CORRUPT, "", false},
    {"the first record is cut", S1 - 1, END, END, ERR_CORRUPT, "", false},
};

static void test_damage(void **state)
{
    (void)state;
    struct place p;
    struct manifest m;
    struct env_file *file = NULL;
    uint8_t good[END];
    size_t n = 0;
    place_init(&p);
    manifest_init(&m, p.env, "db");
    assert_int_equal(manifest_begin(&m, 1, slice_str("base"), NULL), 0);
    assert_int_equal(manifest_append(&m, slice_str("one"), NULL), 0);
    assert_int_equal(manifest_append(&m, slice_str("two"), NULL), 0);
    assert_int_equal(env_file_open(p.env, "db/MANIFEST-000001", ENV_OPEN_READ, &file, NULL), 0);
    assert_int_equal(env_file_read(file, 0, good, sizeof good, &n, NULL), 0);
    assert_int_equal(n, END);
    env_file_close(file);
    manifest_fini(&m);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        char got[200] = "";
        bool torn = false;
        uint8_t *raw = malloc(MAX(rows[i].keep, (size_t)1));
        assert_non_null(raw);
        memcpy(raw, good, rows[i].keep);
        if (rows[i].flip < rows[i].keep)
            raw[rows[i].flip] ^= 0x10;
        if (rows[i].flip2 < rows[i].keep)
            raw[rows[i].flip2] ^= 0x10;
        int rv = manifest_parse(slice_of(raw, rows[i].keep), 1, collect, got, &torn, &err);
        if (rv != rows[i].want || strcmp(got, rows[i].got) != 0)
            fail_msg("%s: %d '%s' (%s)", rows[i].name, rv, got, err.msg);
        if (rv == 0 && i > 3 && torn != rows[i].want_torn)
            fail_msg("%s: torn %d", rows[i].name, torn);
        free(raw);
    }
    struct err err = {0};
    assert_int_equal(manifest_parse(slice_of(good, END), 2, collect, good, NULL, &err),
                     ERR_CORRUPT);
    sim_free(p.sim);
}

/* CURRENT must be exactly what was written. */
static void test_current(void **state)
{
    (void)state;
    struct place p;
    struct manifest m;
    uint64_t size = 0;
    bool is_dir;
    place_init(&p);
    manifest_init(&m, p.env, "db");
    assert_int_equal(manifest_begin(&m, 1, slice_str("base"), NULL), 0);
    manifest_fini(&m);
    assert_int_equal(env_file_stat(p.env, "db/CURRENT", &size, &is_dir, NULL), 0);
    struct sim_disk *disk = sim_node_disk(p.node);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        struct err err = {0};
        uint64_t number = 99;
        assert_int_equal(sim_disk_flip_bit(disk, "db/CURRENT", bit), 0);
        assert_int_equal(manifest_current(p.env, "db", &number, &err), ERR_CORRUPT);
        assert_int_equal(number, 99);
        assert_non_null(strstr(err.msg, "CURRENT"));
        assert_int_equal(sim_disk_flip_bit(disk, "db/CURRENT", bit), 0);
    }
    sim_free(p.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_load),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_current),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
