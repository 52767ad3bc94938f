/* asin, acos, atan and atan2.

   asin x = x + x^3 A(x^2) up to 1/2; beyond, pi/2 - 2 asin sqrt((1 - x)/2), the square root with
   the digits it lost. atan: tan(pi/8) < t <= tan(3 pi/8) goes to (t - 1)/(t + 1), greater t to
   -1/t; then x + x^3 B(x^2). */

#pragma once
#include "base.h"

/* asin x for |x| <= 1/2, z = x^2, less its leading term x */
GRADC_INLINE float gradc_asin_tail_f32(float x, float z)
{
    float a = gradc_mad_f32(z, 4.221361e-02f, 2.4151394e-02f);
    a = gradc_mad_f32(z, a, 4.547611e-02f);
    a = gradc_mad_f32(z, a, 7.495252e-02f);
    a = gradc_mad_f32(z, a, 1.6666754e-01f);
    return x * z * a;
}

GRADC_INLINE double gradc_asin_tail_f64(double x, double z)
{
    double a = gradc_mad_f64(z, 0.03197629568986475, -0.01631886796628653);
    a = gradc_mad_f64(z, a, 0.01958939391502185);
    a = gradc_mad_f64(z, a, 0.006505307911398518);
    a = gradc_mad_f64(z, a, 0.012174535682998202);
    a = gradc_mad_f64(z, a, 0.013884410849010789);
    a = gradc_mad_f64(z, a, 0.01735978976904999);
    a = gradc_mad_f64(z, a, 0.02237175230190763);
    a = gradc_mad_f64(z, a, 0.030381959382015412);
    a = gradc_mad_f64(z, a, 0.04464285682223117);
    a = gradc_mad_f64(z, a, 0.07500000000344648);
    a = gradc_mad_f64(z, a, 0.16666666666665375);
    return x * z * a;
}

/* at most 1.5 ulp; NaN outside [-1, 1] */
GRADC_INLINE float gradc_asin_f32(float x)
{
    const float a = gradc_abs_f32(x);
    const int big = a > 0.5f;
    const float z = big ? 0.5f * (1.0f - a) : a * a;
    const float s = big ? gradc_sqrt_f32(z) : a;
    /* lost = sqrt z - s */
    const float lost = gradc_mad_f32(-s, s, z) / (s > 0.0f ? 2.0f * s : 1.0f);
    const float y = gradc_asin_tail_f32(s, z);
    const float far = 1.5707964f - (2.0f * s - (-4.371139e-08f - 2.0f * (lost + y)));
    return gradc_copysign_f32(big ? far : s + y, x);
}

GRADC_INLINE double gradc_asin_f64(double x)
{
    const double a = gradc_abs_f64(x);
    const int big = a > 0.5;
    const double z = big ? 0.5 * (1.0 - a) : a * a;
    const double s = big ? gradc_sqrt_f64(z) : a;
    const double lost = gradc_mad_f64(-s, s, z) / (s > 0.0 ? 2.0 * s : 1.0);
    const double y = gradc_asin_tail_f64(s, z);
    const double far = 1.5707963267948966 - (2.0 * s - (6.123233995736766e-17 - 2.0 * (lost + y)));
    return gradc_copysign_f64(big ? far : s + y, x);
}

/* at most 1.5 ulp; NaN outside [-1, 1] */
GRADC_INLINE float gradc_acos_f32(float x)
{
    const float a = gradc_abs_f32(x);
    const int big = a > 0.5f;
    const float z = big ? 0.5f * (1.0f - a) : a * a;
    const float s = big ? gradc_sqrt_f32(z) : a;
    const float y = gradc_asin_tail_f32(s, z);
    const float near = 2.0f * (s + y); /* acos |x|, or pi less acos of a negative x */
    const float far = 3.1415927f - (near - -8.742278e-08f);
    const float signed_s = gradc_copysign_f32(s, x), signed_y = gradc_copysign_f32(y, x);
    const float mid = 1.5707964f - (signed_s - (-4.371139e-08f - signed_y));
    return big ? (x > 0.0f ? near : far) : (x == x ? mid : x);
}

GRADC_INLINE double gradc_acos_f64(double x)
{
    const double a = gradc_abs_f64(x);
    const int big = a > 0.5;
    const double z = big ? 0.5 * (1.0 - a) : a * a;
    const double s = big ? gradc_sqrt_f64(z) : a;
    const double y = gradc_asin_tail_f64(s, z);
    const double near = 2.0 * (s + y);
    const double far = 3.141592653589793 - (near - 1.2246467991473532e-16);
    const double signed_s = gradc_copysign_f64(s, x), signed_y = gradc_copysign_f64(y, x);
    const double mid = 1.5707963267948966 - (signed_s - (6.123233995736766e-17 - signed_y));
    return big ? (x > 0.0 ? near : far) : (x == x ? mid : x);
}

/* atan(y / x) for y, x >= 0, not both zero, not both infinite, and far from overflow */
GRADC_INLINE float gradc_atan_ratio_f32(float y, float x)
{
    const int steep = y > 2.4142137f * x, middle = y > 0.41421357f * x;
    const float top = steep ? -x : (middle ? y - x : y);
    const float bottom = steep ? y : (middle ? y + x : x);
    const float t = top / bottom, z = t * t;
    float b = gradc_mad_f32(z, -6.0899686e-02f, 1.05992585e-01f);
    b = gradc_mad_f32(z, b, -1.4244416e-01f);
    b = gradc_mad_f32(z, b, 1.999853e-01f);
    b = gradc_mad_f32(z, b, -3.3333316e-01f);
    const float base = steep ? 1.5707964f : (middle ? 7.853982e-01f : 0.0f);
    const float low = steep ? -4.371139e-08f : (middle ? -2.1855694e-08f : 0.0f);
    return base + (gradc_mad_f32(t * z, b, low) + t);
}

GRADC_INLINE double gradc_atan_ratio_f64(double y, double x)
{
    const int steep = y > 2.414213562373095 * x, middle = y > 0.4142135623730950 * x;
    const double top = steep ? -x : (middle ? y - x : y);
    const double bottom = steep ? y : (middle ? y + x : x);
    const double t = top / bottom, z = t * t;
    double b = gradc_mad_f64(z, -0.017895109030504036, 0.038054354882857196);
    b = gradc_mad_f64(z, b, -0.05038938808488739);
    b = gradc_mad_f64(z, b, 0.05847816701207957);
    b = gradc_mad_f64(z, b, -0.06663095357006311);
    b = gradc_mad_f64(z, b, 0.0769205957450573);
    b = gradc_mad_f64(z, b, -0.09090897729559566);
    b = gradc_mad_f64(z, b, 0.11111110782796699);
    b = gradc_mad_f64(z, b, -0.14285714280191078);
    b = gradc_mad_f64(z, b, 0.19999999999953638);
    b = gradc_mad_f64(z, b, -0.333333333333332);
    const double base = steep ? 1.5707963267948966 : (middle ? 0.7853981633974483 : 0.0);
    const double low = steep ? 6.123233995736766e-17 : (middle ? 3.061616997868383e-17 : 0.0);
    return base + (gradc_mad_f64(t * z, b, low) + t);
}

/* at most 2 ulp */
GRADC_INLINE float gradc_atan_f32(float x)
{
    return gradc_copysign_f32(gradc_atan_ratio_f32(gradc_abs_f32(x), 1.0f), x);
}

GRADC_INLINE double gradc_atan_f64(double x)
{
    return gradc_copysign_f64(gradc_atan_ratio_f64(gradc_abs_f64(x), 1.0), x);
}

/* the angle of the point (x, y); at most 2 ulp, zeros and infinities as C99 has them. Float is
   worked out in double, where nothing overflows */
GRADC_INLINE float gradc_atan2_f32(float y, float x)
{
    const double a = (double)gradc_abs_f32(y), b = (double)gradc_abs_f32(x);
    const int corner = ((a == 0.0) & (b == 0.0)) | ((a == GRADC_INF_F64) & (b == GRADC_INF_F64));
    const double top = corner ? (a == 0.0 ? 0.0 : 1.0) : a;
    const double r = gradc_atan_ratio_f64(top, corner ? 1.0 : b);
    const int left = (int)(gradc_bits_f32(x) >> 31);
    const float t = (float)(left ? 3.141592653589793 - r : r);
    return ((x != x) | (y != y)) ? x + y : gradc_copysign_f32(t, y);
}

GRADC_INLINE double gradc_atan2_f64(double y, double x)
{
    double a = gradc_abs_f64(y), b = gradc_abs_f64(x);
    const double greater = a > b ? a : b;
    const double scale = greater > 1e290 ? 1e-200 : (greater < 1e-290 ? 1e200 : 1.0);
    const int corner = ((a == 0.0) & (b == 0.0)) | ((a == GRADC_INF_F64) & (b == GRADC_INF_F64));
    a = corner ? (a == 0.0 ? 0.0 : 1.0) : a * scale;
    b = corner ? 1.0 : b * scale;
    const double r = gradc_atan_ratio_f64(a, b);
    const int left = (int)(gradc_bits_f64(x) >> 63);
    const double t = left ? 3.141592653589793 - (r - 1.2246467991473532e-16) : r;
    return ((x != x) | (y != y)) ? x + y : gradc_copysign_f64(t, y);
}
