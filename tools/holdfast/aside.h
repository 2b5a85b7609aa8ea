/* SPDX-License-Identifier: Apache-2.0
 *
 * aside — a file that is written beside the one whose place it takes when it is whole.
 *
 *   aside_open() ─▶ PATH.new ─▶ aside_finish() ─▶ PATH, on the disk
 *                      └──────▶ aside_drop()   ─▶ gone; PATH is as it was
 *
 * SIGHUP, SIGINT and SIGTERM, where they would end the program, do the same on the way (of one such
 * file at a time).
 *
 * Written in place is what cannot be replaced under its name: devices, pipes, links (the other
 * names of the file would keep what was), and files in a folder where this person may make none.
 *
 * Two commands never write one PATH.new, nor one PATH in place: it is locked (flock) while it is
 * open, PATH.new until it has its name or is gone. Where files cannot be locked nothing is said.
 *
 * Ownership  the FILE is the aside's; one that is zero is not open, and dropped for nothing.
 * Errors     ERR_BUSY: another command writes it; ERR_IO, ERR_NOMEM; with a message that names
 *            the file.
 */
#ifndef TOOLS_HOLDFAST_ASIDE_H_
#define TOOLS_HOLDFAST_ASIDE_H_

#include <stdio.h>

#include "base/base.h"
#include "base/err.h"

struct aside {
    FILE *file;       /* to be written to; NULL: not open */
    const char *path; /* borrowed while it is open */
    char *name;       /* owned: what it is called until it is whole; NULL: it is in place */
    int lock;         /* of `name` */
};

/* Begin to write what `path` is to be. */
int aside_open(struct aside *aside, const char *path, struct err *err);

/* The file itself, for as long as *ret_file is open: new and empty (`is_new`), or as it is, to be
 * read, too. */
int aside_open_in_place(const char *path, bool is_new, FILE **ret_file, struct err *err);

/* It is whole: on the disk, and then at its path. Closed, also on failure, when the path has what
 * it had, unless it is in place. */
int aside_finish(struct aside *aside, struct err *err);

/* It is not: what was written is gone, unless it is in place. */
void aside_drop(struct aside *aside);

#endif
