/* exp, expm1 and the sigmoid.

   x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r); times 2^n. The integer n is read
   from the low mantissa bits after adding 1.5 * 2^23 (2^52), and 2^n is applied as two factors, so
   that results which overflow or are denormal come out right. */

#pragma once
#include "base.h"

/* e^r, r = x - n ln 2 */
GRADC_INLINE float gradc_exp_rest_f32(float x, float n)
{
    const float r = gradc_mad_f32(n, -1.4286068e-06f, gradc_mad_f32(n, -0.693145751953125f, x));
    float q = gradc_mad_f32(r, 1.9954247e-04f, 1.3935441e-03f);
    q = gradc_mad_f32(r, q, 8.333197e-03f);
    q = gradc_mad_f32(r, q, 4.166646e-02f);
    q = gradc_mad_f32(r, q, 1.6666667e-01f);
    q = gradc_mad_f32(r, q, 0.5f);
    return gradc_mad_f32(r * r, q, r) + 1.0f;
}

/* 2^shift e^x for shift in {-1, 0}; at most 1 ulp */
GRADC_INLINE float gradc_exp_scaled_f32(float x, int32_t shift)
{
    float c = x < -104.0f ? -104.0f : x; /* NaN passes both */
    c = c > 90.0f ? 90.0f : c;
    const float shifted = gradc_mad_f32(c, 1.442695f, 12582912.0f);
    const float n = shifted - 12582912.0f;
    const float e = gradc_exp_rest_f32(c, n);
    const uint32_t k = gradc_bits_f32(shifted) - 0x4b400000u + (uint32_t)(254 + shift);
    const float s1 = gradc_from_bits_f32((k >> 1) << 23);
    const float s2 = gradc_from_bits_f32((k - (k >> 1)) << 23);
    return e * s1 * s2;
}

GRADC_INLINE double gradc_exp_rest_f64(double x, double n)
{
    double r = gradc_mad_f64(n, -0.6931471805592082, x);
    r = gradc_mad_f64(n, -7.371002565167799e-13, r);
    double q = gradc_mad_f64(r, 2.5113484400469094e-08, 2.763160932387279e-07);
    q = gradc_mad_f64(r, q, 2.7557230635580643e-06);
    q = gradc_mad_f64(r, q, 2.4801488976969052e-05);
    q = gradc_mad_f64(r, q, 0.00019841269900601515);
    q = gradc_mad_f64(r, q, 0.0013888888948010904);
    q = gradc_mad_f64(r, q, 0.008333333333315417);
    q = gradc_mad_f64(r, q, 0.04166666666651124);
    q = gradc_mad_f64(r, q, 0.16666666666666685);
    q = gradc_mad_f64(r, q, 0.5000000000000013);
    return gradc_mad_f64(r * r, q, r) + 1.0;
}

/* 2^shift e^x for shift in {-1, 0}; at most 1 ulp */
GRADC_INLINE double gradc_exp_scaled_f64(double x, int64_t shift)
{
    double c = x < -746.0 ? -746.0 : x; /* NaN passes both */
    c = c > 711.0 ? 711.0 : c;
    const double shifted = gradc_mad_f64(c, 1.4426950408889634, 6755399441055744.0);
    const double n = shifted - 6755399441055744.0;
    const double e = gradc_exp_rest_f64(c, n);
    const uint64_t k = gradc_bits_f64(shifted) - 0x4338000000000000u + (uint64_t)(2046 + shift);
    const double s1 = gradc_from_bits_f64((k >> 1) << 52);
    const double s2 = gradc_from_bits_f64((k - (k >> 1)) << 52);
    return e * s1 * s2;
}

/* e^x for x <= 0 or NaN, the same bits: 2^(n+101) is one factor, and in range; 2^-101 the other */
GRADC_INLINE float gradc_exp_nonpositive_f32(float x)
{
    const float c = x < -104.0f ? -104.0f : x; /* NaN passes */
    const float shifted = gradc_mad_f32(c, 1.442695f, 12583140.0f);
    const float n = shifted - 12583140.0f;
    const float e = gradc_exp_rest_f32(c, n);
    const float s = gradc_from_bits_f32(gradc_bits_f32(shifted) << 23);
    return e * s * 3.944304526105059e-31f;
}

/* e^x for x <= 0 or NaN, the same bits: 2^(n+601) is one factor, and in range; 2^-601 the other */
GRADC_INLINE double gradc_exp_nonpositive_f64(double x)
{
    const double c = x < -746.0 ? -746.0 : x; /* NaN passes */
    const double shifted = gradc_mad_f64(c, 1.4426950408889634, 6755399441057368.0);
    const double n = shifted - 6755399441057368.0;
    const double e = gradc_exp_rest_f64(c, n);
    const double s = gradc_from_bits_f64(gradc_bits_f64(shifted) << 52);
    return e * s * 1.204959932551442e-181;
}

/* e^x; at most 1 ulp */
GRADC_INLINE float gradc_exp_f32(float x)
{
    return gradc_exp_scaled_f32(x, 0);
}

GRADC_INLINE double gradc_exp_f64(double x)
{
    return gradc_exp_scaled_f64(x, 0);
}

/* e^x - 1 = 2 (2^(n-1) q + (2^(n-1) - 1/2)) with q = e^r - 1; at most 1.5 ulp, double 2 */
GRADC_INLINE float gradc_expm1_f32(float x)
{
    float c = x < -30.0f ? -30.0f : x;
    c = c > 89.0f ? 89.0f : c;
    const float shifted = gradc_mad_f32(c, 1.442695f, 12582912.0f);
    const float n = shifted - 12582912.0f;
    const float r = gradc_mad_f32(n, -1.4286068e-06f, gradc_mad_f32(n, -0.693145751953125f, c));
    float q = gradc_mad_f32(r, 1.9763377e-04f, 1.3932341e-03f);
    q = gradc_mad_f32(r, q, 8.333544e-03f);
    q = gradc_mad_f32(r, q, 4.1666493e-02f);
    q = gradc_mad_f32(r, q, 1.6666666e-01f);
    q = gradc_mad_f32(r, q, 0.5f);
    const float em1 = gradc_mad_f32(r * r, q, r);
    const float s = gradc_from_bits_f32((gradc_bits_f32(shifted) - 0x4b400000u + 126u) << 23);
    const float y = 2.0f * gradc_mad_f32(s, em1, s - 0.5f);
    return gradc_abs_f32(x) < 5e-8f ? x : y; /* keeps -0 and denormals */
}

GRADC_INLINE double gradc_expm1_f64(double x)
{
    double c = x < -50.0 ? -50.0 : x;
    c = c > 710.0 ? 710.0 : c;
    const double shifted = gradc_mad_f64(c, 1.4426950408889634, 6755399441055744.0);
    const double n = shifted - 6755399441055744.0;
    double r = gradc_mad_f64(n, -0.6931471805592082, c);
    r = gradc_mad_f64(n, -7.371002565167799e-13, r);
    double q = gradc_mad_f64(r, 2.0895324320255595e-09, 2.510918590835889e-08);
    q = gradc_mad_f64(r, q, 2.755733339641011e-07);
    q = gradc_mad_f64(r, q, 2.7557243776445425e-06);
    q = gradc_mad_f64(r, q, 2.4801587260964218e-05);
    q = gradc_mad_f64(r, q, 0.00019841269886570397);
    q = gradc_mad_f64(r, q, 0.0013888888888911966);
    q = gradc_mad_f64(r, q, 0.008333333333321443);
    q = gradc_mad_f64(r, q, 0.04166666666666663);
    q = gradc_mad_f64(r, q, 0.16666666666666677);
    q = gradc_mad_f64(r, q, 0.5);
    const double em1 = gradc_mad_f64(r * r, q, r);
    const uint64_t k = gradc_bits_f64(shifted) - 0x4338000000000000u + 1022u;
    const double s = gradc_from_bits_f64(k << 52);
    const double y = 2.0 * gradc_mad_f64(s, em1, s - 0.5);
    return gradc_abs_f64(x) < 1e-16 ? x : y;
}

/* 1 / (1 + e^-x), without overflow and small where x is very negative; at most 2.5 ulp */
GRADC_INLINE float gradc_sigmoid_f32(float x)
{
    const float e = gradc_exp_nonpositive_f32(-gradc_abs_f32(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

GRADC_INLINE double gradc_sigmoid_f64(double x)
{
    const double e = gradc_exp_nonpositive_f64(-gradc_abs_f64(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}
