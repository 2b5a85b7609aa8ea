/* SPDX-License-Identifier: Apache-2.0
 *
 * place — a file that says how far a watch or a scan has come, in the library's own bytes: any
 * program that has them goes on there (hf_watch_token(), hf_scan_cursor()).
 *
 * It is written anew under another name first: there is the old place or the new one. What was said
 * up to there is on the disk before, if standard output is a file.
 *
 * Errors  the person was told.
 */
#ifndef TOOLS_HOLDFAST_PLACE_H_
#define TOOLS_HOLDFAST_PLACE_H_

#include "cli.h"

/* What the file says, appended; nothing if there is none, or no `path`. */
bool place_load(struct cli *cli, const char *path, struct buf *ret_bytes);

/* Have it say these, and have that on the disk, behind what was written to standard output. */
bool place_save(struct cli *cli, const char *path, struct slice bytes);

/* Have what was written to `file` on the disk, if that is where it goes: pipes and terminals are
 * fine. False with errno set. */
bool place_sync(FILE *file);

#endif
