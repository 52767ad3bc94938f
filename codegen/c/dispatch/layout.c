/* Calls of compiled functions, as an extension module of CPython.

   A Dispatch is one specialization, ready to be called: the forms its arguments must have, what
   must be as it was when it was traced, the pointers of its state, and how its results are made.
   Calling it with a tuple of arguments either runs the program, or changes nothing and returns
   `miss`: the arguments have other forms, a guard does not hold, or the program reported a
   status. The caller then goes the long way, which also makes the error messages.

   The attributes of tensors and storages are slots, which are read and written where they lie;
   `configure` looks up their places. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <stdint.h>
#include <string.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

typedef int entry_function(const void *const *, void *const *, void *, const void *);

/* The head of the options record of the ABI. */
typedef struct {
    int64_t size, threads;
} options_head;

enum { ALIGNMENT = 64, MAX_SLOTS = 64, FRAME_BYTES = 8192, WORK_BYTES = 4096, MAX_DEPTH = 32 };

/* -- where things lie in tensors and storages ---------------------------------------------------- */

typedef struct {
    PyObject *pattern; /* an instance whose slots a new one starts with */
    Py_ssize_t count, offsets[MAX_SLOTS];
} layout;

static layout tensors, storages;
static Py_ssize_t tensor_data, tensor_storage, tensor_requires_grad, tensor_grad, tensor_base,
    tensor_type, storage_array, storage_device, storage_writes, epoch_count, structure_version,
    large; /* bytes from which an output comes from `fresh_output` */
static PyTypeObject *tensor_class;
static PyObject *miss, *fresh_output, *no_arguments, *name_trace, *name_grad, *name_requires_grad,
    *name_lock, *name_acquire, *name_release, *name_holds;

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* Put a reference of one's own into a slot. */
static void fill(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *const before = SLOT(object, offset);
    SLOT(object, offset) = value;
    Py_XDECREF(before);
}

/* The offset of the slot `name` of a class, or -1 with an error. */
static Py_ssize_t offset_of(PyObject *cls, const char *name)
{
    Py_ssize_t offset = -1;
    PyObject *const descriptor = PyObject_GetAttrString(cls, name);
    if (descriptor == NULL) return -1;
    if (Py_TYPE(descriptor) == &PyMemberDescr_Type) {
        const PyMemberDef *const member = ((PyMemberDescrObject *)descriptor)->d_member;
        if (member->type == T_OBJECT_EX) offset = member->offset;
    }
    Py_DECREF(descriptor);
    if (offset < 0) PyErr_Format(PyExc_TypeError, "%s is no slot", name);
    return offset;
}

/* Take over the pattern of a class and the places of its slots. */
static int learn(layout *to, PyObject *pattern, PyObject *names)
{
    if (!PyTuple_Check(names) || PyTuple_GET_SIZE(names) > MAX_SLOTS) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple of at most 64 names");
        return -1;
    }
    to->count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        const char *const name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, i));
        if (name == NULL) return -1;
        const Py_ssize_t offset = offset_of((PyObject *)Py_TYPE(pattern), name);
        if (offset < 0) return -1;
        to->offsets[to->count++] = offset;
    }
    Py_INCREF(pattern);
    Py_XSETREF(to->pattern, pattern);
    return 0;
}

/* A new instance with the slots of the pattern. */
static PyObject *instance(const layout *like)
{
    PyObject *const made =
        PyBaseObject_Type.tp_new(Py_TYPE(like->pattern), no_arguments, NULL);
    if (made == NULL) return NULL;
    for (Py_ssize_t i = 0; i < like->count; i++) {
        PyObject *const value = SLOT(like->pattern, like->offsets[i]);
        Py_XINCREF(value);
        SLOT(made, like->offsets[i]) = value;
    }
    return made;
}

/* A tensor that owns a fresh array, whose reference it takes. */
static PyObject *wrap(PyObject *array, PyObject *type)
{
    PyObject *const storage = instance(&storages);
    PyObject *const tensor = storage == NULL ? NULL : instance(&tensors);
    if (tensor == NULL) {
        Py_XDECREF(storage);
        Py_DECREF(array);
        return NULL;
    }
    Py_INCREF(array);
    fill(storage, storage_array, array);
    fill(tensor, tensor_data, array);
    fill(tensor, tensor_storage, storage);
    Py_INCREF(type);
    fill(tensor, tensor_type, type);
    return tensor;
}

/* object.slot += 1 for a slot that holds an int. */
static int count_up(PyObject *object, Py_ssize_t offset)
{
    PyObject *const now = SLOT(object, offset);
    const long long n = now == NULL ? -1 : PyLong_AsLongLong(now);
    PyObject *const next = n == -1 && PyErr_Occurred() ? NULL : PyLong_FromLongLong(n + 1);
    if (next == NULL) return -1;
    fill(object, offset, next);
    return 0;
}

