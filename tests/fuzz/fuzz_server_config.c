/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a configuration file. What is refused names its line; what is accepted and
 * complete, once printed, is read again as the same. */
#include "base/buf.h"
#include "base/err.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config, again;
    struct err err = {0};
    struct buf first, second;
    config_init(&config);
    if (config_parse(&config, slice_of(data, size), "f", &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return 0;
    }
    if (config_finish(&config, &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return 0;
    }
    buf_init(&first, CONFIG_TEXT_MAX);
    buf_init(&second, CONFIG_TEXT_MAX);
    config_print(&config, &first);
    ASSERT(!first.failed);
    config_init(&again);
    ASSERT(config_parse(&again, buf_slice(&first), "printed", NULL) == 0);
    ASSERT(config_finish(&again, NULL) == 0);
    config_print(&again, &second);
    ASSERT(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
