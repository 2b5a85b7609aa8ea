/* SPDX-License-Identifier: Apache-2.0 */
/* Codes have names and words. */
#include <stdio.h>
#include <string.h>

#include "support/check.h"

#include "base/err.h"
#include "holdfast.h"
#include "wire/command.h"

static void test_codes(void **state)
{
    (void)state;
    for (int code = 0; code > ERR_LAST; code--) {
        assert_true(strlen(hf_strerror(code)) > 3);
        assert_string_equal(hf_code_name(code), err_name(code));
    }
    assert_string_equal(hf_strerror(-999), "unknown error");
    assert_true(strlen(hf_version()) >= 5);
}

/* Who hears that something is too large reads how large it may be. */
static void test_limits_are_named(void **state)
{
    const struct command_limits *limits = &command_limits_default;
    char key[32], value[32], batch[32];
    const char *text = hf_strerror(HF_ERR_TOO_LARGE);
    (void)state;
    snprintf(key, sizeof key, "%zu KiB for a key", limits->key_max >> 10);
    snprintf(value, sizeof value, "%zu MiB for a value", limits->value_max >> 20);
    snprintf(batch, sizeof batch, "%zu MiB and 10,000 op", limits->command_max >> 20);
    assert_non_null(strstr(text, key));
    assert_non_null(strstr(text, value));
    assert_non_null(strstr(text, batch));
    assert_int_equal(limits->ops_max, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_limits_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
