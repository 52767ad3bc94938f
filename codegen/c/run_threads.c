typedef struct { const void *const *in; void *const *out; unsigned char *work; } exported_call;

/* what thread `tid` of `n` does; 0: the call was over before it was through */
static int exported_thread(const void *given, void *shared, int64_t tid, int64_t n)
{
    const exported_call *const call = (const exported_call *)given;
    gradc_team team = {call->work + AREAS, PRIVATE_BYTES, NULL, SEGMENTS, tid, n, NULL, 0, 0};
    team.left = (int64_t *)(void *)(call->work + SHARED_BYTES);
    team.shared = (gradc_shared *)shared;
    team.call = GRADC_LOAD(&team.shared->inside) >> GRADC_CALL;
    return exported_part(call->in, call->out, call->work, &team);
}

/* as many threads as are asked for, as far as they have something to do */
static int64_t exported_asked(const exported_options *options)
{
    const int64_t asked = options != NULL ? options->threads : 0;
    if (asked <= 0) return EXPORTED_THREADS;
    return asked < MOST_THREADS ? asked : MOST_THREADS;
}

/* of these as many as can be had here */
static int64_t exported_team(const exported_options *options)
{
    const int64_t asked = exported_asked(options);
#if defined(__GNUC__)
    if (options != NULL && options->run != NULL) return asked;
#if defined(_OPENMP)
    if (options != NULL && options->threads > 0) return asked;
    return omp_get_max_threads() < asked ? omp_get_max_threads() : asked;
#endif
#endif
    return asked > 1 ? 1 : asked;
}

static void exported_run(const void *const *in, void *const *out, unsigned char *work,
    const exported_options *options)
{
    const exported_call call = {in, out, work};
    const int64_t n = exported_team(options);
    gradc_shared shared = {0, {0}, 0, NULL};
    int64_t *const left = (int64_t *)(void *)(work + SHARED_BYTES);
    for (int64_t s = 0; s < SEGMENTS; s++) left[s] = exported_units[s];
    for (int64_t t = 0; t < n; t++) {
        int64_t *const taken = (int64_t *)(void *)(work + AREAS + t * PRIVATE_BYTES);
        for (int64_t k = 0; k < COUNTERS; k++) taken[k] = 0;
    }
    IN_PLACE
    if (n > 1 && options != NULL && options->run != NULL) {
        options->run(options->runner, n, SHARED_NS, exported_thread, &call);
        return;
    }
#if defined(_OPENMP)
    if (n > 1) {
#pragma omp parallel num_threads((int)n)
        (void)exported_thread(&call, &shared, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    (void)exported_thread(&call, &shared, 0, 1);
}

size_t exported_work_bytes(const exported_options *options)
{
    return AREAS + (size_t)exported_asked(options) * PRIVATE_BYTES;
}
