/* Remainders and floor division of floats, exact. The quotient may have hundreds of digits, so
   the mantissas are divided piece by piece in a loop (one round where the quotient is below 2^40,
   or 2^11 for double); these are not vectorised. */

#pragma once
#include "base.h"

/* x - trunc(x / y) y, with the sign of x; NaN where y is 0 or x infinite */
GRADC_INLINE float gradc_fmod_f32(float x, float y)
{
    const uint32_t a = gradc_bits_f32(x) & 0x7fffffffu, b = gradc_bits_f32(y) & 0x7fffffffu;
    if ((b == 0) | (a >= 0x7f800000u) | (b > 0x7f800000u)) return GRADC_NAN_F32;
    if (a < b) return x;
    const uint32_t ea = a >> 23 ? a >> 23 : 1, eb = b >> 23 ? b >> 23 : 1; /* 1: denormal */
    const uint64_t d = (b & 0x7fffffu) | (b >> 23 ? 0x800000u : 0u);
    uint64_t m = ((a & 0x7fffffu) | (a >> 23 ? 0x800000u : 0u)) % d;
    for (uint32_t left = ea - eb; left > 0;) {
        const uint32_t n = left < 40 ? left : 40;
        m = (m << n) % d;
        left -= n;
    }
    const uint32_t k = eb + 104; /* the result is m 2^(k - 254), and exact */
    const float s1 = gradc_from_bits_f32((k >> 1) << 23);
    const float s2 = gradc_from_bits_f32((k - (k >> 1)) << 23);
    return gradc_copysign_f32((float)m * s1 * s2, x);
}

GRADC_INLINE double gradc_fmod_f64(double x, double y)
{
    const uint64_t magnitude = 0x7fffffffffffffffu, fraction = 0xfffffffffffffu;
    const uint64_t a = gradc_bits_f64(x) & magnitude, b = gradc_bits_f64(y) & magnitude;
    if ((b == 0) | (a >= 0x7ff0000000000000u) | (b > 0x7ff0000000000000u)) return GRADC_NAN_F64;
    if (a < b) return x;
    const uint64_t ea = a >> 52 ? a >> 52 : 1, eb = b >> 52 ? b >> 52 : 1; /* 1: denormal */
    const uint64_t d = (b & fraction) | (b >> 52 ? fraction + 1 : 0);
    uint64_t m = ((a & fraction) | (a >> 52 ? fraction + 1 : 0)) % d;
    for (uint64_t left = ea - eb; left > 0;) {
        const uint64_t n = left < 11 ? left : 11;
        m = (m << n) % d;
        left -= n;
    }
    const uint64_t k = eb + 971; /* the result is m 2^(k - 2046), and exact */
    const double s1 = gradc_from_bits_f64((k >> 1) << 52);
    const double s2 = gradc_from_bits_f64((k - (k >> 1)) << 52);
    return gradc_copysign_f64((double)m * s1 * s2, x);
}

/* x - floor(x / y) y, with the sign of y */
GRADC_INLINE float gradc_remainder_f32(float x, float y)
{
    const float r = gradc_fmod_f32(x, y);
    return r == 0.0f ? gradc_copysign_f32(r, y) : ((r < 0.0f) != (y < 0.0f) ? r + y : r);
}

GRADC_INLINE double gradc_remainder_f64(double x, double y)
{
    const double r = gradc_fmod_f64(x, y);
    return r == 0.0 ? gradc_copysign_f64(r, y) : ((r < 0.0) != (y < 0.0) ? r + y : r);
}

/* floor(x / y), consistent with the remainder: x - r is divided and the result made whole */
GRADC_INLINE float gradc_floor_divide_f32(float x, float y)
{
    const float r = gradc_fmod_f32(x, y), q = x / y;
    const float d = (x - r) / y - (((r != 0.0f) & ((r < 0.0f) != (y < 0.0f))) ? 1.0f : 0.0f);
    const float f = gradc_floor_f32(d);
    const float whole = d == 0.0f ? gradc_copysign_f32(0.0f, q) : (d - f > 0.5f ? f + 1.0f : f);
    return y == 0.0f ? q : whole;
}

GRADC_INLINE double gradc_floor_divide_f64(double x, double y)
{
    const double r = gradc_fmod_f64(x, y), q = x / y;
    const double d = (x - r) / y - (((r != 0.0) & ((r < 0.0) != (y < 0.0))) ? 1.0 : 0.0);
    const double f = gradc_floor_f64(d);
    const double whole = d == 0.0 ? gradc_copysign_f64(0.0, q) : (d - f > 0.5 ? f + 1.0 : f);
    return y == 0.0 ? q : whole;
}
