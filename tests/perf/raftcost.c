/* SPDX-License-Identifier: Apache-2.0
 *
 * raftcost — what libraft itself costs for an entry: raft_step() of a leader and two followers in
 * one thread, whose "disk" and "network" are calls, so that nothing else is in the figure but this
 * program's own few lines. One step submits --entries entries; then they are on all three disks,
 * sent, acknowledged and committed before the next.
 *
 *   submit ─▶ leader ─▶ persisted, sent ─▶ followers ─▶ persisted, acknowledged ─▶ leader commits
 *
 *   raftcost [--steps N] [--entries N]
 *
 * In use an entry holds all puts of a turn of a store's loop, so divide by those.
 */
#include <inttypes.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/args.h"

enum {
    MEMBERS = 3,
    DATA_LEN = 100,
    ENTRIES_MAX = 1024,
    KEPT = 4096,
    ELECTION_MS = 1000,
    QUEUE = 64
};

struct member {
    struct raft raft;
    uint64_t commit;
};

struct letter {
    int to;
    struct raft_message message;
};

static struct {
    struct member members[MEMBERS];
    struct letter letters[QUEUE];
    unsigned first, count; /* of those on their way */
    uint64_t time_ms;
    /* The log that all agree on, as none ever fails: barriers up to an index, then commands of
     * one term. */
    uint64_t barrier_last;
    raft_term term;
    uint64_t ns[MEMBERS]; /* in raft_step() */
} group;

static uint8_t data[DATA_LEN];

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "raftcost: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct raft_configuration configuration(void)
{
    struct raft_configuration conf;
    raft_configuration_init(&conf);
    for (int i = 0; i < MEMBERS; i++) {
        char address[8];
        snprintf(address, sizeof address, "%d", i + 1);
        must(raft_configuration_add(&conf, (raft_id)i + 1, address, RAFT_VOTER) == 0, "configure");
    }
    return conf;
}

static void step(int who, struct raft_event *event);

static void persisted(int who, uint64_t index)
{
    struct raft_event event;
    memset(&event, 0, sizeof event);
    event.type = RAFT_PERSISTED_ENTRIES;
    event.persisted_entries.index = index;
    step(who, &event);
}

static void post(int from, const struct raft_message *message)
{
    must(group.count < QUEUE, "too many messages");
    struct letter *letter = &group.letters[(group.first + group.count++) % QUEUE];
    letter->to = (int)message->server_id - 1;
    letter->message = *message;
    letter->message.server_id = (raft_id)from + 1;
}

/* What the library asks for in this order: disk, network. */
static void step(int who, struct raft_event *event)
{
    struct raft *raft = &group.members[who].raft;
    struct raft_update update;
    uint64_t persist_to = 0;
    event->time = group.time_ms;
    uint64_t began = now_ns();
    int rv = raft_step(raft, event, &update);
    group.ns[who] += now_ns() - began;
    must(rv == 0, raft_strerror(rv));
    if (update.flags & RAFT_UPDATE_ENTRIES) {
        persist_to = update.entries.index + update.entries.n - 1;
        raft_free(update.entries.batch[0].batch); /* ours now */
    }
    if (update.flags & RAFT_UPDATE_MESSAGES)
        for (unsigned i = 0; i < update.messages.n; i++)
            post(who, &update.messages.batch[i]);
    group.members[who].commit = raft_commit_index(raft);
    if (persist_to > 0)
        persisted(who, persist_to);
}

/* Entries of a message, as a follower would decode them: one token for their memory. */
static void fill(struct raft_message *message, struct raft_entry *entries)
{
    struct raft_append_entries *append = &message->append_entries;
    must(append->n_entries <= ENTRIES_MAX, "too many entries in a message");
    if (append->n_entries == 0)
        return;
    void *token = raft_malloc(1);
    for (unsigned i = 0; i < append->n_entries; i++) {
        bool is_command = append->prev_log_index + 1 + i > group.barrier_last;
        entries[i] = (struct raft_entry){
            .term = append->term,
            .type = is_command ? RAFT_COMMAND : RAFT_BARRIER,
            .buf = {.base = data, .len = is_command ? sizeof data : 8},
            .batch = token,
        };
    }
    append->entries = entries;
}

static void deliver_all(void)
{
    static struct raft_entry entries[ENTRIES_MAX];
    while (group.count > 0) {
        struct letter letter = group.letters[group.first % QUEUE];
        group.first++;
        group.count--;
        if (letter.message.type == RAFT_APPEND_ENTRIES)
            fill(&letter.message, entries);
        struct raft_event event;
        memset(&event, 0, sizeof event);
        event.type = RAFT_RECEIVE;
        event.receive.message = &letter.message;
        step(letter.to, &event);
    }
}

static void start(int who)
{
    struct raft *raft = &group.members[who].raft;
    struct raft_snapshot_metadata base = {.index = 1, .term = 1, .configuration_index = 1};
    struct raft_event event;
    char address[8];
    snprintf(address, sizeof address, "%d", who + 1);
    must(raft_init(raft, NULL, NULL, (raft_id)who + 1, address) == 0, "raft_init");
    raft->tracer = NULL;
    raft_seed(raft, (unsigned)who + 1);
    raft_set_election_timeout(raft, ELECTION_MS);
    raft_set_heartbeat_timeout(raft, ELECTION_MS / 10);
    raft_set_max_inflight_entries(raft, ENTRIES_MAX);
    base.configuration = configuration(); /* the library's from here on */
    memset(&event, 0, sizeof event);
    event.type = RAFT_START;
    event.start.term = 1;
    event.start.metadata = &base;
    event.start.start_index = 2;
    step(who, &event);
}

static void elect(void)
{
    struct raft *raft = &group.members[0].raft;
    for (int i = 0; i < 100 && raft_state(raft) != RAFT_LEADER; i++) {
        struct raft_event event;
        group.time_ms += ELECTION_MS;
        group.barrier_last = UINT64_MAX; /* a barrier may come with it */
        memset(&event, 0, sizeof event);
        event.type = RAFT_TIMEOUT;
        step(0, &event);
        deliver_all();
    }
    must(raft_state(raft) == RAFT_LEADER, "nobody was elected");
    group.term = raft_current_term(raft);
    group.barrier_last = raft->last_stored;
}

static void submit(unsigned n)
{
    static struct raft_entry entries[ENTRIES_MAX];
    struct raft_event event;
    void *token = raft_malloc(1);
    for (unsigned i = 0; i < n; i++)
        entries[i] = (struct raft_entry){.term = group.term,
                                         .type = RAFT_COMMAND,
                                         .buf = {.base = data, .len = sizeof data},
                                         .batch = token};
    memset(&event, 0, sizeof event);
    event.type = RAFT_SUBMIT;
    event.submit.entries = entries;
    event.submit.n = n;
    step(0, &event);
    deliver_all();
}

/* The library keeps terms of what is in the log: cut it now and then, as stores do. */
static void compact(void)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct raft_event event;
        uint64_t index = group.members[i].commit;
        memset(&event, 0, sizeof event);
        event.type = RAFT_SNAPSHOT;
        event.snapshot.metadata.index = index;
        event.snapshot.metadata.term = index > group.barrier_last ? group.term : 1;
        event.snapshot.metadata.configuration_index = 1;
        event.snapshot.metadata.configuration = configuration();
        event.snapshot.trailing = KEPT / 2;
        step(i, &event);
    }
}

static void report(uint64_t steps, unsigned entries)
{
    uint64_t n = steps * entries;
    must(group.members[0].commit >= n, "not all was committed");
    printf("%u entries in a step, %" PRIu64
           " steps: leader %.0f ns for an entry, follower %.0f ns\n",
           entries, steps, (double)group.ns[0] / (double)n,
           (double)(group.ns[1] + group.ns[2]) / 2 / (double)n);
}

int main(int argc, char **argv)
{
    uint64_t steps = 200000, entries = 1;
    const struct args_flag flags[] = {
        {"steps", 0, ARGS_U64, &steps, NULL, "N", "how many (200000)"},
        {"entries", 0, ARGS_U64, &entries, NULL, "N", "submitted in one (1)"},
    };
    const char *words[1];
    size_t count = 0;
    int rv = args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), words,
                        1, &count, NULL);
    if (rv != 0 || count != 0 || steps < 1 || entries < 1 || entries > ENTRIES_MAX / 2) {
        fprintf(stderr, "usage: raftcost [--steps N] [--entries 1..%d]\n", ENTRIES_MAX / 2);
        return 2;
    }
    for (int i = 0; i < MEMBERS; i++)
        start(i);
    elect();
    memset(group.ns, 0, sizeof group.ns);
    for (uint64_t i = 0, since = 0; i < steps; i++) {
        submit((unsigned)entries);
        since += entries;
        if (since >= KEPT) {
            compact();
            since = 0;
        }
    }
    report(steps, (unsigned)entries);
    for (int i = 0; i < MEMBERS; i++)
        raft_close(&group.members[i].raft, NULL);
    return 0;
}
