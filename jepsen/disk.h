/* SPDX-License-Identifier: Apache-2.0
 *
 * disk — what the interposed file layer (disk.c), the loss of power (power.c) and the
 * harness agree on.
 *
 * Every change below a folder is written down before it is made, with what undoes it, in
 * SIDE/journal. A sync of a file makes its data durable, a sync of a folder its names.
 * SIGKILL leaves the page cache, so what lies in the journal is exactly what a loss of
 * power could take: jepsen-power takes any part of it. After a sync that failed, what it
 * should have written can never become durable by a later one, as on Linux.
 *
 *   SIDE/journal   records, host byte order: this never leaves the machine
 *   SIDE/kept-N    hard links to files that lost their last name, until that is durable
 *   SIDE/control   struct disk_control, shared with the harness (jepsen/harness/disk.py)
 */
#ifndef JEPSEN_DISK_H_
#define JEPSEN_DISK_H_

#include <limits.h>
#include <stdint.h>

enum { DISK_MAGIC = 0x6a646b31, DISK_SECTOR = 512 };

enum disk_type {
    DISK_WRITE = 1, /* inode, offset, size: of the file before; payload: u64, how much is
                       written, and the bytes that were there */
    DISK_TRUNCATE,  /* inode, offset: the size after, size: before; payload: what was cut */
    DISK_SYNC,      /* inode: its records up to seq `offset` are durable */
    DISK_DOOM,      /* inode: its records up to seq `offset` can only be lost */
    DISK_CREATE,    /* payload: path */
    DISK_MKDIR,     /* payload: path */
    DISK_LINK,      /* payload: path, the new name */
    DISK_UNLINK,    /* inode; payload: path, kept link */
    DISK_RENAME,    /* inode: of the file that `to` was, or 0; payload: to, from, kept link */
    DISK_SYNC_DIR,  /* payload: folder; its names up to seq `offset` are durable */
};

struct disk_record {
    uint32_t magic;
    uint32_t type;
    uint64_t seq;
    uint64_t inode;
    uint64_t offset;
    uint64_t size;
    uint64_t len; /* of the payload that follows */
};

/* Faults that the harness asks for while the process runs. */
struct disk_control {
    uint32_t sync_delay_us; /* every sync takes so much longer */
    uint32_t sync_fail;     /* so many syncs fail with EIO */
    uint32_t write_fail;    /* so many writes fail with EIO */
    uint32_t tear;          /* the next write over the end of a sector stops at one, and the
                               process is killed */
    uint64_t syncs;         /* done */
    uint64_t writes;
};

#endif
