"""Products of matrices and tensors.

    matmul(a, b)     all of torch's rank cases      einsum("bij,bjk->bik", a, b)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.tracer import ops
from gradc.tracer.broadcasting import broadcast_shapes, broadcast_to
from gradc.tracer.context import composite
from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.functional import math
from gradc.tracer.functional.dimensions import normalize_dim
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import int64
from gradc.tracer.interpreter import as_tensor
from gradc.tracer.promotion import promote
from gradc.tracer.tensor import Tensor


def _pair(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype; torch wants equal dtypes, NumPy promotes: so do we."""
    x, y = as_tensor(a), as_tensor(b)
    dtype = promote(x.dtype, y.dtype)
    if dtype.is_bool:
        raise DTypeError(f"{name}: not defined for bool", loc=user_location())
    return (
        x if x.dtype is dtype else ops.cast(x, dtype=dtype),
        y if y.dtype is dtype else ops.cast(y, dtype=dtype),
    )


def _inner(name: str, x: Tensor, y: Tensor, dx: Any, dy: Any) -> None:
    if dx != dy:
        raise ShapeError(
            f"{name}: inner dimensions differ: {dx} and {dy}",
            loc=user_location(),
            operands=[f"input  {x.type}", f"other  {y.type}"],
        )


def _product(x: Tensor, y: Tensor) -> Tensor:
    """[B..., M, K] and [B..., K, N] with equal batch axes."""
    n = x.ndim - 2
    batch = tuple(range(n))
    return ops.dot_general(x, y, contract=((n + 1,), (n,)), batch=(batch, batch))  # type: ignore[no-any-return]


@composite("mm")
def _matrix_matrix(x: Tensor, y: Tensor) -> Tensor:
    return _product(x, y)


@composite("mv")
def _matrix_vector(x: Tensor, y: Tensor) -> Tensor:
    return ops.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))  # type: ignore[no-any-return]


@composite("squeeze")
def _vector_matrix(x: Tensor, y: Tensor) -> Tensor:
    return ops.dot_general(x, y, contract=((0,), (0,)), batch=((), ()))  # type: ignore[no-any-return]


@composite("dot")
def _vector_vector(x: Tensor, y: Tensor) -> Tensor:
    return ops.dot_general(x, y, contract=((0,), (0,)), batch=((), ()))  # type: ignore[no-any-return]


@composite("unsafe_view")
def _batched(x: Tensor, y: Tensor) -> Tensor:
    """At least one operand has batch axes; a matrix on the right is shared without copies."""
    if y.ndim <= 2:
        contract = ((x.ndim - 1,), (0,))
        return ops.dot_general(x, y, contract=contract, batch=((), ()))  # type: ignore[no-any-return]
    vector = x.ndim == 1
    if vector:
        x = ops.reshape(x, shape=(1, *x.shape))
    common = broadcast_shapes(
        "matmul", [t.type.with_shape(t.shape[:-2]) for t in (x, y)]
    )
    found = _product(
        broadcast_to(x, common + x.shape[-2:]), broadcast_to(y, common + y.shape[-2:])
    )
    return ops.reshape(found, shape=common + y.shape[-1:]) if vector else found


def matmul(input: Any, other: Any) -> Tensor:
    """The matrix product with torch's rules: vectors, matrices, broadcast batches.

    Raises:
        ShapeError: inner dimensions differ, an operand is 0-d, or batches do not broadcast.
    """
    x, y = _pair("matmul", input, other)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError(
            "matmul: both arguments need to be at least 1D",
            loc=user_location(),
            operands=[f"input  {x.type}", f"other  {y.type}"],
        )
    _inner("matmul", x, y, x.shape[-1], y.shape[-2] if y.ndim > 1 else y.shape[0])
    cases = {
        (1, 1): _vector_vector, (2, 1): _matrix_vector, (1, 2): _vector_matrix,
        (2, 2): _matrix_matrix,
    }  # fmt: skip
    return cases.get((x.ndim, y.ndim), _batched)(x, y)


def _ranked(name: str, ranks: tuple[int, int], input: Any, other: Any) -> tuple[Tensor, Tensor]:
    x, y = _pair(name, input, other)
    if (x.ndim, y.ndim) != ranks:
        raise ShapeError(
            f"{name}: expected tensors with {ranks[0]} and {ranks[1]} dimensions",
            loc=user_location(),
            operands=[f"input  {x.type}", f"other  {y.type}"],
        )
    return x, y


def mm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices."""
    return matmul(*_ranked("mm", (2, 2), input, mat2))


def mv(input: Any, vec: Any) -> Tensor:
    """The product of a matrix and a vector."""
    return matmul(*_ranked("mv", (2, 1), input, vec))


def dot(input: Any, tensor: Any) -> Tensor:
    """The inner product of two vectors."""
    return matmul(*_ranked("dot", (1, 1), input, tensor))


@composite("bmm")
def bmm(input: Any, mat2: Any) -> Tensor:
    """The products of two batches of matrices, without broadcasting."""
    x, y = _ranked("bmm", (3, 3), input, mat2)
    _inner("bmm", x, y, x.shape[2], y.shape[1])
    if x.shape[0] != y.shape[0]:
        raise ShapeError(
            f"bmm: batch sizes differ: {x.shape[0]} and {y.shape[0]}",
            loc=user_location(),
            operands=[f"input  {x.type}", f"mat2  {y.type}"],
        )
    return _product(x, y)


@composite("inner")
def inner(input: Any, other: Any) -> Tensor:
    """Products summed over the last axes of both; with a 0-d operand, the product.

    Raises:
        ShapeError: the last sizes differ.
    """
    x, y = _pair("inner", input, other)
    if x.ndim == 0 or y.ndim == 0:
        return math.mul(x, y)
    _inner("inner", x, y, x.shape[-1], y.shape[-1])
    last = ((x.ndim - 1,), (y.ndim - 1,))
    return ops.dot_general(x, y, contract=last, batch=((), ()))  # type: ignore[no-any-return]


@composite("outer")
def outer(input: Any, vec2: Any) -> Tensor:
    """The outer product of two vectors."""
    x, y = _ranked("outer", (1, 1), input, vec2)
    return ops.dot_general(x, y, contract=((), ()), batch=((), ()))  # type: ignore[no-any-return]


@composite("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2; beta 0 ignores `input`, also NaN in it."""
    return _accumulated("addmm", input, mm(mat1, mat2), beta, alpha)


def _accumulated(name: str, input: Any, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta * input + alpha * product, of the product's shape; with beta 0 whatever input is."""
    x = as_tensor(input)
    if broadcast_shapes(name, [x.type, product.type]) != product.shape:
        raise ShapeError(
            f"{name}: the input does not broadcast to the shape of the product",
            loc=user_location(),
            operands=[f"input  {x.type}", f"product  {product.type}"],
        )
    if not _is_number(alpha, 1):
        product = math.mul(product, alpha)
    if _is_number(beta, 0):
        return product
    return math.add(x if _is_number(beta, 1) else math.mul(x, beta), product)


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, (int, float)) and value == number


@composite("baddbmm")
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * batch1 @ batch2, for batches of matrices; beta 0 ignores `input`."""
    return _accumulated("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@composite("addmv")
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * mat @ vec; beta 0 ignores `input`."""
    return _accumulated("addmv", input, mv(mat, vec), beta, alpha)


@composite("addmm")
def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """input @ weight.T + bias, with weight [out, in] and input [..., in].

    Raises:
        ShapeError: the last size of `input` is not weight's.
    """
    x, w = _pair("linear", input, weight)
    if w.ndim == 2 and x.ndim >= 1:
        _inner("linear", x, w, x.shape[-1], w.shape[1])
        found = ops.dot_general(x, w, contract=((x.ndim - 1,), (1,)), batch=((), ()))
    else:
        found = matmul(x, w)
    return found if bias is None else math.add(found, bias)


@composite("tensordot")
def tensordot(a: Any, b: Any, dims: Any = 2, *, axes: Any = None) -> Tensor:
    """Products summed over these axes: a number of trailing and leading ones, or two lists."""
    x, y = _pair("tensordot", a, b)
    pairs = dims if axes is None else axes
    if isinstance(pairs, int):
        first = tuple(range(x.ndim - pairs, x.ndim))
        second = tuple(range(pairs))
    else:
        one, two = ((p,) if isinstance(p, int) else tuple(p) for p in pairs)
        first = tuple(normalize_dim(d, x.ndim) for d in one)
        second = tuple(normalize_dim(d, y.ndim) for d in two)
    for i, j in zip(first, second, strict=True):
        _inner("tensordot", x, y, x.shape[i], y.shape[j])
    return ops.dot_general(x, y, contract=(first, second), batch=((), ()))  # type: ignore[no-any-return]


@composite("einsum")
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein summation: `"bij,bjk->bik"`; without an arrow the output is alphabetical.

    Raises:
        ArgumentError: a malformed equation, or one that does not fit the operands.
    """
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else (
        operands
    )
    tensors = [as_tensor(x) for x in given]
    terms, output, sizes = _read_equation(equation, tensors)
    for i, (term, tensor) in enumerate(zip(terms, tensors)):
        terms[i], tensors[i] = _without_unit_axes(term, tensor, sizes)
    labels, result = "".join(dict.fromkeys(terms[0])), _diagonalised(tensors[0], terms[0])
    for i, (term, tensor) in enumerate(zip(terms[1:], tensors[1:]), 1):
        other = _diagonalised(tensor, term)
        term = "".join(dict.fromkeys(term))
        needed = set(output).union(*terms[i + 1 :])
        labels, result = _contract(labels, result, term, other, needed)
    drop = tuple(i for i, c in enumerate(labels) if c not in output)
    if drop:
        result = ops.reduce_sum(result, axes=drop)
        labels = "".join(c for c in labels if c in output)
    return ops.permute(result, axes=tuple(labels.index(c) for c in output))  # type: ignore[no-any-return]


def _without_unit_axes(term: str, x: Tensor, sizes: dict[str, Any]) -> tuple[str, Tensor]:
    """An axis of size 1 whose label is longer elsewhere broadcasts: it is left out."""
    kept = [i for i, c in enumerate(term) if x.shape[i] == sizes[c]]
    if len(kept) == x.ndim:
        return term, x
    shape = tuple(x.shape[i] for i in kept)
    return "".join(term[i] for i in kept), ops.reshape(x, shape=shape)


def _read_equation(
    equation: str, tensors: Sequence[Tensor]
) -> tuple[list[str], str, dict[str, Any]]:
    """The terms with every axis named, the output, and the size of every label."""
    text = equation.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(tensors):
        raise ArgumentError(
            f"einsum: {len(terms)} terms in '{equation}' for {len(tensors)} operands",
            loc=user_location(),
        )
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    extra = max(t.ndim - len(s.replace("...", "")) for s, t in zip(terms, tensors))
    dots = "".join(spare[:extra]) if "..." in inputs else ""
    full_terms = []
    for term, tensor in zip(terms, tensors):
        count = tensor.ndim - len(term.replace("...", ""))
        full_terms.append(term.replace("...", dots[len(dots) - count :] if count else ""))
    if not arrow:
        every = "".join(full_terms)
        once = sorted(c for c in set(every) if every.count(c) == 1 and c not in dots)
        output = dots + "".join(once)
    output = output.replace("...", dots)
    return full_terms, output, _check_terms(equation, full_terms, output, tensors)


def _check_terms(
    equation: str, terms: Sequence[str], output: str, tensors: Sequence[Tensor]
) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for term, tensor in zip(terms, tensors):
        if len(term) != tensor.ndim or (term and not term.isalpha()):
            raise ArgumentError(
                f"einsum: the term '{term}' of '{equation}' does not fit {tensor.type}",
                loc=user_location(),
            )
        for c, d in zip(term, tensor.shape):
            if sizes.setdefault(c, d) == 1:
                sizes[c] = d
            elif d not in (1, sizes[c]):
                raise ShapeError(
                    f"einsum: '{c}' is {sizes[c]} and {d} in '{equation}'",
                    loc=user_location(),
                    operands=[str(t.type) for t in tensors],
                )
    if any(c not in sizes for c in output) or len(set(output)) != len(output):
        raise ArgumentError(
            f"einsum: the output '{output}' of '{equation}' is not made of its inputs",
            loc=user_location(),
        )
    return sizes


def _diagonalised(x: Tensor, term: str) -> Tensor:
    """Repeated labels reduced to one axis each, by a sum against the diagonal."""
    labels = list(term)
    for c in dict.fromkeys(term):
        while labels.count(c) > 1:
            first = labels.index(c)
            second = labels.index(c, first + 1)
            shape = x.shape
            one = ops.iota(shape=shape, axis=first, dtype=int64)
            two = ops.iota(shape=shape, axis=second, dtype=int64)
            x = ops.reduce_sum(math.where(ops.eq(one, two), x, 0), axes=(second,))
            del labels[second]
    return x


def _contract(
    a: str, x: Tensor, b: str, y: Tensor, needed: set[str]
) -> tuple[str, Tensor]:
    x, y = _pair("einsum", x, y)
    shared = [c for c in a if c in b]
    batch = [c for c in shared if c in needed]
    summed = [c for c in shared if c not in needed]
    pairs = {
        "batch": (tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
        "contract": (tuple(a.index(c) for c in summed), tuple(b.index(c) for c in summed)),
    }
    found = ops.dot_general(x, y, **pairs)
    free = [c for c in a if c not in shared] + [c for c in b if c not in shared]
    return "".join(batch + free), found
