/* erf and its inverse. */

#pragma once
#include "base.h"
#include "exp.h"
#include "log.h"

/* x + x E(x^2) below 1; beyond, 1 - erfc with erfc x = e^-G(x); at most 1.5 ulp */
GRADC_INLINE float gradc_erf_f32(float x)
{
    const float a = gradc_abs_f32(x), z = x * x;
    float e = gradc_mad_f32(z, 7.920394e-05f, -8.030763e-04f);
    e = gradc_mad_f32(z, e, 5.190734e-03f);
    e = gradc_mad_f32(z, e, -2.6855126e-02f);
    e = gradc_mad_f32(z, e, 1.1283618e-01f);
    e = gradc_mad_f32(z, e, -3.761263e-01f);
    e = gradc_mad_f32(z, e, 1.2837917e-01f);
    const float b = a > 4.0f ? 4.0f : a; /* 1 - erf(4) is below half an ulp of 1; NaN passes */
    float g = gradc_mad_f32(b, -1.868171e-04f, 2.9522236e-03f);
    g = gradc_mad_f32(b, g, -2.1857547e-02f);
    g = gradc_mad_f32(b, g, 1.03150286e-01f);
    g = gradc_mad_f32(b, g, 6.3809115e-01f);
    g = gradc_mad_f32(b, g, 1.1271238e+00f);
    g = gradc_mad_f32(b, g, 3.323855e-04f);
    const float far = 1.0f - gradc_exp_nonpositive_f32(-g);
    return a < 1.0f ? gradc_mad_f32(x, e, x) : gradc_copysign_f32(far, x);
}

/* x + x E(x^2) below 1; beyond, 1 - e^(-x^2) K(t) with t = (x - 5/2) / (x + 5/2); at most 1.5 ulp */
GRADC_INLINE double gradc_erf_f64(double x)
{
    const double a = gradc_abs_f64(x), z = x * x;
    double e = gradc_mad_f64(z, -3.4120326421742664e-10, 2.2891037205061236e-09);
    e = gradc_mad_f64(z, e, -7.584200217124834e-09);
    e = gradc_mad_f64(z, e, 2.5519787130720402e-08);
    e = gradc_mad_f64(z, e, -1.753090719804521e-07);
    e = gradc_mad_f64(z, e, 1.6547683839202977e-06);
    e = gradc_mad_f64(z, e, -1.4929967126750553e-05);
    e = gradc_mad_f64(z, e, 0.00012055482145254047);
    e = gradc_mad_f64(z, e, -0.0008548330481057608);
    e = gradc_mad_f64(z, e, 0.005223977676975683);
    e = gradc_mad_f64(z, e, -0.026866170649715693);
    e = gradc_mad_f64(z, e, 0.11283791670976442);
    e = gradc_mad_f64(z, e, -0.3761263890318415);
    e = gradc_mad_f64(z, e, 0.1283791670955126);
    const double b = a > 6.0 ? 6.0 : a; /* NaN passes */
    const double t = (b - 2.5) / (b + 2.5);
    double k = gradc_mad_f64(t, -4.745718118131299e-07, -2.236656367896386e-06);
    k = gradc_mad_f64(t, k, -2.484111700993685e-06);
    k = gradc_mad_f64(t, k, 7.513821439745027e-06);
    k = gradc_mad_f64(t, k, 1.8615327684052944e-05);
    k = gradc_mad_f64(t, k, -3.4179459288013714e-05);
    k = gradc_mad_f64(t, k, -0.00012887646152207692);
    k = gradc_mad_f64(t, k, 0.00022838042769167941);
    k = gradc_mad_f64(t, k, 0.0008759154367162725);
    k = gradc_mad_f64(t, k, -0.0026423659673090894);
    k = gradc_mad_f64(t, k, -0.003993701165942915);
    k = gradc_mad_f64(t, k, 0.03992253907561129);
    k = gradc_mad_f64(t, k, -0.12503305237882764);
    k = gradc_mad_f64(t, k, 0.2517131932174492);
    k = gradc_mad_f64(t, k, -0.37173673394897333);
    k = gradc_mad_f64(t, k, 0.2108063640611436);
    const double far = 1.0 - gradc_exp_nonpositive_f64(-b * b) * k;
    return a < 1.0 ? gradc_mad_f64(x, e, x) : gradc_copysign_f64(far, x);
}

/* x P(w), w = -log(1 - x^2), P in w below 6.25 and in sqrt w above; in double; at most 1 ulp;
   infinite at -1 and 1, NaN outside */
GRADC_INLINE float gradc_erfinv_f32(float x)
{
    const double d = (double)x;
    const double w = -gradc_log_f64((1.0 - d) * (1.0 + d));
    const double u = w - 3.125;
    double p = gradc_mad_f64(u, -1.309525380476539e-11, 5.301734183206412e-12);
    p = gradc_mad_f64(u, p, 1.0517763804905657e-09);
    p = gradc_mad_f64(u, p, -4.74235702963781e-09);
    p = gradc_mad_f64(u, p, -2.9128343010468223e-08);
    p = gradc_mad_f64(u, p, 4.268835726839454e-07);
    p = gradc_mad_f64(u, p, -1.3649619664065478e-06);
    p = gradc_mad_f64(u, p, -1.3891706674617098e-05);
    p = gradc_mad_f64(u, p, 0.0001867326863116593);
    p = gradc_mad_f64(u, p, -0.0007406917918482566);
    p = gradc_mad_f64(u, p, -0.0060336693724480734);
    p = gradc_mad_f64(u, p, 0.24015817881911053);
    p = gradc_mad_f64(u, p, 1.6536545624564996);
    const double v = gradc_sqrt_f64(w) - 3.25;
    double t = gradc_mad_f64(v, 8.615780132649643e-05, -3.855893046084566e-05);
    t = gradc_mad_f64(v, t, -0.0003673625450596198);
    t = gradc_mad_f64(v, t, 0.0009837096476051255);
    t = gradc_mad_f64(v, t, -0.0016842701087813417);
    t = gradc_mad_f64(v, t, 0.0024853299297883822);
    t = gradc_mad_f64(v, t, -0.003751755242535697);
    t = gradc_mad_f64(v, t, 0.0053713456868085116);
    t = gradc_mad_f64(v, t, 1.0052589890538195);
    t = gradc_mad_f64(v, t, 3.0838856056402157);
    const float y = (float)(d * (w < 6.25 ? p : t));
    return gradc_abs_f32(x) == 1.0f ? gradc_copysign_f32(GRADC_INF_F32, x) : y;
}

/* as above, with a third polynomial beyond w = 16; at most 4 ulp */
GRADC_INLINE double gradc_erfinv_f64(double x)
{
    const double w = -gradc_log_f64((1.0 - x) * (1.0 + x));
    const double u = w - 3.125;
    double p = gradc_mad_f64(u, -3.0038708399258133e-22, 3.2189378459953306e-21);
    p = gradc_mad_f64(u, p, 1.655213084870034e-20);
    p = gradc_mad_f64(u, p, -3.487408439860477e-19);
    p = gradc_mad_f64(u, p, 6.95347849113985e-19);
    p = gradc_mad_f64(u, p, 1.5544618732384775e-17);
    p = gradc_mad_f64(u, p, -1.2344426459135465e-16);
    p = gradc_mad_f64(u, p, -3.9870011314915523e-17);
    p = gradc_mad_f64(u, p, 6.533302225342672e-15);
    p = gradc_mad_f64(u, p, -4.001596650970854e-14);
    p = gradc_mad_f64(u, p, -8.079268477477945e-14);
    p = gradc_mad_f64(u, p, 2.6305038399549213e-12);
    p = gradc_mad_f64(u, p, -1.2978505079385693e-11);
    p = gradc_mad_f64(u, p, -5.4142947671072245e-11);
    p = gradc_mad_f64(u, p, 1.0512225692463893e-09);
    p = gradc_mad_f64(u, p, -4.112660639550075e-09);
    p = gradc_mad_f64(u, p, -2.907038989936203e-08);
    p = gradc_mad_f64(u, p, 4.2347881711567826e-07);
    p = gradc_mad_f64(u, p, -1.3654691772604912e-06);
    p = gradc_mad_f64(u, p, -1.3882523394193463e-05);
    p = gradc_mad_f64(u, p, 0.00018673420802052778);
    p = gradc_mad_f64(u, p, -0.0007407025341545557);
    p = gradc_mad_f64(u, p, -0.006033670871426996);
    p = gradc_mad_f64(u, p, 0.24015818242558834);
    p = gradc_mad_f64(u, p, 1.6536545626831027);
    const double root = gradc_sqrt_f64(w), v = root - 3.25;
    double t = gradc_mad_f64(v, -1.6295628053576306e-08, 1.1975249093735089e-09);
    t = gradc_mad_f64(v, t, 1.342853795668329e-07);
    t = gradc_mad_f64(v, t, -2.725474761604567e-07);
    t = gradc_mad_f64(v, t, -3.071421877523036e-08);
    t = gradc_mad_f64(v, t, 1.499910862718607e-06);
    t = gradc_mad_f64(v, t, -3.983762173656378e-06);
    t = gradc_mad_f64(v, t, 2.9250891296536545e-06);
    t = gradc_mad_f64(v, t, 1.2464303203408159e-05);
    t = gradc_mad_f64(v, t, -4.73187860071948e-05);
    t = gradc_mad_f64(v, t, 6.828728084138203e-05);
    t = gradc_mad_f64(v, t, 2.403122125587922e-05);
    t = gradc_mad_f64(v, t, -0.0003550378354298756);
    t = gradc_mad_f64(v, t, 0.000953289367337796);
    t = gradc_mad_f64(v, t, -0.0016882755338963654);
    t = gradc_mad_f64(v, t, 0.0024914420968027047);
    t = gradc_mad_f64(v, t, -0.003751208508275345);
    t = gradc_mad_f64(v, t, 0.005370914553575069);
    t = gradc_mad_f64(v, t, 1.005258967694166);
    t = gradc_mad_f64(v, t, 3.0838856104922208);
    const double f = root - 5.0;
    double r = gradc_mad_f64(f, 4.079154901010211e-11, -2.7098029970136307e-11);
    r = gradc_mad_f64(f, r, -4.2953483915981e-10);
    r = gradc_mad_f64(f, r, 1.5071348998823735e-09);
    r = gradc_mad_f64(f, r, -3.483723838028025e-09);
    r = gradc_mad_f64(f, r, 7.617425081058495e-09);
    r = gradc_mad_f64(f, r, -1.5245366131717712e-08);
    r = gradc_mad_f64(f, r, 2.9145656609402924e-08);
    r = gradc_mad_f64(f, r, -6.756020108531843e-08);
    r = gradc_mad_f64(f, r, 2.2900634298856694e-07);
    r = gradc_mad_f64(f, r, -9.930285814760968e-07);
    r = gradc_mad_f64(f, r, 4.526062082564944e-06);
    r = gradc_mad_f64(f, r, -1.9681770753547723e-05);
    r = gradc_mad_f64(f, r, 7.599527711232281e-05);
    r = gradc_mad_f64(f, r, -0.00021503011983024773);
    r = gradc_mad_f64(f, r, -0.00013871931834111398);
    r = gradc_mad_f64(f, r, 1.0103004648645455);
    r = gradc_mad_f64(f, r, 4.849906401408584);
    const double y = x * (w < 6.25 ? p : (w < 16.0 ? t : r));
    return gradc_abs_f64(x) == 1.0 ? gradc_copysign_f64(GRADC_INF_F64, x) : y;
}
