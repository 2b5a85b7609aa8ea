/* SPDX-License-Identifier: Apache-2.0
 *
 * range check: have every replica digest the range at one index of its log, collect the
 * sums, compare them.
 *
 *   status ─▶ members ─▶ check_start ─▶ index ─▶ ask each member until it is DONE,
 *   cannot (FAILED, MISSING), or was waited for long enough ─▶ verdict
 *
 * alike: every member answered, with the same sums. differ: two that answered have not.
 * incomplete: none differ, but not all answered; each that did not is named.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "compare.h"
#include "ranges.h"

enum {
    POLL_MIN_MS = 2, /* many ranges are small, and done at once */
    POLL_MAX_MS = 100,
    CALL_MS = 2000,
    SILENT_MS = 5000, /* a store that does not answer is waited for so long, if all others did */
    PROGRESS_MS = 500,
    STRETCHES_MAX = 16,
    VIEWS_MAX = 3, /* of a range whose members change all the while */
};
#define WAIT_US UINT64_C(600000000)

enum verdict { VERDICT_ALIKE, VERDICT_DIFFER, VERDICT_INCOMPLETE };

struct member {
    const struct hf_member *who;
    struct hf_result *result; /* the last answer */
    bool is_settled;          /* it will say no more than that */
    size_t group;             /* compare.h */
};

struct range_check {
    struct cli *cli;
    struct hf_client *client;
    const struct hf_info *info;
    uint64_t index;
    uint64_t term;
    uint64_t wait_ms;
    size_t before; /* so many were checked before it */
    size_t count;
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
    hf_check_result(rc->client, m->who->address, rc->info->range_id, rc->index, &call, &result);
    if (result == NULL)
        return; /* memory is short: again later */
    hf_result_free(m->result);
    m->result = result;
    const struct hf_check *c = check_of(m);
    m->is_settled = result->code == HF_ERR_NOT_FOUND ||
                    (c != NULL && c->state != HF_CHECK_BEHIND && c->state != HF_CHECK_RUNNING);
}

static void show_progress(const struct range_check *rc, uint64_t now_ms, uint64_t *shown_ms)
{
    uint64_t bytes = 0;
    size_t settled = 0;
    if (!isatty(STDERR_FILENO) || now_ms - *shown_ms < PROGRESS_MS)
        return;
    *shown_ms = now_ms;
    for (size_t i = 0; i < rc->count; i++) {
        const struct hf_check *c = check_of(&rc->members[i]);
        settled += rc->members[i].is_settled;
        bytes += c != NULL ? c->bytes : 0;
    }
    fprintf(stderr, "\r\033[K");
    if (rc->before > 0)
        fprintf(stderr, "%zu ranges done; ", rc->before);
    fprintf(stderr, "range %" PRIu64 ": %zu of %zu replicas, %" PRIu64 " MiB read ",
            rc->info->range_id, settled, rc->count, bytes >> 20);
}

/* Is there anybody who may still say something within `waited_ms`? */
static bool is_worth_waiting(const struct range_check *rc, uint64_t waited_ms)
{
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        if (m->is_settled)
            continue;
        if (check_of(m) != NULL || waited_ms < SILENT_MS)
            return true;
    }
    return false;
}

static void collect(struct range_check *rc)
{
    uint64_t began_ms = cli_now_ms();
    uint64_t shown_ms = began_ms;
    for (unsigned pause_ms = POLL_MIN_MS;; pause_ms = MIN(2 * pause_ms, (unsigned)POLL_MAX_MS)) {
        for (size_t i = 0; i < rc->count; i++) {
            if (!rc->members[i].is_settled)
                ask(rc, &rc->members[i]);
        }
        uint64_t now_ms = cli_now_ms();
        show_progress(rc, now_ms, &shown_ms);
        if (now_ms - began_ms >= rc->wait_ms || !is_worth_waiting(rc, now_ms - began_ms))
            break;
        cli_pause_ms(pause_ms);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
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
               m->who->replica_id, m->who->store_id, model->who->replica_id);
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
        cli_table_cell(&table, "%" PRIu64, m->who->replica_id);
        cli_table_cell(&table, "%" PRIu64, m->who->store_id);
        cli_table_cell(&table, "%s", m->who->address);
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
    buf_printf(out, "range %" PRIu64 " at index %" PRIu64 " of term %" PRIu64 "\n",
               rc->info->range_id, rc->index, rc->term);
    print_table(rc);
    for (size_t i = 0; i < rc->count; i++) {
        const struct member *m = &rc->members[i];
        if (!is_done(m))
            buf_printf(out, "replica %" PRIu64 " on store %" PRIu64 " took no part: %s\n",
                       m->who->replica_id, m->who->store_id, why_of(m, why, sizeof why));
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
    json_u64(w, m->who->replica_id);
    json_key(w, "store_id");
    json_u64(w, m->who->store_id);
    json_key(w, "address");
    json_text(w, m->who->address);
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
    json_u64(&w, rc->info->range_id);
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

static void forget_answers(struct range_check *rc)
{
    for (size_t i = 0; i < rc->count; i++)
        hf_result_free(rc->members[i].result);
    memset(rc->members, 0, sizeof rc->members);
}

/* A member that is none: the view of the range was older than a change of its members. Wait
 * for a newer one, in *ret_newer for the caller to free; false: there is none, or what was said
 * is a verdict already. Replicas that differ do so whoever else is a member, and a newer view may
 * lack them. */
static bool is_outdated(struct range_check *rc, struct hf_result **ret_newer)
{
    uint64_t until_ms = cli_now_ms() + SILENT_MS;
    bool may_matter = has_gone(rc) && judge(rc) != VERDICT_DIFFER;
    while (may_matter && cli_now_ms() < until_ms) {
        struct hf_call call = cli_call(rc->cli);
        struct hf_result *newer = NULL;
        if (hf_range_status(rc->client, NULL, rc->info->range_id, (struct hf_bytes){0}, &call,
                            &newer) == HF_OK &&
            newer->info->conf_epoch > rc->info->conf_epoch) {
            *ret_newer = newer;
            return true;
        }
        hf_result_free(newer);
        cli_pause_ms(POLL_MAX_MS);
    }
    return false;
}

/* Have all digest it, and hear what they say. Returns an exit code. */
static int ask_all(struct range_check *rc)
{
    struct hf_call call = cli_call(rc->cli);
    struct hf_result *started = NULL;
    if (rc->info->member_count > COMPARE_REPLICAS_MAX)
        return cli_error(rc->cli, "over %d members", COMPARE_REPLICAS_MAX);
    int rv = hf_check_start(rc->client, rc->info->range_id, &call, &started);
    if (rv != HF_OK || started->check == NULL) {
        int exit_code = cli_fail(rc->cli, rv != HF_OK ? rv : HF_ERR_NOMEM, started);
        hf_result_free(started);
        return exit_code;
    }
    rc->index = started->check->index;
    rc->term = started->check->term;
    hf_result_free(started);
    rc->count = rc->info->member_count;
    for (size_t i = 0; i < rc->count; i++)
        rc->members[i].who = &rc->info->members[i];
    collect(rc);
    return EXIT_DONE;
}

static int check_range(struct range_check *rc)
{
    static const int exits[] = {EXIT_DONE, EXIT_ERROR, EXIT_UNDETERMINED};
    struct hf_result *view = NULL;
    struct hf_result *newer = NULL;
    int exit_code = ask_all(rc);
    for (int i = 0; i < VIEWS_MAX && exit_code == EXIT_DONE && is_outdated(rc, &newer); i++) {
        forget_answers(rc);
        hf_result_free(view);
        view = newer;
        rc->info = view->info;
        exit_code = ask_all(rc);
    }
    if (exit_code != EXIT_DONE) {
        hf_result_free(view);
        return exit_code;
    }
    enum verdict verdict = judge(rc);
    if (rc->cli->is_json)
        print_json(rc, verdict);
    else
        print_text(rc, verdict);
    forget_answers(rc);
    hf_result_free(view);
    return exits[verdict];
}

/* Of one or of all. */
struct checks {
    struct cli *cli;
    struct hf_client *client;
    uint64_t wait_ms;
    size_t count;
    bool differs;
    bool is_incomplete;
};

static int check_next(void *data, const struct hf_info *info)
{
    struct checks *checks = data;
    int exit_code = check_range(&(struct range_check){.cli = checks->cli,
                                                      .client = checks->client,
                                                      .info = info,
                                                      .wait_ms = checks->wait_ms,
                                                      .before = checks->count++});
    checks->differs = checks->differs || exit_code == EXIT_ERROR;
    /* or it was not begun, where it has moved away, say: nothing of it is known to be alike */
    checks->is_incomplete =
        checks->is_incomplete || (exit_code != EXIT_DONE && exit_code != EXIT_ERROR);
    return EXIT_DONE; /* the others all the same */
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
        check_next(checks, status->info);
    hf_result_free(status);
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
         "every range, range 1 included, one after the other; a store reads at most "
         "check_bytes_per_s, and rests half the time"},
        {"wait", 0, ARGS_DURATION, &wait_us, &is_wait_given, "TIME",
         "how long to wait for replicas that are behind or reading (default 10m)"},
    };
    struct cli_words words;
    int exit_code;
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
