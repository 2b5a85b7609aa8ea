/* SPDX-License-Identifier: Apache-2.0
 *
 * embedded — a store inside the caller's process, for "embedded:DIR": what main.c of the
 * server is for holdfastd, on a thread instead of in a process.
 *
 *   hf_open() ─▶ embedded_open() ─▶ thread: world ─▶ store_open() ─▶ loop
 *                   ▲ address: "@RANDOM:1", which only this process reaches
 *   hf_close() ─▶ embedded_close() ─▶ loop: store_drain() ─▶ loop ends ─▶ freed, joined
 *
 * Ownership  the caller's from embedded_open() to embedded_close(); `log` and its data
 *            are borrowed for as long.
 * Threads    open and close on any thread but its own.
 * Errors     those of hf_open(), with one line in `err`. A disk that fails ends the process
 *            (env_fatal()), as it ends holdfastd.
 * Invariants (E1) a folder of a cluster of several stores is opened only where the others
 *            can reach this one (`listen` is set): an address of this process alone would be
 *            told to all of them.
 */
#ifndef CLIENT_LIB_EMBEDDED_H_
#define CLIENT_LIB_EMBEDDED_H_

#include "base/err.h"
#include "base/log.h"

struct embedded;

/* "embedded:DIR" and "embedded:DIR?key=value&…", not "host:port". */
bool embedded_is_meant(const char *endpoints);

/* Serve what such endpoints name. `sink` gets the lines of the store's log, on its thread;
 * NULL: none. ERR_LOCKED, ERR_STATE, ERR_CORRUPT, ERR_INVALID, ERR_IO … */
int embedded_open(const char *endpoints, log_sink sink, void *data, struct embedded **ret_embedded,
                  struct err *err);

/* Where it is reached from this process. */
const char *embedded_address(const struct embedded *embedded);

/* Is this the thread of the store? NULL: no. */
bool embedded_is_own_thread(const struct embedded *embedded);

/* Flush, let go of the folder, free. NULL is fine. */
void embedded_close(struct embedded *embedded);

#endif
