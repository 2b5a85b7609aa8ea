/* SPDX-License-Identifier: Apache-2.0
 *
 * range check: have every replica digest the range at one index of its log, collect the
 * sums, compare them.
 *
 *   status ─▶ members ─▶ check_start ─▶ index ─▶ ASKING ─▶ OVER ─▶ verdict
 *                             ▲                    │  ▲ nobody knows of other members
 *                             └─ a newer view ── LOOKING
 *
 *   ASKING   each member, now and then, until it is DONE, cannot (FAILED, MISSING), or was
 *            waited for long enough
 *   LOOKING  one that was asked is no member any more: who is?
 *
 * alike: every member answered, with the same sums. differ: two that answered have not.
 * incomplete: none differ, but not all answered; each that did not is named.
 *
 * Of all ranges AT_ONCE_MAX are under way at a time, AT_ONCE_PER_STORE of them on one store. What
 * came of them is said in the order in which they were found.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "compare.h"
#include "ranges.h"

enum {
    POLL_MIN_MS = 2, /* many ranges are small, and done at once */
    POLL_MAX_MS = 100,
    CALL_MS = 2000,
    SILENT_MS = 5000, /* a store that does not answer is waited for so long, if all others did … */
    SILENT_ASKS = 3,  /* … and asked so often */
    PROGRESS_MS = 500,
    STRETCHES_MAX = 16,
    VIEWS_MAX = 3, /* of a range whose members change all the while */
    AT_ONCE_MAX = 8,
    AT_ONCE_PER_STORE = 4,
    ADDRESS_MAX = 256,
};
#define WAIT_US UINT64_C(600000000)

enum verdict { VERDICT_ALIKE, VERDICT_DIFFER, VERDICT_INCOMPLETE };
enum check_state { CHECK_ASKING, CHECK_LOOKING, CHECK_OVER };

struct member {
    struct hf_member who;
    char address[ADDRESS_MAX]; /* who.address */
    struct hf_result *result;  /* the last answer; owned */
    bool is_settled;           /* it will say no more than that */
    size_t group;              /* compare.h */
};

struct range_check {
    struct cli *cli;
    struct hf_client *client;
    uint64_t wait_ms;
    uint64_t range_id;
    uint64_t conf_epoch; /* of the view that the members are from */
    size_t views;        /* newer ones so far */
    enum check_state state;
    uint64_t since_ms; /* in this state, with this view */
    uint64_t due_ms;   /* to be asked again */
    unsigned pause_ms;
    unsigned asks;
    int refusal;               /* why it was not begun: a code, … */
    struct hf_result *refused; /* … and in words; owned */
    uint64_t index;
    uint64_t term;
    size_t count; /* COMPARE_REPLICAS_MAX + 1: too many */
    struct member members[COMPARE_REPLICAS_MAX];
    size_t groups;
};

/* ---- asking ------------------------------------------------------------------------- */

static const struct hf_check *check_of(const struct member *m)
{
    return m->result != NULL && m->result->code == HF_OK ? m->result->check : NULL;
}

static bool is_done(const struct member *m)
{
    const struct hf_check *c = check_of(m);
    return c != NULL && c->state == HF_CHECK_DONE;
}

static void ask(struct range_check *rc, struct member *m)
{
    struct hf_call call = cli_call(rc->cli);
    struct hf_result *result = NULL;
    if (!rc->cli->is_timeout_given)
        call.timeout_ms = CALL_MS;
    hf_check_result(rc->client, m->who.address, rc->range_id, rc->index, &call, &result);
    if (result == NULL)
        return; /* memory is short: again later */
    hf_result_free(m->result);
    m->result = result;
    const struct hf_check *c = check_of(m);
    m->is_settled = result->code == HF_ERR_NOT_FOUND ||
                    (c != NULL && c->state != HF_CHECK_BEHIND && c->state != HF_CHECK_RUNNING);
}

/* Is there anybody who may still say something? */
static bool is_worth_waiting(const struct range_check *rc, uint64_t waited_ms)
{
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        if (m->is_settled)
            continue;
        if (check_of(m) != NULL || waited_ms < SILENT_MS || rc->asks < SILENT_ASKS)
            return true;
    }
    return false;
}

/* ---- judging --------------------------------------------------------------------------- */

static enum verdict judge(struct range_check *rc)
{
    const struct hf_check *checks[COMPARE_REPLICAS_MAX];
    size_t groups[COMPARE_REPLICAS_MAX];
    size_t done = 0;
    for (size_t i = 0; i < rc->count; i++) {
        checks[i] = is_done(&rc->members[i]) ? check_of(&rc->members[i]) : NULL;
        done += checks[i] != NULL;
    }
    rc->groups = compare_groups(checks, rc->count, groups);
    for (size_t i = 0; i < rc->count; i++)
        rc->members[i].group = groups[i];
    if (rc->groups > 1)
        return VERDICT_DIFFER;
    return done == rc->count ? VERDICT_ALIKE : VERDICT_INCOMPLETE;
}

/* The first member of group 0. */
static const struct member *model_of(const struct range_check *rc)
{
    for (size_t i = 0; i < rc->count; i++) {
        if (rc->members[i].group == 0)
            return &rc->members[i];
    }
    return NULL;
}

static const char *state_of(const struct member *m)
{
    static const char *const names[] = {
        [HF_CHECK_STARTED] = "started", [HF_CHECK_BEHIND] = "behind", [HF_CHECK_RUNNING] = "slow",
        [HF_CHECK_DONE] = "done",       [HF_CHECK_FAILED] = "failed", [HF_CHECK_MISSING] = "absent",
    };
    const struct hf_check *c = check_of(m);
    if (c != NULL && c->state > 0 && (size_t)c->state < ARRAY_LEN(names))
        return names[c->state];
    return m->result != NULL && m->result->code == HF_ERR_NOT_FOUND ? "gone" : "silent";
}

/* Why a member did not take part, in words; "" where it did. */
static const char *why_of(const struct member *m, char *out, size_t size)
{
    const struct hf_check *c = check_of(m);
    if (is_done(m))
        snprintf(out, size, "%s", "");
    else if (c == NULL)
        snprintf(out, size, "%s", m->result == NULL ? "no answer" : m->result->message);
    else if (c->state == HF_CHECK_BEHIND)
        snprintf(out, size, "it has applied up to index %" PRIu64 " only", c->applied);
    else if (c->state == HF_CHECK_RUNNING)
        snprintf(out, size, "it is still reading, %" PRIu64 " MiB so far", c->bytes >> 20);
    else
        snprintf(out, size, "%s", c->why);
    return out;
}

/* "its keys, its history" */
static void append_differences(struct buf *out, unsigned differ)
{
    static const char *const names[] = {"the term of the index", "the history that was applied",
                                        "what the range keeps beside its keys", "keys"};
    bool is_first = true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if ((differ & BIT(i)) == 0)
            continue;
        buf_printf(out, "%s%s", is_first ? "" : ", ", names[i]);
        is_first = false;
    }
}

/* ---- for people ---------------------------------------------------------------------------- */

static void append_end(struct buf *out, const struct hf_check_part *part, const char *none)
{
    if (part == NULL || part->is_last) {
        buf_append_str(out, none);
        return;
    }
    buf_append_str(out, "'");
    cli_append_shown(out, cli_slice(part->last));
    buf_append_str(out, "'");
    if (part->keyspace != 0)
        buf_printf(out, " of keyspace %u", part->keyspace);
}

static void print_difference(struct range_check *rc, const struct member *model,
                             const struct member *m)
{
    struct buf *out = &rc->cli->out;
    struct compare_stretch stretches[STRETCHES_MAX];
    unsigned differ = compare_checks(check_of(model), check_of(m));
    buf_printf(out, "replica %" PRIu64 " on store %" PRIu64 " differs from replica %" PRIu64 " in ",
               m->who.replica_id, m->who.store_id, model->who.replica_id);
    append_differences(out, differ);
    buf_append_str(out, "\n");
    if ((differ & COMPARE_KEYS) == 0)
        return;
    size_t n = compare_stretches(check_of(model), check_of(m), stretches, STRETCHES_MAX);
    for (size_t i = 0; i < MIN(n, (size_t)STRETCHES_MAX); i++) {
        buf_append_str(out, "  keys after ");
        append_end(out, stretches[i].after, "the beginning");
        buf_append_str(out, " up to ");
        append_end(out, stretches[i].last, "the end");
        buf_printf(out, ": %" PRIu64 " keys there, %" PRIu64 " here\n", stretches[i].keys_a,
                   stretches[i].keys_b);
    }
    if (n > STRETCHES_MAX)
        buf_printf(out, "  … and %zu more stretches\n", n - STRETCHES_MAX);
}

static void print_table(struct range_check *rc)
{
    static const char *const heads[] = {"REPLICA", "STORE", "ADDRESS", "STATE",
                                        "KEYS",    "BYTES", "SUM",     "META"};
    struct cli_table table;
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        const struct hf_check *c = check_of(m);
        cli_table_cell(&table, "%" PRIu64, m->who.replica_id);
        cli_table_cell(&table, "%" PRIu64, m->who.store_id);
        cli_table_cell(&table, "%s", m->who.address);
        cli_table_cell(&table, "%s", state_of(m));
        if (is_done(m)) {
            cli_table_cell(&table, "%" PRIu64, c->keys);
            cli_table_cell(&table, "%" PRIu64, c->bytes);
            cli_table_cell(&table, "%016" PRIx64, c->sum[0]);
            cli_table_cell(&table, "%016" PRIx64, c->meta);
        } else {
            for (int k = 0; k < 4; k++)
                cli_table_cell(&table, "-");
        }
    }
    cli_table_print(&table, &rc->cli->out);
}

static void print_text(struct range_check *rc, enum verdict verdict)
{
    struct buf *out = &rc->cli->out;
    const struct member *model = model_of(rc);
    char why[256];
    buf_printf(out, "range %" PRIu64 " at index %" PRIu64 " of term %" PRIu64 "\n", rc->range_id,
               rc->index, rc->term);
    print_table(rc);
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        if (!is_done(m))
            buf_printf(out, "replica %" PRIu64 " on store %" PRIu64 " took no part: %s\n",
                       m->who.replica_id, m->who.store_id, why_of(m, why, sizeof why));
        else if (m->group > 0)
            print_difference(rc, model, m);
    }
    if (verdict == VERDICT_ALIKE)
        buf_printf(out, "alike: all %zu replicas\n", rc->count);
    else if (verdict == VERDICT_INCOMPLETE)
        buf_append_str(out, "incomplete: nothing differs, but not all replicas took part\n");
    else
        buf_printf(out, "DIFFER: %zu different states\n", rc->groups);
}

/* ---- for programs -----------------------------------------------------------------------------
 */

static void json_hex(struct json_writer *w, const char *name, const uint64_t *words, size_t count)
{
    char text[33] = "";
    ASSERT(count <= 2);
    for (size_t i = 0; i < count; i++)
        snprintf(text + 16 * i, 17, "%016" PRIx64, words[i]);
    json_key(w, name);
    json_text(w, text);
}

static void json_end(struct json_writer *w, const char *name, const struct hf_check_part *part)
{
    json_key(w, name);
    if (part == NULL || part->is_last) {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_key(w, "keyspace");
    json_u64(w, part->keyspace);
    json_bytes_member(w, "key", cli_slice(part->last));
    json_object_end(w);
}

static void json_stretches(struct json_writer *w, const struct member *model,
                           const struct member *m)
{
    struct compare_stretch stretches[STRETCHES_MAX];
    size_t n = compare_stretches(check_of(model), check_of(m), stretches, STRETCHES_MAX);
    json_key(w, "stretches");
    json_array_begin(w);
    for (size_t i = 0; i < MIN(n, (size_t)STRETCHES_MAX); i++) {
        json_object_begin(w);
        json_end(w, "after", stretches[i].after);
        json_end(w, "through", stretches[i].last);
        json_key(w, "keys_there");
        json_u64(w, stretches[i].keys_a);
        json_key(w, "keys_here");
        json_u64(w, stretches[i].keys_b);
        json_object_end(w);
    }
    json_array_end(w);
    json_key(w, "stretch_count");
    json_u64(w, n);
}

static void json_sums(struct json_writer *w, const struct member *model, const struct member *m)
{
    static const char *const names[] = {"term", "history", "meta", "keys"};
    const struct hf_check *c = check_of(m);
    unsigned differ = compare_checks(check_of(model), c);
    json_key(w, "keys");
    json_u64(w, c->keys);
    json_key(w, "bytes");
    json_u64(w, c->bytes);
    json_hex(w, "sum", c->sum, 2);
    json_hex(w, "meta", &c->meta, 1);
    json_hex(w, "history", &c->history, 1);
    json_key(w, "group");
    json_u64(w, m->group);
    json_key(w, "differs_in");
    json_array_begin(w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if ((differ & BIT(i)) != 0)
            json_text(w, names[i]);
    }
    json_array_end(w);
    if ((differ & COMPARE_KEYS) != 0)
        json_stretches(w, model, m);
}

static void json_replica(struct json_writer *w, const struct member *model, const struct member *m)
{
    char why[256];
    json_object_begin(w);
    json_key(w, "replica_id");
    json_u64(w, m->who.replica_id);
    json_key(w, "store_id");
    json_u64(w, m->who.store_id);
    json_key(w, "address");
    json_text(w, m->who.address);
    json_key(w, "state");
    json_text(w, state_of(m));
    if (is_done(m)) {
        json_sums(w, model, m);
    } else {
        json_key(w, "why");
        json_text(w, why_of(m, why, sizeof why));
    }
    json_object_end(w);
}

static void print_json(struct range_check *rc, enum verdict verdict)
{
    static const char *const names[] = {"alike", "differ", "incomplete"};
    struct json_writer w;
    json_begin(&w, &rc->cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, verdict == VERDICT_ALIKE);
    json_key(&w, "verdict");
    json_text(&w, names[verdict]);
    json_key(&w, "range_id");
    json_u64(&w, rc->range_id);
    json_key(&w, "index");
    json_u64(&w, rc->index);
    json_key(&w, "term");
    json_u64(&w, rc->term);
    json_key(&w, "replicas");
    json_array_begin(&w);
    for (size_t i = 0; i < rc->count; i++)
        json_replica(&w, model_of(rc), &rc->members[i]);
    json_array_end(&w);
    json_object_end(&w);
    buf_append_str(&rc->cli->out, "\n");
}

/* ---- the command --------------------------------------------------------------------------------
 */

static void forget_answers(struct range_check *rc)
{
    for (size_t i = 0; i < MIN(rc->count, (size_t)COMPARE_REPLICAS_MAX); i++)
        hf_result_free(rc->members[i].result);
    memset(rc->members, 0, sizeof rc->members);
}

static void enter(struct range_check *rc, enum check_state state)
{
    rc->state = state;
    rc->since_ms = cli_now_ms();
    rc->due_ms = rc->since_ms;
    rc->pause_ms = POLL_MIN_MS;
    rc->asks = 0;
}

/* Its members as somebody saw them, who are asked from now on. */
static void set_view(struct range_check *rc, const struct hf_info *info)
{
    forget_answers(rc);
    rc->range_id = info->range_id;
    rc->conf_epoch = info->conf_epoch;
    rc->count = MIN(info->member_count, (size_t)COMPARE_REPLICAS_MAX + 1);
    for (size_t i = 0; i < MIN(rc->count, (size_t)COMPARE_REPLICAS_MAX); i++) {
        struct member *m = &rc->members[i];
        snprintf(m->address, sizeof m->address, "%s", info->members[i].address);
        m->who = info->members[i];
        m->who.address = m->address;
    }
}

/* Have all members digest it. */
static void begin(struct range_check *rc)
{
    struct hf_call call = cli_call(rc->cli);
    struct hf_result *started = NULL;
    if (rc->count > COMPARE_REPLICAS_MAX) {
        enter(rc, CHECK_OVER);
        return;
    }
    int rv = hf_check_start(rc->client, rc->range_id, &call, &started);
    if (rv != HF_OK || started->check == NULL) {
        rc->refusal = rv != HF_OK ? rv : HF_ERR_NOMEM;
        rc->refused = started;
        enter(rc, CHECK_OVER);
        return;
    }
    rc->index = started->check->index;
    rc->term = started->check->term;
    hf_result_free(started);
    enter(rc, CHECK_ASKING);
}

/* Was a member asked that says that it is none? */
static bool has_gone(const struct range_check *rc)
{
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        if (m->result != NULL && m->result->code == HF_ERR_NOT_FOUND)
            return true;
    }
    return false;
}

static void step_asking(struct range_check *rc)
{
    for (size_t i = 0; i < rc->count; i++) {
        if (!rc->members[i].is_settled)
            ask(rc, &rc->members[i]);
    }
    rc->asks++;
    uint64_t waited_ms = cli_now_ms() - rc->since_ms;
    if (waited_ms < rc->wait_ms && is_worth_waiting(rc, waited_ms))
        return;
    /* The view may be older than a change of members. But replicas that differ do so whoever else
     * is a member, and a newer view may lack them. */
    bool is_outdated = rc->views < VIEWS_MAX && has_gone(rc) && judge(rc) != VERDICT_DIFFER;
    enter(rc, is_outdated ? CHECK_LOOKING : CHECK_OVER);
}

static void step_looking(struct range_check *rc)
{
    struct hf_call call = cli_call(rc->cli);
    struct hf_result *newer = NULL;
    int rv = hf_range_status(rc->client, NULL, rc->range_id, (struct hf_bytes){0}, &call, &newer);
    if (rv == HF_OK && newer->info->conf_epoch > rc->conf_epoch) {
        rc->views++;
        set_view(rc, newer->info);
        begin(rc);
    } else if (cli_now_ms() - rc->since_ms >= SILENT_MS) {
        enter(rc, CHECK_OVER);
    } else {
        rc->pause_ms = POLL_MAX_MS;
    }
    hf_result_free(newer);
}

/* What is due of it. */
static void step(struct range_check *rc)
{
    if (rc->state == CHECK_ASKING)
        step_asking(rc);
    else if (rc->state == CHECK_LOOKING)
        step_looking(rc);
    rc->due_ms = cli_now_ms() + rc->pause_ms;
    rc->pause_ms = MIN(2 * rc->pause_ms, (unsigned)POLL_MAX_MS);
}

/* Say what came of it. Of one that was not begun, where it has moved away, say, nothing is known
 * to differ, nor to be alike. */
static enum verdict tell(struct range_check *rc)
{
    ASSERT(rc->state == CHECK_OVER);
    if (rc->count > COMPARE_REPLICAS_MAX) {
        cli_error(rc->cli, "over %d members", COMPARE_REPLICAS_MAX);
        return VERDICT_INCOMPLETE;
    }
    if (rc->refusal != HF_OK) {
        cli_fail(rc->cli, rc->refusal, rc->refused);
        return VERDICT_INCOMPLETE;
    }
    enum verdict verdict = judge(rc);
    if (rc->cli->is_json)
        print_json(rc, verdict);
    else
        print_text(rc, verdict);
    return verdict;
}

static void check_free(struct range_check *rc)
{
    forget_answers(rc);
    hf_result_free(rc->refused);
    free(rc);
}

/* ---- one or all ---------------------------------------------------------------------------- */

struct checks {
    struct cli *cli;
    struct hf_client *client;
    uint64_t wait_ms;
    struct range_check *window[AT_ONCE_MAX]; /* owned, in the order in which they were found */
    size_t count;
    size_t told;
    uint64_t shown_ms;
    bool differs;
    bool is_incomplete;
};

static void show_progress(struct checks *checks)
{
    uint64_t now_ms = cli_now_ms();
    uint64_t bytes = 0;
    size_t settled = 0;
    if (!isatty(STDERR_FILENO) || checks->count == 0 || now_ms - checks->shown_ms < PROGRESS_MS)
        return;
    const struct range_check *rc = checks->window[0];
    checks->shown_ms = now_ms;
    for (size_t i = 0; i < MIN(rc->count, (size_t)COMPARE_REPLICAS_MAX); i++) {
        const struct hf_check *c = check_of(&rc->members[i]);
        settled += rc->members[i].is_settled;
        bytes += c != NULL ? c->bytes : 0;
    }
    fprintf(stderr, "\r\033[K");
    if (checks->told > 0)
        fprintf(stderr, "%zu ranges done; ", checks->told);
    fprintf(stderr, "range %" PRIu64 ": %zu of %zu replicas, %" PRIu64 " MiB read ", rc->range_id,
            settled, rc->count, bytes >> 20);
}

/* Say what came of the first ones. */
static void tell_some(struct checks *checks)
{
    while (checks->count > 0 && checks->window[0]->state == CHECK_OVER) {
        struct range_check *first = checks->window[0];
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r\033[K");
        enum verdict verdict = tell(first);
        checks->differs = checks->differs || verdict == VERDICT_DIFFER;
        checks->is_incomplete = checks->is_incomplete || verdict == VERDICT_INCOMPLETE;
        check_free(first);
        checks->told++;
        memmove(&checks->window[0], &checks->window[1], --checks->count * sizeof checks->window[0]);
    }
}

/* Do what is due of those under way. Returns how long nothing more is. */
static uint64_t step_some(struct checks *checks)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < checks->count; i++) {
        struct range_check *rc = checks->window[i];
        if (rc->state != CHECK_OVER && rc->due_ms <= cli_now_ms())
            step(rc);
        if (rc->state != CHECK_OVER)
            next_ms = MIN(next_ms, rc->due_ms);
    }
    tell_some(checks);
    show_progress(checks);
    uint64_t now_ms = cli_now_ms();
    return next_ms <= now_ms ? 0 : next_ms - now_ms;
}

/* How many are under way on that store? */
static size_t under_way(const struct checks *checks, uint64_t store_id)
{
    size_t n = 0;
    for (size_t i = 0; i < checks->count; i++) {
        const struct range_check *rc = checks->window[i];
        for (size_t k = 0; rc->state != CHECK_OVER && k < rc->count; k++)
            n += rc->members[k].who.store_id == store_id;
    }
    return n;
}

static bool has_room(const struct checks *checks, const struct hf_info *info)
{
    if (checks->count == AT_ONCE_MAX)
        return false;
    for (size_t i = 0; i < info->member_count; i++) {
        if (under_way(checks, info->members[i].store_id) >= AT_ONCE_PER_STORE)
            return false;
    }
    return true;
}

static void step_or_wait(struct checks *checks)
{
    uint64_t rest_ms = step_some(checks);
    if (checks->count > 0 && rest_ms > 0)
        cli_pause_ms((unsigned)MIN(rest_ms, (uint64_t)POLL_MAX_MS));
}

/* Ctrl-C: what is under way is not waited for, and goes on where it is. */
static int cut_off(struct checks *checks)
{
    return cli_fail_as(checks->cli, HF_ERR_UNDETERMINED,
                       "interrupted: %zu ranges were checked, and %zu are under way", checks->told,
                       checks->count);
}

static int check_next(void *data, const struct hf_info *info)
{
    struct checks *checks = data;
    while (!has_room(checks, info) && !cli_is_interrupted(checks->cli))
        step_or_wait(checks);
    if (cli_is_interrupted(checks->cli))
        return cut_off(checks);
    struct range_check *rc = calloc(1, sizeof *rc);
    if (rc == NULL)
        return cli_error(checks->cli, "out of memory");
    rc->cli = checks->cli;
    rc->client = checks->client;
    rc->wait_ms = checks->wait_ms;
    set_view(rc, info);
    begin(rc);
    checks->window[checks->count++] = rc;
    step_some(checks);
    return EXIT_DONE; /* the others all the same */
}

/* Wait for them; returns an exit code. */
static int check_rest(struct checks *checks)
{
    while (checks->count > 0 && !cli_is_interrupted(checks->cli))
        step_or_wait(checks);
    return checks->count > 0 ? cut_off(checks) : EXIT_DONE;
}

static void checks_fini(struct checks *checks)
{
    for (size_t i = 0; i < checks->count; i++)
        check_free(checks->window[i]);
    checks->count = 0;
}

static int checks_exit(const struct checks *checks)
{
    if (checks->differs)
        return EXIT_ERROR;
    return checks->is_incomplete ? EXIT_UNDETERMINED : EXIT_DONE;
}

static int check_ranges(struct checks *checks, uint64_t range_id, bool is_all)
{
    struct hf_result *status = NULL;
    struct hf_call call = cli_call(checks->cli);
    int exit_code = EXIT_DONE;
    if (is_all) {
        exit_code = ranges_system(checks->cli, checks->client, check_next, checks);
        if (exit_code == EXIT_DONE)
            exit_code = ranges_walk(checks->cli, checks->client, true, check_next, checks);
    } else if (range_id != 0) {
        exit_code = ranges_one(checks->cli, checks->client, range_id, &status);
    } else {
        int rv = hf_status(checks->client, NULL, &call, &status);
        if (rv != HF_OK)
            exit_code = cli_fail(checks->cli, rv, status);
    }
    if (exit_code == EXIT_DONE && status != NULL)
        exit_code = check_next(checks, status->info);
    bool is_told = exit_code != EXIT_DONE && cli_is_interrupted(checks->cli);
    int rest_code = is_told ? exit_code : check_rest(checks);
    checks_fini(checks);
    hf_result_free(status);
    exit_code = exit_code == EXIT_DONE ? rest_code : exit_code;
    return exit_code != EXIT_DONE ? exit_code : checks_exit(checks);
}

int range_check_run(struct cli *cli, int argc, const char *const *argv)
{
    bool is_all = false;
    bool is_wait_given = false;
    uint64_t wait_us = WAIT_US;
    uint64_t range_id = 0;
    const struct args_flag flags[] = {
        {"all", 0, ARGS_SWITCH, &is_all, NULL, NULL,
         "every range, range 1 included, a few at a time; a store reads at most "
         "check_bytes_per_s, and rests half the time"},
        {"wait", 0, ARGS_DURATION, &wait_us, &is_wait_given, "TIME",
         "how long to wait for replicas that are behind or reading (default 10m)"},
    };
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    if (words.count == 1 &&
        (text_parse_u64(slice_str(words.at[0]), &range_id) != 0 || range_id == 0))
        return cli_usage(cli, "RANGE is a number above 0, not '%s'", words.at[0]);
    if (is_all && words.count == 1)
        return cli_usage(cli, "either RANGE or --all");
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    return check_ranges(&(struct checks){.cli = cli, .client = client, .wait_ms = wait_us / 1000},
                        range_id, is_all);
}
