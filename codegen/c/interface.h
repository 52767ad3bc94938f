#ifndef EXPORTED_H
#define EXPORTED_H

#include <stddef.h>
#include <stdint.h>

THREAD_ROOM
#define EXPORTED_WORK_BYTES WORK_BYTES

#ifndef GRADC_EXPORT
#if defined(__GNUC__) && !defined(_WIN32)
#define GRADC_EXPORT __attribute__((visibility("default")))
#else
#define GRADC_EXPORT
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What thread `thread` of `threads` does in a call. Thread 0 must run, any other may at the same
   time. `shared`: 128 bytes at a multiple of 8, the same for all of a call, zero before. */
typedef int exported_thread_function(
    const void *call, void *shared, int64_t thread, int64_t threads);

/* size: sizeof(exported_options); threads: at most so many, 0 for the default; dims: symbolic
   sizes, if any; run: runs the threads of a call, given `runner`, and returns when all that run are
   done, `nanoseconds` being about what it would take one; NULL: OpenMP does, where the program is
   compiled with it, else there is one thread. */
typedef struct {
    int64_t size, threads;
    const int64_t *dims;
    void (*run)(void *runner, int64_t threads, int64_t nanoseconds, exported_thread_function *part,
        const void *call);
    void *runner;
} exported_options;

/* Runs the program. in, out: the arrays listed above, row-major; work: exported_work_bytes(options)
   bytes, EXPORTED_WORK_BYTES by default, at a multiple of 64, of no meaning between calls; options:
   NULL for the defaults. Returns 0, or:
     1  a check failed; the first 64 bytes of work say which (int64: eqn, element, index, limit,
        axis, kind); no state has been written
     2  an argument is NULL or misaligned
     3  arrays overlap that may not
     4  the options are not understood */
GRADC_EXPORT int exported(const void *const *in, void *const *out, void *work,
    const exported_options *options);

GRADC_EXPORT int64_t exported_abi_version(void);
GRADC_EXPORT int64_t exported_n_in(void);
GRADC_EXPORT int64_t exported_n_out(void);
GRADC_EXPORT const char *exported_name_in(int64_t i);
GRADC_EXPORT const char *exported_name_out(int64_t i);
GRADC_EXPORT const char *exported_dtype_in(int64_t i);
GRADC_EXPORT const char *exported_dtype_out(int64_t i);
GRADC_EXPORT int64_t exported_ndim_in(int64_t i);
GRADC_EXPORT int64_t exported_ndim_out(int64_t i);
GRADC_EXPORT const int64_t *exported_shape_in(int64_t i);
GRADC_EXPORT const int64_t *exported_shape_out(int64_t i);
GRADC_EXPORT size_t exported_work_bytes(const exported_options *options);
GRADC_EXPORT const char *exported_strerror(int status);

#ifdef __cplusplus
}
#endif

#endif
