/* -- guards -------------------------------------------------------------------------------------- */

/* A row of the guards is (kind, owner, key, expected). */
enum { ENTRY_IS, ATTRIBUTE_IS, NUMBER_LIKE, LIST_IS, KEYS_ARE, ITEMS_ARE, ABSENT };

/* owner[key], a new reference; NULL without an error where there is none. */
static PyObject *item(PyObject *owner, PyObject *key)
{
    PyObject *found;
    if (PyDict_CheckExact(owner)) {
        found = PyDict_GetItemWithError(owner, key);
        Py_XINCREF(found);
    } else {
        found = PyObject_GetItem(owner, key);
    }
    if (found == NULL) PyErr_Clear();
    return found;
}

static int list_is(PyObject *list, PyObject *expected)
{
    const Py_ssize_t n = PyTuple_GET_SIZE(expected);
    if (PyList_GET_SIZE(list) != n) return 0;
    for (Py_ssize_t i = 0; i < n; i++)
        if (PyList_GET_ITEM(list, i) != PyTuple_GET_ITEM(expected, i)) return 0;
    return 1;
}

/* Keys (and values, which alternate with them in `expected`) of a dict, in order. */
static int dict_is(PyObject *dict, PyObject *expected, int step)
{
    Py_ssize_t at = 0, i = 0;
    PyObject *key, *value;
    if (PyDict_GET_SIZE(dict) * step != PyTuple_GET_SIZE(expected)) return 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (PyTuple_GET_ITEM(expected, i) != key) return 0;
        if (step == 2 && PyTuple_GET_ITEM(expected, i + 1) != value) return 0;
        i += step;
    }
    return 1;
}

static int has_none_of(PyObject *dict, PyObject *names)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        const int found = PyDict_Contains(dict, PyTuple_GET_ITEM(names, i));
        if (found < 0) PyErr_Clear();
        if (found != 0) return 0;
    }
    return 1;
}

/* Whether a number that the program reads itself is of the same type, and zero as before. */
static int is_like(PyObject *now, PyObject *expected)
{
    if (now == expected) return 1;
    if (Py_TYPE(now) != Py_TYPE(expected)) return 0;
    const int before = PyObject_IsTrue(expected), truth = PyObject_IsTrue(now);
    if (before < 0 || truth < 0) PyErr_Clear();
    return before >= 0 && before == truth;
}

static int row_holds(PyObject *row)
{
    PyObject *const owner = PyTuple_GET_ITEM(row, 1), *const key = PyTuple_GET_ITEM(row, 2);
    PyObject *const expected = PyTuple_GET_ITEM(row, 3);
    PyObject *now;
    int same;
    const long kind = PyLong_AsLong(PyTuple_GET_ITEM(row, 0));
    switch (kind) {
    case LIST_IS: return list_is(owner, expected);
    case KEYS_ARE: return dict_is(owner, expected, 1);
    case ITEMS_ARE: return dict_is(owner, expected, 2);
    case ABSENT: return has_none_of(owner, expected);
    case ATTRIBUTE_IS:
        if (PyCell_Check(owner)) return PyCell_GET(owner) == expected;
        now = PyObject_GetAttr(owner, key);
        if (now == NULL) PyErr_Clear();
        break;
    default:
        now = item(owner, key);
    }
    if (now == NULL) return 0;
    same = kind == NUMBER_LIKE ? is_like(now, expected) : now == expected;
    Py_DECREF(now);
    return same;
}

static int guards_hold(const dispatch *self)
{
    PyObject *const rows = self->guards, *const residual = self->residual;
    int held = 1;
    /* Looking may run code, which may come back here and accept another table. */
    Py_INCREF(rows);
    Py_INCREF(residual);
    for (Py_ssize_t i = 0; held && i < PyTuple_GET_SIZE(rows); i++)
        held = row_holds(PyTuple_GET_ITEM(rows, i));
    if (held && residual != Py_None) {
        PyObject *const said = PyObject_CallMethodNoArgs(residual, name_holds);
        held = said == NULL ? -1 : PyObject_IsTrue(said);
        Py_XDECREF(said);
    }
    Py_DECREF(rows);
    Py_DECREF(residual);
    return held;
}

static int attribute_is(PyObject *owner, PyObject *name, PyObject *expected)
{
    PyObject *const found = PyObject_GetAttr(owner, name);
    if (found == NULL) return -1;
    Py_DECREF(found);
    return found == expected;
}

static int same_int(PyObject *a, PyObject *b)
{
    return a == b || (a != NULL && PyObject_RichCompareBool(a, b, Py_EQ) == 1);
}

/* Whether state and surroundings are as they were. */
static int surroundings_hold(const dispatch *self)
{
    if (!same_int(SLOT(self->parts[STRUCTURE], structure_version), self->version)) return 0;
    if (self->options->threads != self->threads) return 0;
    PyObject *const slots = self->parts[SLOTS], *const state = self->parts[STORAGES];
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(slots); i++) {
        PyObject *const slot = PyTuple_GET_ITEM(slots, i);
        if (SLOT(PyTuple_GET_ITEM(slot, 0), tensor_grad) != PyTuple_GET_ITEM(slot, 1)) return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(state); i++)
        if (SLOT(PyTuple_GET_ITEM(state, i), storage_device) != Py_None) return 0;
    return guards_hold(self);
}

