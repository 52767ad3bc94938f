/* Floats to integers, written for int32_t and uint32_t and instantiated for the other widths:
   truncated, saturated, and 0 for NaN. The bounds are powers of two, exact in either float type;
   what is out of bounds is replaced before it is converted, so nothing is undefined. */

#pragma once
#include <stdint.h>

#include "base.h"

GRADC_INLINE int32_t gradc_f32_to_i32(float x)
{
    const int inside = (x >= -2147483648.0f) & (x < 2147483648.0f);
    const int32_t i = (int32_t)(inside ? x : 0.0f);
    return (int32_t)(x >= 2147483648.0f ? INT32_MAX : (x < -2147483648.0f ? INT32_MIN : i));
}

GRADC_INLINE int32_t gradc_f64_to_i32(double x)
{
    const int inside = (x >= -2147483648.0) & (x < 2147483648.0);
    const int32_t i = (int32_t)(inside ? x : 0.0);
    return (int32_t)(x >= 2147483648.0 ? INT32_MAX : (x < -2147483648.0 ? INT32_MIN : i));
}

GRADC_INLINE uint32_t gradc_f32_to_u32(float x)
{
    const int inside = (x > 0.0f) & (x < 4294967296.0f);
    const uint32_t i = (uint32_t)(inside ? x : 0.0f);
    return (uint32_t)(x >= 4294967296.0f ? UINT32_MAX : i);
}

GRADC_INLINE uint32_t gradc_f64_to_u32(double x)
{
    const int inside = (x > 0.0) & (x < 4294967296.0);
    const uint32_t i = (uint32_t)(inside ? x : 0.0);
    return (uint32_t)(x >= 4294967296.0 ? UINT32_MAX : i);
}
