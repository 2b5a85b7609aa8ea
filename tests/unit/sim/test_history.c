/* SPDX-License-Identifier: Apache-2.0
 *
 * Each rule of history_check() on a history that keeps it and one that breaks it.
 */
#include "support/check.h"

#include "sim/history.h"

enum { OPS_MAX = 6 };

/* Registers, a counter, a key with a time to live. */
enum { A = 0, B = 1, TTL = KEY_TTL * KEYS_OF_CLASS_MAX };

#define WRITE(k, n, v, from, to)                                                                   \
    {                                                                                              \
        .key = (k), .kind = HISTORY_WRITE, .outcome = HISTORY_OK, .value = (n), .version = (v),    \
        .invoke_us = (from), .return_us = (to)                                                     \
    }
#define LOST_WRITE(k, n, from)                                                                     \
    {                                                                                              \
        .key = (k), .kind = HISTORY_WRITE, .outcome = HISTORY_PENDING, .value = (n),               \
        .invoke_us = (from), .return_us = UINT64_MAX                                               \
    }
#define DELETE(k, v, from, to)                                                                     \
    {                                                                                              \
        .key = (k), .kind = HISTORY_DELETE, .outcome = HISTORY_OK, .version = (v),                 \
        .invoke_us = (from), .return_us = (to)                                                     \
    }
#define READ(k, text, v, at, from, to)                                                             \
    {                                                                                              \
        .key = (k), .kind = HISTORY_READ, .outcome = HISTORY_OK, .seen = (char *)(text),           \
        .version = (v), .read_version = (at), .invoke_us = (from), .return_us = (to)               \
    }
#define TTL_WRITE(n, v, expiry, from, to)                                                          \
    {                                                                                              \
        .key = TTL, .kind = HISTORY_WRITE, .outcome = HISTORY_OK, .value = (n), .version = (v),    \
        .ttl_ms = 1, .expiry_ms = (expiry), .invoke_us = (from), .return_us = (to)                 \
    }

struct row {
    const char *name;
    const char *want; /* in the text; NULL: the history is fine */
    struct history_op ops[OPS_MAX];
};

static const struct row rows[] = {
    {"read what was written", NULL, {WRITE(A, 1, 10, 0, 5), READ(A, "1", 10, 10, 6, 9)}},
    {"read while it is written", NULL, {WRITE(A, 1, 10, 0, 9), READ(A, NULL, 0, 5, 2, 4)}},
    {"read from nowhere", "from nowhere", {READ(A, "7", 10, 10, 0, 5)}},
    {"read of another key's value",
     "from nowhere",
     {WRITE(B, 1, 10, 0, 5), READ(A, "1", 10, 10, 6, 9)}},
    {"read before it was written",
     "before it was written",
     {READ(A, "1", 10, 10, 0, 5), WRITE(A, 1, 10, 6, 9)}},
    {"under another version",
     "another version",
     {WRITE(A, 1, 10, 0, 5), READ(A, "1", 11, 11, 6, 9)}},
    {"a lost write is seen", NULL, {LOST_WRITE(A, 1, 0), READ(A, "1", 10, 10, 6, 9)}},
    {"a lost write in two versions",
     "two versions|another version",
     {LOST_WRITE(A, 1, 0), READ(A, "1", 10, 10, 6, 9), READ(A, "1", 12, 12, 10, 12)}},
    {"back in time",
     "back in time",
     {WRITE(A, 1, 10, 0, 5), WRITE(A, 2, 20, 6, 9), READ(A, "1", 10, 0, 10, 12)}},
    {"two reads back in time",
     "back in time",
     {WRITE(A, 1, 10, 0, 5), WRITE(A, 2, 20, 6, 30), READ(A, "2", 20, 20, 10, 12),
      READ(A, "1", 10, 0, 13, 15)}},
    {"two writers of one version", "two writers", {WRITE(A, 1, 10, 0, 5), WRITE(A, 2, 10, 3, 9)}},
    {"gone", "is gone", {WRITE(A, 1, 10, 0, 5), READ(A, NULL, 0, 0, 6, 9)}},
    {"deleted", NULL, {WRITE(A, 1, 10, 0, 5), DELETE(A, 20, 6, 8), READ(A, NULL, 0, 0, 9, 12)}},
    {"deleted before it was written",
     "is gone",
     {DELETE(A, 5, 0, 1), WRITE(A, 1, 10, 2, 5), READ(A, NULL, 0, 0, 6, 9)}},
    {"maybe deleted",
     NULL,
     {WRITE(A, 1, 10, 0, 5),
      {.key = A, .kind = HISTORY_DELETE, .invoke_us = 6, .return_us = UINT64_MAX},
      READ(A, NULL, 0, 0, 9, 12)}},
    {"deleted too late",
     "is gone",
     {WRITE(A, 1, 10, 0, 5), READ(A, NULL, 0, 0, 6, 9), DELETE(A, 20, 10, 12)}},
    {"newer than the snapshot", "newer than", {WRITE(A, 1, 10, 0, 5), READ(A, "1", 10, 9, 6, 9)}},
    {"an old snapshot",
     "read below",
     {WRITE(B, 1, 10, 0, 5), WRITE(A, 2, 5, 0, 4), READ(A, "2", 5, 9, 6, 9)}},
    {"not the newest in a snapshot",
     "not the newest",
     {WRITE(A, 1, 10, 0, 5), WRITE(A, 2, 20, 6, 30), READ(A, "1", 10, 25, 7, 9)}},
    {"missing in a snapshot",
     "is gone|not the newest",
     {WRITE(A, 1, 10, 0, 5), READ(A, NULL, 0, 25, 7, 9)}},
    {"expired", NULL, {TTL_WRITE(1, 10, 1000, 0, 5), READ(TTL, NULL, 0, 20, 2000000, 2000005)}},
    {"expired too early",
     "too early",
     {TTL_WRITE(1, 10, 1000, 0, 5), READ(TTL, NULL, 0, 20, 500000, 500005)}},
    {"read after its expiry",
     "after its expiry",
     {TTL_WRITE(1, 10, 1000, 0, 5), READ(TTL, "1", 10, 20, 2000000, 2000005)}},
    {"came back",
     "came back",
     {TTL_WRITE(1, 10, 2000, 0, 5), READ(TTL, NULL, 0, 20, 2100000, 2100005),
      READ(TTL, "1", 10, 20, 2100010, 2100020)}},
    {"maybe written again, so not too early",
     NULL,
     {TTL_WRITE(1, 10, 1000, 0, 5), LOST_WRITE(TTL, 2, 6), READ(TTL, NULL, 0, 20, 500000, 500005)}},
};

/* Is one of the texts of `want` ("a|b") in `why`? */
static bool is_told(const char *why, const char *want)
{
    char part[64];
    while (*want != 0) {
        size_t len = strcspn(want, "|");
        assert_true(len < sizeof part);
        memcpy(part, want, len);
        part[len] = 0;
        if (strstr(why, part) != NULL)
            return true;
        want += len + (want[len] == '|');
    }
    return false;
}

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct history h;
        char why[1024] = "";
        history_init(&h);
        h.has_true_clocks = true;
        for (uint32_t n = 0; n < OPS_MAX && row->ops[n].return_us != 0; n++) {
            struct history_op op = row->ops[n];
            op.request = n + 1;
            op.seen = op.seen == NULL ? NULL : strdup(op.seen);
            history_add(&h, &op);
        }
        bool ok = history_check(&h, why, sizeof why);
        if (ok != (row->want == NULL))
            fail_msg("%s: %s %s", row->name, ok ? "passed" : "failed", why);
        if (!ok && !is_told(why, row->want))
            fail_msg("%s: said '%s'", row->name, why);
        history_fini(&h);
    }
}

/* A batch: what one of its keys shows, holds for all. */
static void test_batch(void **state)
{
    (void)state;
    for (int is_bad = 0; is_bad < 2; is_bad++) {
        struct history h;
        char why[1024] = "";
        struct history_op ops[] = {
            LOST_WRITE(A, 1, 0),
            LOST_WRITE(B, 2, 0),
            READ(A, "1", 10, 10, 6, 9),
            READ(B, "2", 10, 10, 6, 9),
        };
        ops[0].request = ops[1].request = 1;
        ops[2].request = 2;
        ops[3].request = 3;
        ops[3].version = is_bad ? 11 : 10;
        ops[3].read_version = 11;
        history_init(&h);
        for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
            ops[i].seen = ops[i].seen == NULL ? NULL : strdup(ops[i].seen);
            history_add(&h, &ops[i]);
        }
        assert_int_equal(history_check(&h, why, sizeof why), !is_bad);
        history_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
