/* SPDX-License-Identifier: Apache-2.0
 *
 * range move, add-replica, remove-replica, scatter, and what else of a range placement
 * carries out: it is told, and its operator is watched until it ends.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "moves.h"
#include "placement.h"
#include "ranges.h"

enum {
    AGAIN_MS = 100,          /* between two looks at an operator */
    LOST_AFTER_LOOKS = 3,    /* an operator that nobody knows, so often in a row, is lost */
    WORD_WAIT_MS = 10000,    /* for placement to take the word */
    CONTACT_LOST_MS = 20000, /* nobody tells of the operator: who waits is told so */
};

/* ---- an operator's state ------------------------------------------------------------- */

/* As the table of operators tells it; texts are the table's. */
struct op_view {
    bool is_known;
    const char *state;
    const char *steps;
    const char *said;
    uint64_t step;
};

static struct op_view view_of(const struct hf_table *table, uint64_t operator_id)
{
    struct op_view view = {0};
    for (size_t r = 0; table != NULL && r < table->row_count && !view.is_known; r++) {
        uint64_t id = 0;
        if (text_parse_u64(slice_str(placement_cell(table, r, "#operator")), &id) != 0 ||
            id != operator_id)
            continue;
        view = (struct op_view){
            .is_known = true,
            .state = placement_cell(table, r, "state"),
            .steps = placement_cell(table, r, "steps"),
            .said = placement_cell(table, r, "said"),
        };
        if (text_parse_u64(slice_str(placement_cell(table, r, "#step")), &view.step) != 0)
            view.step = 0;
    }
    return view;
}

/* ---- telling and waiting ---------------------------------------------------------------- */

struct waiting {
    struct cli *cli;
    const struct moves_word *word;
    uint64_t operator_id;
    char steps[200];   /* as the operator took them */
    char said[200];    /* that was shown last */
    uint64_t until_ms; /* UINT64_MAX: until it ends */
    uint64_t step;     /* that was shown last, from 1 */
    unsigned lost;     /* looks in a row that did not find it */
    uint64_t heard_ms; /* when placement answered last */
};

static bool is_watched_by_a_person(const struct cli *cli)
{
    return !cli->is_json && isatty(STDERR_FILENO);
}

/* Each step as it begins, and what it waits for. */
static void show_progress(struct waiting *w, const struct op_view *view)
{
    bool is_new = view->step + 1 != w->step || strcmp(view->said, w->said) != 0;
    snprintf(w->steps, sizeof w->steps, "%s", view->steps);
    if (!is_new || !is_watched_by_a_person(w->cli))
        return;
    w->step = view->step + 1;
    snprintf(w->said, sizeof w->said, "%s", view->said);
    fprintf(stderr, "operator %" PRIu64 ": step %" PRIu64 " of: %s%s%s\n", w->operator_id, w->step,
            view->steps, w->said[0] != 0 ? "; " : "", w->said);
}

static int ended(const struct waiting *w, const struct op_view *view)
{
    if (strcmp(view->state, "done") == 0)
        return EXIT_DONE;
    return cli_error(w->cli, "operator %" PRIu64 " was %s: %s", w->operator_id, view->state,
                     view->said[0] != 0 ? view->said : "no reason is known");
}

/* ---- when nobody knows the operator any more ------------------------------------------ */

static const struct hf_member *voter_on(const struct hf_info *info, uint64_t store_id)
{
    for (size_t i = 0; i < info->member_count; i++) {
        if (info->members[i].store_id == store_id && !info->members[i].is_learner)
            return &info->members[i];
    }
    return NULL;
}

/* Is the range as it was to become? Only of what can be seen without what was before. */
static bool is_as_told(const struct moves_word *word, const struct hf_info *info)
{
    if (strcmp(word->name, "move") == 0)
        return voter_on(info, word->from_store) == NULL &&
               (word->to_store == 0 || voter_on(info, word->to_store) != NULL);
    if (strcmp(word->name, "transfer-leader") == 0)
        return word->to_store != 0 && info->leader_store_id == word->to_store;
    if (strcmp(word->name, "add-replica") == 0)
        return word->to_store != 0 && voter_on(info, word->to_store) != NULL;
    return strcmp(word->name, "remove-replica") == 0 && voter_on(info, word->from_store) == NULL;
}

static void put_members(const struct hf_info *info, struct buf *text)
{
    for (size_t i = 0; i < info->member_count; i++) {
        const struct hf_member *m = &info->members[i];
        buf_printf(text, "%s%" PRIu64 "%s", i == 0 ? "" : ", ", m->store_id,
                   m->is_learner                          ? " (learner)"
                   : m->store_id == info->leader_store_id ? " (leader)"
                                                          : "");
    }
    buf_append_u8(text, 0);
}

/* Placement has moved to another store, and with it the operator is lost: what it has done of
 * its steps stays, and what it left is cleaned up. */
static int lost(const struct waiting *w)
{
    const struct moves_word *word = w->word;
    uint64_t into;
    if (word->right_id != 0 && ranges_merged_into(w->cli, word->right_id, &into) &&
        into == word->range_id)
        return EXIT_DONE;
    struct hf_result *result = NULL;
    int exit_code = ranges_one(w->cli, cli_client(w->cli), word->range_id, &result);
    if (exit_code != EXIT_DONE)
        return exit_code;
    if (!is_as_told(word, result->info)) {
        struct buf members;
        buf_init(&members, 4096);
        put_members(result->info, &members);
        exit_code = cli_fail_as(
            w->cli, HF_ERR_UNDETERMINED,
            "placement has moved to another store, where operator %" PRIu64 " is not known: "
            "it goes on no more. Range %" PRIu64 " is on stores %s now; if that is not what you "
            "want, say it again",
            w->operator_id, word->range_id, (const char *)members.data);
        buf_fini(&members);
    }
    hf_result_free(result);
    return exit_code;
}

/* One look: true when it is over, with its exit code. */
static bool look(struct waiting *w, int *ret_exit)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask, .verb = HF_PLACEMENT_OPERATORS, .id = w->operator_id};
    struct hf_call call = cli_call(w->cli);
    struct hf_result *result = NULL;
    int rv = hf_placement(cli_client(w->cli), &ask, &call, &result);
    struct op_view view = view_of(rv == HF_OK ? result->table : NULL, w->operator_id);
    bool is_over = false;
    if (rv == HF_OK)
        w->heard_ms = cli_now_ms();
    if (view.is_known) {
        w->lost = 0;
        is_over = strcmp(view.state, "running") != 0;
        show_progress(w, &view);
        if (is_over)
            *ret_exit = ended(w, &view);
    } else if (rv == HF_OK && ++w->lost == LOST_AFTER_LOOKS) {
        is_over = true;
        *ret_exit = lost(w);
    }
    if (rv != HF_OK && cli_now_ms() >= w->heard_ms + CONTACT_LOST_MS) {
        is_over = true;
        *ret_exit =
            cli_fail_as(w->cli, HF_ERR_UNDETERMINED,
                        "no word of operator %" PRIu64 " for %u s (%s): it may go on, or "
                        "end undone, once placement is there again: holdfast placement "
                        "operators %" PRIu64,
                        w->operator_id, CONTACT_LOST_MS / 1000, hf_strerror(rv), w->operator_id);
    }
    hf_result_free(result);
    return is_over;
}

static int wait_for(struct waiting *w)
{
    int exit_code = EXIT_DONE;
    w->heard_ms = cli_now_ms();
    while (!look(w, &exit_code)) {
        if (cli_now_ms() >= w->until_ms || cli_is_interrupted(w->cli))
            return cli_fail_as(w->cli, HF_ERR_UNDETERMINED,
                               "operator %" PRIu64
                               " still runs: holdfast placement operators %" PRIu64,
                               w->operator_id, w->operator_id);
        cli_pause_ms(AGAIN_MS);
    }
    return exit_code;
}

/* Ids may be on their way, or placement may be moving: then the word is said again. */
static int say(struct cli *cli, const struct hf_placement_ask *ask, uint64_t *ret_operator)
{
    uint64_t until_ms =
        cli_now_ms() + (cli->is_timeout_given ? cli->timeout_us / 1000 : WORD_WAIT_MS);
    for (;;) {
        struct hf_call call = cli_call(cli);
        struct hf_result *result = NULL;
        int rv = hf_placement(cli_client(cli), ask, &call, &result);
        bool is_again = rv == HF_ERR_BUSY && cli_now_ms() < until_ms && !cli_is_interrupted(cli);
        int exit_code = EXIT_DONE;
        if (rv == HF_OK && (result->table == NULL ||
                            text_parse_u64(slice_str(result->table->text), ret_operator) != 0))
            exit_code = cli_error(cli, "placement's answer names no operator");
        else if (rv != HF_OK && !is_again)
            exit_code = cli_fail(cli, rv, result);
        hf_result_free(result);
        if (!is_again)
            return exit_code;
        cli_pause_ms(AGAIN_MS);
    }
}

int moves_command(struct cli *cli, const struct moves_word *word)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask,
        .verb = HF_PLACEMENT_COMMAND,
        .id = word->range_id,
        .name = word->name,
        .from_store = word->from_store,
        .to_store = word->to_store,
    };
    struct waiting w = {
        .cli = cli,
        .word = word,
        .until_ms = cli->is_timeout_given ? cli_now_ms() + cli->timeout_us / 1000 : UINT64_MAX,
    };
    int exit_code = cli_client(cli) == NULL ? EXIT_USAGE : say(cli, &ask, &w.operator_id);
    if (exit_code == EXIT_DONE && w.operator_id != 0 && !word->is_begun_enough)
        exit_code = wait_for(&w);
    if (exit_code != EXIT_DONE)
        return exit_code;
    if (cli->is_json)
        buf_printf(&cli->out, "{\"ok\":true,\"operator\":%" PRIu64 ",\"done\":%s}\n", w.operator_id,
                   word->is_begun_enough ? "false" : "true");
    else if (word->is_begun_enough)
        buf_printf(&cli->out, "operator %" PRIu64 " has begun\n", w.operator_id);
    else
        buf_printf(&cli->out, "OK%s%s\n", w.steps[0] != 0 ? ": " : "", w.steps);
    return EXIT_DONE;
}

/* ---- commands --------------------------------------------------------------------------- */

enum stores { TAKES_FROM = 1, TAKES_TO = 2, NEEDS_FROM = 4 };

static int run_word(struct cli *cli, int argc, const char *const *argv, const char *name,
                    unsigned stores)
{
    struct moves_word word = {.name = name};
    struct args_flag flags[3] = {
        {"no-wait", 0, ARGS_SWITCH, &word.is_begun_enough, NULL, NULL,
         "do not wait until it is done (--timeout bounds the waiting)"},
    };
    size_t count = 1;
    if (stores & TAKES_FROM)
        flags[count++] = (struct args_flag){
            "from", 0, ARGS_U64, &word.from_store, NULL, "STORE", "the store that it leaves"};
    if (stores & TAKES_TO)
        flags[count++] = (struct args_flag){"to",
                                            0,
                                            ARGS_U64,
                                            &word.to_store,
                                            NULL,
                                            "STORE",
                                            "the store that gets it (default: the best)"};
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, count, 1, 1, &words, &exit_code))
        return exit_code;
    if (text_parse_u64(slice_str(words.at[0]), &word.range_id) != 0 || word.range_id == 0)
        return cli_usage(cli, "RANGE is a number above 0, not '%s'", words.at[0]);
    if ((stores & NEEDS_FROM) && word.from_store == 0)
        return cli_usage(cli, "--from STORE says which replica");
    return moves_command(cli, &word);
}

int range_move_run(struct cli *cli, int argc, const char *const *argv)
{
    return run_word(cli, argc, argv, "move", TAKES_FROM | TAKES_TO | NEEDS_FROM);
}

int range_add_replica_run(struct cli *cli, int argc, const char *const *argv)
{
    return run_word(cli, argc, argv, "add-replica", TAKES_TO);
}

int range_remove_replica_run(struct cli *cli, int argc, const char *const *argv)
{
    return run_word(cli, argc, argv, "remove-replica", TAKES_FROM | NEEDS_FROM);
}

int range_scatter_run(struct cli *cli, int argc, const char *const *argv)
{
    return run_word(cli, argc, argv, "scatter", 0);
}
