/* Products of matrices: a tile of sums over k. The text fits itself to the target's registers; as
   every sum is taken in the order of k, that has no influence on the result. */

#pragma once
#include <stdint.h>

#include "base.h"

/* rows of sums held in registers at a time, and the bytes of all of them together */
#if defined(__AVX512F__)
#define GRADC_TILE_ROWS 8
#define GRADC_TILE_BYTES 1024
#elif defined(__AVX__)
#define GRADC_TILE_ROWS 4
#define GRADC_TILE_BYTES 256
#elif defined(__aarch64__)
#define GRADC_TILE_ROWS 8
#define GRADC_TILE_BYTES 256
#else
#define GRADC_TILE_ROWS 4
#define GRADC_TILE_BYTES 128
#endif

/* the columns to take at a time of `columns` (a multiple of 8), if `most` would do */
GRADC_INLINE int64_t gradc_tile_columns(int64_t columns, int64_t most)
{
    return most >= columns ? columns
        : most >= 64 && columns % 64 == 0 ? 64
        : most >= 32 && columns % 32 == 0 ? 32
        : most >= 16 && columns % 16 == 0 ? 16
        : most >= 8 ? 8 : 4;
}

/* sums[i * stride + j] = a[i * a_row + k * a_step] * b[k * b_step + j] over all k, in registers */
GRADC_INLINE void gradc_tile_f32(float *sums, int64_t stride, int64_t rows, int64_t columns,
    const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_step,
    int64_t count)
{
    float tile[GRADC_TILE_BYTES / 4] GRADC_ALIGNED;
    GRADC_UNROLL
    for (int64_t i = 0; i < rows; i++) {
        GRADC_SIMD
        for (int64_t j = 0; j < columns; j++) tile[i * columns + j] = 0.0f;
    }
    for (int64_t k = 0; k < count; k++) {
        GRADC_UNROLL
        for (int64_t i = 0; i < rows; i++) {
            const float x = a[i * a_row + k * a_step];
            GRADC_SIMD
            for (int64_t j = 0; j < columns; j++)
                tile[i * columns + j] = gradc_mad_f32(x, b[k * b_step + j], tile[i * columns + j]);
        }
    }
    GRADC_UNROLL
    for (int64_t i = 0; i < rows; i++) {
        GRADC_SIMD
        for (int64_t j = 0; j < columns; j++) sums[i * stride + j] = tile[i * columns + j];
    }
}

GRADC_INLINE void gradc_tile_f64(double *sums, int64_t stride, int64_t rows,
    int64_t columns, const double *a, int64_t a_row, int64_t a_step,
    const double *b, int64_t b_step, int64_t count)
{
    double tile[GRADC_TILE_BYTES / 8] GRADC_ALIGNED;
    GRADC_UNROLL
    for (int64_t i = 0; i < rows; i++) {
        GRADC_SIMD
        for (int64_t j = 0; j < columns; j++) tile[i * columns + j] = 0.0;
    }
    for (int64_t k = 0; k < count; k++) {
        GRADC_UNROLL
        for (int64_t i = 0; i < rows; i++) {
            const double x = a[i * a_row + k * a_step];
            GRADC_SIMD
            for (int64_t j = 0; j < columns; j++)
                tile[i * columns + j] = gradc_mad_f64(x, b[k * b_step + j], tile[i * columns + j]);
        }
    }
    GRADC_UNROLL
    for (int64_t i = 0; i < rows; i++) {
        GRADC_SIMD
        for (int64_t j = 0; j < columns; j++) sums[i * stride + j] = tile[i * columns + j];
    }
}

/* the same for at most 8 rows and any multiple of 8 columns, sums[i * columns + j] */
GRADC_INLINE void gradc_multiply_f32(float *sums, int64_t rows, int64_t columns,
    const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_step,
    int64_t count)
{
    const int64_t first = rows < GRADC_TILE_ROWS ? rows : GRADC_TILE_ROWS, rest = rows - first;
    const int64_t width = gradc_tile_columns(columns, GRADC_TILE_BYTES / 4 / first);
    for (int64_t j = 0; j < columns; j += width) {
        gradc_tile_f32(sums + j, columns, first, width, a, a_row, a_step, b + j, b_step, count);
        if (rest > 0)
            gradc_tile_f32(sums + first * columns + j, columns, rest, width, a + first * a_row,
                a_row, a_step, b + j, b_step, count);
    }
}

GRADC_INLINE void gradc_multiply_f64(double *sums, int64_t rows, int64_t columns,
    const double *a, int64_t a_row, int64_t a_step, const double *b,
    int64_t b_step, int64_t count)
{
    const int64_t first = rows < GRADC_TILE_ROWS ? rows : GRADC_TILE_ROWS, rest = rows - first;
    const int64_t width = gradc_tile_columns(columns, GRADC_TILE_BYTES / 8 / first);
    for (int64_t j = 0; j < columns; j += width) {
        gradc_tile_f64(sums + j, columns, first, width, a, a_row, a_step, b + j, b_step, count);
        if (rest > 0)
            gradc_tile_f64(sums + first * columns + j, columns, rest, width, a + first * a_row,
                a_row, a_step, b + j, b_step, count);
    }
}
