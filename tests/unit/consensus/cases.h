/* SPDX-License-Identifier: Apache-2.0
 *
 * cases — what each guard of the room is for. A case returns true if all is well. It is
 * run with every guard, and again without those of its row.
 */
#ifndef TESTS_UNIT_CONSENSUS_CASES_H_
#define TESTS_UNIT_CONSENSUS_CASES_H_

#include "rig.h"

#define BIT64(n) (UINT64_C(1) << (n))

typedef bool (*guard_case)(struct rig *r, uint64_t off);

struct guard_row {
    const char *name;
    uint64_t guards; /* left out in the second run; BIT64() of enum cons_guard */
    guard_case run;
};

extern const struct guard_row library_rows[];
extern const size_t library_rows_n;

extern const struct guard_row read_rows[];
extern const size_t read_rows_n;

extern const struct guard_row rule_rows[];
extern const size_t rule_rows_n;

#endif
