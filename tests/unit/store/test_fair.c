/* SPDX-License-Identifier: Apache-2.0 */
#include "store/fair.h"

#include "base/rng.h"
#include "store/rate.h"
#include "support/check.h"

enum { ITEMS = 4096 };

struct item {
    struct fair_item link;
    uint64_t flow;
    uint32_t number; /* within its flow */
};

static struct item items[ITEMS];
static uint32_t item_count;

static int push(struct fair *q, uint64_t flow, uint32_t number, size_t cost)
{
    struct item *it = &items[item_count];
    assert_in_range(item_count, 0, ITEMS - 1);
    it->flow = flow;
    it->number = number;
    fair_item_init(&it->link);
    int rv = fair_push(q, &it->link, flow, cost);
    item_count += rv == 0;
    return rv;
}

static const struct item *pop(struct fair *q)
{
    struct fair_item *link = fair_peek(q);
    assert_ptr_equal(link, fair_peek(q)); /* to look changes nothing */
    fair_remove(q, link);
    fair_check(q);
    return container_of(link, struct item, link);
}

static void begin(struct fair *q, uint32_t count_max, size_t bytes_max)
{
    item_count = 0;
    fair_init(q, count_max, bytes_max);
}

static void empty(struct fair *q)
{
    while (q->count > 0)
        pop(q);
    assert_null(fair_peek(q));
    fair_fini(q);
}

/* Behind a flood of 1,000, one with a single item waits for one round of the flood. */
static void test_flood_waits_behind_itself(void **state)
{
    struct fair q;
    (void)state;
    begin(&q, 4096, 1 << 30);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(push(&q, 1, i, 100), 0);
    assert_int_equal(push(&q, 2, 0, 100), 0);
    uint32_t before = 0;
    while (pop(&q)->flow == 1)
        before++;
    assert_in_range(before, 0, FAIR_QUANTUM / (100 + FAIR_OVERHEAD) + 1);
    empty(&q);
}

/* Over a long time each flow gets as many bytes as the others, however large its items. */
static void test_bytes_are_shared(void **state)
{
    static const size_t costs[] = {100, 1000, 30000};
    struct fair q;
    size_t got[3] = {0};
    uint32_t next[3] = {0};
    (void)state;
    begin(&q, ITEMS, (size_t)1 << 30);
    for (uint32_t flow = 0; flow < 3; flow++)
        for (uint32_t i = 0; i < 1000; i++)
            assert_int_equal(push(&q, flow, i, costs[flow]), 0);
    for (uint32_t i = 0; i < 700; i++) {
        const struct item *it = pop(&q);
        assert_int_equal(it->number, next[it->flow]++); /* in order within the flow */
        got[it->flow] += it->link.cost + FAIR_OVERHEAD;
    }
    for (uint32_t flow = 1; flow < 3; flow++)
        assert_in_range(got[flow], got[0] / 2, got[0] * 2);
    empty(&q);
}

/* What an item cost in the end is of its flow's next turns, and of nobody else's. */
static void test_cost_in_hindsight(void **state)
{
    struct fair q;
    (void)state;
    begin(&q, ITEMS, (size_t)1 << 30);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(push(&q, 1, i, 0), 0);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(push(&q, 2, i, 0), 0);
    assert_int_equal(pop(&q)->flow, 1);
    fair_charge(&q, 1, (size_t)FAIR_QUANTUM * 10);
    fair_charge(&q, 3, 1000); /* has nothing here */
    fair_check(&q);
    for (uint32_t i = 0; i < 100; i++) {
        const struct item *it = pop(&q);
        assert_int_equal(it->flow, 2);
        assert_int_equal(it->number, i);
        fair_charge(&q, 2, 100);
    }
    for (uint32_t i = 1; i < 1000; i++)
        assert_int_equal(pop(&q)->number, i); /* alone, it is not held up by its debt */
    empty(&q);
}

/* ---- many who want much ----------------------------------------------------------------- */

enum { HEAVY = 500, HEAVY_EACH = 4, LARGE = 256 << 10, SMALL = 100, LIGHT = 10000 };

static struct item *item_of(struct fair_item *link)
{
    return container_of(link, struct item, link);
}

static bool is_large(const struct item *it)
{
    return it->flow < HEAVY;
}

/* Returns who went, and adds what he got. */
static struct item *serve(struct fair *q, size_t *bytes)
{
    struct fair_item *link = fair_peek(q);
    struct item *it = item_of(link);
    size_t got = is_large(it) ? LARGE : SMALL;
    fair_remove(q, link);
    fair_charge(q, it->flow, got - MIN(got, link->cost));
    *bytes += got;
    return it;
}

static void push_heavy(struct fair *q)
{
    for (uint32_t i = 0; i < HEAVY * HEAVY_EACH; i++)
        assert_int_equal(push(q, i % HEAVY, i / HEAVY, LARGE), 0);
}

/* Of 500 who ask for large values at once, none is served before one who comes with little,
 * whenever he comes. */
static void test_little_before_much(void **state)
{
    struct fair q;
    uint32_t got[HEAVY] = {0};
    uint32_t heavy = 0, light = 0;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    push_heavy(&q);
    while (heavy < HEAVY * HEAVY_EACH) {
        size_t ahead = 0, bytes = 0;
        const struct item *it = NULL;
        if (light < ITEMS - HEAVY * HEAVY_EACH) {
            assert_int_equal(push(&q, LIGHT + light++, 0, 0), 0);
            do {
                ahead = bytes;
                it = serve(&q, &bytes);
                heavy += is_large(it);
                assert_true(!is_large(it) || it->number == got[it->flow]++);
            } while (is_large(it));
            assert_int_equal(ahead, 0);
        }
        it = serve(&q, &bytes);
        assert_true(is_large(it));
        assert_int_equal(it->number, got[it->flow]++);
        heavy++;
    }
    assert_int_equal(q.count, 0);
    empty(&q);
}

/* One who always has something waiting is no newcomer. He gets his part, and in between waits for
 * a part of a round of the others, never until each of them had a large one. */
static void test_they_do_not_go_all_at_once(void **state)
{
    struct fair q;
    size_t waited = 0, most = 0;
    uint32_t heavy = 0;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    push_heavy(&q);
    for (uint32_t i = 0; i < 100; i++)
        push(&q, LIGHT, i, 0);
    while (heavy < HEAVY * (HEAVY_EACH - 1)) {
        size_t bytes = 0;
        struct item *it = serve(&q, &bytes);
        heavy += is_large(it);
        waited = is_large(it) ? waited + bytes : 0;
        most = MAX(most, waited);
        if (!is_large(it))
            assert_int_equal(fair_push(&q, &it->link, LIGHT, 0), 0);
    }
    assert_in_range(most, LARGE, (size_t)LARGE * HEAVY / 8);
    empty(&q);
}

/* Those who come with little again and again, as soon as they are answered, are shared with like
 * others: those who want much get as many bytes as each of them. */
static void test_little_starves_nobody(void **state)
{
    enum { MANY = 400, ROUNDS = 400000 };
    struct fair q;
    size_t small = 0, large = 0;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    for (uint32_t i = 0; i < MANY; i++)
        push(&q, LIGHT + i, 0, 0);
    for (uint32_t i = 0; i < 100; i++)
        push(&q, i % 2, i / 2, LARGE);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        size_t bytes = 0;
        struct item *it = serve(&q, &bytes);
        *(is_large(it) ? &large : &small) += bytes + FAIR_OVERHEAD;
        assert_int_equal(fair_push(&q, &it->link, it->flow, is_large(it) ? LARGE : 0), 0);
    }
    fair_check(&q);
    assert_in_range(large / 2, small / MANY, (size_t)FAIR_QUANTUM * ROUNDS / MANY * 2);
    empty(&q);
}

/* Who wants much, one thing after another, gets as much as others who do: none of them has to save
 * more for it than they, time and again, because of the number that he has. */
static void test_much_is_shared(void **state)
{
    enum { FLOWS = 40, EACH = 100 };
    struct fair q;
    uint32_t got[HEAVY] = {0};
    uint32_t least = UINT32_MAX, most = 0;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    for (uint32_t i = 0; i < FLOWS; i++)
        push(&q, i, 0, LARGE);
    for (uint32_t heavy = 0; heavy < FLOWS * EACH;) {
        size_t bytes = 0;
        struct item *it = serve(&q, &bytes);
        heavy += is_large(it);
        got[it->flow]++;
        assert_int_equal(fair_push(&q, &it->link, it->flow, LARGE), 0);
    }
    for (uint32_t i = 0; i < FLOWS; i++) {
        least = MIN(least, got[i]);
        most = MAX(most, got[i]);
    }
    assert_in_range(least, EACH * 3 / 4, EACH);
    assert_in_range(most, EACH, EACH * 5 / 4);
    empty(&q);
}

/* There is always somebody who has just come, for the first time each of them. That is no reason
 * to let others wait for ever: who wants little goes now and then, who wants much may save for it,
 * and is no more before the newcomers than he would be before so many others. */
static void test_newcomers_starve_nobody(void **state)
{
    enum { ROUNDS = 3000, OLD = 500, PER_TURN = FAIR_QUANTUM / (SMALL + FAIR_OVERHEAD) + 1 };
    (void)state;
    for (int is_much = 0; is_much < 2; is_much++) {
        struct fair q;
        uint32_t old = 0;
        begin(&q, UINT32_MAX, SIZE_MAX);
        for (uint32_t i = 0; i < OLD; i++)
            push(&q, 1, i, is_much ? LARGE : SMALL);
        for (uint32_t i = 0; i < ROUNDS; i++) {
            push(&q, LIGHT + i, 0, SMALL);
            old += pop(&q)->flow == 1;
        }
        uint32_t turns = ROUNDS / PER_TURN;
        if (is_much)
            assert_in_range(old, turns / (LARGE / FAIR_QUANTUM) - 1,
                            turns / (LARGE / FAIR_QUANTUM));
        else
            assert_in_range(old, turns / 2, OLD);
        empty(&q);
    }
}

/* ---- those whose time runs out -------------------------------------------------------------- */

enum { OTHERS = 1000, OTHERS_COST = FAIR_QUANTUM - FAIR_OVERHEAD, VAST = 8 << 20 };
enum { LOOK = 100 << 20 };                      /* bytes … */
static const uint64_t LIFE = UINT64_C(5) << 30; /* … of which there go a GiB in a second */

/* Each of a thousand always has something waiting; with them come `huge` who want 8 MiB once each.
 * As a replica does, what has lived for half of its time is hurried. Returns how many of the huge
 * ones went in time, and the bytes of the rest. */
static uint32_t run_with_huge(struct fair *q, uint32_t huge, bool are_hurried, size_t *others)
{
    uint32_t in_time = 0;
    uint64_t look_at = LIFE / 2;
    *others = 0;
    for (uint32_t i = 0; i < OTHERS; i++)
        push(q, LIGHT + i, i, OTHERS_COST);
    for (uint32_t i = 0; i < huge; i++)
        push(q, i, i, VAST);
    for (uint64_t now = 0; now < LIFE;) {
        struct item *it = item_of(fair_peek(q));
        now += it->link.cost;
        fair_remove(q, &it->link);
        in_time += is_large(it);
        if (!is_large(it)) {
            *others += it->link.cost;
            assert_int_equal(fair_push(q, &it->link, it->flow, OTHERS_COST), 0);
        }
        if (now < look_at)
            continue;
        fair_check(q);
        look_at += LOOK;
        for (uint32_t i = 0; i < huge && are_hurried; i++) {
            if (fair_first(q, i) != NULL)
                fair_hurry(q, fair_first(q, i));
        }
    }
    return in_time;
}

/* One who wants 8 MiB among a thousand would save for it for 8 s. */
static void test_huge_in_time(void **state)
{
    struct fair q;
    size_t others;
    (void)state;
    for (uint32_t huge = 1; huge <= 64; huge *= 4) {
        begin(&q, UINT32_MAX, SIZE_MAX);
        assert_int_equal(run_with_huge(&q, huge, true, &others), huge);
        assert_true(others > LIFE - (size_t)(huge + 1) * VAST);
        empty(&q);
    }
    begin(&q, UINT32_MAX, SIZE_MAX);
    assert_int_equal(run_with_huge(&q, 1, false, &others), 0); /* which it would */
    empty(&q);
}

/* However many hurry, they have a third of the time that is left, and others the rest. */
static void test_hurry_starves_nobody(void **state)
{
    struct fair q;
    size_t others;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    uint32_t in_time = run_with_huge(&q, 400, true, &others);
    assert_in_range(in_time, LIFE / 2 / VAST / FAIR_HURRY_PART - 2, 400);
    assert_true(others >= LIFE / 2 / FAIR_HURRY_PART * (FAIR_HURRY_PART - 1));
    empty(&q);
}

/* Who went before he had paid pays later: his next one waits for as many rounds as he owes; but
 * nobody has to be there for that. And only the first of a flow may hurry. */
static void test_hurry_is_paid_for(void **state)
{
    struct fair q;
    (void)state;
    begin(&q, UINT32_MAX, SIZE_MAX);
    for (uint32_t i = 0; i < 100; i++)
        push(&q, i < 50 ? 1 : 3, i, OTHERS_COST);
    for (uint32_t i = 0; i < 3; i++)
        push(&q, 2, i, 10 * OTHERS_COST);
    assert_int_not_equal(pop(&q)->flow, 2);
    fair_hurry(&q, &items[102].link); /* the last of its flow */
    fair_check(&q);
    assert_int_not_equal(pop(&q)->flow, 2);
    fair_hurry(&q, &items[100].link);
    fair_hurry(&q, &items[100].link);
    assert_int_equal(pop(&q)->flow, 2);
    fair_hurry(&q, &items[101].link);
    for (uint32_t i = 0; i < 20; i++) /* twice as much, before another one that hurries */
        assert_int_not_equal(pop(&q)->flow, 2);
    assert_int_equal(pop(&q)->flow, 2);
    for (uint32_t i = 0; i < 25; i++)
        assert_int_not_equal(pop(&q)->flow, 2);
    fair_hurry(&q, &items[102].link);
    fair_remove(&q, &items[102].link); /* it was too late for it */
    fair_check(&q);
    empty(&q);
}

/* One that floods gets half of the queue; then there is room for others, and less for it. */
static void test_nobody_takes_all_the_room(void **state)
{
    struct fair q;
    uint32_t first = 0, second = 0;
    (void)state;
    begin(&q, 100, 1 << 20);
    while (push(&q, 1, first, 1) == 0)
        first++;
    assert_int_equal(first, 50);
    while (push(&q, 2, second, 1) == 0)
        second++;
    assert_int_equal(second, 25);
    assert_int_equal(push(&q, 3, 0, 1), 0);
    assert_int_equal(push(&q, 1, first, 1), ERR_BUSY);
    empty(&q);
    begin(&q, 100, 1000);
    assert_int_equal(push(&q, 1, 0, 5000), 0); /* alone: whatever it costs */
    assert_int_equal(push(&q, 2, 0, 1), ERR_BUSY);
    pop(&q);
    assert_int_equal(push(&q, 1, 0, 400), 0);
    assert_int_equal(push(&q, 1, 1, 300), ERR_BUSY);
    assert_int_equal(push(&q, 2, 0, 500), 0);
    empty(&q);
}

static void test_ahead(void **state)
{
    struct fair q;
    (void)state;
    begin(&q, 4096, 1 << 30);
    assert_int_equal(fair_ahead(&q, 1), 0);
    for (uint32_t i = 0; i < 100; i++)
        push(&q, 1, i, 1);
    assert_int_equal(fair_ahead(&q, 1), 100);
    assert_int_equal(fair_ahead(&q, 2), 2);
    empty(&q);
}

/* Anything goes, in any order, and the counts stay right. */
static void test_random(void **state)
{
    struct fair q;
    struct rng rng;
    (void)state;
    begin(&q, 200, 100000);
    rng_init(&rng, 7);
    for (uint32_t i = 0; i < 20000; i++) {
        if (item_count == ITEMS) {
            while (q.count > 0)
                pop(&q);
            item_count = 0;
        }
        uint64_t dice = rng_below(&rng, 4);
        if (dice < 2) {
            push(&q, rng_below(&rng, 12), i, rng_below(&rng, 3000));
        } else if (q.count > 0 && dice == 2) {
            pop(&q);
        } else if (q.count > 0) {
            fair_remove(&q, list_first(&q.all, struct fair_item, in_all));
        }
        fair_check(&q);
    }
    empty(&q);
}

static void test_rate(void **state)
{
    struct rate r = {0};
    uint64_t now_us = 1000;
    (void)state;
    assert_int_equal(rate_wait_us(&r, 1000), 0);
    for (int i = 0; i < 50; i++) /* it is empty each time: nothing is known of it */
        rate_note(&r, now_us += 10000, 1, true);
    assert_int_equal(r.per_s, 0);
    for (int i = 0; i < 200; i++)
        rate_note(&r, now_us += 1000, 5, false);
    assert_in_range(r.per_s, 4800, 5200);
    assert_in_range(rate_wait_us(&r, 5000), 900000, 1100000);
    for (int i = 0; i < 1000; i++)
        rate_note(&r, now_us += 1000, 1, false);
    assert_in_range(r.per_s, 900, 1200);
    rate_note(&r, now_us += 3000000, 1, true); /* it stood still */
    assert_in_range(r.per_s, 1, 600);
    for (int i = 0; i < 3; i++) { /* many come and go together */
        rate_note(&r, now_us += 1000, 0, false);
        rate_note(&r, now_us += 1000, 64, true);
    }
    assert_in_range(r.per_s, 10000, 64000);
}

/* What is known of calm times stands beside the first bad window. */
static void test_rate_of_calm_times(void **state)
{
    struct rate r = {0};
    (void)state;
    rate_note(&r, 1000, 0, false);
    rate_note(&r, 3000, RATE_MANY, true);
    assert_int_equal(r.per_s, 16000);
    rate_note(&r, 4000, 0, false);
    rate_note(&r, 104000, 10, false);
    assert_in_range(r.per_s, 8000, 8100);
}

/* A queue that was trimmed is as good as new. */
static void test_trim(void **state)
{
    struct fair q;
    (void)state;
    begin(&q, 10, 1000);
    fair_trim(&q);
    for (uint32_t i = 0; i < 2; i++) {
        assert_null(fair_peek(&q));
        assert_int_equal(fair_ahead(&q, 1), 0);
        assert_int_equal(push(&q, 1, i, 10), 0);
        assert_int_equal(push(&q, 2, i, 10), 0);
        assert_int_equal(pop(&q)->flow, 1);
        assert_int_equal(pop(&q)->flow, 2);
        fair_trim(&q);
        assert_null(q.rounds);
        fair_check(&q);
    }
    empty(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_waits_behind_itself),
        cmocka_unit_test(test_bytes_are_shared),
        cmocka_unit_test(test_cost_in_hindsight),
        cmocka_unit_test(test_little_before_much),
        cmocka_unit_test(test_they_do_not_go_all_at_once),
        cmocka_unit_test(test_little_starves_nobody),
        cmocka_unit_test(test_much_is_shared),
        cmocka_unit_test(test_newcomers_starve_nobody),
        cmocka_unit_test(test_huge_in_time),
        cmocka_unit_test(test_hurry_starves_nobody),
        cmocka_unit_test(test_hurry_is_paid_for),
        cmocka_unit_test(test_nobody_takes_all_the_room),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_of_calm_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
