/* pow, by e^(y log |x|) with the logarithm to more digits than the result has. */

#pragma once
#include "base.h"
#include "exp.h"
#include "log.h"

/* pow from p = |x|^y: signs, zeros, infinities and NaN as C99 has them */
GRADC_INLINE float gradc_pow_cases_f32(float x, float y, float p)
{
    const float a = gradc_abs_f32(x), b = gradc_abs_f32(y), half = 0.5f * y;
    const int whole = gradc_trunc_f32(y) == y, odd = whole & (gradc_trunc_f32(half) != half);
    const int extreme = (a == 0.0f) | (a == GRADC_INF_F32) | (b == GRADC_INF_F32);
    const float limit = (a > 1.0f) == (y > 0.0f) ? GRADC_INF_F32 : 0.0f;
    float r = extreme ? (a == 1.0f ? 1.0f : limit) : p;
    r = odd ? gradc_copysign_f32(r, x) : r;
    r = ((x < 0.0f) & (a != GRADC_INF_F32) & !whole) ? GRADC_NAN_F32 : r;
    r = ((x != x) | (y != y)) ? x + y : r;
    return ((x == 1.0f) | (y == 0.0f)) ? 1.0f : r;
}

GRADC_INLINE double gradc_pow_cases_f64(double x, double y, double p)
{
    const double a = gradc_abs_f64(x), b = gradc_abs_f64(y), half = 0.5 * y;
    const int whole = gradc_trunc_f64(y) == y, odd = whole & (gradc_trunc_f64(half) != half);
    const int extreme = (a == 0.0) | (a == GRADC_INF_F64) | (b == GRADC_INF_F64);
    const double limit = (a > 1.0) == (y > 0.0) ? GRADC_INF_F64 : 0.0;
    double r = extreme ? (a == 1.0 ? 1.0 : limit) : p;
    r = odd ? gradc_copysign_f64(r, x) : r;
    r = ((x < 0.0) & (a != GRADC_INF_F64) & !whole) ? GRADC_NAN_F64 : r;
    r = ((x != x) | (y != y)) ? x + y : r;
    return ((x == 1.0) | (y == 0.0)) ? 1.0 : r;
}

/* at most 0.6 ulp */
GRADC_INLINE float gradc_pow_f32(float x, float y)
{
    const double l = gradc_log_f64((double)gradc_abs_f32(x));
    return gradc_pow_cases_f32(x, y, (float)gradc_exp_f64((double)y * l));
}

/* log x as a double-double, about 2^-63 relative, for finite x > 0 */
GRADC_INLINE gradc_pair gradc_log_pair(double x)
{
    const int small = x < 2.2250738585072014e-308;
    const uint64_t u = gradc_bits_f64(small ? x * 4503599627370496.0 : x)
                       - 0x3fe6a09e667f3bcdu + ((uint64_t)1 << 62);
    const double m = gradc_from_bits_f64((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    const double e = gradc_from_bits_f64((u >> 52) | 0x4330000000000000u) - 4503599627370496.0;
    const double k = e - (small ? 1076.0 : 1024.0);
    /* s = (m - 1) / (m + 1), log m = s (2 + s^2 L(s^2)) */
    const double f = m - 1.0, d = m + 1.0, d_low = m - (d - 1.0);
    const double s = f / d;
    const gradc_pair back = gradc_two_product(s, d);
    const double s_low = (((f - back.hi) - back.lo) - s * d_low) / d;
    gradc_pair z = gradc_two_product(s, s);
    z.lo += 2.0 * s * s_low;
    double l = gradc_mad_f64(z.hi, 0.13237214897852564, 0.13251893393294953);
    l = gradc_mad_f64(z.hi, l, 0.15386999412111663);
    l = gradc_mad_f64(z.hi, l, 0.1818177813527969);
    l = gradc_mad_f64(z.hi, l, 0.22222222609364853);
    l = gradc_mad_f64(z.hi, l, 0.2857142856939847);
    l = gradc_mad_f64(z.hi, l, 0.4000000000000495);
    l = z.hi * l;
    const double c = 0.6666666666666666 + l;
    const double c_low = (0.6666666666666666 - c) + l + 3.700743415417188e-17;
    gradc_pair p = gradc_two_product(z.hi, c);
    p.lo += z.hi * c_low + z.lo * c;
    const double w = 2.0 + p.hi, w_low = ((2.0 - w) + p.hi) + p.lo;
    gradc_pair r = gradc_two_product(s, w);
    r.lo += s * w_low + s_low * w;
    gradc_pair y = gradc_two_sum(k * 0.6931471805592082, r.hi);
    y.lo += r.lo + k * 7.371002565167799e-13;
    return y;
}

/* at most 1.5 ulp */
GRADC_INLINE double gradc_pow_f64(double x, double y)
{
    const gradc_pair l = gradc_log_pair(gradc_abs_f64(x));
    const double bounded = gradc_abs_f64(y) < 1e300 ? y : gradc_copysign_f64(1e300, y);
    const gradc_pair t = gradc_two_product(l.hi, bounded);
    const double low = t.lo + l.lo * bounded;
    const double e = gradc_exp_f64(t.hi);
    const int usable = (e < GRADC_INF_F64) & (gradc_abs_f64(low) < 1.0);
    const double p = usable ? gradc_mad_f64(e, low, e) : e;
    return gradc_pow_cases_f64(x, y, p);
}
