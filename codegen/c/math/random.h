/* Threefry-2x32, 20 rounds: a block function from a key and a counter to two random words. */

#pragma once
#include <stdint.h>

#include "base.h"

typedef struct { uint32_t r0, r1; } gradc_threefry_block;

/* one round: add, rotate left, exclusive or */
GRADC_INLINE gradc_threefry_block gradc_threefry_round(gradc_threefry_block x, int rotation)
{
    x.r0 += x.r1;
    x.r1 = (x.r1 << rotation) | (x.r1 >> (32 - rotation));
    x.r1 ^= x.r0;
    return x;
}

GRADC_INLINE gradc_threefry_block gradc_threefry_even(gradc_threefry_block x)
{
    x = gradc_threefry_round(x, 13);
    x = gradc_threefry_round(x, 15);
    x = gradc_threefry_round(x, 26);
    return gradc_threefry_round(x, 6);
}

GRADC_INLINE gradc_threefry_block gradc_threefry_odd(gradc_threefry_block x)
{
    x = gradc_threefry_round(x, 17);
    x = gradc_threefry_round(x, 29);
    x = gradc_threefry_round(x, 16);
    return gradc_threefry_round(x, 24);
}

GRADC_INLINE gradc_threefry_block gradc_threefry2x32(uint32_t k0, uint32_t k1, uint32_t c0,
                                                     uint32_t c1)
{
    const uint32_t k2 = 0x1bd11bdau ^ k0 ^ k1;
    gradc_threefry_block x;
    x.r0 = c0 + k0;
    x.r1 = c1 + k1;
    x = gradc_threefry_even(x);
    x.r0 += k1;
    x.r1 += k2 + 1u;
    x = gradc_threefry_odd(x);
    x.r0 += k2;
    x.r1 += k0 + 2u;
    x = gradc_threefry_even(x);
    x.r0 += k0;
    x.r1 += k1 + 3u;
    x = gradc_threefry_odd(x);
    x.r0 += k1;
    x.r1 += k2 + 4u;
    x = gradc_threefry_even(x);
    x.r0 += k2;
    x.r1 += k0 + 5u;
    return x;
}
