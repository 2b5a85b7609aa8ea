/* SPDX-License-Identifier: Apache-2.0
 *
 * registers — histories of registers as support/lin has them: what judge_register.c and
 * judge_ttl.c share.
 */
#ifndef TESTS_SUPPORT_HISTORY_REGISTERS_H_
#define TESTS_SUPPORT_HISTORY_REGISTERS_H_

#include "support/history/history.h"
#include "support/lin/lin.h"

/* Translate each operation of `h` into the array, which has room for all. False: one is nothing
 * that registers have; the report says so and is UNKNOWN. What is filled in borrows from `h`. */
bool registers_fill(const struct history *h, bool with_versions, struct lin_op *ret_ops,
                    struct history_report *report);

/* Search, and tell the report what was found. */
void registers_search(const struct lin_op *ops, size_t count, struct history_report *report);

#endif
