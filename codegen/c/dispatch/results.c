/* -- results ------------------------------------------------------------------------------------- */

/* The tensor of a fresh output, one for all who name it. */
static PyObject *tensor_of(const dispatch *self, frame *f, Py_ssize_t i)
{
    if (f->tensors[i] == NULL) {
        Py_INCREF(f->results[i]);
        f->tensors[i] = wrap(f->results[i], self->fresh[i].type);
    }
    Py_XINCREF(f->tensors[i]);
    return f->tensors[i];
}

enum { OUTPUT, ARGUMENT, VALUE };

/* One result; its row is (kind, index or object). */
static PyObject *result(const dispatch *self, frame *f, PyObject *args, Py_ssize_t i)
{
    PyObject *const row = PyTuple_GET_ITEM(self->parts[RESULTS], i);
    const long kind = PyLong_AsLong(PyTuple_GET_ITEM(row, 0));
    PyObject *value = PyTuple_GET_ITEM(row, 1);
    if (kind == OUTPUT) return tensor_of(self, f, PyLong_AsSsize_t(value));
    if (kind == ARGUMENT) value = PyTuple_GET_ITEM(args, PyLong_AsSsize_t(value));
    Py_INCREF(value);
    return value;
}

/* The results in the containers they were returned in: in the template, ints stand for them. */
static PyObject *assemble(const dispatch *self, frame *f, PyObject *args, PyObject *template)
{
    PyObject *made, *part, *key;
    if (PyLong_Check(template)) return result(self, f, args, PyLong_AsSsize_t(template));
    if (PyDict_Check(template)) {
        Py_ssize_t at = 0;
        made = PyDict_New();
        while (made != NULL && PyDict_Next(template, &at, &key, &part)) {
            PyObject *const inner = assemble(self, f, args, part);
            if (inner == NULL || PyDict_SetItem(made, key, inner) < 0) Py_CLEAR(made);
            Py_XDECREF(inner);
        }
        return made;
    }
    const int is_list = PyList_Check(template);
    const Py_ssize_t n = is_list ? PyList_GET_SIZE(template) : PyTuple_GET_SIZE(template);
    made = is_list ? PyList_New(n) : PyTuple_New(n);
    for (Py_ssize_t i = 0; made != NULL && i < n; i++) {
        part = is_list ? PyList_GET_ITEM(template, i) : PyTuple_GET_ITEM(template, i);
        part = assemble(self, f, args, part);
        if (part == NULL) Py_CLEAR(made);
        else if (is_list) PyList_SET_ITEM(made, i, part);
        else PyTuple_SET_ITEM(made, i, part);
    }
    return made;
}

static PyObject *list_of(PyObject **items, Py_ssize_t n)
{
    PyObject *const list = PyList_New(n);
    for (Py_ssize_t i = 0; list != NULL && i < n; i++) {
        Py_INCREF(items[i]);
        PyList_SET_ITEM(list, i, items[i]);
    }
    return list;
}

/* Let Python make the results, with the arrays that were passed and those that were made. */
static PyObject *finish(const dispatch *self, frame *f, PyObject *args)
{
    PyObject *found = NULL, *const given = list_of(f->arrays, f->n_arrays);
    PyObject *const made = list_of(f->results, f->n_results);
    if (given != NULL && made != NULL)
        found = PyObject_CallFunctionObjArgs(self->parts[FINISH], args, given, made, NULL);
    Py_XDECREF(given);
    Py_XDECREF(made);
    return found;
}

/* Count the writes, and leave `.grad` as the function would. */
static int settle_locked(const dispatch *self, frame *f)
{
    PyObject *const epoch = self->parts[EPOCH], *const loose = self->parts[LOOSE];
    PyObject *const finals = self->parts[FINALS], *const grads = self->parts[GRADS];
    if (epoch != Py_None && count_up(epoch, epoch_count) < 0) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(loose); i++)
        if (count_up(PyTuple_GET_ITEM(loose, i), storage_writes) < 0) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(grads); i++) {
        PyObject *const row = PyTuple_GET_ITEM(grads, i);
        PyObject *const grad = tensor_of(self, f, PyLong_AsSsize_t(PyTuple_GET_ITEM(row, 1)));
        if (grad == NULL) return -1;
        fill(PyTuple_GET_ITEM(row, 0), tensor_grad, grad);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(finals); i++) {
        PyObject *const row = PyTuple_GET_ITEM(finals, i), *const grad = PyTuple_GET_ITEM(row, 1);
        if (SLOT(PyTuple_GET_ITEM(row, 0), tensor_grad) == grad) continue;
        Py_INCREF(grad);
        fill(PyTuple_GET_ITEM(row, 0), tensor_grad, grad);
    }
    return 0;
}

/* The same, while no other thread traces. */
static int settle(const dispatch *self, frame *f)
{
    if (self->parts[EPOCH] == Py_None && PyTuple_GET_SIZE(self->parts[GRADS]) == 0
        && PyTuple_GET_SIZE(self->parts[FINALS]) == 0)
        return 0;
    PyObject *const lock = hold(self->parts[TRACING]);
    if (lock == NULL) return -1;
    const int done = settle_locked(self, f);
    return let_go(lock) < 0 ? -1 : done;
}

/* -- a call -------------------------------------------------------------------------------------- */

static int fits(const dispatch *self, frame *f, PyObject *args)
{
    int found = attribute_is(self->parts[CONTEXT], name_trace, Py_None);
    if (found == 1) found = attribute_is(self->parts[CONTEXT], name_grad, self->parts[GRAD]);
    for (Py_ssize_t i = 0; found == 1 && i < self->n_leaves; i++)
        found = pass_leaf(self, f, &self->leaves[i], PyTuple_GET_ITEM(args, i));
    if (found == 1) found = surroundings_hold(self);
    if (found == 1) found = read_numbers(self, f);
    return found;
}

static PyObject *call_in(const dispatch *self, frame *f, PyObject *args)
{
    const int found = fits(self, f, args);
    if (found < 0) return NULL;
    if (found == 0) return Py_NewRef(miss);
    memcpy(f->inputs + self->n_arguments + self->n_numbers, self->state,
        (size_t)self->n_state * sizeof(void *));
    if (make_outputs(self, f) < 0) return NULL;
    const int status = run(self, f);
    if (status < 0) return NULL;
    if (status > 0) return Py_NewRef(miss);
    if (settle(self, f) < 0) return NULL;
    if (self->parts[FINISH] != Py_None) return finish(self, f, args);
    return assemble(self, f, args, self->parts[TEMPLATE]);
}

static PyObject *dispatch_call(PyObject *object, PyObject *const *given, size_t flags,
    PyObject *names)
{
    dispatch *const self = (dispatch *)object;
    int64_t stack[FRAME_BYTES / sizeof(int64_t)];
    frame f;
    if (PyVectorcall_NARGS(flags) != 1 || names != NULL || !PyTuple_Check(given[0])) {
        PyErr_SetString(PyExc_TypeError, "expected one tuple of arguments");
        return NULL;
    }
    if (PyTuple_GET_SIZE(given[0]) != self->n_leaves || self->version == NULL)
        return Py_NewRef(miss);
    if (frame_open(&f, self, stack) < 0) return NULL;
    Py_INCREF(object);
    PyObject *const found = call_in(self, &f, given[0]);
    frame_close(&f, self);
    Py_DECREF(object);
    return found;
}

/* accept(version, guards, residual): what holds now holds the program too. */
static PyObject *dispatch_accept(PyObject *object, PyObject *args)
{
    dispatch *const self = (dispatch *)object;
    PyObject *version, *guards, *residual;
    if (!PyArg_ParseTuple(args, "O!O!O", &PyLong_Type, &version, &PyTuple_Type, &guards, &residual))
        return NULL;
    Py_XSETREF(self->version, Py_NewRef(version));
    Py_XSETREF(self->guards, Py_NewRef(guards));
    Py_XSETREF(self->residual, Py_NewRef(residual));
    Py_RETURN_NONE;
}

