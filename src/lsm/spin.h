/* SPDX-License-Identifier: Apache-2.0
 *
 * spin — a lock for a few dozen instructions, never held over I/O or an allocation that
 * may ask the system.
 */
#ifndef LSM_SPIN_H_
#define LSM_SPIN_H_

#include <stdatomic.h>

#include "base/base.h"

static inline void spin_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline void spin_lock(atomic_bool *is_locked)
{
    while (atomic_exchange_explicit(is_locked, true, memory_order_acquire)) {
        while (atomic_load_explicit(is_locked, memory_order_relaxed))
            spin_relax();
    }
}

static inline void spin_unlock(atomic_bool *is_locked)
{
    ASSERT(atomic_load_explicit(is_locked, memory_order_relaxed));
    atomic_store_explicit(is_locked, false, memory_order_release);
}

#endif
