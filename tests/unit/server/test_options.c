/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "server/options.h"
#include "wire/frame.h"

#define MIB ((size_t)1 << 20)

static struct store_options options_with(uint64_t queue)
{
    struct config config;
    struct store_options options;
    config_init(&config);
    config.client_queue_bytes = queue;
    options_of_config(&config, (struct slice){0}, NULL, &options);
    assert_int_equal(options.reply_bytes_max, queue);
    return options;
}

/* From the shortest queue to the longest: an answer fits behind a full queue, and in the memory of
 * all there is room for such a client, and another. */
static void test_any_queue_has_room_for_an_answer(void **state)
{
    (void)state;
    for (size_t queue = 64 << 10; queue <= 1024 * MIB; queue *= 2) {
        struct store_options options = options_with(queue);
        assert_true(options.reply_bytes_hard >= queue + FRAME_BODY_MAX);
        assert_true(options.reply_bytes_hard > 2 * FRAME_BODY_MAX);
        assert_true(options.reply_memory_max >= 2 * (queue + FRAME_BODY_MAX));
    }
}

static void test_the_usual_bounds(void **state)
{
    struct store_options options = options_with(32 * MIB);
    (void)state;
    assert_int_equal(options.reply_bytes_hard, 256 * MIB);
    assert_int_equal(options.reply_memory_max, 512 * MIB);
    assert_int_equal(options.reply_stall_ms, 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_queue_has_room_for_an_answer),
        cmocka_unit_test(test_the_usual_bounds),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
