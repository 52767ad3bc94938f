/* Run-time checks: the error record at the start of the work area, and what is asked of the
   caller's pointers. */

#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base.h"

/* the first 64 bytes of the work area; kind 0: nothing failed, 1: an index, 2: a division by zero,
   3: an assertion */
typedef struct { int64_t eqn, element, index, limit, axis, kind, reserved[2]; } gradc_record;

#if defined(__GNUC__)
#define GRADC_COLD static __attribute__((noinline, cold))
#else
#define GRADC_COLD static
#endif

/* keeps the failure with the least (eqn, element), whatever the order they are found in */
GRADC_COLD void gradc_fail(gradc_record *record, int64_t kind, int64_t eqn, int64_t element,
                           int64_t index, int64_t limit, int64_t axis)
{
    const gradc_record found = {eqn, element, index, limit, axis, kind, {1, 0}};
    int64_t *const lock = &record->reserved[0];
#if defined(__GNUC__)
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0) continue;
#endif
    const int earlier = eqn < record->eqn || (eqn == record->eqn && element < record->element);
    if (record->kind == 0 || earlier) *record = found;
#if defined(__GNUC__)
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
#else
    *lock = 0;
#endif
}

/* how many of b's n arrays share a byte with a */
GRADC_INLINE int64_t gradc_sharing(const void *a, size_t a_bytes, const void *const *b,
                                   const size_t *b_bytes, int64_t n)
{
    const uintptr_t start = (uintptr_t)a;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const uintptr_t other = (uintptr_t)b[i];
        count += (start < other + b_bytes[i]) & (other < start + a_bytes) & (b_bytes[i] > 0);
    }
    return a_bytes > 0 ? count : 0;
}

GRADC_APART int64_t gradc_overlaps(const void *a, size_t a_bytes, const void *const *b,
                                   const size_t *b_bytes, int64_t n)
{
    return gradc_sharing(a, a_bytes, b, b_bytes, n);
}

/* the same, vectorised: for programs of many arrays, whose pairs are more by far */
GRADC_SHARED int64_t gradc_overlaps_of_many(const void *a, size_t a_bytes, const void *const *b,
                                            const size_t *b_bytes, int64_t n)
{
    return gradc_sharing(a, a_bytes, b, b_bytes, n);
}

/* how many of n arrays with elements are NULL or not aligned to their elements */
GRADC_APART int64_t gradc_unusable(const void *const *p, const size_t *bytes, const size_t *align,
                                   int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const uintptr_t address = (uintptr_t)p[i];
        count += (bytes[i] > 0) & ((address == 0) | ((address & (align[i] - 1)) != 0));
    }
    return count;
}

/* state that is read and then overwritten starts as a copy, where it is not the same array */
GRADC_SHARED void gradc_copy(void *to, const void *from, size_t bytes)
{
    unsigned char *const a = (unsigned char *)to;
    const unsigned char *const b = (const unsigned char *)from;
    if (to == from) return;
    for (size_t i = 0; i < bytes; i++) a[i] = b[i];
}
