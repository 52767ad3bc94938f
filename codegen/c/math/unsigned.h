/* Arithmetic on unsigned integers, written for uint32_t and instantiated for the other widths. It
   wraps; nothing traps. */

#pragma once
#include <stdint.h>

#include "base.h"

GRADC_INLINE uint32_t gradc_add_u32(uint32_t a, uint32_t b)
{
    return (uint32_t)(a + b);
}

GRADC_INLINE uint32_t gradc_sub_u32(uint32_t a, uint32_t b)
{
    return (uint32_t)(a - b);
}

GRADC_INLINE uint32_t gradc_mul_u32(uint32_t a, uint32_t b)
{
    return (uint32_t)(1u * a * b); /* 1u: no promotion to a signed int */
}

GRADC_INLINE uint32_t gradc_neg_u32(uint32_t a)
{
    return (uint32_t)(0u - a);
}

GRADC_INLINE uint32_t gradc_bitwise_not_u32(uint32_t a)
{
    return (uint32_t)~a;
}

GRADC_INLINE uint32_t gradc_abs_u32(uint32_t a)
{
    return a;
}

GRADC_INLINE uint32_t gradc_sign_u32(uint32_t a)
{
    return (uint32_t)(a > 0);
}

GRADC_INLINE uint32_t gradc_maximum_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

GRADC_INLINE uint32_t gradc_minimum_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* 0 where b is 0 */
GRADC_INLINE uint32_t gradc_trunc_divide_u32(uint32_t a, uint32_t b)
{
    const uint32_t d = (uint32_t)(b == 0 ? 1 : b);
    return (uint32_t)(b == 0 ? 0 : a / d);
}

GRADC_INLINE uint32_t gradc_fmod_u32(uint32_t a, uint32_t b)
{
    const uint32_t d = (uint32_t)(b == 0 ? 1 : b);
    return (uint32_t)(a % d);
}

GRADC_INLINE uint32_t gradc_floor_divide_u32(uint32_t a, uint32_t b)
{
    return gradc_trunc_divide_u32(a, b);
}

GRADC_INLINE uint32_t gradc_remainder_u32(uint32_t a, uint32_t b)
{
    return gradc_fmod_u32(a, b);
}

/* a^b by squaring, wrapped */
GRADC_INLINE uint32_t gradc_pow_u32(uint32_t a, uint32_t b)
{
    uint32_t power = 1, square = a;
    for (uint32_t left = b; left > 0; left = (uint32_t)(left / 2)) {
        power = left % 2 ? gradc_mul_u32(power, square) : power;
        square = gradc_mul_u32(square, square);
    }
    return power;
}

/* 0 where the count is past the width */
GRADC_INLINE uint32_t gradc_shift_left_u32(uint32_t a, uint32_t count)
{
    const int inside = count < 32;
    const uint32_t n = (uint32_t)(inside ? count : 0);
    return (uint32_t)(inside ? (uint32_t)(a << n) : 0);
}

GRADC_INLINE uint32_t gradc_shift_right_u32(uint32_t a, uint32_t count)
{
    const int inside = count < 32;
    const uint32_t n = (uint32_t)(inside ? count : 0);
    return (uint32_t)(inside ? a >> n : 0);
}
