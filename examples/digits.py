"""Train a classifier of handwritten digits, the whole step compiled to C.

The data are the 1,797 scans of 8 x 8 pixels that scikit-learn ships (E. Alpaydin and C. Kaynak,
UCI, 1998). One call of `step` runs forward, backward and the optimizer in generated C.

    python examples/digits.py [--epochs N] [--quick] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.data import DataLoader, TensorDataset

console = Console()


def read_data():
    """Images scaled to [0, 1] and their labels, split 80 : 20 for training and testing."""
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    cut = len(labels) * 4 // 5
    train, test = order[:cut], order[cut:]
    return images[train], labels[train], images[test], labels[test]


def curve(losses, width=60, height=10):
    """The losses as a plot of text."""
    chunks = [float(np.mean(c)) for c in np.array_split(losses, min(width, len(losses)))]
    low, high = min(chunks), max(chunks)
    rows = [[" "] * len(chunks) for _ in range(height)]
    for x, value in enumerate(chunks):
        y = round((value - low) / max(high - low, 1e-12) * (height - 1))
        rows[height - 1 - y][x] = "●"
    lines = []
    for i, row in enumerate(rows):
        mark = high - (high - low) * i / (height - 1)
        lines.append(f"{mark:8.4f} ┤" + "".join(row))
    return "\n".join([*lines, " " * 9 + "└" + "─" * len(chunks)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="a few epochs only")
    parser.add_argument("--out", default="out/digits", help="where the exported C goes")
    options = parser.parse_args()
    epochs = 4 if options.quick else options.epochs

    gradc.manual_seed(0)
    x_train, y_train, x_test, y_test = read_data()
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    opt = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)

    @gradc.compile
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    loader = DataLoader(
        TensorDataset(x_train, y_train), batch_size=64, shuffle=True, drop_last=True
    )
    x, y = next(iter(loader))
    start = time.perf_counter()
    losses = [step(x, y).item()]
    first = time.perf_counter() - start

    columns = (
        TextColumn("training"), BarColumn(), TextColumn("{task.completed}/{task.total} epochs"),
        TextColumn("loss {task.fields[loss]:.4f}"), TimeElapsedColumn(),
    )  # fmt: skip
    start = time.perf_counter()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs, loss=losses[0])
        for _ in range(epochs):
            for x, y in loader:
                losses.append(step(x, y).item())
            progress.update(task, advance=1, loss=losses[-1])
    seconds = time.perf_counter() - start

    with gradc.no_grad():
        predicted = model(gradc.from_numpy(x_test)).argmax(1)
    accuracy = float((predicted.numpy() == y_test).mean())

    console.print(curve(losses))
    per_step = seconds / (len(losses) - 1) * 1e6
    console.print(f"first step (trace, compile, run)   {first:.2f} s")
    console.print(f"{len(losses) - 1:,} steps                        {seconds:.2f} s, "
                  f"{per_step:.0f} us each with loading")  # fmt: skip
    memory = step.memory_analysis()
    console.print(f"one step needs                     {memory.peak_bytes:,} bytes")
    console.print(f"generated C                        {step.c_path}", soft_wrap=True)
    package = gradc.aot.export(step, (x, y), options.out, name="train")
    console.print(f"exported without Python            {package}", soft_wrap=True)
    gradc.save(model.state_dict(), f"{options.out}/model.safetensors")
    console.print(f"test accuracy                      {accuracy:.1%}")
    if not options.quick and accuracy < 0.97:
        raise SystemExit("the test accuracy is below 97%")


if __name__ == "__main__":
    main()
