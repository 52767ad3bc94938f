/* -- a specialization ---------------------------------------------------------------------------- */

/* How an argument is passed. */
enum { TENSOR, ARRAY, FLOAT, INT, STATIC };

typedef struct {
    int kind;
    int nd;
    Py_ssize_t input;    /* -1: it is passed already, as another argument */
    npy_intp *dims;
    PyObject *object;    /* the dtype, or the static value */
    PyObject *requires_grad;
} leaf;

typedef struct {
    int nd;
    Py_ssize_t output;
    npy_intp *dims, bytes;
    PyArray_Descr *dtype;
    PyObject *shape, *size, *type;
} fresh;

/* What a Dispatch is made of; the names of the constructor's arguments, in this order. */
enum {
    ENTRY, OPTIONS, THREADS, WORK, N_OUTPUTS, CONTEXT, GRAD, LEAVES, NUMBERS, STATE, STORAGES,
    ALIASES, FRESH, LOCK, TRACING, STRUCTURE, SLOTS, EPOCH, LOOSE, FINALS, GRADS, RESULTS, TEMPLATE,
    FINISH, N_PARTS
};

static char *const part_names[N_PARTS + 1] = {
    (char *)"entry", (char *)"options", (char *)"threads", (char *)"work", (char *)"n_outputs",
    (char *)"context", (char *)"grad", (char *)"leaves", (char *)"numbers", (char *)"state",
    (char *)"storages", (char *)"aliases", (char *)"fresh", (char *)"lock", (char *)"tracing",
    (char *)"structure", (char *)"slots", (char *)"epoch", (char *)"loose", (char *)"finals",
    (char *)"grads", (char *)"results", (char *)"template", (char *)"finish", NULL,
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *parts[N_PARTS];
    PyObject *version, *guards, *residual; /* of `accept`; version NULL: not accepted yet */
    entry_function *entry;
    const options_head *options;
    int64_t threads;
    size_t work;
    Py_ssize_t n_leaves, n_arguments, n_numbers, n_state, n_outputs, n_fresh, n_aliases, n_tensors;
    leaf *leaves;
    fresh *fresh;
    void **state;
    Py_ssize_t *aliases;
    npy_intp *dims; /* of all leaves and outputs */
} dispatch;

/* The tables of one call, in one block. */
typedef struct {
    void *memory;            /* NULL: on the stack */
    const void **inputs;
    void **outputs;
    int64_t *numbers;
    PyObject **arrays;       /* the argument arrays, held; by input */
    PyObject **results;      /* the fresh arrays, held */
    PyObject **tensors;      /* the tensors made of them, held, where made */
    PyObject **seen;         /* a hash table of storages */
    size_t mask;
    Py_ssize_t n_arrays, n_results, n_numbers;
} frame;

static int frame_open(frame *f, const dispatch *self, void *stack)
{
    const size_t n_in = (size_t)(self->n_arguments + self->n_numbers + self->n_state);
    const size_t n_scratch = (size_t)(self->n_leaves + self->n_numbers);
    const size_t n_fresh = (size_t)self->n_fresh;
    size_t n_seen = 0;
    if (self->n_tensors > 1) {
        for (n_seen = 8; n_seen < 2 * (size_t)self->n_tensors; n_seen *= 2) continue;
    }
    const size_t n_out = (size_t)self->n_outputs;
    const size_t pointers = n_in + n_out + (size_t)self->n_leaves + 2 * n_fresh + n_seen;
    const size_t bytes = n_scratch * sizeof(int64_t) + pointers * sizeof(void *);
    char *memory = (char *)stack;
    f->memory = NULL;
    if (bytes > FRAME_BYTES) {
        f->memory = memory = (char *)PyMem_Malloc(bytes);
        if (memory == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    f->numbers = (int64_t *)memory;
    f->inputs = (const void **)(f->numbers + n_scratch);
    f->outputs = (void **)(f->inputs + n_in);
    f->arrays = (PyObject **)(f->outputs + n_out);
    f->results = f->arrays + self->n_leaves;
    f->tensors = f->results + n_fresh;
    f->seen = f->tensors + n_fresh;
    f->mask = n_seen - 1;
    memset(f->tensors, 0, (n_fresh + n_seen) * sizeof(PyObject *));
    f->n_arrays = f->n_results = f->n_numbers = 0;
    return 0;
}

static void frame_close(frame *f, const dispatch *self)
{
    for (Py_ssize_t i = 0; i < f->n_arrays; i++) Py_DECREF(f->arrays[i]);
    for (Py_ssize_t i = 0; i < f->n_results; i++) Py_DECREF(f->results[i]);
    for (Py_ssize_t i = 0; i < self->n_fresh; i++) Py_XDECREF(f->tensors[i]);
    if (f->memory != NULL) PyMem_Free(f->memory);
}

/* Whether a storage has been met before in this call. */
static int met(frame *f, PyObject *storage)
{
    size_t at = ((size_t)(uintptr_t)storage >> 4) * 0x9E3779B1u >> 7 & f->mask;
    while (f->seen[at] != NULL) {
        if (f->seen[at] == storage) return 1;
        at = (at + 1) & f->mask;
    }
    f->seen[at] = storage;
    return 0;
}

