/* SPDX-License-Identifier: Apache-2.0
 *
 * In holdfast-ranges-sim: changes that are sent twice and more under one stamp (session,
 * sequence), to whichever stores: at once, or one after another, or seconds later, when the range
 * may have been split, merged or moved, or has another leader; and some once more when they were
 * answered long ago. Each is done once or never, and has one result.
 *
 * A change adds a power of four to a counter, and each to a counter adds another one: so the
 * digits of a counter, and of each result, tell of every change how often it was done.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ranges.h"

enum {
    COUNTERS = 24, /* among the plain keys, so that ranges are cut between them */
    DIGITS = 31,   /* of a counter: so many changes of each */
    CHANGES = COUNTERS * DIGITS,
    SENDINGS_MAX = 6,
    OPEN_AT_ONCE = 12, /* changes that may be sent again */
    SESSION_CHANCE = 40,
    LIVES_MS = 6000, /* so long a change may be sent again */
    WAIT_STEPS = 120,
};

struct sending {
    struct rig_answer *answer;
    uint64_t range_id;
    size_t store;
    bool is_taken;
};

struct once {
    struct command command; /* without ops */
    uint32_t counter;
    uint32_t digit;
    struct sending sendings[SENDINGS_MAX];
    uint32_t count;
    const struct sending *first; /* that was answered with the result; NULL: none was */
    uint64_t next_us;            /* of the next sending */
    uint64_t until_us;           /* after it the session counts it as answered */
};

struct ranges_twice {
    struct rng rng;
    struct once all[CHANGES];
    uint32_t begun;
    uint32_t closed; /* of those that were begun, the first ones: nobody waits for them */
    uint64_t session;
    uint64_t sequence;     /* the last that was given */
    uint32_t session_from; /* the change that began the session */
};

static void counter_name(uint32_t counter, char name[8])
{
    snprintf(name, 8, "k%02uc", counter);
}

bool ranges_twice_is_key(struct slice name)
{
    return name.len == 4 && name.data[3] == 'c';
}

static struct slice counter_key(uint32_t counter, uint8_t raw[16])
{
    char name[8];
    counter_name(counter, name);
    return slice_of(raw, range_user_key(0, slice_str(name), raw));
}

/* How often the change with that digit was done, as a counter tells. */
static uint32_t times_of(int64_t number, uint32_t digit)
{
    return (uint32_t)(((uint64_t)number >> (2 * digit)) & 3);
}

static void blame(const struct once *o, const char *what, int64_t number)
{
    printf("k%02uc, change %u, %u sendings: %llx\n", o->counter, o->digit, o->count,
           (unsigned long long)number);
    die(what);
}

/* ---- what was answered ------------------------------------------------------------------- */

static void judge_result(const struct once *o, const struct rig_answer *a)
{
    for (uint32_t d = 0; d < DIGITS; d++) {
        if (times_of(a->number, d) > 1)
            blame(o, "a change was done twice", a->number);
    }
    if (times_of(a->number, o->digit) != 1)
        blame(o, "a result is not that of its change", a->number);
    const struct rig_answer *first = o->first == NULL ? a : o->first->answer;
    if (a->number != first->number || a->written != first->written)
        blame(o, "two results of one change", a->number);
}

static void take_result(struct once *o, const struct sending *s)
{
    judge_result(o, s->answer);
    if (o->first == NULL) {
        o->first = s;
        return;
    }
    ranges_met("twice: answered again");
    if (s->range_id != o->first->range_id)
        ranges_met("twice: answered again by another range");
    if (s->store != o->first->store)
        ranges_met("twice: answered again by another store");
}

static void settle(struct once *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        struct sending *s = &o->sendings[i];
        if (s->is_taken || s->answer->count == 0)
            continue;
        s->is_taken = true;
        if (s->answer->status == 0)
            take_result(o, s);
    }
}

/* May it have been done though nobody said so? */
static bool is_unsure(const struct once *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct rig_answer *a = o->sendings[i].answer;
        if (a->count == 0 || a->status == ERR_UNDETERMINED)
            return true;
    }
    return false;
}

/* ---- sending ------------------------------------------------------------------------------ */

/* The store to be asked: mostly who leads; rig.count: nobody can be. */
static size_t draw_store(struct ranges_twice *t, const struct once *o, uint64_t *ret_range)
{
    uint8_t raw[16];
    size_t at = leader_at(counter_key(o->counter, raw), ret_range);
    if (rng_below(&t->rng, 8) == 0)
        at = rng_below(&t->rng, run.rig.count);
    return at < run.rig.count && is_up(at) && run.rig.conns[at].conn != NULL ? at : run.rig.count;
}

static struct rig_answer *ask(const struct once *o, size_t at, uint32_t timeout_ms)
{
    char name[8];
    struct buf raw;
    counter_name(o->counter, name);
    struct op op = {
        .kind = OP_INCREMENT, .key = slice_str(name), .delta = INT64_C(1) << (2 * o->digit)};
    struct command command = o->command;
    command.op_count = 1;
    command.ops = &op;
    buf_init(&raw, 1 << 10);
    command_encode(&raw, &command);
    struct request request = {
        .kind = REQUEST_WRITE, .timeout_ms = timeout_ms, .write = {buf_slice(&raw)}};
    struct rig_answer *answer = rig_ask(&run.rig, at, &request);
    buf_fini(&raw);
    return answer;
}

static bool send_once(struct ranges_twice *t, struct once *o)
{
    uint64_t range_id = 0;
    size_t at = draw_store(t, o, &range_id);
    if (at == run.rig.count || o->count == SENDINGS_MAX || run.rig.asked + 64 > RIG_ASKED_MAX)
        return false;
    uint32_t timeout_ms = 20 + (uint32_t)rng_below(&t->rng, 3000);
    o->sendings[o->count++] =
        (struct sending){.answer = ask(o, at, timeout_ms), .range_id = range_id, .store = at};
    return true;
}

/* The lowest sequence of the session that may still be sent. */
static uint64_t lowest_of(const struct ranges_twice *t)
{
    uint32_t from = MAX(t->closed, t->session_from);
    return from < t->begun ? t->all[from].command.sequence : t->sequence;
}

static void begin_change(struct ranges_twice *t)
{
    uint64_t now_us = sim_now_us(run.rig.sim);
    struct once *o = &t->all[t->begun];
    if (t->session == 0 || rng_below(&t->rng, SESSION_CHANCE) == 0) {
        t->session = 1 + rng_below(&t->rng, UINT64_MAX - 1);
        t->sequence = 0;
        t->session_from = t->begun;
    }
    t->sequence++;
    *o = (struct once){.counter = t->begun % COUNTERS, .digit = t->begun / COUNTERS};
    t->begun++;
    o->command = (struct command){
        .session = t->session,
        .sequence = t->sequence,
        .lowest_unanswered = lowest_of(t),
        .first_sent_ms = env_wall_ms(sim_node_env(run.rig.outside)),
    };
    o->until_us = now_us + rng_below(&t->rng, LIVES_MS) * RIG_MS;
    send_once(t, o);
    if (rng_below(&t->rng, 3) == 0)
        send_once(t, o); /* at once */
}

/* In order: the session's lowest is the first of those that wait. */
static void close_old(struct ranges_twice *t)
{
    uint64_t now_us = sim_now_us(run.rig.sim);
    while (t->closed < t->begun && now_us >= t->all[t->closed].until_us)
        t->closed++;
}

void ranges_twice_act(struct ranges_twice *t)
{
    uint64_t now_us = sim_now_us(run.rig.sim);
    close_old(t);
    if (t->begun < CHANGES && t->begun - t->closed < OPEN_AT_ONCE && rng_below(&t->rng, 2) == 0)
        begin_change(t);
    for (uint32_t i = t->closed; i < t->begun; i++) {
        struct once *o = &t->all[i];
        settle(o);
        if (now_us < o->next_us || rng_below(&t->rng, 3) != 0 || !send_once(t, o))
            continue;
        o->next_us = now_us + rng_below(&t->rng, LIVES_MS / 2) * RIG_MS;
    }
    if (t->closed > 0 && rng_below(&t->rng, 8) == 0) { /* long after */
        struct once *o = &t->all[rng_below(&t->rng, t->closed)];
        if (send_once(t, o))
            ranges_met("twice: sent after it was answered");
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

static bool is_refused(const struct rig_answer *a)
{
    return a->count == 0 || a->status == ERR_NOT_LEADER || a->status == ERR_RANGE_CHANGED ||
           a->status == ERR_BUSY || a->status == ERR_UNAVAILABLE;
}

/* At the leader, again and again until it says something; all is calm. */
static size_t calm_leader(uint32_t counter)
{
    uint8_t raw[16];
    uint64_t range_id;
    for (int i = 0; i < WAIT_STEPS; i++) {
        size_t at = leader_at(counter_key(counter, raw), &range_id);
        if (at < run.rig.count) {
            rig_reconnect(&run.rig, at);
            return at;
        }
        rig_run(&run.rig, 50 * RIG_MS);
    }
    die("nobody leads the range of a counter at the end");
}

static void await(const struct rig_answer *a)
{
    for (int i = 0; i < WAIT_STEPS && a->count == 0; i++)
        rig_run(&run.rig, 50 * RIG_MS);
}

/* What the session still knows of is answered as it was; what nobody was told of is done now, or
 * was done before. Unless the range has forgotten it, and says so: false. */
static bool ask_again(const struct once *o)
{
    struct rig_answer *a = NULL;
    for (int tries = 0; tries < 20 && (a == NULL || is_refused(a)); tries++) {
        a = ask(o, calm_leader(o->counter), 5000);
        await(a);
    }
    if (a->count == 1 && a->status == ERR_SESSION_EXPIRED &&
        o->command.first_sent_ms < run.leapt_ms) {
        ranges_met("twice: forgotten");
        return false;
    }
    if (a->count != 1 || a->status != 0)
        blame(o, "a change that may be asked for again is not answered at the end", a->status);
    judge_result(o, a);
    return true;
}

static int64_t read_counter(uint32_t counter)
{
    struct rig_answer *a = NULL;
    char name[8];
    counter_name(counter, name);
    for (int tries = 0; tries < 20 && (a == NULL || is_refused(a)); tries++) {
        a = rig_get(&run.rig, calm_leader(counter), name, 5000);
        await(a);
    }
    if (a->count != 1 || a->status != 0)
        die("a counter cannot be read at the end");
    return strtoll(a->value, NULL, 10);
}

void ranges_twice_finish(struct ranges_twice *t)
{
    bool is_there[CHANGES] = {false};
    for (uint32_t i = 0; i < t->begun; i++)
        settle(&t->all[i]);
    for (uint32_t i = MAX(t->closed, t->session_from); i < t->begun; i++) {
        is_there[i] = ask_again(&t->all[i]);
        ranges_met("twice: asked for at the end");
    }
    for (uint32_t counter = 0; counter < COUNTERS; counter++) {
        int64_t number = read_counter(counter);
        for (uint32_t i = counter; i < t->begun; i += COUNTERS) {
            struct once *o = &t->all[i];
            settle(o);
            uint32_t times = times_of(number, o->digit);
            if (times > 1)
                blame(o, "a change was done twice, a counter says", number);
            if (times == 0 && (o->first != NULL || is_there[i]))
                blame(o, "a change that was acknowledged is lost", number);
            if (times == 1 && o->first == NULL && !is_there[i] && !is_unsure(o))
                blame(o, "a change was done that nobody was told of", number);
        }
    }
}

struct ranges_twice *ranges_twice_new(uint64_t seed)
{
    struct ranges_twice *t = calloc(1, sizeof *t);
    ASSERT(t != NULL);
    rng_init(&t->rng, seed * 37 + 5);
    return t;
}

void ranges_twice_free(struct ranges_twice *t)
{
    free(t);
}

void ranges_twice_expect(struct cover *cover)
{
    static const char *const names[] = {
        "twice: answered again", "twice: answered again by another range",
        "twice: answered again by another store", "twice: sent after it was answered",
        "twice: asked for at the end"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cover_expect(cover, names[i]);
}
