/* SPDX-License-Identifier: Apache-2.0 */
#include "split.h"

#include "base/err.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The character that an escape at `p` (behind the backslash) means; *ret_used is how
 * many characters it took. -1 if it means none. */
static int unescape(const char *p, size_t *ret_used)
{
    *ret_used = 1;
    switch (*p) {
    case 0:
        return -1;
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'x':
        if (hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0)
            return -1;
        *ret_used = 3;
        return hex_digit(p[1]) << 4 | hex_digit(p[2]);
    default:
        return (unsigned char)*p;
    }
}

/* Move one word from *from to *to (the same text, *to never ahead); NULL if all is
 * well, else what is wrong. */
static const char *split_word(char **from, char **to)
{
    char quote = 0;
    for (;; (*from)++) {
        char c = **from;
        if (c == 0)
            return quote != 0 ? "a quote is not closed" : NULL;
        if (quote == 0 && (c == ' ' || c == '\t' || c == '\r'))
            return NULL;
        if (c == quote && quote != 0) {
            quote = 0;
        } else if (quote == 0 && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == '\\' && quote != '\'') {
            size_t used;
            int byte = unescape(*from + 1, &used);
            if (byte <= 0)
                return byte == 0 ? "\\x00 cannot be typed here" : "bad escape";
            *(*to)++ = (char)byte;
            *from += used;
        } else {
            *(*to)++ = c;
        }
    }
}

int split_words(char *line, const char **ret_words, size_t words_max, size_t *ret_count,
                struct err *err)
{
    char *from = line, *to = line;
    size_t count = 0;
    for (;;) {
        while (*from == ' ' || *from == '\t' || *from == '\r')
            from++;
        if (*from == 0 || (count == 0 && *from == '#'))
            break;
        if (count == words_max)
            return err_set(err, ERR_INVALID, "over %zu words", words_max);
        char *word = to;
        const char *problem = split_word(&from, &to);
        if (problem != NULL)
            return err_set(err, ERR_INVALID, "%s", problem);
        bool is_last = *from == 0;
        *to++ = 0;
        ret_words[count++] = word;
        if (is_last)
            break;
        from++;
    }
    *ret_count = count;
    return 0;
}
