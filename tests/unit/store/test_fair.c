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
        cmocka_unit_test(test_nobody_takes_all_the_room),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_of_calm_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
