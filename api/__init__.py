"""gradc: training steps as plain C.

    import gradc
    from gradc import nn, optim
    import gradc.nn.functional as F

    @gradc.compile
    def step(x, y):
        opt.zero_grad(); loss = F.cross_entropy(model(x), y); loss.backward(); opt.step()
        return loss

Names and meaning are torch's; see docs/ for what differs.
"""

import os

from gradc.tracer.graph.source import register_own_folder

register_own_folder(os.path.dirname(os.path.abspath(__file__)))

import gradc.tracer.methods  # noqa: E402, F401  (attaches the methods of Tensor)
from gradc import aot, autograd, data, errors, func, nn, optim  # noqa: E402
from gradc.io import load, save  # noqa: E402
from gradc.runtime.binding import get_num_threads, set_num_threads  # noqa: E402
from gradc.runtime.compile import compile  # noqa: E402
from gradc.runtime.crosscheck import crosscheck  # noqa: E402
from gradc.tracer.config import config, configure_logging  # noqa: E402
from gradc.tracer.context import (  # noqa: E402
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from gradc.tracer.creation import (  # noqa: E402
    arange, as_tensor, asarray, empty, empty_like, eye, from_numpy, full, full_like, linspace,
    ones, ones_like, tensor, tril_indices, triu_indices, zeros, zeros_like,
)  # fmt: skip
from gradc.tracer.functional import *  # noqa: E402, F403
from gradc.tracer.graph.types import (  # noqa: E402
    DType, bool_, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
)  # fmt: skip
from gradc.tracer.promotion import (  # noqa: E402
    get_default_dtype,
    result_type,
    set_default_dtype,
)
from gradc.tracer.random import (  # noqa: E402
    Generator, bernoulli, default_generator, manual_seed, normal, rand, rand_like, randint, randn,
    randn_like, randperm,
)  # fmt: skip
from gradc.tracer.tensor import Tensor, is_tensor  # noqa: E402

bool = bool_
long = int64
double = float64
inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
newaxis = None

__version__ = "0.1.0"

configure_logging()
