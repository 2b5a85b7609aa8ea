/* SPDX-License-Identifier: Apache-2.0 */
/* Places and what they vouch for: it is on the disk first. */
#include "support/check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tools/holdfast/place.h"

/* ---- the rest of the program ------------------------------------------------------------- */

static char failure[256]; /* in words */

int cli_error(struct cli *cli, const char *fmt, ...)
{
    (void)cli;
    va_list args;
    va_start(args, fmt);
    vsnprintf(failure, sizeof failure, fmt, args);
    va_end(args);
    return EXIT_ERROR;
}

bool cli_write(FILE *file, struct slice bytes)
{
    return bytes.len == 0 || fwrite(bytes.data, 1, bytes.len, file) == bytes.len;
}

bool cli_read_file(struct cli *cli, const char *path, struct buf *buf)
{
    char text[64];
    FILE *file = fopen(path, "rb");
    (void)cli;
    assert_non_null(file);
    buf_append(buf, text, fread(text, 1, sizeof text, file));
    fclose(file);
    return true;
}

/* ---- tests -------------------------------------------------------------------------------- */

static bool says(const char *path, const char *want)
{
    struct buf bytes;
    buf_init(&bytes, 64);
    assert_true(place_load(NULL, path, &bytes));
    bool is_same = slice_equal(buf_slice(&bytes), slice_str(want));
    buf_fini(&bytes);
    return is_same;
}

/* Save with standard output going there. */
static bool save_beside(int output, const char *path, const char *place)
{
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_true(kept >= 0);
    assert_int_equal(dup2(output, STDOUT_FILENO), STDOUT_FILENO);
    bool is_saved = place_save(NULL, path, slice_str(place));
    assert_int_equal(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    close(kept);
    return is_saved;
}

/* A place is not moved on where it is not known that what it vouches for is on the disk; where that
 * goes to no disk, it is. */
static void test_output_first(void **state)
{
    char folder[] = "place-XXXXXX", path[64], text[64];
    int ends[2];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/place", folder);
    snprintf(text, sizeof text, "%s/text", folder);
    int file = open(text, O_WRONLY | O_CREAT, 0600);
    int bad = open(folder, O_PATH); /* nothing can be synced by that */
    assert_int_equal(pipe(ends), 0);
    assert_true(file >= 0 && bad >= 0);
    assert_true(says(path, ""));
    assert_true(save_beside(file, path, "one"));
    assert_true(says(path, "one"));
    assert_true(save_beside(ends[1], path, "two"));
    assert_true(says(path, "two"));
    assert_false(save_beside(bad, path, "three"));
    assert_non_null(strstr(failure, "standard output: "));
    assert_true(says(path, "two"));
    close(file);
    close(bad);
    close(ends[0]);
    close(ends[1]);
    unlink(path);
    unlink(text);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_first),
    };
    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
