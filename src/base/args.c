/* SPDX-License-Identifier: Apache-2.0 */
#include "base/args.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"

enum { HELP_COLUMNS = 98 };

/* The flag that `name` of `len` bytes means, NULL if none. */
static const struct args_flag *args_find(const struct args_flag *flags, size_t count,
                                         const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    }
    return NULL;
}

static const struct args_flag *args_find_letter(const struct args_flag *flags, size_t count,
                                                char letter)
{
    for (size_t i = 0; i < count; i++) {
        if (flags[i].letter != 0 && flags[i].letter == letter)
            return &flags[i];
    }
    return NULL;
}

static int args_set_number(const struct args_flag *flag, struct slice text)
{
    switch (flag->kind) {
    case ARGS_U64:
        return text_parse_u64(text, flag->ret_value);
    case ARGS_I64:
        return text_parse_i64(text, flag->ret_value);
    case ARGS_SIZE:
        return text_parse_size(text, flag->ret_value);
    case ARGS_DURATION:
        return text_parse_duration(text, flag->ret_value);
    default:
        ASSERT(false);
        return ERR_INVALID;
    }
}

static int args_set(const struct args_flag *flag, const char *value, struct err *err)
{
    static const char *const wanted[] = {
        [ARGS_U64] = "a number",
        [ARGS_I64] = "a whole number",
        [ARGS_SIZE] = "a size such as 64MiB",
        [ARGS_DURATION] = "a duration such as 10ms",
    };
    if (flag->kind == ARGS_TEXT)
        *(const char **)flag->ret_value = value;
    else if (args_set_number(flag, slice_str(value)) != 0)
        return err_set(err, ERR_INVALID, "--%s wants %s, not '%s'", flag->name, wanted[flag->kind],
                       value);
    if (flag->ret_given != NULL)
        *flag->ret_given = true;
    return 0;
}

static bool args_is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != 0 && !(arg[1] >= '0' && arg[1] <= '9');
}

/* One flag at argv[*at], with its value if it has one; *at moves past both. */
static int args_take(const struct args_flag *flags, size_t count, int argc, const char *const *argv,
                     int *at, struct err *err)
{
    const char *arg = argv[(*at)++];
    bool is_long = arg[1] == '-';
    const char *name = arg + (is_long ? 2 : 1);
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct args_flag *flag = NULL;
    if (is_long)
        flag = args_find(flags, count, name, len);
    else if (len == 1)
        flag = args_find_letter(flags, count, name[0]);
    if (flag == NULL)
        return err_set(err, ERR_INVALID, "unknown flag '%.*s'", (int)(name + len - arg), arg);
    if (flag->kind == ARGS_SWITCH) {
        if (equals != NULL)
            return err_set(err, ERR_INVALID, "--%s takes no value", flag->name);
        *(bool *)flag->ret_value = true;
        if (flag->ret_given != NULL)
            *flag->ret_given = true;
        return 0;
    }
    if (equals == NULL && *at == argc)
        return err_set(err, ERR_INVALID, "--%s needs a value (%s)", flag->name, flag->metavar);
    return args_set(flag, equals != NULL ? equals + 1 : argv[(*at)++], err);
}

int args_parse(const struct args_flag *flags, size_t flags_count, int argc, const char *const *argv,
               const char **ret_words, size_t words_max, size_t *ret_words_count, struct err *err)
{
    size_t words = 0;
    bool is_over = false; /* "--" was seen */
    for (int at = 0; at < argc;) {
        const char *arg = argv[at];
        if (!is_over && strcmp(arg, "--") == 0) {
            is_over = true;
            at++;
        } else if (!is_over && args_is_flag(arg)) {
            int rv = args_take(flags, flags_count, argc, argv, &at, err);
            if (rv != 0)
                return rv;
        } else {
            if (words == words_max)
                return err_set(err, ERR_INVALID, "unexpected '%s'", arg);
            ret_words[words++] = arg;
            at++;
        }
    }
    *ret_words_count = words;
    return 0;
}

static size_t args_label(const struct args_flag *flag, char *text, size_t size)
{
    char letter[8] = "    ";
    if (flag->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    int n = snprintf(text, size, "%s--%s%s%s", letter, flag->name, flag->metavar ? " " : "",
                     flag->metavar ? flag->metavar : "");
    ASSERT(n > 0);
    return MIN((size_t)n, size - 1);
}

/* Words up to HELP_COLUMNS, going on in the next line at the same column. */
static void args_wrap(struct buf *buf, size_t column, const char *text)
{
    size_t room = HELP_COLUMNS - MIN(column, (size_t)HELP_COLUMNS / 2);
    size_t at = 0;
    while (*text != 0) {
        size_t len = strcspn(text, " ");
        if (at > 0 && at + 1 + len > room) {
            buf_printf(buf, "\n%*s", (int)column, "");
            at = 0;
        } else if (at > 0) {
            buf_append_u8(buf, ' ');
            at++;
        }
        buf_append(buf, text, len);
        at += len;
        text += len;
        text += strspn(text, " ");
    }
}

void args_help(const struct args_flag *flags, size_t flags_count, struct buf *buf)
{
    char label[96];
    size_t width = 0;
    for (size_t i = 0; i < flags_count; i++) {
        if (flags[i].help != NULL)
            width = MAX(width, args_label(&flags[i], label, sizeof label));
    }
    for (size_t i = 0; i < flags_count; i++) {
        if (flags[i].help == NULL)
            continue;
        args_label(&flags[i], label, sizeof label);
        buf_printf(buf, "  %-*s  ", (int)width, label);
        args_wrap(buf, width + 4, flags[i].help);
        buf_append_u8(buf, '\n');
    }
}
