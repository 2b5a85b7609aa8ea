/* SPDX-License-Identifier: Apache-2.0
 *
 * args — the flags of our programs: "--name value" or "--name=value", "--name"
 * alone for a switch, "-x" for its one-letter form. "--" ends the flags; what is
 * no flag is a word ("-" and negative numbers are words).
 *
 * Ownership  texts point into argv.
 * Errors     ERR_INVALID with a message for the person at the keyboard.
 */
#ifndef BASE_ARGS_H_
#define BASE_ARGS_H_

#include "base/base.h"

struct buf;
struct err;

enum args_kind {
    ARGS_SWITCH,   /* bool: set to true; takes no value */
    ARGS_TEXT,     /* const char * */
    ARGS_U64,      /* uint64_t */
    ARGS_I64,      /* int64_t */
    ARGS_SIZE,     /* uint64_t, bytes: "64MiB" */
    ARGS_DURATION, /* uint64_t, microseconds: "10ms" */
};

struct args_flag {
    const char *name; /* without the dashes */
    char letter;      /* short form, 0 for none */
    enum args_kind kind;
    void *ret_value;     /* of the type that `kind` says; untouched if not given */
    bool *ret_given;     /* NULL is fine; set to true if the flag is there */
    const char *metavar; /* "FILE" in the help; NULL for a switch */
    const char *help;    /* one line; NULL hides it */
};

/* Parse argv[0..argc). Words go to `ret_words` in order, at most `words_max`, and
 * *ret_words_count. A flag given twice: the last one counts. */
int args_parse(const struct args_flag *flags, size_t flags_count, int argc, const char *const *argv,
               const char **ret_words, size_t words_max, size_t *ret_words_count, struct err *err);

/* Append the table of flags, aligned; a long line goes on below itself. */
void args_help(const struct args_flag *flags, size_t flags_count, struct buf *buf);

#endif
