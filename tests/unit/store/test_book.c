/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "env/sim/sim.h"
#include "store/book.h"
#include "support/check.h"

#define DIR "data"

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
};

static void world_open(struct world *w)
{
    w->sim = sim_new(NULL, 1);
    w->node = sim_node_new(w->sim, "a");
    w->env = sim_node_env(w->node);
    assert_int_equal(env_dir_make(w->env, DIR, NULL), 0);
    assert_int_equal(env_dir_sync(w->env, ".", NULL), 0);
}

static struct book_entry entry(uint64_t store_id, uint64_t version, const char *address)
{
    struct book_entry e = {.store_id = store_id, .version = version};
    memset(e.uuid, (int)store_id, sizeof e.uuid);
    snprintf(e.address, sizeof e.address, "%s", address);
    return e;
}

static int learn(struct book *book, struct book_entry e)
{
    int rv = book_learn(book, &e, NULL);
    book_check(book);
    return rv;
}

static void test_the_newest_stays(void **state)
{
    struct world w;
    struct book book;
    (void)state;
    world_open(&w);
    book_init(&book, w.env, DIR);
    assert_int_equal(learn(&book, entry(3, 0, "c:1")), 1);
    assert_int_equal(learn(&book, entry(1, 5, "a:1")), 1);
    assert_int_equal(learn(&book, entry(2, 1, "b:1")), 1);
    assert_int_equal(learn(&book, entry(3, 0, "c:2")), 0);
    assert_string_equal(book_find(&book, 3)->address, "c:1");
    uint64_t before = book_revision(&book);
    assert_int_equal(learn(&book, entry(3, 2, "c:2")), 1);
    assert_int_equal(learn(&book, entry(3, 1, "c:3")), 0);
    assert_string_equal(book_find(&book, 3)->address, "c:2");
    assert_true(book_find(&book, 3)->revision > before);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(book_at(&book, i)->store_id, i + 1);
    assert_null(book_at(&book, 3));
    assert_null(book_find(&book, 4));
    /* A uuid is for life. */
    struct book_entry other = entry(1, 9, "a:1");
    other.uuid[0] ^= 1;
    assert_int_equal(learn(&book, other), ERR_INVALID);
    book_fini(&book);
    sim_free(w.sim);
}

static void test_it_survives(void **state)
{
    struct world w;
    struct book book, again;
    (void)state;
    world_open(&w);
    book_init(&book, w.env, DIR);
    assert_int_equal(book_load(&book, NULL), 0);
    assert_null(book_at(&book, 0));
    for (uint64_t i = 1; i <= 40; i++)
        learn(&book, entry(i, i, "a:1"));
    struct book_entry gone = entry(7, 100, "a:7");
    gone.is_removed = true;
    learn(&book, gone);
    book_save(&book);
    learn(&book, entry(41, 1, "b:1")); /* while it is written */
    book_save(&book);
    sim_run_until(w.sim, 1000000);
    book_save(&book);
    sim_run_until(w.sim, 2000000);
    book_init(&again, w.env, DIR);
    assert_int_equal(book_load(&again, NULL), 0);
    book_check(&again);
    assert_string_equal(book_find(&again, 41)->address, "b:1");
    assert_true(book_find(&again, 7)->is_removed);
    assert_int_equal(book_find(&again, 12)->version, 12);
    book_fini(&again);
    book_fini(&book);
    sim_free(w.sim);
}

/* A damaged book is an empty one: it is told again. */
static void test_damage(void **state)
{
    struct world w;
    struct book book;
    (void)state;
    world_open(&w);
    book_init(&book, w.env, DIR);
    learn(&book, entry(1, 1, "a:1"));
    learn(&book, entry(2, 1, "b:1"));
    book_save(&book);
    sim_run_until(w.sim, 1000000);
    uint64_t size;
    bool is_dir;
    assert_int_equal(env_file_stat(w.env, DIR "/BOOK", &size, &is_dir, NULL), 0);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        struct book damaged;
        struct err err = {0};
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), DIR "/BOOK", bit), 0);
        book_init(&damaged, w.env, DIR);
        assert_int_equal(book_load(&damaged, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "BOOK"));
        assert_null(book_at(&damaged, 0));
        book_fini(&damaged);
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), DIR "/BOOK", bit), 0);
    }
    book_fini(&book);
    sim_free(w.sim);
}

static void test_it_is_bounded(void **state)
{
    struct world w;
    struct book book;
    (void)state;
    world_open(&w);
    book_init(&book, w.env, DIR);
    for (uint64_t i = 1; i <= BOOK_MAX; i++) {
        struct book_entry e = entry(i, 1, "a:1");
        assert_int_equal(book_learn(&book, &e, NULL), 1);
    }
    assert_int_equal(learn(&book, entry(BOOK_MAX + 1, 1, "a:1")), ERR_BUSY);
    assert_int_equal(learn(&book, entry(BOOK_MAX, 2, "a:2")), 1);
    book_save(&book);
    sim_run_until(w.sim, 1000000);
    struct book again;
    book_init(&again, w.env, DIR);
    assert_int_equal(book_load(&again, NULL), 0);
    assert_string_equal(book_find(&again, BOOK_MAX)->address, "a:2");
    book_fini(&again);
    book_fini(&book);
    sim_free(w.sim);
}

/* Who was removed stays so, and gives its place to others when places are short. */
static void test_the_removed_make_room(void **state)
{
    struct world w;
    struct book book;
    (void)state;
    world_open(&w);
    book_init(&book, w.env, DIR);
    for (uint64_t i = 1; i <= BOOK_MAX; i++) {
        struct book_entry e = entry(i, 9, "a:1");
        assert_int_equal(book_learn(&book, &e, NULL), 1);
    }
    for (uint64_t id = 5; id <= 6; id++) {
        struct book_entry gone = entry(id, 0, "a:1");
        gone.is_removed = true;
        assert_int_equal(learn(&book, gone), 1);
        assert_int_equal(learn(&book, gone), 0);
        assert_int_equal(learn(&book, entry(id, 100, "a:2")), 0);
        assert_true(book_find(&book, id)->is_removed);
    }
    assert_int_equal(learn(&book, entry(BOOK_MAX + 1, 1, "b:1")), 1);
    assert_null(book_find(&book, 5));
    assert_non_null(book_find(&book, 6));
    assert_int_equal(learn(&book, entry(BOOK_MAX + 2, 1, "b:2")), 1);
    assert_null(book_find(&book, 6));
    assert_string_equal(book_find(&book, BOOK_MAX + 2)->address, "b:2");
    assert_int_equal(learn(&book, entry(BOOK_MAX + 3, 1, "b:3")), ERR_BUSY);
    book_fini(&book);
    sim_free(w.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_stays),
        cmocka_unit_test(test_it_survives),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_it_is_bounded),
        cmocka_unit_test(test_the_removed_make_room),
    };
    return cmocka_run_group_tests_name("book", tests, NULL, NULL);
}
