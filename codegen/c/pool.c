/* Threads of this process that run the calls of all programs. They look for the next call for a
   short while after the last one, and then sleep.

   A call gives its number to `inside` of what its threads share. A thread takes part in it if it
   comes while the call is not over; the call ends when nobody is inside, so that a thread that
   another program keeps from running holds up nobody. */

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define MOST_THREADS 64
/* turns of the search for the next call: some 200 us */
#define SEARCH_TURNS 8000
#define REST_NS 20000
/* Waking a thread takes about so long: it is worth it for a call that takes longer, or where short
   calls come in a row with less than this between them. */
#define WAKE_NS 50000
#define ROW 8

typedef int part_function(const void *call, void *shared, int64_t thread, int64_t threads);

typedef struct { part_function *part; const void *call; int64_t threads; } job;

/* as large as programs are promised */
typedef union { gradc_shared shared; unsigned char room[128]; } shared_line;

static void rest(void);

static shared_line line GRADC_ALIGNED = {{GRADC_OVER, {0}, 0, rest}};
static job current GRADC_ALIGNED;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called[MOST_THREADS];
static uint64_t sleeping; /* a bit for each thread */
static int64_t busy, started, short_calls, short_end;

/* gives up the processor, which a thread that has been put off may then have */
static void rest(void)
{
    const struct timespec time = {0, REST_NS};
    (void)nanosleep(&time, NULL);
}

static uint64_t number(void)
{
    return __atomic_load_n(&line.shared.inside, __ATOMIC_SEQ_CST) >> GRADC_CALL;
}

/* returns when another call than this one has begun */
static void await(int64_t thread, uint64_t known)
{
    const uint64_t bit = (uint64_t)1 << thread;
    for (int64_t turn = 0; turn < SEARCH_TURNS; turn++) {
        if (number() != known) return;
        GRADC_PAUSE;
    }
    pthread_mutex_lock(&mutex);
    (void)__atomic_fetch_or(&sleeping, bit, __ATOMIC_SEQ_CST);
    while (number() == known) pthread_cond_wait(&called[thread], &mutex);
    (void)__atomic_fetch_and(&sleeping, ~bit, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&mutex);
}

static void *serve(void *given)
{
    const int64_t thread = (int64_t)(intptr_t)given;
    uint64_t known = 0;
    for (;;) {
        await(thread, known);
        known = number();
        if (!gradc_enter(&line.shared, known)) continue;
        const job now = current;
        if (thread >= now.threads || now.part(now.call, &line, thread, now.threads))
            gradc_leave(&line.shared);
    }
    return NULL;
}

/* Makes threads until there are `wanted` beside the caller, or no more are to be had. Signals are
   for the threads of the program. */
static void grow(int64_t wanted)
{
    sigset_t all, before;
    if (started >= wanted) return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < wanted) {
        pthread_t made;
        pthread_cond_init(&called[started + 1], NULL);
        if (pthread_create(&made, NULL, serve, (void *)(intptr_t)(started + 1)) != 0) break;
        pthread_detach(made);
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* those of the first threads that sleep */
static uint64_t asleep(int64_t threads)
{
    const uint64_t first = (((uint64_t)1 << (threads - 1)) - 1) << 1;
    return __atomic_load_n(&sleeping, __ATOMIC_SEQ_CST) & first;
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether a call is to be done alone rather than by threads that have to be woken. */
static int is_short(int64_t threads, int64_t nanoseconds)
{
    if (nanoseconds >= WAKE_NS || asleep(threads) == 0) return 0;
    short_calls = now_ns() - short_end < WAKE_NS ? short_calls + 1 : 0;
    return short_calls < ROW;
}

static void begin(part_function *part, const void *call, int64_t threads)
{
    const uint64_t next = number() + 1;
    current = (job){part, call, threads};
    __atomic_store_n(&line.shared.done, next << 32, __ATOMIC_RELAXED);
    __atomic_store_n(&line.shared.inside, next << GRADC_CALL, __ATOMIC_SEQ_CST);
    const uint64_t wanted = asleep(threads);
    if (wanted == 0) return;
    pthread_mutex_lock(&mutex);
    for (int64_t t = 1; t < threads; t++)
        if ((wanted >> t & 1) != 0) pthread_cond_signal(&called[t]);
    pthread_mutex_unlock(&mutex);
}

static void end(void)
{
    (void)__atomic_fetch_or(&line.shared.inside, GRADC_OVER, __ATOMIC_ACQ_REL);
    for (int64_t turn = 0; (GRADC_LOAD(&line.shared.inside) & (GRADC_OVER - 1)) != 0; turn++)
        gradc_wait(&line.shared, turn);
}

static void run(part_function *part, const void *call, int64_t threads)
{
    grow(threads - 1);
    begin(part, call, threads);
    (void)part(call, &line, 0, threads);
    end();
}

static void run_alone(part_function *part, const void *call)
{
    shared_line own = {{0, {0}, 0, NULL}};
    (void)part(call, &own, 0, 1);
}

/* Runs a call, the caller being thread 0; alone while the threads are at another caller's. */
GRADC_EXPORT void gradc_pool_run(void *pool, int64_t threads, int64_t nanoseconds,
    part_function *part, const void *call)
{
    (void)pool;
    if (threads < 2 || threads > MOST_THREADS
        || __atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE) != 0) {
        run_alone(part, call);
        return;
    }
    if (is_short(threads, nanoseconds)) {
        run_alone(part, call);
        short_end = now_ns();
    } else {
        run(part, call, threads);
    }
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}
