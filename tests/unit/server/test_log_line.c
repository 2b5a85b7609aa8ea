/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/json.h"
#include "server/log_line.h"

static struct log_line line_of(const char *text)
{
    return (struct log_line){
        .time = "2024-01-02T03:04:05.678Z", .level = LOG_LEVEL_WARN, .store_id = 7, .text = text};
}

static void assert_says(const char *out, size_t len, const char *want)
{
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
}

static void test_formats(void **state)
{
    char out[LOG_LINE_OUT_MAX];
    struct log_line line = line_of("connection_refused peer=a:1 reason=\"bad\"");
    (void)state;
    size_t len = log_line_format(CONFIG_LOG_TEXT, &line, out);
    assert_says(out, len,
                "2024-01-02T03:04:05.678Z warn  store=7 "
                "connection_refused peer=a:1 reason=\"bad\"\n");
    len = log_line_format(CONFIG_LOG_JSON, &line, out);
    assert_says(out, len,
                "{\"time\":\"2024-01-02T03:04:05.678Z\",\"level\":\"warn\",\"store\":7,"
                "\"event\":\"connection_refused\","
                "\"message\":\"peer=a:1 reason=\\\"bad\\\"\"}\n");
}

/* What its escapes make longer than a pipe takes at once is cut, and JSON all the same. */
static void test_the_longest(void **state)
{
    char out[LOG_LINE_OUT_MAX];
    char text[LOG_LINE_MAX] = "event ";
    struct json_node nodes[16];
    size_t count;
    struct log_line line = line_of(text);
    (void)state;
    for (int c = ' '; c < 256; c++) {
        memset(text + 6, c, sizeof text - 7);
        size_t len = log_line_format(CONFIG_LOG_TEXT, &line, out);
        assert_true(len > sizeof text && out[len - 1] == '\n');
        len = log_line_format(CONFIG_LOG_JSON, &line, out);
        assert_true(len > sizeof text / 2 && len <= sizeof out);
        assert_int_equal(out[len - 1], '\n');
        assert_int_equal(json_parse(slice_of(out, len), nodes, ARRAY_LEN(nodes), &count, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_the_longest),
    };
    return cmocka_run_group_tests_name("log_line", tests, NULL, NULL);
}
