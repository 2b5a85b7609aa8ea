/* SPDX-License-Identifier: Apache-2.0
 *
 * wrong_clock — for LD_PRELOAD: a process whose wall clock is off by WRONG_CLOCK_SECONDS
 * (may be negative). All other clocks are right.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset_seconds(void)
{
    const char *text = getenv("WRONG_CLOCK_SECONDS");
    return text != NULL ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rv = (int)syscall(SYS_clock_gettime, id, ts);
    if (rv == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += offset_seconds();
    return rv;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    int rv = (int)syscall(SYS_gettimeofday, tv, tz);
    if (rv == 0)
        tv->tv_sec += offset_seconds();
    return rv;
}

time_t time(time_t *ret_now)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now != NULL)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}
