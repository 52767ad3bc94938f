/* log and log1p.

   x = 2^k m with m in [sqrt(1/2), sqrt(2)); log x = k ln 2 + log1p(m - 1), ln 2 in two parts.
   float: log1p(f) = f - f^2/2 + f^3 P(f). double: with s = f / (2 + f),
   log1p(f) = f - s (f - s^2 L(s^2)). */

#pragma once
#include "base.h"

/* log1p(f) + k ln 2 */
GRADC_INLINE float gradc_log_reduced_f32(float f, float k)
{
    float p = gradc_mad_f32(f, 6.733642e-02f, -1.1662312e-01f);
    p = gradc_mad_f32(f, p, 1.1886848e-01f);
    p = gradc_mad_f32(f, p, -1.2408031e-01f);
    p = gradc_mad_f32(f, p, 1.4220142e-01f);
    p = gradc_mad_f32(f, p, -1.6667858e-01f);
    p = gradc_mad_f32(f, p, 2.0002076e-01f);
    p = gradc_mad_f32(f, p, -2.5000012e-01f);
    p = gradc_mad_f32(f, p, 3.3333313e-01f);
    const float ff = f * f;
    float y = gradc_mad_f32(ff * f, p, k * 1.4286068e-06f);
    y = gradc_mad_f32(ff, -0.5f, y);
    return gradc_mad_f32(k, 0.693145751953125f, y + f);
}

/* log1p(f) + k ln 2 */
GRADC_INLINE double gradc_log_reduced_f64(double f, double k)
{
    const double s = f / (2.0 + f);
    const double z = s * s;
    double l = gradc_mad_f64(z, 0.14798630412273078, 0.15313800754806517);
    l = gradc_mad_f64(z, l, 0.18183573343231205);
    l = gradc_mad_f64(z, l, 0.22222198414900027);
    l = gradc_mad_f64(z, l, 0.2857142874377248);
    l = gradc_mad_f64(z, l, 0.39999999999409197);
    l = gradc_mad_f64(z, l, 0.6666666666666735);
    const double h = 0.5 * f * f;
    const double y = s * gradc_mad_f64(z, l, h) + k * 7.371002565167799e-13;
    return gradc_mad_f64(k, 0.6931471805592082, f - (h - y));
}

/* the natural logarithm; at most 1 ulp; NaN below 0 */
GRADC_INLINE float gradc_log_f32(float x)
{
    const int small = x < 1.17549435e-38f; /* denormals are scaled up by 2^23 */
    const uint32_t u = gradc_bits_f32(small ? x * 8388608.0f : x) - 0x3f3504f3u;
    const float m = gradc_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u);
    const float k = (float)((int32_t)u >> 23) - (small ? 23.0f : 0.0f);
    const float y = gradc_log_reduced_f32(m - 1.0f, k);
    const float r = x > 0.0f ? y : (x == 0.0f ? -GRADC_INF_F32 : GRADC_NAN_F32);
    return x == GRADC_INF_F32 ? x : r;
}

/* the natural logarithm; at most 1 ulp; NaN below 0. The exponent becomes a double by writing it
   into the low mantissa bits of 2^52, since not every target converts int64 in vectors */
GRADC_INLINE double gradc_log_f64(double x)
{
    const int small = x < 2.2250738585072014e-308; /* denormals are scaled up by 2^52 */
    const uint64_t u = gradc_bits_f64(small ? x * 4503599627370496.0 : x)
                       - 0x3fe6a09e667f3bcdu + ((uint64_t)1 << 62);
    const double m = gradc_from_bits_f64((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    const double e = gradc_from_bits_f64((u >> 52) | 0x4330000000000000u) - 4503599627370496.0;
    const double k = e - (small ? 1076.0 : 1024.0);
    const double y = gradc_log_reduced_f64(m - 1.0, k);
    const double r = x > 0.0 ? y : (x == 0.0 ? -GRADC_INF_F64 : GRADC_NAN_F64);
    return x == GRADC_INF_F64 ? x : r;
}

/* log(1 + x); what 1 + x loses is put back scaled; at most 1.5 ulp */
GRADC_INLINE float gradc_log1p_f32(float x)
{
    const float v = 1.0f + x;
    const float lost = x > 1.0f ? 1.0f - (v - x) : x - (v - 1.0f);
    const uint32_t u = gradc_bits_f32(v) - 0x3f3504f3u;
    const float m = gradc_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u);
    const float scale = gradc_from_bits_f32(v < 1e30f ? 0x3f800000u - (u & 0xff800000u) : 0u);
    const float k = (float)((int32_t)u >> 23);
    const float y = gradc_log_reduced_f32((m - 1.0f) + lost * scale, k);
    const float r = v > 0.0f ? y : (v == 0.0f ? -GRADC_INF_F32 : GRADC_NAN_F32);
    return ((x == GRADC_INF_F32) | (gradc_abs_f32(x) < 5e-8f)) ? x : r;
}

/* log(1 + x); at most 1.5 ulp */
GRADC_INLINE double gradc_log1p_f64(double x)
{
    const double v = 1.0 + x;
    const double lost = x > 1.0 ? 1.0 - (v - x) : x - (v - 1.0);
    const uint64_t u = gradc_bits_f64(v) - 0x3fe6a09e667f3bcdu;
    const double m = gradc_from_bits_f64((u & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    const uint64_t inverse = 0x3ff0000000000000u - (u & 0xfff0000000000000u);
    const double scale = gradc_from_bits_f64(v < 1e300 ? inverse : 0u);
    const uint64_t b = (u + ((uint64_t)1 << 62)) >> 52;
    const double k = gradc_from_bits_f64(b | 0x4330000000000000u) - 4503599627371520.0;
    const double y = gradc_log_reduced_f64((m - 1.0) + lost * scale, k);
    const double r = v > 0.0 ? y : (v == 0.0 ? -GRADC_INF_F64 : GRADC_NAN_F64);
    return ((x == GRADC_INF_F64) | (gradc_abs_f64(x) < 1e-16)) ? x : r;
}
