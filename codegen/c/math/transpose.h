/* Copying a matrix turned: what lies along k in memory is laid out row by row of k. */

#pragma once
#include <stdint.h>

#include "base.h"

/* vectors of the target's width, and what interleaves the first or last halves of two of them */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#if defined(__AVX512F__)
#define GRADC_TURN_BYTES 64
#define GRADC_FIRST_F32 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define GRADC_LAST_F32 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define GRADC_FIRST_F64 0, 8, 1, 9, 2, 10, 3, 11
#define GRADC_LAST_F64 4, 12, 5, 13, 6, 14, 7, 15
#elif defined(__AVX__)
#define GRADC_TURN_BYTES 32
#define GRADC_FIRST_F32 0, 8, 1, 9, 2, 10, 3, 11
#define GRADC_LAST_F32 4, 12, 5, 13, 6, 14, 7, 15
#define GRADC_FIRST_F64 0, 4, 1, 5
#define GRADC_LAST_F64 2, 6, 3, 7
#else
#define GRADC_TURN_BYTES 16
#define GRADC_FIRST_F32 0, 4, 1, 5
#define GRADC_LAST_F32 2, 6, 3, 7
#define GRADC_FIRST_F64 0, 2
#define GRADC_LAST_F64 1, 3
#endif
#endif
#endif
#if !defined(GRADC_TURN_BYTES)
#define GRADC_TURN_BYTES 0
#endif

/* to[k * stride + j] = from[j * step + k], j < GRADC_TURN_BYTES / 4 and k < GRADC_TURN_BYTES / 4 */
GRADC_INLINE void gradc_turn_f32(float *to, int64_t stride, const float *from, int64_t step)
{
#if GRADC_TURN_BYTES > 0
    enum { n = GRADC_TURN_BYTES / 4 };
    typedef float lanes __attribute__((vector_size(GRADC_TURN_BYTES)));
    typedef float loose __attribute__((vector_size(GRADC_TURN_BYTES), aligned(4), may_alias));
    lanes a[n], b[n];
    GRADC_UNROLL
    for (int64_t j = 0; j < n; j++) a[j] = *(const loose *)(from + j * step);
    /* each round interleaves the upper half of the rows with the lower: a perfect shuffle */
    GRADC_UNROLL
    for (int64_t round = 1; round < n; round *= 2) {
        GRADC_UNROLL
        for (int64_t j = 0; j < n / 2; j++) {
            b[2 * j] = __builtin_shufflevector(a[j], a[j + n / 2], GRADC_FIRST_F32);
            b[2 * j + 1] = __builtin_shufflevector(a[j], a[j + n / 2], GRADC_LAST_F32);
        }
        GRADC_UNROLL
        for (int64_t j = 0; j < n; j++) a[j] = b[j];
    }
    GRADC_UNROLL
    for (int64_t k = 0; k < n; k++) *(loose *)(to + k * stride) = a[k];
#else
    (void)to, (void)stride, (void)from, (void)step;
#endif
}

/* to[k * columns + j] = from[j * step + k] for all k < count where j < inside, else 0 */
GRADC_INLINE void gradc_transpose_f32(float *to, int64_t columns, int64_t inside,
    const float *from, int64_t step, int64_t count)
{
    const int64_t n = GRADC_TURN_BYTES / 4 > 0 ? GRADC_TURN_BYTES / 4 : 1;
    const int64_t whole = GRADC_TURN_BYTES > 0 ? inside - inside % n : 0;
    const int64_t end = count - count % n;
    for (int64_t k = 0; k < end; k += n)
        for (int64_t j = 0; j < whole; j += n)
            gradc_turn_f32(to + k * columns + j, columns, from + j * step + k, step);
    for (int64_t j = 0; j < whole; j++)
        for (int64_t k = end; k < count; k++) to[k * columns + j] = from[j * step + k];
    for (int64_t j = whole; j < columns; j++)
        for (int64_t k = 0; k < count; k++)
            to[k * columns + j] = j < inside ? from[j * step + k] : 0;
}

/* to[k * stride + j] = from[j * step + k], j < GRADC_TURN_BYTES / 8 and k < GRADC_TURN_BYTES / 8 */
GRADC_INLINE void gradc_turn_f64(double *to, int64_t stride, const double *from, int64_t step)
{
#if GRADC_TURN_BYTES > 0
    enum { n = GRADC_TURN_BYTES / 8 };
    typedef double lanes __attribute__((vector_size(GRADC_TURN_BYTES)));
    typedef double loose __attribute__((vector_size(GRADC_TURN_BYTES), aligned(8), may_alias));
    lanes a[n], b[n];
    GRADC_UNROLL
    for (int64_t j = 0; j < n; j++) a[j] = *(const loose *)(from + j * step);
    /* each round interleaves the upper half of the rows with the lower: a perfect shuffle */
    GRADC_UNROLL
    for (int64_t round = 1; round < n; round *= 2) {
        GRADC_UNROLL
        for (int64_t j = 0; j < n / 2; j++) {
            b[2 * j] = __builtin_shufflevector(a[j], a[j + n / 2], GRADC_FIRST_F64);
            b[2 * j + 1] = __builtin_shufflevector(a[j], a[j + n / 2], GRADC_LAST_F64);
        }
        GRADC_UNROLL
        for (int64_t j = 0; j < n; j++) a[j] = b[j];
    }
    GRADC_UNROLL
    for (int64_t k = 0; k < n; k++) *(loose *)(to + k * stride) = a[k];
#else
    (void)to, (void)stride, (void)from, (void)step;
#endif
}

/* to[k * columns + j] = from[j * step + k] for all k < count where j < inside, else 0 */
GRADC_INLINE void gradc_transpose_f64(double *to, int64_t columns, int64_t inside,
    const double *from, int64_t step, int64_t count)
{
    const int64_t n = GRADC_TURN_BYTES / 8 > 0 ? GRADC_TURN_BYTES / 8 : 1;
    const int64_t whole = GRADC_TURN_BYTES > 0 ? inside - inside % n : 0;
    const int64_t end = count - count % n;
    for (int64_t k = 0; k < end; k += n)
        for (int64_t j = 0; j < whole; j += n)
            gradc_turn_f64(to + k * columns + j, columns, from + j * step + k, step);
    for (int64_t j = 0; j < whole; j++)
        for (int64_t k = end; k < count; k++) to[k * columns + j] = from[j * step + k];
    for (int64_t j = whole; j < columns; j++)
        for (int64_t k = 0; k < count; k++)
            to[k * columns + j] = j < inside ? from[j * step + k] : 0;
}
