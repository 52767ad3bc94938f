/* Arithmetic on signed integers, written for int32_t and instantiated for the other widths. It
   wraps, as two's complement does, by going through the unsigned type; nothing traps. */

#pragma once
#include <stdint.h>

#include "base.h"

GRADC_INLINE int32_t gradc_add_i32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

GRADC_INLINE int32_t gradc_sub_i32(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

GRADC_INLINE int32_t gradc_mul_i32(int32_t a, int32_t b)
{
    return (int32_t)(1u * (uint32_t)a * (uint32_t)b); /* 1u: no promotion to a signed int */
}

GRADC_INLINE int32_t gradc_neg_i32(int32_t a)
{
    return (int32_t)(0u - (uint32_t)a);
}

GRADC_INLINE int32_t gradc_bitwise_not_i32(int32_t a)
{
    return (int32_t)~a;
}

GRADC_INLINE int32_t gradc_abs_i32(int32_t a)
{
    return a < 0 ? gradc_neg_i32(a) : a;
}

GRADC_INLINE int32_t gradc_sign_i32(int32_t a)
{
    return (int32_t)((a > 0) - (a < 0));
}

GRADC_INLINE int32_t gradc_maximum_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

GRADC_INLINE int32_t gradc_minimum_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* rounded towards 0; 0 where b is 0; the least value by -1 is itself */
GRADC_INLINE int32_t gradc_trunc_divide_i32(int32_t a, int32_t b)
{
    const int32_t d = (int32_t)(((b == 0) | (b == -1)) ? 1 : b);
    return (int32_t)(b == 0 ? 0 : (b == -1 ? gradc_neg_i32(a) : a / d));
}

/* with the sign of a; 0 where b is 0 */
GRADC_INLINE int32_t gradc_fmod_i32(int32_t a, int32_t b)
{
    const int32_t d = (int32_t)(((b == 0) | (b == -1)) ? 1 : b);
    return (int32_t)(a % d);
}

/* rounded towards -infinity; 0 where b is 0 */
GRADC_INLINE int32_t gradc_floor_divide_i32(int32_t a, int32_t b)
{
    const int32_t r = gradc_fmod_i32(a, b);
    const int down = (r != 0) & ((r < 0) != (b < 0));
    return gradc_sub_i32(gradc_trunc_divide_i32(a, b), (int32_t)down);
}

/* with the sign of b; 0 where b is 0 */
GRADC_INLINE int32_t gradc_remainder_i32(int32_t a, int32_t b)
{
    const int32_t r = gradc_fmod_i32(a, b);
    return (int32_t)(((r != 0) & ((r < 0) != (b < 0))) ? r + b : r);
}

/* a^b by squaring, wrapped; a negative power gives 0 but for the bases 1 and -1 */
GRADC_INLINE int32_t gradc_pow_i32(int32_t a, int32_t b)
{
    int32_t power = 1, square = a;
    for (int32_t left = (int32_t)(b < 0 ? 0 : b); left > 0; left = (int32_t)(left / 2)) {
        power = left % 2 ? gradc_mul_i32(power, square) : power;
        square = gradc_mul_i32(square, square);
    }
    const int32_t inverse = (int32_t)(a == 1 ? 1 : (a == -1 ? (b % 2 ? -1 : 1) : 0));
    return b < 0 ? inverse : power;
}

/* 0 where the count is negative or past the width */
GRADC_INLINE int32_t gradc_shift_left_i32(int32_t a, int32_t count)
{
    const int inside = (count >= 0) & (count < 32);
    const uint32_t n = (uint32_t)(inside ? count : 0);
    return (int32_t)(inside ? (uint32_t)((uint32_t)a << n) : (uint32_t)0);
}

/* arithmetic; all sign where the count is negative or past the width */
GRADC_INLINE int32_t gradc_shift_right_i32(int32_t a, int32_t count)
{
    const int inside = (count >= 0) & (count < 32);
    const int32_t n = (int32_t)(inside ? count : 31);
    return (int32_t)(a >> n);
}
