/* -- arguments ----------------------------------------------------------------------------------- */

/* The checks below return 1 for yes, 0 for no, and -1 with an error set. */

static int array_fits(PyObject *array, const leaf *like)
{
    if (array == NULL || Py_TYPE(array) != &PyArray_Type) return 0;
    PyArrayObject *const a = (PyArrayObject *)array;
    return (PyObject *)PyArray_DESCR(a) == like->object && PyArray_NDIM(a) == like->nd
        && PyArray_CHKFLAGS(a, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED)
        && memcmp(PyArray_DIMS(a), like->dims, (size_t)like->nd * sizeof(npy_intp)) == 0;
}

static void pass_array(frame *f, const leaf *like, PyObject *array)
{
    Py_INCREF(array);
    f->arrays[f->n_arrays++] = array;
    f->inputs[like->input] = PyArray_DATA((PyArrayObject *)array);
}

static int pass_tensor(const dispatch *self, frame *f, const leaf *like, PyObject *tensor)
{
    if (Py_TYPE(tensor) != tensor_class && !PyType_IsSubtype(Py_TYPE(tensor), tensor_class))
        return 0;
    PyObject *const array = SLOT(tensor, tensor_data), *const storage = SLOT(tensor, tensor_storage);
    if (!array_fits(array, like) || storage == NULL || SLOT(storage, storage_device) != Py_None)
        return 0;
    if (SLOT(tensor, tensor_base) != Py_None) { /* the history of its base counts */
        PyObject *const required = PyObject_GetAttr(tensor, name_requires_grad);
        if (required == NULL) return -1;
        Py_DECREF(required);
        if (required != like->requires_grad) return 0;
    } else if (SLOT(tensor, tensor_requires_grad) != like->requires_grad) {
        return 0;
    }
    if (self->n_tensors > 1 && met(f, storage)) return 0;
    /* Reading requires_grad may have run code. */
    if (SLOT(tensor, tensor_data) != array) return 0;
    pass_array(f, like, array);
    return 1;
}

static int pass_leaf(const dispatch *self, frame *f, const leaf *like, PyObject *value)
{
    switch (like->kind) {
    case TENSOR:
        return pass_tensor(self, f, like, value);
    case ARRAY:
        if (!array_fits(value, like)) return 0;
        pass_array(f, like, value);
        return 1;
    case FLOAT:
        if (!PyFloat_CheckExact(value)) return 0;
        memcpy(&f->numbers[f->n_numbers], &PyFloat_AS_DOUBLE(value), sizeof(double));
        break;
    case INT: {
        int overflow = 0;
        if (!PyLong_CheckExact(value)) return 0;
        f->numbers[f->n_numbers] = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow != 0) return 0;
        break;
    }
    default:
        return value == like->object;
    }
    f->inputs[like->input] = &f->numbers[f->n_numbers++];
    return 1;
}

/* -- numbers that are read anew ------------------------------------------------------------------ */

static int store_number(int64_t *to, PyObject *value, char code)
{
    if (code == 'l') {
        int overflow = 0;
        if (!PyLong_CheckExact(value)) return 0;
        *to = PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow == 0;
    }
    if (!PyFloat_CheckExact(value) && !PyLong_CheckExact(value)) return 0;
    const double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    if (code == 'f') {
        const float narrow = (float)number;
        memcpy(to, &narrow, sizeof narrow);
    } else {
        memcpy(to, &number, sizeof number);
    }
    return 1;
}

/* A row is (holder, keys that lead to the number, type code). */
static int read_numbers(const dispatch *self, frame *f)
{
    PyObject *const rows = self->parts[NUMBERS];
    for (Py_ssize_t i = 0; i < self->n_numbers; i++) {
        PyObject *const row = PyTuple_GET_ITEM(rows, i), *const keys = PyTuple_GET_ITEM(row, 1);
        PyObject *now = PyTuple_GET_ITEM(row, 0);
        Py_INCREF(now);
        for (Py_ssize_t k = 0; now != NULL && k < PyTuple_GET_SIZE(keys); k++) {
            PyObject *const inner = item(now, PyTuple_GET_ITEM(keys, k));
            Py_DECREF(now);
            now = inner;
        }
        if (now == NULL) return 0;
        const char code = (char)PyLong_AsLong(PyTuple_GET_ITEM(row, 2));
        int64_t *const to = &f->numbers[f->n_numbers++];
        const int stored = store_number(to, now, code);
        Py_DECREF(now);
        if (!stored) return 0;
        f->inputs[self->n_arguments + i] = to;
    }
    return 1;
}

