/* sin, cos and tan, right over the whole range.

   The argument is first turned into turns, x / 2 pi, of which whole turns are dropped exactly. For
   float this is done in double: 1 / 2 pi is cut into parts of 28 bits, so that x times a part is
   exact, and every product is brought to [-1/2, 1/2] before they are summed. For double, 2^(32 j)
   is first taken out of x and the turns of 2^(32 j) stand in a table of four doubles each. Then
   quarter turns q are dropped too and polynomials on [-pi/4, pi/4] do the rest. */

#pragma once
#include "base.h"

/* x / 2 pi without its whole turns, in [-1/2, 1/2] */
GRADC_INLINE double gradc_turns_f32(float x)
{
    const double d = (double)x;
    const double p0 = d * 0x1.45f306cp-3, p1 = d * 0x1.c9c882ap-31, p2 = d * 0x1.4fe13a8p-61;
    const double p3 = d * 0x1.f47d4dp-88, p4 = d * 0x1.bb81b6cp-115, p5 = d * 0x1.4acc9ep-145;
    const double p6 = d * 0x1.0e4107cp-172;
    double t = p6 - gradc_round_f64(p6);
    t += p5 - gradc_round_f64(p5);
    t += p4 - gradc_round_f64(p4);
    t += p3 - gradc_round_f64(p3);
    t += p2 - gradc_round_f64(p2);
    t += p1 - gradc_round_f64(p1);
    t += p0 - gradc_round_f64(p0);
    return t - gradc_round_f64(t);
}

/* sin(t turns + quarter quarter-turns), |t| <= 1/2 */
GRADC_INLINE float gradc_sin_turns_f32(double t, double quarter)
{
    const double q = gradc_round_f64(4.0 * t);
    const float r = (float)((t - 0.25 * q) * 6.283185307179586);
    const float z = r * r;
    float s = gradc_mad_f32(z, -1.9518408e-04f, 8.33219e-03f);
    s = gradc_mad_f32(z, s, -1.6666655e-01f);
    s = gradc_mad_f32(r * z, s, r);
    float c = gradc_mad_f32(z, 2.443214e-05f, -1.3887308e-03f);
    c = gradc_mad_f32(z, c, 4.1666646e-02f);
    c = gradc_mad_f32(z, gradc_mad_f32(z, c, -0.5f), 1.0f);
    const int32_t n = (int32_t)(q + quarter + 4.0);
    const float y = (n & 1) ? c : s;
    return (n & 2) ? -y : y;
}

/* at most 2 ulp */
GRADC_INLINE float gradc_sin_f32(float x)
{
    const double t = gradc_turns_f32(x);
    const float y = gradc_sin_turns_f32(t == t ? t : 0.0, 0.0);
    const float r = t == t ? y : GRADC_NAN_F32; /* of an infinity */
    return x == 0.0f ? x : r;
}

/* at most 2 ulp */
GRADC_INLINE float gradc_cos_f32(float x)
{
    const double t = gradc_turns_f32(x);
    const float y = gradc_sin_turns_f32(t == t ? t : 0.0, 1.0);
    return t == t ? y : GRADC_NAN_F32;
}

/* in double throughout; at most 1.5 ulp */
GRADC_INLINE float gradc_tan_f32(float x)
{
    const double t = gradc_turns_f32(x);
    const double q = gradc_round_f64(4.0 * t);
    const double r = (t - 0.25 * q) * 6.283185307179586;
    const double z = r * r;
    double s = gradc_mad_f64(z, 2.7182355291439076e-06, -0.00019839326877362743);
    s = gradc_mad_f64(z, s, 0.008333329361076105);
    s = gradc_mad_f64(z, s, -0.16666666641409053);
    s = gradc_mad_f64(r * z, s, r);
    double c = gradc_mad_f64(z, -2.7209488961017585e-07, 2.4799510978168602e-05);
    c = gradc_mad_f64(z, c, -0.001388888371932768);
    c = gradc_mad_f64(z, c, 0.04166666662243509);
    c = gradc_mad_f64(z, gradc_mad_f64(z, c, -0.5), 1.0);
    const int odd = (q == 1.0) | (q == -1.0);
    const float y = (float)((odd ? -c : s) / (odd ? s : c));
    return x == 0.0f ? x : y;
}

/* the turns of 2^(32 j), whole ones dropped, as sums of four doubles */
static const double gradc_turns_table[31 * 4] = {
    0x1.45f306dc9c883p-3, -0x1.6b01ec5417056p-57,
    -0x1.6447e493ad4cep-111, 0x1.e21c820ff28b2p-165,
    0x1.27220a94fe13bp-1, -0x1.05c1596447e49p-55,
    -0x1.d6a66c3bc6fbep-110, -0x1.ae9c5421443aap-170,
    0x1.fc2757d1f534ep-2, -0x1.1f924eb53361ep-57,
    0x1.c820ff28b1d5fp-113, -0x1.443a9e48db91cp-170,
    0x1.f534ddc0db629p-2, 0x1.664f10e4107f9p-56,
    0x1.163abdebbc562p-110, -0x1.236e4716f6c8bp-164,
    0x1.b6c52b3278872p-3, 0x1.07f9458eaf7afp-60,
    -0x1.d4f246dc8e2dfp-117, 0x1.374b801924bbbp-172,
    0x1.3c439041fe516p-2, 0x1.d5ef5de2b0db9p-57,
    0x1.1b8e909374b80p-112, 0x1.924bba8274648p-168,
    0x1.fe5163abdebbcp-2, 0x1.586dc91b8e909p-56,
    0x1.ba5c00c925dd4p-111, 0x1.3a32439fc3bd6p-167,
    0x1.ef5de2b0db923p-1, 0x1.c74849ba5c00dp-55,
    -0x1.b688afb1736f2p-109, 0x1.fc3bd63962535p-163,
    0x1.b7246e3a424ddp-2, 0x1.700324977504fp-57,
    -0x1.cdbc603c429c7p-111, 0x1.894d39f74411bp-165,
    0x1.2126e97003249p-1, 0x1.dd413a32439fcp-55,
    0x1.deb1cb129a73fp-110, -0x1.77dca0ad144bbp-166,
    0x1.924bba8274648p-8, 0x1.cfe1deb1cb12ap-62,
    -0x1.63045df7282b4p-116, -0x1.44bb7b16638fep-170,
    0x1.04e8c90e7f0efp-1, 0x1.63962534e7dd1p-55,
    0x1.1afa975da2427p-113, 0x1.338e04d68befdp-167,
    0x1.fc3bd63962535p-3, -0x1.822efb9415a29p-59,
    0x1.a24274ce38136p-113, -0x1.741037d8cdc54p-167,
    0x1.62534e7dd1047p-3, -0x1.0568a25dbd8b3p-57,
    -0x1.c7eca5d040df6p-113, -0x1.9b8a719f2b318p-168,
    0x1.74411afa975dap-1, 0x1.213a671c09ad1p-56,
    0x1.f7e413991d63ap-110, -0x1.f2b3182d8dee8p-164,
    0x1.2ebb4484e99c7p-2, 0x1.35a2fbf209cc9p-61,
    -0x1.4e33e566305b2p-117, 0x1.08bf177bf2507p-171,
    0x1.d338e04d68bf0p-3, -0x1.bec66e29c67cbp-58,
    0x1.9cfa4e422fc5ep-113, -0x1.036be27003b40p-169,
    0x1.5a2fbf209cc8fp-1, -0x1.38cf9598c16c7p-55,
    0x1.17e2ef7e4a0ecp-112, 0x1.ff897ffde0598p-166,
    0x1.3991d63983534p-2, -0x1.82d8dee81d108p-56,
    -0x1.b5f13801da001p-112, 0x1.e05980fef2f12p-166,
    0x1.835339f49c846p-2, -0x1.d1081b5f13802p-60,
    0x1.2fffbc0b301fep-115, -0x1.a1dce94beb25cp-171,
    0x1.3908bf177bf25p-3, 0x1.d8ffc4bffef03p-61,
    -0x1.9fc04343b9d29p-116, -0x1.f592e092c9813p-170,
    0x1.defc941d8ffc5p-1, -0x1.00043f4cfe022p-55,
    0x1.788c5ad053690p-109, -0x1.25930261b069fp-163,
    0x1.8ffc4bffef02dp-1, -0x1.fc04343b9d298p-56,
    0x1.4da3eda6cfd9ep-111, 0x1.3e584dba7a320p-165,
    0x1.ef02cc07f7979p-1, -0x1.ce94beb25c126p-55,
    0x1.b3f6793e584dcp-109, -0x1.61738132c3403p-163,
    0x1.f79788c5ad053p-1, 0x1.a3eda6cfd9e50p-55,
    -0x1.a7b24585ce04dp-109, 0x1.3cbfd45aea4f7p-163,
    0x1.ad05368fb69b4p-1, -0x1.30d834f648b0cp-58,
    0x1.8fd9a797fa8b6p-112, -0x1.5b08a7028341dp-167,
    0x1.b69b3f6793e58p-1, 0x1.36e9e8c7ecd3dp-55,
    -0x1.00ae9456c229cp-109, -0x1.41a0e84c2f8c6p-166,
    0x1.93e584dba7a32p-1, -0x1.32c3402ba515bp-59,
    -0x1.14e050683a131p-116, 0x1.0739f78a5292fp-170,
    0x1.a7a31fb34f2ffp-1, 0x1.45aea4f758fd8p-55,
    -0x1.a0e84c2f8c608p-110, -0x1.d6b5b45650128p-164,
    0x1.4f2ff516ba93ep-1, -0x1.4e050683a130cp-56,
    0x1.ce7de294a4baap-112, -0x1.404a04ee072a3p-166,
    0x1.7527bac7ebe5fp-2, 0x1.7b3d0739f78a5p-58,
    0x1.497535fdafd89p-113, -0x1.ca8bdea7f33eep-172,
};

/* x / 2 pi without whole turns and quarter turns, in double-double and then in radians; the
   dropped quarter turns q are in [-2, 2] */
GRADC_INLINE gradc_pair gradc_reduce_f64(double x, double *q)
{
    const int64_t above = (int64_t)((gradc_bits_f64(x) >> 52) & 0x7ffu) - (1023 + 52);
    const int64_t j = (above & ~(above >> 63)) >> 5, row = 4 * j; /* j = max(above, 0) / 32 */
    const double t0 = gradc_turns_table[row], t1 = gradc_turns_table[row + 1];
    const double t2 = gradc_turns_table[row + 2], t3 = gradc_turns_table[row + 3];
    const double v = x * gradc_from_bits_f64((uint64_t)(1023 - 32 * j) << 52);
    const gradc_pair p0 = gradc_two_product(v, t0);
    const gradc_pair p1 = gradc_two_product(v, t1);
    const gradc_pair p2 = gradc_two_product(v, t2);
    const gradc_pair a = gradc_two_sum(p0.hi - gradc_round_f64(p0.hi),
                                       p0.lo - gradc_round_f64(p0.lo));
    const gradc_pair b = gradc_two_sum(a.hi, p1.hi - gradc_round_f64(p1.hi));
    const double whole = b.hi - gradc_round_f64(b.hi);
    *q = gradc_round_f64(4.0 * whole);
    const gradc_pair c = gradc_two_sum(whole - 0.25 * *q, p1.lo);
    const gradc_pair d = gradc_two_sum(c.hi, p2.hi);
    const double rest = (a.lo + b.lo) + (c.lo + d.lo) + gradc_mad_f64(v, t3, p2.lo);
    const gradc_pair u = gradc_two_sum(d.hi, rest);
    gradc_pair r = gradc_two_product(u.hi, 6.283185307179586);
    r.lo += u.lo * 6.283185307179586 + u.hi * 2.4492935982947064e-16;
    return r;
}

/* sin(r + quarter quarter-turns) for |r| <= pi/4 */
GRADC_INLINE double gradc_sin_reduced_f64(gradc_pair r, double quarter)
{
    const double z = r.hi * r.hi;
    double s = gradc_mad_f64(z, 1.5896704653363922e-10, -2.505075709086926e-08);
    s = gradc_mad_f64(z, s, 2.755731368982713e-06);
    s = gradc_mad_f64(z, s, -0.00019841269829819162);
    s = gradc_mad_f64(z, s, 0.00833333333332246);
    s = gradc_mad_f64(z, s, -0.16666666666666632);
    s = r.hi + gradc_mad_f64(r.hi * z, s, gradc_mad_f64(-0.5 * z, r.lo, r.lo));
    double c = gradc_mad_f64(z, -1.1359813305948883e-11, 2.087572725824695e-09);
    c = gradc_mad_f64(z, c, -2.7557314388818963e-07);
    c = gradc_mad_f64(z, c, 2.4801587289640298e-05);
    c = gradc_mad_f64(z, c, -0.0013888888888874446);
    c = gradc_mad_f64(z, c, 0.0416666666666666);
    const double h = 0.5 * z, w = 1.0 - h;
    c = w + (((1.0 - w) - h) + gradc_mad_f64(z * z, c, -r.hi * r.lo));
    const double n = quarter - 4.0 * gradc_floor_f64(0.25 * quarter);
    const double y = ((n == 1.0) | (n == 3.0)) ? c : s;
    return n >= 2.0 ? -y : y;
}

/* at most 1 ulp */
GRADC_INLINE double gradc_sin_f64(double x)
{
    double q;
    const gradc_pair r = gradc_reduce_f64(x, &q);
    const double y = gradc_sin_reduced_f64(r, q);
    return gradc_abs_f64(x) < 1e-8 ? x : y;
}

/* at most 1 ulp */
GRADC_INLINE double gradc_cos_f64(double x)
{
    double q;
    const gradc_pair r = gradc_reduce_f64(x, &q);
    const double y = gradc_sin_reduced_f64(r, q + 1.0);
    return gradc_abs_f64(x) < 1e-8 ? 1.0 : y;
}

/* at most 2.2 ulp */
GRADC_INLINE double gradc_tan_f64(double x)
{
    double q;
    const gradc_pair r = gradc_reduce_f64(x, &q);
    const double y = gradc_sin_reduced_f64(r, q) / gradc_sin_reduced_f64(r, q + 1.0);
    return gradc_abs_f64(x) < 1e-8 ? x : y;
}
