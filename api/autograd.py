"""`gradc.autograd`: grad, Function, gradcheck, anomaly mode (torch's names and meaning)."""

from gradc.tracer.autograd import (
    Function,
    FunctionContext,
    backward,
    detect_anomaly,
    grad,
    gradcheck,
    gradgradcheck,
    once_differentiable,
    set_detect_anomaly,
)
from gradc.tracer.context import enable_grad, no_grad, set_grad_enabled

__all__ = [
    "Function", "FunctionContext", "backward", "detect_anomaly", "enable_grad", "grad",
    "gradcheck", "gradgradcheck", "no_grad", "once_differentiable", "set_detect_anomaly",
    "set_grad_enabled",
]  # fmt: skip
