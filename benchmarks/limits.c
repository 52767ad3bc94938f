/* What the machine can do at best: bytes a second of a triad over memory, and floating-point
   operations a second of fused multiply-adds in registers, each on a given number of threads.
   Prints both, in units of 1e9. */
#define _GNU_SOURCE
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { N = 1 << 24, LANES = 16, CHAINS = 12, TURNS = 4000000 };

/* Memory in large pages, as NumPy asks for it too. */
static float *numbers(void)
{
    void *const memory = aligned_alloc(1 << 21, N * sizeof(float));
    if (memory == NULL) exit(1);
#ifdef __linux__
    madvise(memory, N * sizeof(float), MADV_HUGEPAGE);
#endif
    return memory;
}

static double triad(int threads)
{
    float *a = numbers(), *b = numbers(), *c = numbers();
    double best = 0;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < N; i++) a[i] = 0, b[i] = 1, c[i] = 2;
    for (int turn = 0; turn < 8; turn++) {
        const double start = omp_get_wtime();
#pragma omp parallel for simd num_threads(threads) schedule(static)
        for (long i = 0; i < N; i++) a[i] = b[i] + 3.0f * c[i];
        const double rate = 3.0 * N * sizeof(float) / (omp_get_wtime() - start);
        if (rate > best) best = rate;
    }
    if (a[N / 2] != 7) exit(1);
    free(a), free(b), free(c);
    return best;
}

static double multiply_adds(int threads)
{
    double best = 0;
    for (int turn = 0; turn < 3; turn++) {
        float kept = 0;
        const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : kept)
        {
            typedef float lane __attribute__((vector_size(4 * LANES)));
            lane sums[CHAINS], x = {0};
            for (int k = 0; k < CHAINS; k++) sums[k] = x + (float)k;
            x += 0.5f;
            for (long i = 0; i < TURNS; i++) {
                for (int k = 0; k < CHAINS; k++) sums[k] = sums[k] * x + x;
            }
            for (int k = 0; k < CHAINS; k++) kept += sums[k][0];
        }
        const double spent = omp_get_wtime() - start;
        const double rate = 2.0 * LANES * CHAINS * (double)TURNS * threads / spent;
        if (rate > best && kept > 0) best = rate;
    }
    return best;
}

int main(int count, char **words)
{
    const int threads = count > 1 ? atoi(words[1]) : 1;
    printf("%.1f %.1f\n", triad(threads) / 1e9, multiply_adds(threads) / 1e9);
    return 0;
}
