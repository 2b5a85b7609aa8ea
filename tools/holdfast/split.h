/* SPDX-License-Identifier: Apache-2.0
 *
 * split — a line into words as a shell would: blanks, 'single' and "double" quotes,
 * and outside of single ones the escapes \n \t \r \xNN and \ before anything else. What begins
 * with a # that is not quoted is a comment: it has no words.
 *
 * Ownership  words are NUL-terminated inside `line`, which is changed.
 */
#ifndef TOOLS_HOLDFAST_SPLIT_H_
#define TOOLS_HOLDFAST_SPLIT_H_

#include "base/base.h"

struct err;

/* The words of `line` in order. ERR_INVALID in words: a quote that is not closed, a bad
 * escape, \x00 (no word can hold it), over `words_max` words. */
int split_words(char *line, const char **ret_words, size_t words_max, size_t *ret_count,
                struct err *err);

#endif
