/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiled with HOLDFAST_PLANTED alone.
 */
#include "base/plant.h"

#include "base/err.h"

struct plant_row {
    const char *name;
    const char *harness;
    const char *text;
};

#define PLANT_ROW(name, harness, text) {#name, harness, text},
static const struct plant_row rows[] = {PLANT_LIST(PLANT_ROW)};
#undef PLANT_ROW

/* What no ordinary build has: a process with a bug has it everywhere. */
static enum plant chosen;

bool plant_is(enum plant plant)
{
    return chosen == plant;
}

int plant_choose(const char *name)
{
    chosen = PLANT_NONE;
    if (name == NULL || name[0] == 0)
        return 0;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0)
            chosen = (enum plant)(i + 1);
    }
    return chosen == PLANT_NONE ? ERR_NOT_FOUND : 0;
}

const char *plant_chosen(void)
{
    return chosen == PLANT_NONE ? NULL : rows[chosen - 1].name;
}

const char *plant_name(unsigned i)
{
    return i < ARRAY_LEN(rows) ? rows[i].name : NULL;
}

const char *plant_harness(unsigned i)
{
    return i < ARRAY_LEN(rows) ? rows[i].harness : NULL;
}

const char *plant_text(unsigned i)
{
    return i < ARRAY_LEN(rows) ? rows[i].text : NULL;
}
