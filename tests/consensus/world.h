/* SPDX-License-Identifier: Apache-2.0
 *
 * world — a randomised cluster of consensus members: network, disks, crashes, clients,
 * operators, all drawn from one seed; and the checks.
 *
 * Three phases. Chaos: drop, duplicate, reorder, partition, crash with loss of a suffix of
 * un-synced writes, leaders with a lease that are cut off while those who promised start again
 * and one of them stands, new leaders that die or are cut off at once, answers to probes that come
 * election timeouts late, pauses, learners from birth, loss of a member with its disk, late and
 * batched persistence, snapshots, membership, transfer, groups and members that sleep, wake and are
 * parked, members that missed their group's birth. Then everything is healed, operators
 * replace the dead, and within a bound of virtual time the group must commit, answer a read,
 * and bring every member up to date. At last one member dies, and what is proposed must leave for
 * the others at once.
 *
 * Checked at each event: election safety, log matching, leader completeness, state
 * machine safety, that what was acknowledged or read is seen by every later read, that
 * what a message promises (term, vote, entries) is on its sender's disk, that no message
 * between correct members is refused, that nobody speaks asleep, and consensus_check().
 */
#ifndef TESTS_CONSENSUS_WORLD_H_
#define TESTS_CONSENSUS_WORLD_H_

#include "base/base.h"

struct world_report {
    bool is_failed;
    char why[256];
    uint64_t hash;
    uint64_t events;
    uint64_t commits;
    uint64_t reads;
    uint64_t follower_reads;
    uint64_t lease_reads; /* some of them confirmed by a round all the same */
    uint64_t crashes;
    uint64_t installs;
    uint64_t changes;
    uint64_t elections;
    uint64_t transfers;
    uint64_t pauses;
    uint64_t losses; /* of a member with its disk */
    uint64_t sleeps;
    uint64_t parks;
    uint64_t leader_parks;
    uint64_t strikes;      /* leaders that died, or were cut off, right after their election */
    uint64_t late_answers; /* to probes */
    uint64_t late_rejections;
    uint64_t usurped; /* leaders with a lease, cut off while another stood at once */
    uint64_t born_learners;
    uint64_t paced; /* entries that had to leave at once, and did */
};

/* Run one seed. `guards_off` as consensus_test_guards_off(). */
void world_run(uint64_t seed, uint64_t guards_off, bool is_verbose,
               struct world_report *ret_report);

#endif
