/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges — what the files of holdfast-ranges-sim share: one run, and how to look into its
 * stores. See ranges.c.
 */
#ifndef TESTS_SIM_RANGES_H_
#define TESTS_SIM_RANGES_H_

#include "base/map.h"
#include "base/rng.h"
#include "consensus/consensus.h"
#include "range/range.h"
#include "sim/cover.h"
#include "sim/ranges_watch.h"
#include "unit/store/store_rig.h"

enum {
    KEYS = 40,
    OPEN_MAX = 64,
    READS_MAX = 16,
    MARKS_MAX = 32,
    SETTLE_STEPS = 1200,
    GROWN_VOTERS = 3,
    SLOW_MAX_MS = 5500,
    TTL_MAX_MS = 3000,
    RANGES_DRIFT_PPM_MAX = 50000, /* of a monotonic clock; stores are told so */
};

/* What a key may hold: the last value that was acknowledged, and what was written since
 * without a definite answer. Values grow. */
struct key_state {
    uint64_t acked;
    uint64_t open[OPEN_MAX]; /* outcome unknown; 0: free */
    uint64_t pending;        /* asked, not answered yet; 0: none */
    uint64_t asked_by;       /* the connection that took the last one */
    uint64_t seen;           /* the greatest that a read has returned */
    uint64_t expiry_ms;      /* of the acknowledged one, in range time; 0: it stays */
    uint64_t gone;           /* a read found nothing: no value up to it is there any more */
    uint64_t time_ms;        /* the greatest range time that any owner of the key had … */
    uint64_t seam;           /* … and the least version that one let it be read at (seams.h) */
    struct {
        uint64_t time_us;
        uint64_t least; /* what a read that was asked then had to find */
        uint64_t gone;
    } marks[MARKS_MAX]; /* at some reads, in turn: what a stale one must find */
    uint32_t mark_next;
    uint64_t deadline_us;
    struct rig_answer *answer;
};

/* A read on its way. */
struct read_state {
    struct rig_answer *answer; /* NULL: free */
    uint32_t number;           /* of the key */
    uint64_t least;            /* what it must find, or something newer */
    uint64_t gone;             /* what it must not find, nor anything older */
    uint32_t way;
    uint64_t deadline_us;
};

/* How to read. */
enum read_way { READ_AT_LEADER, READ_ANYWHERE, READ_BY_LEASE, READ_OLD, READ_WAYS };

enum ask_kind { ASK_SPLIT, ASK_MEMBER, ASK_MERGE, ASK_TRANSFER, ASK_COMMAND, ASK_KINDS };

struct ranges_check;
struct ranges_full;
struct ranges_multi;
struct ranges_retain;
struct ranges_scan;
struct ranges_sweep;
struct ranges_twice;

struct run {
    struct rig rig;
    struct rng rng, book_rng;
    struct key_state keys[KEYS];
    struct read_state reads[READS_MAX];
    struct map hashes;                /* of histories, by range and index */
    struct map owners;                /* range, by key and span epoch */
    struct map seats;                 /* range and store, by replica id */
    struct map stays;                 /* of replicas on stores (ranges_judge.c) */
    bool is_grown;                    /* placement says where replicas go */
    bool is_retaining;                /* how long old versions are kept changes */
    bool has_full_logs;               /* logs meet their limits */
    uint64_t join_us[RIG_STORES_MAX]; /* not started before: it joins then */
    uint64_t strikes;                 /* at who hosts placement */
    uint64_t next_value;
    uint64_t next_id;
    uint64_t restart_us[RIG_STORES_MAX];
    uint64_t resume_us[RIG_STORES_MAX]; /* of one that is paused */
    uint64_t done[ASK_KINDS], acked, read, crashes;
    uint64_t ways[READ_WAYS];  /* reads answered: at a leader, anywhere, by lease, stale */
    struct rig_answer *change; /* the last one that an operator asked for */
    enum ask_kind ask_kind;
    size_t change_at;            /* the store that was asked */
    uint64_t change_deadline_us; /* after it nobody waits for its answer */
    const char *change_met;      /* counted if it is done; NULL: nothing */
    struct rig_answer *crossed;  /* to a cancellation that another command came after */
    uint64_t leaving;            /* the store that is decommissioned; 0: none … */
    size_t leaving_at;           /* … its place … */
    bool has_left;               /* … and its process has ended for that */
    bool says_all;               /* the stores' log lines too */
    bool is_sleepy;              /* no watchers, and times without load: ranges sleep */
    bool is_aimed;               /* now and then all stops in the middle of one thing */
    bool has_later;              /* what came to the simulator later, in a quarter of the runs */
    bool has_skew;               /* wall clocks jump */
    uint64_t leap_us;            /* when all of them leap; 0: they do not, or have … */
    uint64_t leap_ms;            /* … by so much … */
    uint64_t leapt_ms;           /* … and this is what they showed then */
    bool has_weather;            /* networks, disks and clocks are bad */
    uint32_t fewest;             /* replicas that operators leave a range */
    uint32_t hashed;             /* a keyspace whose keys stand behind slots … */
    uint32_t slots;              /* … as many of them … */
    uint32_t hashed_ranges;      /* … cut so by placement … */
    uint32_t hashed_replicas;    /* … which is to give it so many; 0: as all others */
    uint64_t absent;             /* reads that found a value expired */
    uint64_t quiet_until_us;
    struct store_sleep_stats sleep; /* of stores that are gone */
    struct ranges_watch *watch;     /* NULL: there are no watchers */
    struct ranges_check *check;
    struct ranges_full *full; /* NULL: no */
    struct ranges_multi *multi;
    struct ranges_scan *scan;
    struct ranges_sweep *sweep;
    struct ranges_twice *twice;
    struct ranges_retain *retain; /* NULL: no */
    struct cover cover;           /* what was met */
};

extern struct run run;

_Noreturn void die(const char *what);
uint64_t below(uint64_t n);
bool is_up(size_t i);

/* What a store counted of sleep, before it goes. */
void ranges_count_sleep(size_t i);

/* Store `i` dies, and starts again in so long. */
void ranges_crash(size_t i, enum sim_crash how, uint64_t away_ms);

/* All stores lose power, and come back soon. */
void ranges_lose_power(void);

/* Start who is due; `now`: everybody. */
void ranges_start(bool now);

/* A rare moment was met. */
void ranges_met(const char *name);

/* Does store `i` lead the range, and has it committed in its term? */
bool leads(size_t i, uint64_t range_id);

/* The store whose leader covers this on-disk key; rig.count if none does. */
size_t leader_at(struct slice key, uint64_t *ret_range);
/* The store with that id; rig.count if it is down or has none yet. */
size_t place_of(uint64_t store_id);
const struct range_descriptor *descriptor_on(size_t store, uint64_t range_id);

/* ---- ranges_keys.c: the keys, and what time does to them ----------------------------- */

/* Some stand in a hashed keyspace, behind slots; some are written with a time to live. */
bool key_is_hashed(uint32_t number);
bool key_expires(uint32_t number);
uint32_t key_keyspace(uint32_t number);
void key_name(uint32_t number, char name[8]);

/* As requests name it, and as it stands on disk. */
struct slice key_stored(uint32_t number, uint8_t raw[16]);
struct slice key_of(uint32_t number, uint8_t raw[16]);

/* Which one a row of that keyspace is; KEYS: none of them. */
uint32_t key_number(uint32_t keyspace, struct slice stored);

/* Note down how far range time has come for each key, and what merges brought it: now and
 * then, and before a store's memory goes. */
void key_times_note(void);

/* A read found nothing, where `least` was there: it must have expired. */
void key_found_absent(struct key_state *k, uint64_t least);

/* A read at this version (0: not known) found that value, and nothing up to `gone` was there. */
void key_found(struct key_state *k, uint64_t value, uint64_t gone, uint64_t version);

/* At the end: may nothing be there? May this be? */
bool key_may_hold_at_end(const struct key_state *k, uint64_t value);

/* One clock jumps, or goes right again; `heal`: all do. */
void clock_skew_some(void);
void clock_heal(void);

/* All clocks are set at once, to a time so much later that ranges forget what sessions did. */
void clock_leap(void);

/* When all faults are over: what has a time to live goes. */
void keys_wait_for_expiry(void);

/* ---- ranges_weather.c: networks, disks and clocks -------------------------------------- */

/* Is this run's weather bad, and how? */
void weather_draw(uint64_t seed);

/* Something may happen; it may become bad. */
void weather_act(void);

/* All is well, until it becomes bad again. */
void weather_clear(void);

/* May a store have failed to start with this? */
bool weather_excuses(int status);

/* Little room is left on that disk for a while; false: the weather is not bad. */
bool weather_fill_disk(size_t i);

/* Each sync there takes so long from now on; 0: as long as the weather says. */
void weather_slow_disk(size_t i, uint64_t sync_us);
void weather_expect(struct cover *cover);

/* ---- ranges_load.c: writes and reads ------------------------------------------ */

void settle_key(struct key_state *k);
void write_some(void);
void read_some(void);
void settle_reads(void);

/* The same of this key at this store; false: it cannot be asked now. */
bool write_key(uint32_t number, size_t at);
bool read_key(uint32_t number, size_t at, enum read_way way);

/* ---- ranges_ops.c: operators --------------------------------------------------- */

/* One of them asks for something, unless an earlier one waits. */
void operate(uint64_t choice);
enum { OPERATE_CHOICES = 9 };

/* Ask the leader at that place for one thing; NULL: it cannot be asked now. */
struct rig_answer *operate_split(size_t at, uint64_t range_id, struct slice key);
/* ADD_LEARNER: on the store in place `on`, whose uuid that is; else of that replica. */
struct rig_answer *operate_member(size_t at, uint64_t range_id, enum member_change action,
                                  uint64_t replica_id, size_t on,
                                  const uint8_t uuid[STORE_UUID_LEN]);

/* ---- ranges_aim.c: the world stops in the middle of one thing ---------------------- */

/* One of the scenes. */
void ranges_aim(void);
void ranges_aim_expect(struct cover *cover);

/* ---- ranges_grow.c: a cluster that grows, under placement ------------------------- */

/* One store founds the cluster; the others join in the first half of the run. */
void grow_begin(uint32_t seconds);

/* At the end: the replicas that its keys are to have, and no cut is missing. */
bool grow_is_as_wanted(const struct range_meta *meta);

/* What operators have said and would hold is taken back. */
void grow_finish(void);

/* A word to placement, said until it is heard; all is well. */
void grow_insist(const struct request_placement *word);

/* A word to placement, which gives the ids; or whoever hosts it dies. */
void grow_operate(uint64_t choice);

void grow_expect(struct cover *cover);

/* ---- ranges_lost.c: changes of members that are lost again -------------------------- */

/* Are there such in this run? */
void lost_draw(uint64_t seed);

/* One, if there is a range for it. */
void lost_act(void);
void lost_expect(struct cover *cover);

/* The answer to the last one is here, or will not come any more. */
bool is_change_over(void);
void note_change(void);
bool ranges_can_ask(size_t at);

/* ---- ranges_full.c: logs that meet their limits ------------------------------------ */

/* Before stores start, whose options it sets. NULL is fine for free() and act(). */
struct ranges_full *ranges_full_new(uint64_t seed);
void ranges_full_free(struct ranges_full *full);

/* So much stands behind the number in the next value. */
size_t ranges_full_value_len(struct ranges_full *full);

/* Now and then all keys are written at once. */
void ranges_full_act(struct ranges_full *full);
void ranges_full_expect(struct cover *cover);

/* ---- ranges_check.c: are replicas alike? ------------------------------------------- */

struct ranges_check *ranges_check_new(uint64_t seed);
void ranges_check_free(struct ranges_check *check);

/* Now and then a range is checked. */
void ranges_check_act(struct ranges_check *check);

/* What was found so far; NULL is fine. */
void ranges_check_compare(struct ranges_check *check);
void ranges_check_expect(struct cover *cover);

/* ---- ranges_multi.c: gets of all keys at once, by a client ------------------------ */

struct ranges_multi *ranges_multi_new(const char *const *endpoints, size_t count);

/* Ask, if it is time. */
void ranges_multi_act(struct ranges_multi *multi);
void ranges_multi_check(const struct ranges_multi *multi);

/* How many were answered, and of those how many were of several ranges. */
void ranges_multi_figures(const struct ranges_multi *multi, uint64_t *ret_answered,
                          uint64_t *ret_parted);

/* Before the world ends. */
void ranges_multi_free(struct ranges_multi *multi);

/* ---- ranges_scan.c: all plain keys, page by page, by a client ---------------------- */

struct ranges_scan *ranges_scan_new(const char *const *endpoints, size_t count, uint64_t seed);

/* Ask for the next page, if it is time. */
void ranges_scan_act(struct ranges_scan *scan);

/* All that wait begin anew, at this plain key; is one at a version by now, and before `end`? */
void ranges_scan_from(struct ranges_scan *scan, uint32_t number);
bool ranges_scan_is_in(const struct ranges_scan *scan, struct slice end);
void ranges_scan_expect(struct cover *cover);

/* Before the world ends. */
void ranges_scan_free(struct ranges_scan *scan);

/* ---- ranges_sweep.c: a span of the hashed keyspace is filled and deleted ----------- */

struct ranges_sweep *ranges_sweep_new(const char *const *endpoints, size_t count);

/* Go on, if it is time. */
void ranges_sweep_act(struct ranges_sweep *sweep);

/* All is calm: nothing is left of it. */
void ranges_sweep_finish(struct ranges_sweep *sweep);

/* Before the world ends, and run.cover is read. */
void ranges_sweep_free(struct ranges_sweep *sweep);

/* ---- ranges_twice.c: changes that are sent again and again ------------------------ */

struct ranges_twice *ranges_twice_new(uint64_t seed);

/* Send some, or send some again. */
void ranges_twice_act(struct ranges_twice *twice);

/* All is calm: each was done once or never, as was told. */
void ranges_twice_finish(struct ranges_twice *twice);
void ranges_twice_free(struct ranges_twice *twice);

/* Is it one of its keys, which stand among the plain ones? */
bool ranges_twice_is_key(struct slice name);
void ranges_twice_expect(struct cover *cover);

/* ---- ranges_retain.c: how long old versions are kept ------------------------------ */

enum { RETAIN_TEXT = 40 };

/* Before stores start, whose options it sets. `is_watched`: no watcher may fall behind. NULL is
 * fine for all that follow. */
struct ranges_retain *ranges_retain_new(uint64_t seed, bool is_watched);
void ranges_retain_free(struct ranges_retain *retain);

/* That value of the key was acknowledged at that version. */
void ranges_retain_acked(struct ranges_retain *retain, uint32_t number, uint64_t value,
                         uint64_t version);

/* Read something at its version; or have a time changed. */
void ranges_retain_act(struct ranges_retain *retain);

/* No safe point goes back. */
void ranges_retain_check(struct ranges_retain *retain);

/* With --grow, at the end: what shall hold is said to placement (by `say`, until it is heard);
 * and does it hold of this range? */
void ranges_retain_last_words(struct ranges_retain *retain,
                              void (*say)(const struct request_placement *word));
bool ranges_retain_is_as_wanted(const struct ranges_retain *retain, const struct range_meta *meta,
                                bool is_hashed);
void ranges_retain_expect(struct cover *cover);

/* ---- ranges_judge.c -------------------------------------------------------------- */

/* What must be true at any time. */
void check_now(void);

/* After the faults have stopped: is everything as it should be? */
bool is_settled(void);
void check_values(void);
void check_expired(void);
uint32_t voters_in(const struct range_descriptor *d);
void look_by_client(void);
void describe(void);

#endif
