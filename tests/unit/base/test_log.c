/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/log.h"

#include "base/err.h"

struct seen {
    int count;
    enum log_level level;
    char line[LOG_LINE_MAX];
};

static void sink(void *data, enum log_level level, const char *line)
{
    struct seen *seen = data;
    seen->count++;
    seen->level = level;
    memcpy(seen->line, line, strlen(line) + 1);
}

static void test_levels(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct logger logger = {.level = LOG_LEVEL_WARN, .sink = sink, .data = &seen};
    LOG_INFO(&logger, "quiet", "n=%d", 1);
    assert_int_equal(seen.count, 0);
    LOG_WARN(&logger, "loud", "n=%d", 2);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.level, LOG_LEVEL_WARN);
    assert_string_equal(seen.line, "loud n=2");
    LOG_ERROR(&logger, "louder", "s=%s", "x");
    assert_string_equal(seen.line, "louder s=x");
    struct logger *none = NULL;
    LOG_ERROR(none, "nobody", "n=%d", 3);
    logger.sink = NULL;
    LOG_ERROR(&logger, "dropped", "n=%d", 4);
    assert_int_equal(seen.count, 2);
}

static void test_cut(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct logger logger = {.level = LOG_LEVEL_DEBUG, .sink = sink, .data = &seen};
    char text[LOG_LINE_MAX * 2];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    LOG_DEBUG(&logger, "long", "s=%s", text);
    assert_int_equal(strlen(seen.line), LOG_LINE_MAX - 1);
    LOG_DEBUG(&logger, text, "n=%d", 1);
    assert_int_equal(strlen(seen.line), LOG_LINE_MAX - 1);
}

/* What a peer has sent stays within its line. */
static void test_control_characters(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct logger logger = {.level = LOG_LEVEL_DEBUG, .sink = sink, .data = &seen};
    LOG_WARN(&logger, "refused", "peer=%s reason=\"%s\"", "a\nforged b=1",
             "\x1b[2J\t\x7f \xc3\xa4");
    assert_string_equal(seen.line, "refused peer=a?forged b=1 reason=\"?[2J?? \xc3\xa4\"");
}

static void test_parse(void **state)
{
    (void)state;
    for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_OFF; i++) {
        enum log_level level = LOG_LEVEL_OFF;
        assert_int_equal(log_level_parse(log_level_name((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    enum log_level level = LOG_LEVEL_INFO;
    assert_int_equal(log_level_parse("INFO", &level), ERR_INVALID);
    assert_int_equal(log_level_parse("", &level), ERR_INVALID);
    assert_int_equal(level, LOG_LEVEL_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
