/* What every other file here stands on: inlining, fused multiply-add, bits of floats, rounding.

   Each block between blank lines is one snippet; a generated file holds the snippets it calls and
   those they call, in this order. Functions are total, branch-free and without memory, so that the
   compiler can vectorise loops over them. They call no library. */

#pragma once
#include <stdint.h>

#if defined(__GNUC__)
#define GRADC_INLINE static inline __attribute__((always_inline, unused))
#else
#define GRADC_INLINE static inline
#endif

/* kernels stay functions of their own: inlined into their only caller they would compile as one */
#if defined(__GNUC__)
#define GRADC_KERNEL static __attribute__((noinline))
#define GRADC_ALIGNED __attribute__((aligned(64)))
#else
#define GRADC_KERNEL static
#define GRADC_ALIGNED
#endif

/* called, not copied: what several kernels use */
#if defined(__GNUC__)
#define GRADC_SHARED static __attribute__((noinline))
#else
#define GRADC_SHARED static
#endif

/* called, not copied: what runs a few times in a call, where speed of compilation is worth more */
#if defined(__GNUC__) && !defined(__clang__)
#define GRADC_APART static __attribute__((noinline, optimize("O1")))
#else
#define GRADC_APART GRADC_SHARED
#endif

/* the iterations of the next loop are independent; -DGRADC_OPENMP_SIMD goes with -fopenmp-simd */
#if defined(_OPENMP) || defined(GRADC_OPENMP_SIMD)
#define GRADC_SIMD _Pragma("omp simd")
#elif defined(__GNUC__) && !defined(__clang__)
#define GRADC_SIMD _Pragma("GCC ivdep")
#else
#define GRADC_SIMD
#endif

/* the next loop is short: unroll it wholly */
#if defined(__GNUC__) && !defined(__clang__)
#define GRADC_UNROLL _Pragma("GCC unroll 64")
#else
#define GRADC_UNROLL
#endif

/* the next loop goes around vectorised ones: unrolling it makes text and no speed */
#if defined(__GNUC__) && !defined(__clang__)
#define GRADC_ROLLED _Pragma("GCC unroll 1")
#else
#define GRADC_ROLLED
#endif

/* ask for a cache line that will soon be read (0) or written (1) */
#if defined(__GNUC__)
#define GRADC_PREFETCH(place, write) __builtin_prefetch(place, write)
#else
#define GRADC_PREFETCH(place, write) (void)0
#endif

/* infinities and NaN without math.h */
#if defined(__GNUC__)
#define GRADC_INF_F32 __builtin_inff()
#define GRADC_INF_F64 __builtin_inf()
#define GRADC_NAN_F32 __builtin_nanf("")
#define GRADC_NAN_F64 __builtin_nan("")
#else
#define GRADC_INF_F32 (1e30f * 1e30f)
#define GRADC_INF_F64 (1e300 * 1e300)
#define GRADC_NAN_F32 (GRADC_INF_F32 - GRADC_INF_F32)
#define GRADC_NAN_F64 (GRADC_INF_F64 - GRADC_INF_F64)
#endif

/* a * b + c; in one rounding where the target does that in one instruction, unless all targets
   are to give the same bits */
#if defined(GRADC_REPRODUCIBLE)
#define GRADC_HAS_FMA 0
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define GRADC_HAS_FMA 1
#else
#define GRADC_HAS_FMA 0
#endif

/* floor, rint, ... are single instructions */
#if defined(__SSE4_1__) || defined(__aarch64__) || defined(__wasm__)
#define GRADC_HAS_ROUND 1
#else
#define GRADC_HAS_ROUND 0
#endif

GRADC_INLINE float gradc_mad_f32(float a, float b, float c)
{
#if GRADC_HAS_FMA
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

GRADC_INLINE double gradc_mad_f64(double a, double b, double c)
{
#if GRADC_HAS_FMA
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

GRADC_INLINE uint32_t gradc_bits_f32(float x)
{
    union { float f; uint32_t u; } v;
    v.f = x;
    return v.u;
}

GRADC_INLINE uint64_t gradc_bits_f64(double x)
{
    union { double f; uint64_t u; } v;
    v.f = x;
    return v.u;
}

GRADC_INLINE float gradc_from_bits_f32(uint32_t u)
{
    union { uint32_t u; float f; } v;
    v.u = u;
    return v.f;
}

GRADC_INLINE double gradc_from_bits_f64(uint64_t u)
{
    union { uint64_t u; double f; } v;
    v.u = u;
    return v.f;
}

GRADC_INLINE float gradc_abs_f32(float x)
{
    return gradc_from_bits_f32(gradc_bits_f32(x) & 0x7fffffffu);
}

GRADC_INLINE double gradc_abs_f64(double x)
{
    return gradc_from_bits_f64(gradc_bits_f64(x) & 0x7fffffffffffffffu);
}

/* the magnitude of x with the sign of y */
GRADC_INLINE float gradc_copysign_f32(float x, float y)
{
    return gradc_from_bits_f32((gradc_bits_f32(x) & 0x7fffffffu)
                               | (gradc_bits_f32(y) & 0x80000000u));
}

GRADC_INLINE double gradc_copysign_f64(double x, double y)
{
    return gradc_from_bits_f64((gradc_bits_f64(x) & 0x7fffffffffffffffu)
                               | (gradc_bits_f64(y) & 0x8000000000000000u));
}

/* the nearest integer, halves to even; exact. Adding 2^23 leaves no room for a fraction */
GRADC_INLINE float gradc_round_f32(float x)
{
#if GRADC_HAS_ROUND
    return __builtin_rintf(x);
#else
    const float a = gradc_abs_f32(x);
    const float r = (a + 8388608.0f) - 8388608.0f;
    return gradc_copysign_f32(a < 8388608.0f ? r : a, x);
#endif
}

GRADC_INLINE double gradc_round_f64(double x)
{
#if GRADC_HAS_ROUND
    return __builtin_rint(x);
#else
    const double a = gradc_abs_f64(x);
    const double r = (a + 4503599627370496.0) - 4503599627370496.0;
    return gradc_copysign_f64(a < 4503599627370496.0 ? r : a, x);
#endif
}

GRADC_INLINE float gradc_floor_f32(float x)
{
#if GRADC_HAS_ROUND
    return __builtin_floorf(x);
#else
    const float r = gradc_round_f32(x);
    return gradc_copysign_f32(r - (r > x ? 1.0f : 0.0f), x);
#endif
}

GRADC_INLINE double gradc_floor_f64(double x)
{
#if GRADC_HAS_ROUND
    return __builtin_floor(x);
#else
    const double r = gradc_round_f64(x);
    return gradc_copysign_f64(r - (r > x ? 1.0 : 0.0), x);
#endif
}

GRADC_INLINE float gradc_ceil_f32(float x)
{
#if GRADC_HAS_ROUND
    return __builtin_ceilf(x);
#else
    const float r = gradc_round_f32(x);
    return gradc_copysign_f32(r + (r < x ? 1.0f : 0.0f), x);
#endif
}

GRADC_INLINE double gradc_ceil_f64(double x)
{
#if GRADC_HAS_ROUND
    return __builtin_ceil(x);
#else
    const double r = gradc_round_f64(x);
    return gradc_copysign_f64(r + (r < x ? 1.0 : 0.0), x);
#endif
}

GRADC_INLINE float gradc_trunc_f32(float x)
{
#if GRADC_HAS_ROUND
    return __builtin_truncf(x);
#else
    const float a = gradc_abs_f32(x);
    const float r = gradc_round_f32(a);
    return gradc_copysign_f32(r - (r > a ? 1.0f : 0.0f), x);
#endif
}

GRADC_INLINE double gradc_trunc_f64(double x)
{
#if GRADC_HAS_ROUND
    return __builtin_trunc(x);
#else
    const double a = gradc_abs_f64(x);
    const double r = gradc_round_f64(a);
    return gradc_copysign_f64(r - (r > a ? 1.0 : 0.0), x);
#endif
}

/* correctly rounded; with -fno-math-errno a single instruction */
GRADC_INLINE float gradc_sqrt_f32(float x)
{
    return __builtin_sqrtf(x);
}

GRADC_INLINE double gradc_sqrt_f64(double x)
{
    return __builtin_sqrt(x);
}

/* 1 / sqrt(x) in two roundings: at most 1.5 ulp */
GRADC_INLINE float gradc_rsqrt_f32(float x)
{
    return 1.0f / gradc_sqrt_f32(x);
}

GRADC_INLINE double gradc_rsqrt_f64(double x)
{
    return 1.0 / gradc_sqrt_f64(x);
}

GRADC_INLINE int gradc_isnan_f32(float x)
{
    return (gradc_bits_f32(x) & 0x7fffffffu) > 0x7f800000u;
}

GRADC_INLINE int gradc_isnan_f64(double x)
{
    return (gradc_bits_f64(x) & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
}

GRADC_INLINE int gradc_isinf_f32(float x)
{
    return (gradc_bits_f32(x) & 0x7fffffffu) == 0x7f800000u;
}

GRADC_INLINE int gradc_isinf_f64(double x)
{
    return (gradc_bits_f64(x) & 0x7fffffffffffffffu) == 0x7ff0000000000000u;
}

/* 1, -1, or 0 for zeros and NaN, as torch has it */
GRADC_INLINE float gradc_sign_f32(float x)
{
    return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
}

GRADC_INLINE double gradc_sign_f64(double x)
{
    return (x > 0.0 ? 1.0 : 0.0) - (x < 0.0 ? 1.0 : 0.0);
}

/* the greater; NaN if either is */
GRADC_INLINE float gradc_maximum_f32(float a, float b)
{
    return ((a > b) | (a != a)) ? a : b;
}

GRADC_INLINE double gradc_maximum_f64(double a, double b)
{
    return ((a > b) | (a != a)) ? a : b;
}

GRADC_INLINE float gradc_minimum_f32(float a, float b)
{
    return ((a < b) | (a != a)) ? a : b;
}

GRADC_INLINE double gradc_minimum_f64(double a, double b)
{
    return ((a < b) | (a != a)) ? a : b;
}

/* an unevaluated sum of two doubles, |lo| at most half an ulp of hi */
typedef struct { double hi, lo; } gradc_pair;

/* a + b exactly */
GRADC_INLINE gradc_pair gradc_two_sum(double a, double b)
{
    gradc_pair s;
    s.hi = a + b;
    const double t = s.hi - a;
    s.lo = (a - (s.hi - t)) + (b - t);
    return s;
}

/* a * b exactly; without fused multiply-add by splitting both at 27 bits */
GRADC_INLINE gradc_pair gradc_two_product(double a, double b)
{
    gradc_pair p;
    p.hi = a * b;
#if GRADC_HAS_FMA
    p.lo = __builtin_fma(a, b, -p.hi);
#else
    const double as = a * 134217729.0, bs = b * 134217729.0;
    const double ah = as - (as - a), bh = bs - (bs - b);
    const double al = a - ah, bl = b - bh;
    p.lo = ((ah * bh - p.hi) + ah * bl + al * bh) + al * bl;
#endif
    return p;
}
