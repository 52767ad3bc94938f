/* -- making one ---------------------------------------------------------------------------------- */

static int read_dims(PyObject *shape, npy_intp **next, npy_intp **dims, int *nd)
{
    *dims = *next;
    *nd = (int)PyTuple_GET_SIZE(shape);
    for (int i = 0; i < *nd; i++) *(*next)++ = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
    return PyErr_Occurred() ? -1 : 0;
}

/* A leaf is (kind, input, object, shape, requires_grad). */
static int read_leaf(dispatch *self, leaf *to, PyObject *row, npy_intp **next)
{
    PyObject *shape;
    if (!PyArg_ParseTuple(row, "inOO!O", &to->kind, &to->input, &to->object, &PyTuple_Type, &shape,
            &to->requires_grad))
        return -1;
    if (to->input >= self->n_arguments) self->n_arguments = to->input + 1;
    self->n_tensors += to->kind == TENSOR;
    return read_dims(shape, next, &to->dims, &to->nd);
}

/* A fresh output is (output, shape, dtype, bytes, type). */
static int read_fresh(fresh *to, PyObject *row, npy_intp **next)
{
    PyObject *dtype;
    if (!PyArg_ParseTuple(row, "nO!O!O!O", &to->output, &PyTuple_Type, &to->shape,
            &PyArrayDescr_Type, &dtype, &PyLong_Type, &to->size, &to->type))
        return -1;
    to->bytes = PyLong_AsSsize_t(to->size);
    to->dtype = (PyArray_Descr *)dtype;
    return read_dims(to->shape, next, &to->dims, &to->nd);
}

static Py_ssize_t ranks(PyObject *rows, Py_ssize_t shape)
{
    Py_ssize_t sum = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(rows); i++)
        sum += PyTuple_GET_SIZE(PyTuple_GET_ITEM(PyTuple_GET_ITEM(rows, i), shape));
    return sum;
}

static int allocate(dispatch *self)
{
    PyObject *const leaves = self->parts[LEAVES], *const made = self->parts[FRESH];
    self->n_leaves = PyTuple_GET_SIZE(leaves);
    self->n_numbers = PyTuple_GET_SIZE(self->parts[NUMBERS]);
    self->n_state = PyTuple_GET_SIZE(self->parts[STATE]);
    self->n_fresh = PyTuple_GET_SIZE(made);
    self->n_aliases = PyTuple_GET_SIZE(self->parts[ALIASES]);
    const size_t dims = (size_t)(ranks(leaves, 3) + ranks(made, 1)) + 1;
    self->leaves = (leaf *)PyMem_Calloc((size_t)self->n_leaves + 1, sizeof(leaf));
    self->fresh = (fresh *)PyMem_Calloc((size_t)self->n_fresh + 1, sizeof(fresh));
    self->state = (void **)PyMem_Calloc((size_t)self->n_state + 1, sizeof(void *));
    self->aliases =
        (Py_ssize_t *)PyMem_Calloc(2 * (size_t)self->n_aliases + 1, sizeof(Py_ssize_t));
    self->dims = (npy_intp *)PyMem_Calloc(dims, sizeof(npy_intp));
    if (self->leaves == NULL || self->fresh == NULL || self->state == NULL || self->dims == NULL
        || self->aliases == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int read_tables(dispatch *self)
{
    npy_intp *next = self->dims;
    for (Py_ssize_t i = 0; i < self->n_leaves; i++)
        if (read_leaf(self, &self->leaves[i], PyTuple_GET_ITEM(self->parts[LEAVES], i), &next) < 0)
            return -1;
    for (Py_ssize_t i = 0; i < self->n_fresh; i++)
        if (read_fresh(&self->fresh[i], PyTuple_GET_ITEM(self->parts[FRESH], i), &next) < 0)
            return -1;
    for (Py_ssize_t i = 0; i < self->n_state; i++)
        self->state[i] = PyLong_AsVoidPtr(PyTuple_GET_ITEM(self->parts[STATE], i));
    for (Py_ssize_t i = 0; i < self->n_aliases; i++) {
        PyObject *const row = PyTuple_GET_ITEM(self->parts[ALIASES], i);
        self->aliases[2 * i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(row, 0));
        self->aliases[2 * i + 1] = PyLong_AsSsize_t(PyTuple_GET_ITEM(row, 1));
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int read_program(dispatch *self)
{
    /* ISO C has no cast from a pointer to data to one to a function. */
    void *const address = PyLong_AsVoidPtr(self->parts[ENTRY]);
    memcpy(&self->entry, &address, sizeof address);
    self->options = (const options_head *)PyLong_AsVoidPtr(self->parts[OPTIONS]);
    self->threads = PyLong_AsLongLong(self->parts[THREADS]);
    self->work = PyLong_AsSize_t(self->parts[WORK]);
    self->n_outputs = PyLong_AsSsize_t(self->parts[N_OUTPUTS]);
    return PyErr_Occurred() ? -1 : 0;
}

static int parts_are_whole(PyObject **parts)
{
    static const int tuples[] = {
        LEAVES, NUMBERS, STATE, STORAGES, ALIASES, FRESH, SLOTS, LOOSE, FINALS, GRADS, RESULTS,
    };
    for (size_t i = 0; i < sizeof tuples / sizeof *tuples; i++) {
        if (PyTuple_Check(parts[tuples[i]])) continue;
        PyErr_Format(PyExc_TypeError, "%s must be a tuple", part_names[tuples[i]]);
        return 0;
    }
    return 1;
}

static PyObject *dispatch_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *p[N_PARTS];
    if (!PyArg_ParseTupleAndKeywords(args, named, "$OOOOOOOOOOOOOOOOOOOOOOOO:Dispatch",
            (char **)part_names, &p[0], &p[1], &p[2], &p[3], &p[4], &p[5], &p[6], &p[7], &p[8],
            &p[9], &p[10], &p[11], &p[12], &p[13], &p[14], &p[15], &p[16], &p[17], &p[18], &p[19],
            &p[20], &p[21], &p[22], &p[23])
        || !parts_are_whole(p))
        return NULL;
    dispatch *const self = (dispatch *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    for (int i = 0; i < N_PARTS; i++) self->parts[i] = Py_NewRef(p[i]);
    self->call = dispatch_call;
    if (allocate(self) < 0 || read_tables(self) < 0 || read_program(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int dispatch_traverse(PyObject *object, visitproc visit, void *arg)
{
    dispatch *const self = (dispatch *)object;
    Py_VISIT(Py_TYPE(object));
    for (int i = 0; i < N_PARTS; i++) Py_VISIT(self->parts[i]);
    Py_VISIT(self->guards);
    Py_VISIT(self->residual);
    return 0;
}

static int dispatch_clear(PyObject *object)
{
    dispatch *const self = (dispatch *)object;
    Py_CLEAR(self->version); /* from now on every call misses */
    Py_CLEAR(self->guards);
    Py_CLEAR(self->residual);
    for (int i = 0; i < N_PARTS; i++) Py_CLEAR(self->parts[i]);
    return 0;
}

static void dispatch_dealloc(PyObject *object)
{
    dispatch *const self = (dispatch *)object;
    PyTypeObject *const type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    dispatch_clear(object);
    PyMem_Free(self->leaves);
    PyMem_Free(self->fresh);
    PyMem_Free(self->state);
    PyMem_Free(self->aliases);
    PyMem_Free(self->dims);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef dispatch_methods[] = {
    {"accept", dispatch_accept, METH_VARARGS, "Hold from now on under these guards."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef dispatch_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(dispatch, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot dispatch_slots[] = {
    {Py_tp_new, (void *)dispatch_new},
    {Py_tp_dealloc, (void *)dispatch_dealloc},
    {Py_tp_traverse, (void *)dispatch_traverse},
    {Py_tp_clear, (void *)dispatch_clear},
    {Py_tp_call, (void *)PyVectorcall_Call},
    {Py_tp_methods, dispatch_methods},
    {Py_tp_members, dispatch_members},
    {0, NULL},
};

static PyType_Spec dispatch_spec = {
    "gradc_dispatch.Dispatch", sizeof(dispatch), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, dispatch_slots,
};

/* -- the module ---------------------------------------------------------------------------------- */

/* configure(tensor, its slots, storage, its slots, epoch class, structure class, miss,
   fresh_output, bytes from which arrays come from it, the list of work areas) */
static PyObject *configure(PyObject *module, PyObject *args)
{
    PyObject *tensor, *tensor_slots, *storage, *storage_slots, *epoch, *structure, *none, *output,
        *unused;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOOOOOnO!", &tensor, &tensor_slots, &storage, &storage_slots,
            &epoch, &structure, &none, &output, &large, &PyList_Type, &unused)
        || learn(&tensors, tensor, tensor_slots) < 0
        || learn(&storages, storage, storage_slots) < 0)
        return NULL;
    PyObject *const T = (PyObject *)Py_TYPE(tensor), *const S = (PyObject *)Py_TYPE(storage);
    if ((tensor_data = offset_of(T, "_data")) < 0 || (tensor_grad = offset_of(T, "_grad")) < 0
        || (tensor_storage = offset_of(T, "_storage")) < 0
        || (tensor_requires_grad = offset_of(T, "_requires_grad")) < 0
        || (tensor_base = offset_of(T, "_base")) < 0 || (tensor_type = offset_of(T, "_type")) < 0
        || (storage_array = offset_of(S, "array")) < 0
        || (storage_device = offset_of(S, "device")) < 0
        || (storage_writes = offset_of(S, "_writes")) < 0
        || (epoch_count = offset_of(epoch, "count")) < 0
        || (structure_version = offset_of(structure, "version")) < 0)
        return NULL;
    tensor_class = Py_TYPE(tensor);
    Py_XSETREF(miss, Py_NewRef(none));
    Py_XSETREF(fresh_output, Py_NewRef(output));
    Py_XSETREF(areas, Py_NewRef(unused));
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"configure", configure, METH_VARARGS, "Learn what tensors and storages look like."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "gradc_dispatch", "Calls of compiled functions.", -1, module_methods,
    NULL, NULL, NULL, NULL,
};

static int intern_names(void)
{
    name_trace = PyUnicode_InternFromString("trace");
    name_grad = PyUnicode_InternFromString("grad");
    name_requires_grad = PyUnicode_InternFromString("requires_grad");
    name_lock = PyUnicode_InternFromString("_lock");
    name_acquire = PyUnicode_InternFromString("acquire");
    name_release = PyUnicode_InternFromString("release");
    name_holds = PyUnicode_InternFromString("holds");
    no_arguments = PyTuple_New(0);
    return PyErr_Occurred() ? -1 : 0;
}

PyMODINIT_FUNC PyInit_gradc_dispatch(void)
{
    import_array();
    PyObject *const module = PyModule_Create(&module_definition);
    PyObject *const type = PyType_FromSpec(&dispatch_spec);
    if (module == NULL || type == NULL || intern_names() < 0
        || PyModule_AddObjectRef(module, "Dispatch", type) < 0) {
        Py_XDECREF(module);
        Py_XDECREF(type);
        return NULL;
    }
    Py_DECREF(type);
    return module;
}
