/* SPDX-License-Identifier: Apache-2.0
 *
 * liar — stands between a room and its world and breaks one promise of env.h: for tests
 * of the tests. What a room loses by such a lie, its checker must see.
 *
 *   sync_lies         a file sync says that it is done and does nothing
 *   folder_sync_lies  a folder sync does
 *   write_lies        one write in fifty says that it is done and does nothing
 *   read_hides        a read that fails says that the file ends there
 */
#ifndef TESTS_SUPPORT_LIAR_H_
#define TESTS_SUPPORT_LIAR_H_

#include "env/env.h"

/* The names, NULL at the end. */
extern const char *const liar_lies[];

/* From now on `env` lies; NULL: nothing changes. The same for every env of a process. */
void liar_take(struct env *env, const char *lie);

#endif
