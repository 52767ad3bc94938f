/* sinh, cosh, tanh and their inverses, over exp and the logarithms. Of the inverses, float is
   worked out in double, where the plain formulas lose nothing that matters. */

#pragma once
#include "base.h"
#include "exp.h"
#include "log.h"

/* at most 2 ulp */
GRADC_INLINE float gradc_sinh_f32(float x)
{
    const float a = gradc_abs_f32(x), z = x * x;
    const float e = gradc_exp_scaled_f32(a, -1);
    float h = gradc_mad_f32(z, 2.7839264e-06f, 1.9842635e-04f);
    h = gradc_mad_f32(z, h, 8.333311e-03f);
    h = gradc_mad_f32(z, h, 1.6666667e-01f);
    return gradc_copysign_f32(a < 1.0f ? gradc_mad_f32(a * z, h, a) : e - 0.25f / e, x);
}

GRADC_INLINE double gradc_sinh_f64(double x)
{
    const double a = gradc_abs_f64(x), z = x * x;
    const double e = gradc_exp_scaled_f64(a, -1);
    double h = gradc_mad_f64(z, 6.274265774365335e-15, 7.510669603371379e-13);
    h = gradc_mad_f64(z, h, 1.606123135755771e-10);
    h = gradc_mad_f64(z, h, 2.505209019744927e-08);
    h = gradc_mad_f64(z, h, 2.7557319307131697e-06);
    h = gradc_mad_f64(z, h, 0.00019841269841066502);
    h = gradc_mad_f64(z, h, 0.00833333333333357);
    h = gradc_mad_f64(z, h, 0.16666666666666666);
    return gradc_copysign_f64(a < 1.0 ? gradc_mad_f64(a * z, h, a) : e - 0.25 / e, x);
}

/* at most 2 ulp */
GRADC_INLINE float gradc_cosh_f32(float x)
{
    const float e = gradc_exp_scaled_f32(gradc_abs_f32(x), -1);
    return e + 0.25f / e;
}

GRADC_INLINE double gradc_cosh_f64(double x)
{
    const double e = gradc_exp_scaled_f64(gradc_abs_f64(x), -1);
    return e + 0.25 / e;
}

/* x + x^3 T(x^2) below 5/8, 1 - 2 / (e^2x + 1) above; at most 1.5 ulp */
GRADC_INLINE float gradc_tanh_f32(float x)
{
    const float a = gradc_abs_f32(x), z = x * x;
    float t = gradc_mad_f32(z, -5.7109105e-03f, 2.0645628e-02f);
    t = gradc_mad_f32(z, t, -5.374218e-02f);
    t = gradc_mad_f32(z, t, 1.3331479e-01f);
    t = gradc_mad_f32(z, t, -3.3333284e-01f);
    const float far = 1.0f - 2.0f / (gradc_exp_f32(2.0f * a) + 1.0f);
    return gradc_copysign_f32(a < 0.625f ? gradc_mad_f32(a * z, t, a) : far, x);
}

GRADC_INLINE double gradc_tanh_f64(double x)
{
    const double a = gradc_abs_f64(x), z = x * x;
    double t = gradc_mad_f64(z, -2.1676398178525955e-06, 1.1532964868145956e-05);
    t = gradc_mad_f64(z, t, -3.633477798568175e-05);
    t = gradc_mad_f64(z, t, 9.556292263699446e-05);
    t = gradc_mad_f64(z, t, -0.00023869227035695976);
    t = gradc_mad_f64(z, t, 0.0005899270810929275);
    t = gradc_mad_f64(z, t, -0.0014558180051532945);
    t = gradc_mad_f64(z, t, 0.0035921261623986568);
    t = gradc_mad_f64(z, t, -0.008863235383840292);
    t = gradc_mad_f64(z, t, 0.021869488528773566);
    t = gradc_mad_f64(z, t, -0.05396825396803158);
    t = gradc_mad_f64(z, t, 0.13333333333332992);
    t = gradc_mad_f64(z, t, -0.3333333333333333);
    const double far = 1.0 - 2.0 / (gradc_exp_f64(2.0 * a) + 1.0);
    return gradc_copysign_f64(a < 0.625 ? gradc_mad_f64(a * z, t, a) : far, x);
}

/* at most 0.6 ulp */
GRADC_INLINE float gradc_asinh_f32(float x)
{
    const double a = (double)gradc_abs_f32(x), z = a * a;
    const double near = a - a * z * (1.0 / 6.0);
    const double far = gradc_log_f64(a + gradc_sqrt_f64(z + 1.0));
    return gradc_copysign_f32((float)(a < 1e-3 ? near : far), x);
}

/* log1p(x + x^2 / (1 + sqrt(1 + x^2))); at most 2 ulp */
GRADC_INLINE double gradc_asinh_f64(double x)
{
    const double a = gradc_abs_f64(x), z = a * a;
    const int big = a > 1e150;
    const double y = gradc_log1p_f64(big ? a : a + z / (1.0 + gradc_sqrt_f64(1.0 + z)));
    return gradc_copysign_f64(big ? y + 0.6931471805599453 : y, x);
}

/* at most 0.6 ulp; NaN below 1 */
GRADC_INLINE float gradc_acosh_f32(float x)
{
    const double d = (double)x;
    const double y = gradc_log_f64(d + gradc_sqrt_f64((d - 1.0) * (d + 1.0)));
    return x >= 1.0f ? (float)y : GRADC_NAN_F32;
}

/* with t = x - 1: log1p(t + sqrt(t (t + 2))); at most 2.2 ulp; NaN below 1 */
GRADC_INLINE double gradc_acosh_f64(double x)
{
    const double t = x - 1.0;
    const int big = x > 1e150;
    const double y = gradc_log1p_f64(big ? x : t + gradc_sqrt_f64(t * (t + 2.0)));
    return x >= 1.0 ? (big ? y + 0.6931471805599453 : y) : GRADC_NAN_F64;
}

/* at most 0.6 ulp; NaN outside [-1, 1] */
GRADC_INLINE float gradc_atanh_f32(float x)
{
    const double a = (double)gradc_abs_f32(x);
    const double near = a + a * a * a * (1.0 / 3.0);
    const double far = 0.5 * gradc_log_f64((1.0 + a) / (1.0 - a));
    return gradc_copysign_f32((float)(a < 1e-3 ? near : far), x);
}

/* log1p(2x + 2x x / (1 - x)) / 2; at most 2 ulp; NaN outside [-1, 1] */
GRADC_INLINE double gradc_atanh_f64(double x)
{
    const double a = gradc_abs_f64(x), b = a + a;
    const double u = a < 0.5 ? b + b * a / (1.0 - a) : b / (1.0 - a);
    return gradc_copysign_f64(0.5 * gradc_log1p_f64(u), x);
}
