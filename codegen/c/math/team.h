/* The threads of one call. They take the tasks of a kernel one by one, each its own share first and
   then what the others have left. A segment is complete when all its tasks are done, whoever did
   them: nobody waits for a thread that is late or that another program keeps from running. */

#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base.h"

/* Shared by the threads of a call, all zero at its start: which call it is, whether it is over, and
   how many threads are inside; how far it is; and what to do in a long wait, if anything. */
typedef struct { uint64_t inside, to_line[7], done; void (*rest)(void); } gradc_shared;

/* One thread's view: thread `tid` of `n`; the counters of thread t stand at `areas + t * stride`;
   what is left of each segment; and how many tasks it has taken in this one. */
typedef struct {
    unsigned char *areas;
    int64_t stride, *left, segments, tid, n;
    gradc_shared *shared;
    uint64_t call;
    int64_t taken;
} gradc_team;

/* whose share a thread is at, counted from its own, and the task it has taken */
typedef struct { int64_t turn, task; } gradc_turn;

/* the bits of `inside`: threads, whether the call is over, its number */
#define GRADC_OVER ((uint64_t)1 << 16)
#define GRADC_CALL 17

/* turns of a wait before it rests */
#define GRADC_TURNS 4000

#if defined(__GNUC__)
#define GRADC_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define GRADC_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define GRADC_ADD(p, v) __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL)
#define GRADC_SWAP(p, old, v) \
    __atomic_compare_exchange_n(p, old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#else
#define GRADC_LOAD(p) (*(p)) /* without atomics there is one thread */
#define GRADC_STORE(p, v) (*(p) = (v))
#define GRADC_ADD(p, v) ((*(p) += (v)) - (v))
#define GRADC_SWAP(p, old, v) (*(p) = (v), 1)
#endif

/* tells the processor that this is a wait */
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define GRADC_PAUSE __builtin_ia32_pause()
#elif defined(__GNUC__) && defined(__aarch64__)
#define GRADC_PAUSE __asm__ __volatile__("yield")
#else
#define GRADC_PAUSE (void)0
#endif

/* one turn of a wait */
GRADC_APART void gradc_wait(const gradc_shared *shared, int64_t turn)
{
    if (turn > GRADC_TURNS && shared->rest != NULL) shared->rest();
    else GRADC_PAUSE;
}

/* 0: the call is over, and nothing of it may be touched; otherwise it lasts until `gradc_leave` */
GRADC_APART int gradc_enter(gradc_shared *shared, uint64_t call)
{
    uint64_t state = GRADC_LOAD(&shared->inside);
    while (state >> GRADC_CALL == call && (state & GRADC_OVER) == 0)
        if (GRADC_SWAP(&shared->inside, &state, state + 1)) return 1;
    return 0;
}

GRADC_APART void gradc_leave(gradc_shared *shared)
{
    (void)GRADC_ADD(&shared->inside, (uint64_t)-1);
}

/* takes one of the `tasks` tasks of the kernel with this number; 0: all are taken */
GRADC_APART int gradc_take(gradc_team *team, int64_t kernel, int64_t tasks, gradc_turn *t)
{
    for (; t->turn < team->n; t->turn++) {
        const int64_t owner = (team->tid + t->turn) % team->n;
        int64_t *const counters = (int64_t *)(void *)(team->areas + owner * team->stride);
        t->task = tasks * owner / team->n + GRADC_ADD(&counters[kernel], 1);
        if (t->task < tasks * (owner + 1) / team->n) {
            team->taken++;
            return 1;
        }
    }
    return 0;
}

/* Ends this thread's part of a segment, and returns when all of it is done; after the last one
   only thread 0 waits. 0: the call is over meanwhile. What was written before the end of a segment
   can be read after it. A thread that waits is not inside, so that the call can end without it;
   calls without a number are those of threads that end with them. */
GRADC_APART int gradc_meet(gradc_team *team, int64_t segment)
{
    gradc_shared *const shared = team->shared;
    const uint64_t end = (team->call << 32) + (uint64_t)segment + 1;
    const int64_t done = team->taken + (team->tid == 0);
    const int stays = team->tid == 0 || team->call == 0;
    team->taken = 0;
    if (done > 0 && GRADC_ADD(&team->left[segment], -done) == done) {
        GRADC_STORE(&shared->done, end);
        return 1;
    }
    if (team->tid != 0 && segment == team->segments - 1) return 1;
    if (!stays) gradc_leave(shared);
    for (int64_t turn = 0; (int64_t)(GRADC_LOAD(&shared->done) - end) < 0; turn++)
        gradc_wait(shared, turn);
    return stays || gradc_enter(shared, team->call);
}
