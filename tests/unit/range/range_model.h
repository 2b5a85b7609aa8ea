/* SPDX-License-Identifier: Apache-2.0
 *
 * range_model — what the state machine should do, written down a second time over
 * a small table of keys: nothing of the room's own code is in it.
 */
#ifndef TESTS_UNIT_RANGE_RANGE_MODEL_H_
#define TESTS_UNIT_RANGE_RANGE_MODEL_H_

#include "base/rng.h"
#include "range_world.h"

enum { MODEL_KEYS = 24, MODEL_VALUE_MAX = 256, MODEL_OPS_MAX = 4, MODEL_COMMANDS_MAX = 6 };

struct model_key {
    bool is_present;
    uint64_t version;
    uint64_t expiry_ms;
    size_t len;
    char value[MODEL_VALUE_MAX];
};

struct model {
    uint64_t time_ms;
    uint64_t last_version;
    uint64_t safe_version;
    struct model_key keys[MODEL_KEYS];
};

/* A random entry: its commands in plain form and as a payload. */
struct model_entry {
    uint64_t stamp_ms;
    uint32_t count;
    uint32_t op_counts[MODEL_COMMANDS_MAX];
    struct op ops[MODEL_COMMANDS_MAX][MODEL_OPS_MAX];
    struct slice payload; /* free()d by the caller */
};

/* "k00" … in byte order. */
const char *model_key_name(int key);
int model_key_of(struct slice name);

/* Draw an entry whose commands have a fair chance of being met by `model`. */
void model_draw(const struct model *model, struct rng *rng, struct model_entry *ret_entry);

/* Apply it, and say what each command's status is. */
void model_apply(struct model *model, const struct model_entry *entry,
                 int status[MODEL_COMMANDS_MAX]);

/* Is the key there, at the model's time? */
bool model_is_visible(const struct model *model, int key);

#endif
