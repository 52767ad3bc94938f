"""Export a training step as C, and print the losses it gives in Python.

    python export.py          writes out/train.c ... and out/data.bin
    make && out/train_digits  trains with no Python in the process; prints the same losses

One line per epoch: the loss of its last batch, as a hexadecimal float, so that equal means equal
to the last bit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import gradc
import gradc.nn.functional as F
from gradc import nn, optim

BATCH, BATCHES, EPOCHS = 64, 28, 20
HERE = Path(__file__).parent


def load_data() -> tuple[np.ndarray, np.ndarray]:
    """Images f32[28,64,64] in [0, 1] and labels i64[28,64], in batches, in a fixed order."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))[: BATCH * BATCHES]
    x = (images[order] / 16).astype(np.float32).reshape(BATCHES, BATCH, 64)
    return x, labels[order].astype(np.int64).reshape(BATCHES, BATCH)


def make_step():
    """A two-layer classifier and its training step."""
    gradc.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    @gradc.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "out")
    out = parser.parse_args().out
    images, labels = load_data()
    step = make_step()
    gradc.aot.export(step, (images[0], labels[0]), out, name="train")
    (out / "data.bin").write_bytes(images.tobytes() + labels.tobytes())
    for epoch in range(EPOCHS):
        for x, y in zip(images, labels):
            loss = step(x, y)
        print(f"epoch {epoch + 1:2d}  loss {loss.item():.6f}  {float(loss.item()).hex()}")


if __name__ == "__main__":
    main()
