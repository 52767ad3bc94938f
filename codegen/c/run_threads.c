/* as many threads as are asked for, as far as they have something to do */
static int64_t exported_asked(const exported_options *options)
{
    const int64_t asked = options != NULL ? options->threads : 0;
    if (asked <= 0) return EXPORTED_THREADS;
    return asked < MOST_THREADS ? asked : MOST_THREADS;
}

static void exported_run(const void *const *in, void *const *out, unsigned char *work,
    const exported_options *options)
{
    int64_t n = 1;
#if defined(_OPENMP)
    n = exported_asked(options);
    if ((options == NULL || options->threads == 0) && omp_get_max_threads() < n)
        n = omp_get_max_threads();
#else
    (void)options;
#endif
    for (int64_t t = 0; t < n; t++) {
        int64_t *const taken = (int64_t *)(void *)(work + SHARED_BYTES + t * PRIVATE_BYTES);
        for (int64_t k = 0; k < COUNTERS; k++) taken[k] = 0;
    }
    IN_PLACE
#if defined(_OPENMP)
    if (n > 1) {
#pragma omp parallel num_threads((int)n)
        exported_part(in, out, work, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    exported_part(in, out, work, 0, 1);
}

size_t exported_work_bytes(const exported_options *options)
{
    return SHARED_BYTES + (size_t)exported_asked(options) * PRIVATE_BYTES;
}
