/* -- memory -------------------------------------------------------------------------------------- */

static PyObject *bytes_array(npy_intp size)
{
    return PyArray_SimpleNew(1, &size, NPY_UINT8);
}

static void *aligned(void *p)
{
    return (void *)(((uintptr_t)p + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

/* Large arrays come from Python, which uses their memory again. */
static PyObject *large_array(const fresh *like)
{
    PyObject *const array = PyObject_CallFunctionObjArgs(
        fresh_output, like->shape, (PyObject *)like->dtype, like->size, NULL);
    if (array == NULL || PyArray_CheckExact(array)) return array;
    PyErr_SetString(PyExc_TypeError, "expected an array");
    Py_DECREF(array);
    return NULL;
}

static PyObject *fresh_array(const fresh *like)
{
    if (like->bytes >= large) return large_array(like);
    Py_INCREF(like->dtype);
    return PyArray_NewFromDescr(&PyArray_Type, like->dtype, like->nd, like->dims, NULL, NULL, 0,
        NULL);
}

static int make_outputs(const dispatch *self, frame *f)
{
    for (Py_ssize_t i = 0; i < self->n_fresh; i++) {
        PyObject *const array = fresh_array(&self->fresh[i]);
        if (array == NULL) return -1;
        f->results[f->n_results++] = array;
        f->outputs[self->fresh[i].output] = PyArray_DATA((PyArrayObject *)array);
    }
    for (Py_ssize_t i = 0; i < self->n_aliases; i++)
        f->outputs[self->aliases[2 * i]] = self->state[self->aliases[2 * i + 1]];
    return 0;
}

/* Python's list of the memory of work areas that no running call uses. */
static PyObject *areas;

/* A work area of at least `size` bytes. */
static PyObject *take_area(size_t size)
{
    const Py_ssize_t n = PyList_GET_SIZE(areas);
    if (n > 0) {
        PyObject *const last = PyList_GET_ITEM(areas, n - 1);
        Py_INCREF(last);
        if (PyList_SetSlice(areas, n - 1, n, NULL) < 0) {
            Py_DECREF(last);
            return NULL;
        }
        if ((size_t)PyArray_NBYTES((PyArrayObject *)last) >= size + ALIGNMENT) return last;
        Py_DECREF(last);
    }
    return bytes_array((npy_intp)size + ALIGNMENT);
}

/* -- running ------------------------------------------------------------------------------------- */

/* Take the lock of a Python ForkLock, or of none; the lock, Py_None, or NULL with an error. */
static PyObject *hold(PyObject *owner)
{
    if (owner == Py_None) return Py_NewRef(owner);
    /* Read anew: a forked child has another one. */
    PyObject *lock = PyObject_GetAttr(owner, name_lock);
    PyObject *const taken = lock == NULL ? NULL : PyObject_CallMethodNoArgs(lock, name_acquire);
    if (taken == NULL) Py_CLEAR(lock);
    Py_XDECREF(taken);
    return lock;
}

static int let_go(PyObject *lock)
{
    PyObject *const done =
        lock == Py_None ? Py_NewRef(lock) : PyObject_CallMethodNoArgs(lock, name_release);
    Py_DECREF(lock);
    if (done == NULL) return -1;
    Py_DECREF(done);
    return 0;
}

/* The program's status. */
static int enter(const dispatch *self, frame *f, void *work)
{
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = self->entry(f->inputs, f->outputs, work, self->options);
    Py_END_ALLOW_THREADS
    return status;
}

/* The program's status, or -1 with an error. */
static int run_locked(const dispatch *self, frame *f, void *work)
{
    PyObject *const lock = hold(self->parts[LOCK]);
    if (lock == NULL) return -1;
    const int status = enter(self, f, work);
    return let_go(lock) < 0 ? -1 : status;
}

static int run(const dispatch *self, frame *f)
{
    char small[WORK_BYTES + ALIGNMENT];
    if (self->work <= WORK_BYTES) return run_locked(self, f, aligned(small));
    PyObject *const area = take_area(self->work);
    if (area == NULL) return -1;
    const int status = run_locked(self, f, aligned(PyArray_DATA((PyArrayObject *)area)));
    const int kept = status < 0 ? 0 : PyList_Append(areas, area);
    Py_DECREF(area);
    return kept < 0 ? -1 : status;
}

