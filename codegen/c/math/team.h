/* Threads of one call: they take the tasks of a kernel one by one, each its own share first and then
   what the others have left, and meet at barriers. */

#pragma once
#include <stdint.h>

#include "base.h"

/* thread `tid` of `n`; the counters of thread t stand at `counters + t * stride` */
typedef struct { unsigned char *counters; int64_t stride, tid, n; } gradc_team;

/* whose share a thread is at, counted from its own, and the task it has taken */
typedef struct { int64_t turn, task; } gradc_turn;

/* takes one of the `tasks` tasks of the kernel with this number; 0: all are taken */
GRADC_APART int gradc_take(const gradc_team *team, int64_t kernel, int64_t tasks, gradc_turn *t)
{
    for (; t->turn < team->n; t->turn++) {
        const int64_t owner = (team->tid + t->turn) % team->n;
        int64_t *const counters = (int64_t *)(void *)(team->counters + owner * team->stride);
        int64_t taken;
#if defined(_OPENMP)
#pragma omp atomic capture
#endif
        taken = counters[kernel]++;
        t->task = tasks * owner / team->n + taken;
        if (t->task < tasks * (owner + 1) / team->n) return 1;
    }
    return 0;
}

/* what the threads have written before it, all of them can read after it */
GRADC_APART void gradc_barrier(int64_t n)
{
    (void)n;
#if defined(_OPENMP)
    if (n > 1) {
#pragma omp barrier
    }
#endif
}
