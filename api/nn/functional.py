"""`gradc.nn.functional`: layers and losses as functions, with torch's signatures and defaults.

    import gradc.nn.functional as F
    loss = F.cross_entropy(logits, target)
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from gradc.tracer import functional as f
from gradc.tracer import ops
from gradc.tracer.context import composite, no_grad
from gradc.tracer.errors import ArgumentError, DTypeError, ShapeError
from gradc.tracer.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    gelu,
    glu,
    hardshrink,
    linear,
    logsigmoid,
    max_pool1d,
    max_pool2d,
    one_hot,
    pad,
    prelu,
    sigmoid,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
)
from gradc.tracer.functional.dimensions import read_shape
from gradc.tracer.functional.math import decay
from gradc.tracer.graph import dims
from gradc.tracer.graph.source import user_location
from gradc.tracer.graph.types import float32
from gradc.tracer.interpreter import as_tensor, full
from gradc.tracer.methods import in_place
from gradc.tracer.random import Generator, default_generator, unit
from gradc.tracer.tensor import Tensor

log_sigmoid = logsigmoid


def _or_in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` with torch's `inplace`: the result is written into the input."""
    write_result = in_place(function, function.__name__ + "_")

    @wraps(function)
    def apply(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        return (write_result if inplace else function)(input, *args, **kwargs)

    return apply


celu = _or_in_place(f.celu)
elu = _or_in_place(f.elu)
hardsigmoid = _or_in_place(f.hardsigmoid)
hardswish = _or_in_place(f.hardswish)
hardtanh = _or_in_place(f.hardtanh)
leaky_relu = _or_in_place(f.leaky_relu)
mish = _or_in_place(f.mish)
relu = _or_in_place(f.relu)
relu6 = _or_in_place(f.relu6)
selu = _or_in_place(f.selu)
silu = _or_in_place(f.silu)
threshold = _or_in_place(f.threshold)


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`, which must be given.

    Raises:
        ArgumentError: no `dim`.
    """
    return f.softmax(input, _required(dim, "softmax"), dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, which must be given.

    Raises:
        ArgumentError: no `dim`.
    """
    return f.log_softmax(input, _required(dim, "log_softmax"), dtype)


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """softmax(-x) along `dim`, which must be given."""
    return f.softmax(f.neg(input), _required(dim, "softmin"), dtype)


def _required(dim: int | None, name: str) -> int:
    if dim is None:
        raise ArgumentError(f"{name}: dim must be given", loc=user_location(3))
    return dim


# -- losses ---------------------------------------------------------------------------------------


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return f.mean(loss)
    if reduction == "sum":
        return f.sum(loss)
    if reduction == "none":
        return loss
    raise ArgumentError(
        f"{reduction} is not a valid value for reduction", loc=user_location(4)
    )


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: target size {list(target.shape)} must be the same as input size "
            f"{list(input.shape)}",
            loc=user_location(4),
            operands=[f"input  {input.type}", f"target  {target.type}"],
        )


@composite("mse_loss")
def mse_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)**2, averaged by default."""
    distance = f.sub(input, target)
    return _reduced(f.mul(distance, distance), reduction)


@composite("l1_loss")
def l1_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """|input - target|, averaged by default."""
    return _reduced(f.abs(f.sub(input, target)), reduction)


@composite("huber_loss")
def huber_loss(input: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the square within `delta`, linear beyond it.

    Raises:
        ArgumentError: `delta` is not positive.
    """
    if delta <= 0:
        raise ArgumentError(
            "huber_loss does not support non-positive values for delta.", loc=user_location(3)
        )
    return _reduced(_huber(input, target, delta), reduction)


def _huber(input: Tensor, target: Any, delta: float) -> Tensor:
    # The square of the distance itself: |d|**2 would have curvature 0 at 0.
    distance = f.sub(input, target)
    size = f.abs(distance)
    inside = f.mul(f.mul(distance, distance), 0.5)
    outside = f.mul(f.sub(size, 0.5 * delta), delta)
    return f.where(f.lt(size, delta), inside, outside)


@composite("smooth_l1_loss")
def smooth_l1_loss(
    input: Tensor, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """`huber_loss` divided by its width.

    Raises:
        ArgumentError: `beta` is negative.
    """
    if beta < 0:
        raise ArgumentError(
            "smooth_l1_loss does not support negative values for beta.", loc=user_location(3)
        )
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _reduced(f.div(_huber(input, target, beta), beta), reduction)


def kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target * (log(target) - input), where `input` holds log-probabilities.

    Args:
        reduction: also "batchmean", the sum over the size of the first axis.
        log_target: the target holds log-probabilities, too.
    """
    if log_target:
        loss = f.mul(f.exp(target), f.sub(target, input))
    else:
        loss = f.sub(f.xlogy(target, target), f.mul(target, input))
    if reduction == "batchmean":
        return f.div(f.sum(loss), float(dims.known(input.shape[0])))
    return _reduced(loss, reduction)


@composite("cosine_similarity")
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between two tensors along `dim`; they broadcast."""
    lengths = (f.clamp(f.norm(x, 2, dim, True), eps) for x in f.broadcast_tensors(x1, x2))
    first, second = (f.div(x, n) for x, n in zip((x1, x2), lengths))
    return f.sum(f.mul(first, second), dim)


@composite("binary_cross_entropy")
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)), each logarithm cut at -100.

    Raises:
        ShapeError: target and input differ in shape.
    """
    target = as_tensor(target)
    _same_shape("binary_cross_entropy", input, target)
    # Where a logarithm is cut or close to it, the slope is torch's: that of p (1 - p) at 1e-12.
    fixed = input.detach()
    edge = f.lt(f.mul(f.sub(1.0, fixed), fixed), 1e-12)
    p = f.where(edge, fixed, input)
    yes = f.mul(target, f.clamp(f.log(p), -100.0))
    no = f.mul(f.sub(1.0, target), f.clamp(f.log1p(f.neg(p)), -100.0))
    slope = f.div(f.sub(fixed, target.detach()), 1e-12)
    at_edge = f.where(edge, f.mul(f.sub(input, fixed), slope), 0.0)
    loss = f.sub(at_edge, f.add(yes, no))
    return _reduced(loss if weight is None else f.mul(loss, weight), reduction)


@composite("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), without overflow.

    Raises:
        ShapeError: target and input differ in shape.
    """
    target = as_tensor(target)
    _same_shape("binary_cross_entropy_with_logits", input, target)
    # x (step(x) - y) + log(1 + exp(-|x|)): the gradient is a sum that does not cancel.
    positive = f.ge(input, 0)
    tail = f.log1p(decay(input, positive))
    yes = target
    if pos_weight is not None:
        yes = f.mul(target, pos_weight)
        tail = f.mul(tail, f.add(f.mul(f.sub(pos_weight, 1.0), target), 1.0))
    slope = f.where(positive, f.sub(1.0, target), f.neg(yes))
    loss = f.add(f.mul(input, slope), tail)
    return _reduced(loss if weight is None else f.mul(loss, weight), reduction)


@composite("nll_loss")
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[target], with log-probabilities [N, C, ...] (or [C]) and classes [N, ...].

    Raises:
        ShapeError: the shapes do not fit.  DTypeError: the target is not of integers.
        IndexOutOfRange: a class outside [0, C) that is not `ignore_index` (when run).
    """
    return _nll(input, as_tensor(target), weight, ignore_index, reduction, 0.0)


@composite("cross_entropy")
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy of softmax(input): logits [N, C, ...] (or [C]), and classes [N, ...] or
    probabilities of the logits' shape.

    Raises: as `nll_loss`.
        ArgumentError: `label_smoothing` outside [0, 1].
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}",
            loc=user_location(3),
        )
    target = as_tensor(target)
    axis = 0 if input.ndim == 1 else 1
    logp = f.log_softmax(input, axis)
    if target.dtype.is_float:
        return _soft_target(logp, target, weight, reduction, label_smoothing, axis)
    return _nll(logp, target, weight, ignore_index, reduction, label_smoothing)


def _class_weight(weight: Tensor, ndim: int, axis: int) -> Tensor:
    shape = tuple(weight.shape[0] if i == axis else 1 for i in range(ndim))
    return ops.reshape(weight, shape=shape)  # type: ignore[no-any-return]


def _soft_target(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    smoothing: float,
    axis: int,
) -> Tensor:
    _same_shape("cross_entropy", logp, target)
    if smoothing:
        classes = dims.known(logp.shape[axis])
        target = f.add(f.mul(target, 1.0 - smoothing), smoothing / classes)
    if weight is not None:
        logp = f.mul(logp, _class_weight(weight, logp.ndim, axis))
    loss = f.neg(f.sum(f.mul(logp, target), axis))
    if reduction == "mean":
        count = dims.known(loss.type.size)
        return f.div(f.sum(loss), float(count))
    return _reduced(loss, reduction)


def _check_classes(logp: Tensor, target: Tensor) -> None:
    if not target.dtype.is_integer:
        raise DTypeError(
            "expected scalar type Long for the target",
            loc=user_location(5),
            operands=[f"target  {target.type}"],
            hint="classes are integers; probabilities must have the shape of the input",
        )
    expected = () if logp.ndim == 1 else (logp.shape[0], *logp.shape[2:])
    if logp.ndim == 0 or target.shape != expected:
        raise ShapeError(
            f"cross_entropy: the target must have shape {list(expected)}",
            loc=user_location(5),
            operands=[f"input  {logp.type}", f"target  {target.type}"],
        )


def _nll(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    _check_classes(logp, target)
    axis = 0 if logp.ndim == 1 else 1
    target = target.long()
    ignored = f.eq(target, ignore_index)
    classes = f.where(ignored, 0, target)
    loss = f.neg(_pick(logp, classes, axis))
    if smoothing:
        loss = _smoothed(logp, loss, weight, classes, axis, smoothing)
    elif weight is not None:
        loss = f.mul(loss, _rows(weight, classes))
    loss = f.where(ignored, 0.0, loss)
    if reduction != "mean":
        return _reduced(loss, reduction)
    if weight is None:
        counted = f.where(ignored, 0.0, 1.0)
    else:
        counted = f.where(ignored, 0.0, _rows(weight, classes))
    return f.div(f.sum(loss), f.sum(counted.to(loss.dtype)))


def _pick(logp: Tensor, classes: Tensor, axis: int) -> Tensor:
    """logp at each place's class."""
    if logp.ndim == 1:
        return ops.gather(logp, classes, axes=(0,), batch=0, wrap=False)  # type: ignore[no-any-return]
    moved = f.movedim(logp, 1, -1)
    batch = classes.ndim
    return ops.gather(moved, classes, axes=(batch,), batch=batch, wrap=False)  # type: ignore[no-any-return]


def _rows(weight: Tensor, classes: Tensor) -> Tensor:
    return ops.gather(weight, classes, axes=(0,), batch=0, wrap=False)  # type: ignore[no-any-return]


def _smoothed(
    logp: Tensor,
    loss: Tensor,
    weight: Tensor | None,
    classes: Tensor,
    axis: int,
    smoothing: float,
) -> Tensor:
    count = dims.known(logp.shape[axis])
    spread = logp
    if weight is not None:
        loss = f.mul(loss, _rows(weight, classes))
        spread = f.mul(logp, _class_weight(weight, logp.ndim, axis))
    uniform = f.neg(f.sum(spread, axis))
    return f.add(f.mul(loss, 1.0 - smoothing), f.mul(uniform, smoothing / count))


# -- layers ---------------------------------------------------------------------------------------


@composite("native_layer_norm")
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the last axes, which must have `normalized_shape`.

    Raises:
        ShapeError: they have not.
    """
    if isinstance(normalized_shape, int):
        normalized_shape = (normalized_shape,)
    shape = read_shape((tuple(normalized_shape),))
    if input.shape[max(input.ndim - len(shape), 0) :] != shape:
        raise ShapeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size {list(input.shape)}",
            loc=user_location(3),
        )
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    centred = f.sub(input, f.mean(input, axes, True))
    variance = f.mean(f.mul(centred, centred), axes, True)
    normal = f.mul(centred, f.rsqrt(f.add(variance, eps)))
    if weight is not None:
        normal = f.mul(normal, weight)
    return normal if bias is None else f.add(normal, bias)


def _require_statistics(input: Tensor, **given: Tensor | None) -> None:
    channels = dims.known(input.shape[1])
    for name, values in given.items():
        if values is not None and values.shape != (channels,):
            raise ShapeError(
                f"{name} should contain {channels} elements not {values.type.size}",
                loc=user_location(),
                operands=[f"input  {input.type}", f"{name}  {values.type}"],
            )


def _moments(input: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = f.mean(input, axes, True)
    centred = f.sub(input, mean)
    return mean, f.mean(f.mul(centred, centred), axes, True)


def _track(running: Tensor | None, found: Tensor, momentum: Any, scale: float = 1.0) -> None:
    """running = (1 - momentum) * running + momentum * found * scale, unrecorded."""
    if running is not None:
        with no_grad():
            new = f.mul(f.reshape(found.detach(), running.shape), scale)
            running.copy_(f.add(f.mul(running, 1 - momentum), f.mul(new, momentum)))


@composite("native_batch_norm")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for every channel (axis 1).

    While training the statistics are those of the batch, and the running ones move towards them
    by `momentum` (the variance unbiased); else the running ones are used.

    Raises:
        ShapeError: statistics, weight or bias are not of [C], or training with one value per
            channel.
        ArgumentError: no running statistics outside training.
    """
    _require_statistics(
        input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    shape = (1, input.shape[1], *(1 for _ in input.shape[2:]))
    if training:
        axes = (0, *range(2, input.ndim))
        count = dims.known(dims.numel(input.shape[a] for a in axes))
        if count == 1:
            raise ShapeError(
                "Expected more than 1 value per channel when training, got input size "
                f"{list(input.shape)}", loc=user_location(), operands=[f"input  {input.type}"],
            )  # fmt: skip
        mean, variance = _moments(input, axes)
        _track(running_mean, mean, momentum)
        _track(running_var, variance, momentum, count / max(count - 1, 1))
    elif running_mean is None or running_var is None:
        raise ArgumentError(
            "batch_norm: running_mean and running_var are needed outside training",
            loc=user_location(),
        )
    else:
        mean, variance = f.reshape(running_mean, shape), f.reshape(running_var, shape)
    normal = f.mul(f.sub(input, mean), f.rsqrt(f.add(variance, eps)))
    if weight is not None:
        normal = f.mul(normal, f.reshape(weight, shape))
    return normal if bias is None else f.add(normal, f.reshape(bias, shape))


@composite("dropout")
def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Zeros with probability p, the rest scaled by 1 / (1 - p); nothing outside training.

    Raises:
        ArgumentError: p outside [0, 1].
    """
    return _dropped(input, p, training, generator, input.ndim)


def _dropped(
    input: Tensor, p: float, training: bool, generator: Generator | None, axes: int
) -> Tensor:
    """Dropout that decides once for every index of the leading `axes`."""
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(
            f"dropout probability has to be between 0 and 1, but got {p}", loc=user_location()
        )
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return f.mul(input, 0.0)
    key = (generator or default_generator).next_key()
    shape = (*input.shape[:axes], *(1 for _ in input.shape[axes:]))
    kept = f.ge(unit(key, dims.known_shape(shape), float32), p)
    return f.where(kept, f.mul(input, 1.0 / (1.0 - p)), full((), 0, input.dtype))


@composite("feature_dropout")
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Whole channels of [N, C, L] or [C, L] zeroed with probability p, the rest scaled.

    Raises:
        ArgumentError: p outside [0, 1], or another rank.
    """
    return _channels_dropped("dropout1d", input, p, training, generator, (2, 3))


@composite("feature_dropout")
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Whole channels of [N, C, H, W] or [C, H, W] zeroed with probability p, the rest scaled.

    Raises:
        ArgumentError: p outside [0, 1], or another rank.
    """
    return _channels_dropped("dropout2d", input, p, training, generator, (3, 4))


def _channels_dropped(
    name: str,
    input: Tensor,
    p: float,
    training: bool,
    generator: Generator | None,
    ranks: tuple[int, int],
) -> Tensor:
    if input.ndim not in ranks:
        raise ArgumentError(
            f"{name}: expected {ranks[0]} or {ranks[1]} dimensions, but got {input.ndim}",
            loc=user_location(),
            operands=[f"input  {input.type}"],
        )
    return _dropped(input, p, training, generator, 1 if input.ndim == ranks[0] else 2)


@composite("embedding")
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` [N, D] at integer `input` [...]: [..., D].

    Args:
        padding_idx: this row gets no gradient.
    """
    found = f.embedding(weight, input)
    if padding_idx is None:
        return found
    row = padding_idx % dims.known(weight.shape[0])
    padding = f.unsqueeze(f.eq(input, row), -1)
    return f.where(padding, found.detach(), found)


@composite("normalize")
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(norm(x, p, dim), eps)."""
    size = f.norm(input, p, dim, True)
    return f.div(input, f.clamp(size, eps))


@composite("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v, with q [..., L, E], k [..., S, E], v [..., S, Ev].

    Args:
        attn_mask: bool (True takes part) or added to the scores; broadcasts to [..., L, S]. A row
            that sees nothing gives 0.
        is_causal: position i sees positions up to i.
        scale: 1 / sqrt(E) by default.
        enable_gqa: fewer heads (axis -3) of key and value, each shared by as many of the query.

    Raises:
        ArgumentError: both `attn_mask` and `is_causal`.
    """
    if is_causal and attn_mask is not None:
        raise ArgumentError(
            "scaled_dot_product_attention: attn_mask must not be given when is_causal=True",
            loc=user_location(3),
        )
    if enable_gqa:
        key, value = _shared_heads(query, key), _shared_heads(query, value)
    factor = 1.0 / _math.sqrt(dims.known(query.shape[-1])) if scale is None else scale
    scores = f.mul(f.matmul(query, f.transpose(key, -2, -1)), factor)
    if is_causal:
        shape = scores.shape[-2:]
        seen = f.tril(full(shape, 1, float32))
        scores = f.where(f.gt(seen, 0), scores, float("-inf"))
    if attn_mask is not None:
        if attn_mask.dtype.is_bool:
            scores = f.where(attn_mask, scores, float("-inf"))
        else:
            scores = f.add(scores, attn_mask)
    weights = f.softmax(scores, -1) if attn_mask is None else _softmax_of_seen(scores)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return f.matmul(weights, value)


def _shared_heads(query: Tensor, x: Tensor) -> Tensor:
    """Every head of `x` (axis -3) as often as the query has heads for it."""
    heads, own = dims.known(query.shape[-3]), dims.known(x.shape[-3])
    if heads % own:
        raise ShapeError(
            f"scaled_dot_product_attention: {own} heads of key or value do not share {heads}",
            loc=user_location(4),
            operands=[f"query  {query.type}", f"key or value  {x.type}"],
        )
    return x if heads == own else f.repeat_interleave(x, heads // own, -3)


def _softmax_of_seen(scores: Tensor) -> Tensor:
    """softmax along the last axis, with 0 for a row of -inf."""
    high = f.amax(scores.detach(), -1, True)
    high = f.where(f.eq(high, float("-inf")), 0.0, high)
    e = f.exp(f.sub(scores, high))
    total = f.sum(e, -1, True)
    return f.div(e, f.where(f.eq(total, 0.0), 1.0, total))


__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "batch_norm",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "conv1d", "conv2d",
    "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_similarity",
    "cross_entropy", "dropout", "dropout1d", "dropout2d", "elu", "embedding", "gelu", "glu",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "huber_loss", "kl_div", "l1_loss",
    "layer_norm", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "logsigmoid", "max_pool1d",
    "max_pool2d", "mish", "mse_loss", "nll_loss", "normalize", "one_hot", "pad", "prelu", "relu",
    "relu6", "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax",
    "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip
