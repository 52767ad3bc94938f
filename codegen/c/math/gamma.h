/* lgamma and digamma.

   Below 1/2 both are reflected to 1 - x. lgamma: a polynomial on [1, 3], to which [1/2, 1) is moved
   up and [3, 8) down by the recurrence, and Stirling's series from 8 on. digamma: the recurrence
   up to 8, then its asymptotic series. For float both are worked out in double. */

#pragma once
#include "base.h"
#include "log.h"

/* sin(pi x) and cos(pi x) for 0 <= x <= 1/4 */
GRADC_INLINE double gradc_sin_pi_small(double x)
{
    const double r = x * 3.141592653589793, z = r * r;
    double s = gradc_mad_f64(z, 1.5896704653363922e-10, -2.505075709086926e-08);
    s = gradc_mad_f64(z, s, 2.755731368982713e-06);
    s = gradc_mad_f64(z, s, -0.00019841269829819162);
    s = gradc_mad_f64(z, s, 0.00833333333332246);
    s = gradc_mad_f64(z, s, -0.16666666666666632);
    return gradc_mad_f64(r * z, s, r);
}

GRADC_INLINE double gradc_cos_pi_small(double x)
{
    const double r = x * 3.141592653589793, z = r * r;
    double c = gradc_mad_f64(z, -1.1359813305948883e-11, 2.087572725824695e-09);
    c = gradc_mad_f64(z, c, -2.7557314388818963e-07);
    c = gradc_mad_f64(z, c, 2.4801587289640298e-05);
    c = gradc_mad_f64(z, c, -0.0013888888888874446);
    c = gradc_mad_f64(z, c, 0.0416666666666666);
    return gradc_mad_f64(z, gradc_mad_f64(z, c, -0.5), 1.0);
}

/* log |Gamma(x)|; at most 4 ulp for x > 0; below 0 the error is absolute, about 1e-15 times the
   greater of 1 and the magnitude, since the function has zeros there */
GRADC_INLINE double gradc_lgamma_f64(double x)
{
    const int reflected = x < 0.5;
    const double y = reflected ? 1.0 - x : x; /* >= 1/2 */
    /* [1/2, 8): to u = argument - 2 in [-1, 1] */
    const double below = gradc_trunc_f64(y < 8.0 ? y : 8.0) - 2.0; /* steps down, if positive */
    double product = y < 1.0 ? y : 1.0;
    product *= below >= 1.0 ? y - 1.0 : 1.0;
    product *= below >= 2.0 ? y - 2.0 : 1.0;
    product *= below >= 3.0 ? y - 3.0 : 1.0;
    product *= below >= 4.0 ? y - 4.0 : 1.0;
    product *= below >= 5.0 ? y - 5.0 : 1.0;
    const double u = y < 1.0 ? y - 1.0 : (below >= 1.0 ? (y - below) - 2.0 : y - 2.0);
    double q = gradc_mad_f64(u, 2.8486422398738104e-10, -7.435080392438096e-10);
    q = gradc_mad_f64(u, q, -3.738928511236223e-10);
    q = gradc_mad_f64(u, q, 1.9540737602851447e-09);
    q = gradc_mad_f64(u, q, 1.6150496448129673e-09);
    q = gradc_mad_f64(u, q, -7.387759554783368e-09);
    q = gradc_mad_f64(u, q, 5.629003122943198e-09);
    q = gradc_mad_f64(u, q, -3.5678584551287477e-09);
    q = gradc_mad_f64(u, q, 1.8146079265745117e-08);
    q = gradc_mad_f64(u, q, -4.882448671960365e-08);
    q = gradc_mad_f64(u, q, 9.455753869136336e-08);
    q = gradc_mad_f64(u, q, -1.886604861882201e-07);
    q = gradc_mad_f64(u, q, 4.011672779734994e-07);
    q = gradc_mad_f64(u, q, -8.541011792965875e-07);
    q = gradc_mad_f64(u, q, 1.809394740768646e-06);
    q = gradc_mad_f64(u, q, -3.847036942424388e-06);
    q = gradc_mad_f64(u, q, 8.221747383978065e-06);
    q = gradc_mad_f64(u, q, -1.7661720582197117e-05);
    q = gradc_mad_f64(u, q, 3.816899087123847e-05);
    q = gradc_mad_f64(u, q, -8.309512280087352e-05);
    q = gradc_mad_f64(u, q, 0.00018255262396875077);
    q = gradc_mad_f64(u, q, -0.0004057073975612809);
    q = gradc_mad_f64(u, q, 0.0009153769236116391);
    q = gradc_mad_f64(u, q, -0.002108130833963831);
    q = gradc_mad_f64(u, q, 0.004998641164632069);
    q = gradc_mad_f64(u, q, -0.012384192193371083);
    q = gradc_mad_f64(u, q, 0.032965000621157106);
    q = gradc_mad_f64(u, q, -0.10031730167435392);
    q = gradc_mad_f64(u, q, 0.42278433509846713);
    const double l = gradc_log_f64(y < 8.0 ? product : y);
    const double near = u * (u + 1.0) * q + (y < 1.0 ? -l : l);
    /* Stirling */
    const double i = 1.0 / y, v = i * i;
    double r = gradc_mad_f64(v, 0.004573971925191358, -0.001867231750993511);
    r = gradc_mad_f64(v, r, 0.0008410602038762846);
    r = gradc_mad_f64(v, r, -0.000595233220620786);
    r = gradc_mad_f64(v, r, 0.0007936507771378881);
    r = gradc_mad_f64(v, r, -0.0027777777777563237);
    r = gradc_mad_f64(v, r, 0.08333333333333333);
    const double far = (y - 0.5) * (l - 1.0) + (0.4189385332046727 + r * i);
    const double g = y < 8.0 ? near : far;
    /* reflection: log(pi / |sin pi x|) - lgamma(1 - x) = -log(|sin pi x| / pi) - ... */
    const double a = gradc_abs_f64(x), fold = gradc_abs_f64(x - gradc_round_f64(x));
    const double s = fold <= 0.25 ? gradc_sin_pi_small(fold) : gradc_cos_pi_small(0.5 - fold);
    const double below_half = -gradc_log_f64(a < 1e-9 ? a : s * 0.3183098861837907) - g;
    const double z = reflected ? below_half : g;
    const int pole = reflected & (fold == 0.0); /* 0 and the negative integers */
    return (a == GRADC_INF_F64) | pole ? GRADC_INF_F64 : z;
}

/* at most 1 ulp for x > 0; below 0 as above */
GRADC_INLINE float gradc_lgamma_f32(float x)
{
    return (float)gradc_lgamma_f64((double)x);
}

/* the derivative of log Gamma; absolute error about 1e-15 times the greater of 1 and the
   magnitude; at 0 an infinity of the other sign, NaN at negative integers */
GRADC_INLINE double gradc_digamma_f64(double x)
{
    const int reflected = x < 0.5;
    double y = reflected ? 1.0 - x : x;
    double top = 0.0, bottom = 1.0; /* top / bottom = 1/y + 1/(y+1) + ... up to 8 */
    for (int i = 0; i < 8; i++) {
        const int step = y < 8.0;
        top = step ? top * y + bottom : top;
        bottom = step ? bottom * y : bottom;
        y = step ? y + 1.0 : y;
    }
    const double i = 1.0 / y, v = i * i;
    double d = gradc_mad_f64(v, 0.061559767739873594, -0.0205902864206839);
    d = gradc_mad_f64(v, d, 0.007569506770041603);
    d = gradc_mad_f64(v, d, -0.004166623295988804);
    d = gradc_mad_f64(v, d, 0.003968253806339394);
    d = gradc_mad_f64(v, d, -0.008333333333046436);
    d = gradc_mad_f64(v, d, 0.08333333333333316);
    const double p = (gradc_log_f64(y) - (0.5 * i + v * d)) - top / bottom;
    /* reflection: less pi / tan(pi x) */
    const double f = x - gradc_round_f64(x), a = gradc_abs_f64(f);
    const int low = a <= 0.25;
    const double s = low ? gradc_sin_pi_small(a) : gradc_cos_pi_small(0.5 - a);
    const double c = low ? gradc_cos_pi_small(a) : gradc_sin_pi_small(0.5 - a);
    const double cot = gradc_copysign_f64(3.141592653589793 * c / s, f);
    const double r = reflected ? p - cot : p;
    const double pole = x == 0.0 ? gradc_copysign_f64(GRADC_INF_F64, -x) : GRADC_NAN_F64;
    return ((x <= 0.0) & (a == 0.0)) ? pole : r;
}

/* at most 1 ulp for x > 0 away from its zero at 1.4616 */
GRADC_INLINE float gradc_digamma_f32(float x)
{
    return (float)gradc_digamma_f64((double)x);
}
