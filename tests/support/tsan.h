/* SPDX-License-Identifier: Apache-2.0
 *
 * tsan — what ThreadSanitizer must not hold against programs that open and close several
 * worlds of libuv. Include it in one file of the program.
 *
 * libuv closes descriptors by a system call that the sanitizer does not see. When open()
 * gives the number of such a one out again, it is still epoll's for it: a "race" on the number.
 */
#ifndef SUPPORT_TSAN_H_
#define SUPPORT_TSAN_H_

/* Called by the sanitizer's runtime, if there is one. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:epoll_create1\n";
}

#endif
