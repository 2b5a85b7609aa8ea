/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk over the space of keys: who holds this place, and who leads that? Its leader is
 * asked for its view; where that does not answer, the view of who did is taken.
 */
#include <inttypes.h>

#include "ranges.h"
#include "stitch.h"

enum {
    AGAIN_MS = 20,
    WAIT_MS = 5000,
    RANGES_MAX = 1 << 20, /* a list that does not end is a bug of a server */
};

_Static_assert((int)STITCH_PLACE_MAX == (int)RANGES_PLACE_MAX, "one bound of places");

/* Since then it waits no longer. */
static uint64_t wait_until(const struct cli *cli)
{
    return cli_now_ms() + (cli->is_timeout_given ? cli->timeout_us / 1000 : WAIT_MS);
}

/* The view of the store that answered, or of the leader that it named. */
static int ask_once(struct cli *cli, struct hf_client *client, uint64_t range_id,
                    struct hf_bytes place, struct hf_result **ret_result)
{
    struct hf_call call = cli_call(cli);
    struct hf_result *first = NULL;
    struct hf_result *leader = NULL;
    int rv = hf_range_status(client, NULL, range_id, place, &call, &first);
    if (rv != HF_OK) {
        *ret_result = first;
        return rv;
    }
    const struct hf_info *info = first->info;
    if (info->leader_address[0] != 0 && info->leader_store_id != info->store_id &&
        hf_range_status(client, info->leader_address, info->range_id, (struct hf_bytes){0}, &call,
                        &leader) == HF_OK) {
        hf_result_free(first);
        first = leader;
    } else {
        hf_result_free(leader);
    }
    *ret_result = first;
    return HF_OK;
}

static bool holds(const struct hf_info *info, struct hf_bytes place)
{
    struct slice key = cli_slice(place);
    return place.len == 0 || (slice_compare(cli_slice(info->range_start), key) <= 0 &&
                              slice_compare(key, cli_slice(info->range_end)) < 0);
}

int ranges_ask(struct cli *cli, struct hf_client *client, uint64_t range_id, struct hf_bytes place,
               struct hf_result **ret_result)
{
    uint64_t until_ms = wait_until(cli);
    for (;;) {
        int rv = ask_once(cli, client, range_id, place, ret_result);
        if (rv != HF_OK || holds((*ret_result)->info, place) || cli_now_ms() >= until_ms ||
            cli_is_interrupted(cli))
            return rv;
        hf_result_free(*ret_result);
        *ret_result = NULL;
        cli_pause_ms(AGAIN_MS);
    }
}

/* ---- all of them ------------------------------------------------------------------------- */

struct walk {
    struct cli *cli;
    ranges_each each;
    void *data;
    struct stitch stitch; /* of results */
    uint64_t until_ms;    /* what does not fit is asked for again until then */
    unsigned misfits;     /* since it came farther last */
};

static void drop_result(void *data)
{
    hf_result_free(data);
}

/* What is final. Returns an exit code. */
static int hand_on(struct walk *w)
{
    int exit_code = EXIT_DONE;
    for (struct hf_result *result;
         exit_code == EXIT_DONE && (result = stitch_pop(&w->stitch)) != NULL;) {
        exit_code = w->each(w->data, result->info);
        hf_result_free(result);
    }
    return exit_code;
}

/* Never show what does not fit: it would be no list of ranges that any moment had. */
static int give_up(struct walk *w)
{
    struct buf place;
    buf_init(&place, 8 * RANGES_PLACE_MAX);
    ranges_append_place(&place, cli_bytes(stitch_place(&w->stitch)));
    int exit_code = cli_fail_as(w->cli, HF_ERR_UNAVAILABLE,
                                "what stores tell of the ranges around %.*s does not fit together: "
                                "they change, or no store that knows them answers; try again",
                                (int)place.len, (const char *)place.data);
    buf_fini(&place);
    return exit_code;
}

/* `found` is taken over. Returns an exit code. */
static int walk_take(struct walk *w, struct hf_result *found)
{
    const struct hf_info *info = found->info;
    const struct stitch_piece piece = {.start = cli_slice(info->range_start),
                                       .end = cli_slice(info->range_end),
                                       .span_epoch = info->span_epoch,
                                       .data = found};
    enum stitch_verdict verdict = stitch_take(&w->stitch, &piece);
    if (verdict == STITCH_FITS) {
        bool is_farther = stitch_is_farther(&w->stitch);
        int exit_code = hand_on(w);
        if (is_farther) { /* it may have taken long to hand that on */
            w->until_ms = wait_until(w->cli);
            w->misfits = 0;
        }
        return exit_code;
    }
    hf_result_free(found);
    w->misfits++; /* one may have taken all the time to ask for */
    if (verdict == STITCH_TORN || (w->misfits > 1 && cli_now_ms() >= w->until_ms))
        return give_up(w);
    cli_pause_ms(AGAIN_MS);
    return EXIT_DONE;
}

static int walk_on(struct walk *w, struct hf_client *client)
{
    struct hf_result *found = NULL;
    if (cli_is_interrupted(w->cli))
        return cli_error(w->cli, "interrupted");
    int rv = ask_once(w->cli, client, 0, cli_bytes(stitch_place(&w->stitch)), &found);
    if (rv == HF_OK)
        return walk_take(w, found);
    int exit_code = cli_fail(w->cli, rv, found);
    hf_result_free(found);
    return exit_code;
}

int ranges_walk(struct cli *cli, struct hf_client *client, bool is_at_once, ranges_each each,
                void *data)
{
    struct walk w = {.cli = cli, .each = each, .data = data, .until_ms = wait_until(cli)};
    int exit_code = EXIT_DONE;
    stitch_init(&w.stitch, RANGES_USER_PREFIX, is_at_once, drop_result);
    for (uint32_t n = 0; exit_code == EXIT_DONE && !stitch_is_over(&w.stitch); n++)
        exit_code =
            n == RANGES_MAX ? cli_error(cli, "over %d ranges", RANGES_MAX) : walk_on(&w, client);
    stitch_fini(&w.stitch);
    return exit_code;
}
