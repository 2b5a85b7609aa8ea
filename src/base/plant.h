/* SPDX-License-Identifier: Apache-2.0
 *
 * plant — bugs on purpose, for the test of the tests (docs/PLANTED.md).
 *
 *   if (rv == 0 && !PLANTED(ack_before_sync))
 *       rv = env_file_sync(file, err);
 *
 * In every ordinary build PLANTED() is the constant false, and nothing of a bug is left
 * in it (tests/style/plants.py looks). With HOLDFAST_PLANTED (preset `planted`) one bug
 * of plant_list.h can be chosen: the simulators by --plant NAME, everything else by
 * HOLDFAST_PLANT in the environment.
 *
 * Threads    plant_choose() before any other thread is started.
 */
#ifndef BASE_PLANT_H_
#define BASE_PLANT_H_

#ifdef HOLDFAST_PLANTED
#include "base/base.h"
#include "base/plant_list.h"

#define PLANT_ID(name, harness, text) PLANT_##name,
enum plant { PLANT_NONE, PLANT_LIST(PLANT_ID) PLANT_NR };
#undef PLANT_ID

#define PLANTED(name) __builtin_expect(plant_is(PLANT_##name), 0)

/* Is it the one that was chosen? */
bool plant_is(enum plant plant);

/* From now on this process has the bug `name`; NULL or "": none. ERR_NOT_FOUND. */
int plant_choose(const char *name);

/* The one that was chosen; NULL: none. */
const char *plant_chosen(void);

/* The list: name, which simulator finds it, what it breaks. NULL at its end. */
const char *plant_name(unsigned i);
const char *plant_harness(unsigned i);
const char *plant_text(unsigned i);
#else
#define PLANTED(name) false
#endif

#endif
