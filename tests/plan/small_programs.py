"""Programs every compiler of training steps must fuse well, built eqn by eqn."""

from __future__ import annotations

from typing import Any

from gradc.tracer import ops
from gradc.tracer.graph.builder import GraphBuilder
from gradc.tracer.graph.ir import Atom, Graph, Literal, Var
from gradc.tracer.graph.types import DType, TensorType, float32, int64

Shape = tuple[int, ...]


class Maker:
    """`m.exp(x)` appends an eqn; `m.full(v, shape)` is a constant."""

    def __init__(self, name: str) -> None:
        self.b = GraphBuilder(name)

    def input(self, shape: Shape, name: str, dtype: DType = float32) -> Var:
        return self.b.input(TensorType(shape, dtype), name)

    def __getattr__(self, name: str) -> Any:
        prim = getattr(ops, name)
        return lambda *operands, **params: self.b.op(prim, *operands, **params)

    def full(self, value: float, shape: Shape = ()) -> Atom:
        literal = Literal(value, TensorType((), float32))
        return literal if shape == () else self.b.op(ops.broadcast, literal, shape=shape, axes=())

    def rows(self, x: Atom, n: int) -> Var:
        """[B] -> [B, n]."""
        return self.b.op(ops.broadcast, x, shape=(*x.type.shape, n), axes=(0,))

    def columns(self, x: Atom, b: int) -> Var:
        """[N] -> [b, N]."""
        return self.b.op(ops.broadcast, x, shape=(b, *x.type.shape), axes=(1,))

    def dot(self, a: Atom, b: Atom, along_a: int, along_b: int) -> Var:
        contract = ((along_a,), (along_b,))
        return self.b.op(ops.dot_general, a, b, contract=contract, batch=((), ()))

    def mean(self, x: Var) -> Var:
        b, n = x.type.shape
        assert isinstance(b, int) and isinstance(n, int)
        total = self.b.op(ops.reduce_sum, x, axes=(1,))
        return self.b.op(ops.div, total, self.full(float(n), (b,)))


def softmax(b: int = 4, n: int = 10) -> Graph:
    m = Maker("softmax")
    x = m.input((b, n), "x")
    e = m.exp(m.sub(x, m.rows(m.reduce_max(x, axes=(1,)), n)))
    return m.b.finish([m.div(e, m.rows(m.reduce_sum(e, axes=(1,)), n))])


def softmax_backward(b: int = 4, n: int = 10) -> Graph:
    m = Maker("softmax_backward")
    y, dy = m.input((b, n), "y"), m.input((b, n), "dy")
    s = m.reduce_sum(m.mul(dy, y), axes=(1,))
    return m.b.finish([m.mul(y, m.sub(dy, m.rows(s, n)))])


def log_softmax(b: int = 4, n: int = 10) -> Graph:
    m = Maker("log_softmax")
    x = m.input((b, n), "x")
    z = m.sub(x, m.rows(m.reduce_max(x, axes=(1,)), n))
    s = m.log(m.reduce_sum(m.exp(z), axes=(1,)))
    return m.b.finish([m.sub(z, m.rows(s, n))])


def cross_entropy(b: int = 4, n: int = 10, backward: bool = True) -> Graph:
    """The mean loss, and its gradient by the logits."""
    m = Maker("cross_entropy")
    x, y = m.input((b, n), "x"), m.input((b,), "y", int64)
    z = m.sub(x, m.rows(m.reduce_max(x, axes=(1,)), n))
    lse = m.log(m.reduce_sum(m.exp(z), axes=(1,)))
    log_p = m.sub(z, m.rows(lse, n))
    picked = m.gather(log_p, y, axes=(1,), batch=1, wrap=False)
    loss = m.div(m.neg(m.reduce_sum(picked, axes=(0,))), m.full(float(b)))
    if not backward:
        return m.b.finish([loss])
    g = m.scatter(m.full(0.0, (b, n)), m.full(-1.0 / b, (b,)), y,
                  axes=(1,), batch=1, wrap=False, combiner="add")  # fmt: skip
    dx = m.sub(g, m.mul(m.exp(log_p), m.rows(m.reduce_sum(g, axes=(1,)), n)))
    return m.b.finish([loss, dx])


def layer_norm(b: int = 4, n: int = 10, forward: bool = True, backward: bool = True) -> Graph:
    m = Maker("layer_norm")
    x, w, bias = m.input((b, n), "x"), m.input((n,), "w"), m.input((n,), "b")
    dy = m.input((b, n), "dy")
    centred = m.sub(x, m.rows(m.mean(x), n))
    variance = m.mean(m.mul(centred, centred))
    inverse = m.rows(m.rsqrt(m.add(variance, m.full(1e-5, (b,)))), n)
    normal = m.mul(centred, inverse)
    outputs: list[Atom] = []
    if forward:
        outputs.append(m.add(m.mul(normal, m.columns(w, b)), m.columns(bias, b)))
    if backward:
        g = m.mul(dy, m.columns(w, b))
        means = m.rows(m.mean(g), n), m.rows(m.mean(m.mul(g, normal)), n)
        dx = m.mul(m.sub(m.sub(g, means[0]), m.mul(normal, means[1])), inverse)
        dw, db = m.reduce_sum(m.mul(dy, normal), axes=(0,)), m.reduce_sum(dy, axes=(0,))
        outputs += [dx, dw, db]
    return m.b.finish(outputs)


def adam(n: int = 20) -> Graph:
    m = Maker("adam")
    p, g, mean, square = (m.input((n,), name) for name in ("p", "g", "m", "v"))
    lr = m.input((), "lr")

    def mix(old: Var, new: Var, keep: float) -> Var:
        kept = m.mul(m.full(keep, (n,)), old)
        return m.add(kept, m.mul(m.full(1 - keep, (n,)), new))  # type: ignore[no-any-return]

    new_mean, new_square = mix(mean, g, 0.9), mix(square, m.mul(g, g), 0.999)
    step = m.div(new_mean, m.add(m.sqrt(new_square), m.full(1e-8, (n,))))
    new = m.sub(p, m.mul(m.broadcast(lr, shape=(n,), axes=()), step))
    aliases = [(0, 0), (1, 2), (2, 3)]
    return m.b.finish([new, new_mean, new_square], n_args=0, aliases=aliases)


def mlp_step(b: int = 4, i: int = 6, h: int = 5, o: int = 3) -> Graph:
    """Two layers, squared error, SGD; the parameters are state."""
    m = Maker("mlp_step")
    x, y, lr = m.input((b, i), "x"), m.input((b, o), "y"), m.input((), "lr")
    w1, b1, w2, b2 = (
        m.input(s, n) for s, n in (((i, h), "w1"), ((h,), "b1"), ((h, o), "w2"), ((o,), "b2"))
    )
    z = m.add(m.dot(x, w1, 1, 0), m.columns(b1, b))
    a = m.maximum(z, m.full(0.0, (b, h)))
    d = m.sub(m.add(m.dot(a, w2, 1, 0), m.columns(b2, b)), y)
    loss = m.reduce_sum(m.mul(d, d), axes=(0, 1))
    g = m.mul(d, m.full(2.0, (b, o)))
    zero = m.full(0.0, (b, h))
    gz = m.select(m.gt(z, zero), m.dot(g, w2, 1, 1), zero)
    gradients = (
        m.dot(x, gz, 0, 0),
        m.reduce_sum(gz, axes=(0,)),
        m.dot(a, g, 0, 0),
        m.reduce_sum(g, axes=(0,)),
    )
    new = [
        m.sub(p, m.mul(m.broadcast(lr, shape=p.type.shape, axes=()), q))
        for p, q in zip((w1, b1, w2, b2), gradients, strict=True)
    ]
    return m.b.finish([loss, *new], n_args=3, aliases=[(1 + k, 3 + k) for k in range(4)])


def attention(b: int = 2, h: int = 2, t: int = 5, d: int = 4) -> Graph:
    """Scores, softmax, values; batched products."""
    m = Maker("attention")
    q, k, v = (m.input((b, h, t, d), name) for name in "qkv")
    batch = ((0, 1), (0, 1))
    scores = m.dot_general(q, k, contract=((3,), (3,)), batch=batch)
    scores = m.mul(scores, m.full(0.5, (b, h, t, t)))
    spread = {"shape": (b, h, t, t), "axes": (0, 1, 2)}
    e = m.exp(m.sub(scores, m.broadcast(m.reduce_max(scores, axes=(3,)), **spread)))
    p = m.div(e, m.broadcast(m.reduce_sum(e, axes=(3,)), **spread))
    return m.b.finish([m.dot_general(p, v, contract=((3,), (2,)), batch=batch)])
