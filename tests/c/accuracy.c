/* Worst error of the float functions against the C library's double ones: built by the tests. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "exp.h"
#include "log.h"
#include "trig.h"
#include "inverse_trig.h"
#include "hyperbolic.h"
#include "error.h"
#include "gamma.h"
#include "power.h"

typedef struct { double ulps; uint32_t at; int64_t wrong; } worst;

/* the distance of got from want in units of want's last place as a float */
static double distance(float got, double want, int64_t *wrong)
{
    const float rounded = (float)want;
    if (isnan(want) || isnan(got)) {
        *wrong += (isnan(want) != 0) != (isnan(got) != 0);
        return 0.0;
    }
    if (isinf(rounded) || isinf(got)) {
        /* one past the greatest is as near as the greatest itself */
        *wrong += rounded != got && fabs(want) > 3.40282367e38 * 1.0000001;
        return 0.0;
    }
    if (want == 0.0) {
        *wrong += got != 0.0f || !signbit(got) != !signbit(want);
        return 0.0;
    }
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, e - 24 < -149 ? -149 : e - 24);
}

#define MEASURE(name, reference)                                                        \
    worst worst_##name(uint32_t first, int64_t count, uint32_t step)                    \
    {                                                                                   \
        worst w = {0.0, 0, 0};                                                          \
        float x[1024], y[1024];                                                         \
        uint32_t bits = first;                                                          \
        for (int64_t done = 0; done < count; done += 1024) {                            \
            const uint32_t start = bits;                                                \
            for (int i = 0; i < 1024; i++, bits += step) memcpy(x + i, &bits, 4);       \
            for (int i = 0; i < 1024; i++) y[i] = gradc_##name##_f32(x[i]);             \
            for (int i = 0; i < 1024; i++) {                                            \
                const double v = x[i];                                                  \
                const double d = distance(y[i], reference, &w.wrong);                   \
                if (d > w.ulps) { w.ulps = d; w.at = start + (uint32_t)i * step; }      \
            }                                                                           \
        }                                                                               \
        return w;                                                                       \
    }

MEASURE(exp, exp(v))
MEASURE(expm1, expm1(v))
MEASURE(log, log(v))
MEASURE(log1p, log1p(v))
MEASURE(sin, sin(v))
MEASURE(cos, cos(v))
MEASURE(tan, tan(v))
MEASURE(asin, asin(v))
MEASURE(acos, acos(v))
MEASURE(atan, atan(v))
MEASURE(sinh, sinh(v))
MEASURE(cosh, cosh(v))
MEASURE(tanh, tanh(v))
MEASURE(asinh, asinh(v))
MEASURE(acosh, acosh(v))
MEASURE(atanh, atanh(v))
MEASURE(erf, erf(v))
MEASURE(sigmoid, 1.0 / (1.0 + exp(-v)))
MEASURE(sqrt, sqrt(v))
MEASURE(rsqrt, 1.0 / sqrt(v))
MEASURE(round, rint(v))
MEASURE(floor, floor(v))
MEASURE(ceil, ceil(v))
MEASURE(trunc, trunc(v))
