/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that includes cmocka: it needs its headers in this order, and
 * clang-format sorts includes. */
#ifndef TESTS_SUPPORT_CHECK_H_
#define TESTS_SUPPORT_CHECK_H_
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#endif
