/* SPDX-License-Identifier: Apache-2.0 */
/* Codes have names and words. */
#include "support/check.h"

#include "base/err.h"
#include "holdfast.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
