/* SPDX-License-Identifier: Apache-2.0
 *
 * space — may a range still grow? By the marks of all its voters' disks, of which stores
 * tell each other with every pong.
 *
 *   puts    refused when the leader's own disk is at NO_PUTS (it hands over to one that has
 *           room, care.c), or when no majority can be had of voters that are below it: a
 *           commit would need a disk that is full
 *   deletes the same with READ_ONLY
 *   ways out (placement's rows, changes of members) the same with FULL
 *   entries go to a follower at READ_ONLY only when it is needed for a majority: its
 *           reserve is for what makes room. It hears heartbeats, lags, and catches up when
 *           its mark clears
 *
 * A voter that is not heard of is no reason to refuse: it is not known to be full, and
 * what is lacking then is a voter, not space. One that says nothing of its disk (an older
 * version) is taken to have room.
 *
 * Threads pure.
 */
#ifndef STORE_SPACE_H_
#define STORE_SPACE_H_

#include "store/watermark.h"

struct space_voter {
    bool is_live;
    enum watermark mark;
};

/* The mark that stands for the whole range: what it forbids to one store's writes it
 * forbids to the range's. `voters`: all, the leader too (it is live). */
enum watermark space_judge(const struct space_voter *voters, uint32_t count);

/* Could the live voters that are below `mark` commit by themselves? */
bool space_suffices(const struct space_voter *voters, uint32_t count, enum watermark mark);

/* Mark and pace of a disk, and whether something on it is damaged, as they are told to other
 * stores; 0 says nothing, and a mark of a later version, greater than all that are known here, is
 * the greatest. */
uint32_t space_tell(enum watermark mark, bool is_slow, bool is_damaged);
enum watermark space_told(uint32_t told);
bool space_told_damaged(uint32_t told);

/* Is it known to be fast enough to lead? */
bool space_told_pace_good(uint32_t told);

#endif
