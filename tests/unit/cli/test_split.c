/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "../tools/holdfast/split.h"
#include "base/err.h"
#include "base/rng.h"

enum { WORDS_MAX = 4 };

static const struct {
    const char *line;
    const char *want; /* words joined by '|', or the error behind '!' */
} rows[] = {
    {"", ""},
    {"  \t ", ""},
    {"get a", "get|a|"},
    {"  get\ta  ", "get|a|"},
    {"# don't, of a b c d e f", ""},
    {" \t#", ""},
    {"'#' #", "#|#|"},
    {"\\#a", "#a|"},
    {"put a 'two words'", "put|a|two words|"},
    {"put a \"two \\\"words\\\"\"", "put|a|two \"words\"|"},
    {"put '' \"\"", "put|||"},
    {"a'b'\"c\"d", "abcd|"},
    {"\\x41\\n\\t\\\\ \\ x", "A\n\t\\| x|"},
    {"'\\x41'", "\\x41|"},
    {"a b c d", "a|b|c|d|"},
    {"a b c d e", "!over 4 words"},
    {"'a", "!a quote is not closed"},
    {"\"a", "!a quote is not closed"},
    {"a\\", "!bad escape"},
    {"a\\x4", "!bad escape"},
    {"a\\xzz", "!bad escape"},
    {"a\\x00b", "!\\x00 cannot be typed here"},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f|"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[128], got[256] = "";
        const char *words[WORDS_MAX];
        size_t count = 0;
        struct err err = {0};
        snprintf(line, sizeof line, "%s", rows[i].line);
        if (split_words(line, words, WORDS_MAX, &count, &err) != 0)
            snprintf(got, sizeof got, "!%s", err.msg);
        for (size_t k = 0; k < count; k++) {
            size_t len = strlen(got);
            snprintf(got + len, sizeof got - len, "%s|", words[k]);
        }
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("row %zu: '%s' instead of '%s'", i, got, rows[i].want);
    }
}

/* Never writes past the line, whatever it is. */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "ab '\"\\x4n\t";
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        char line[24];
        size_t len = rng_below(&rng, sizeof line);
        for (size_t i = 0; i < len; i++)
            line[i] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        line[len] = 0;
        const char *words[WORDS_MAX];
        size_t count = 0;
        if (split_words(line, words, WORDS_MAX, &count, NULL) != 0)
            continue;
        for (size_t i = 0; i < count; i++)
            assert_true(words[i] >= line && words[i] + strlen(words[i]) <= line + len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
