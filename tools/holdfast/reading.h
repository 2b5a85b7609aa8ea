/* SPDX-License-Identifier: Apache-2.0
 *
 * reading — the flags of commands that read: which answers will do.
 */
#ifndef TOOLS_HOLDFAST_READING_H_
#define TOOLS_HOLDFAST_READING_H_

#include "cli.h"

enum { READING_FLAGS = 4 };

/* What the flags say. Zeroed: the defaults. */
struct reading {
    const char *mode;
    uint64_t max_age_us;
    uint64_t at_version;
    bool is_age_given;
    bool is_version_given;
    bool any_replica;
};

/* The flags, READING_FLAGS of them. */
void reading_flags(struct reading *reading, struct args_flag *ret_flags);

/* A call that reads so; false after saying what does not fit together. */
bool reading_call(struct cli *cli, const struct reading *reading, struct hf_call *ret_call,
                  int *ret_exit);

#endif
