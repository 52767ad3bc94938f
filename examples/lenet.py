"""Train a small convolutional network on handwritten digits, the whole step compiled to C.

The data are the 1,797 scans of 8 x 8 pixels that scikit-learn ships (E. Alpaydin and C. Kaynak,
UCI, 1998); the network is LeNet's plan (Y. LeCun et al., 1998) at that size.

    python examples/lenet.py [--epochs N] [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

import gradc
import gradc.nn.functional as F
from gradc import nn, optim
from gradc.data import DataLoader, TensorDataset


class LeNet(nn.Module):
    """Two convolutions with pooling, then two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def read_data():
    """Images [N, 1, 8, 8] scaled to [0, 1] and their labels, split 80 : 20."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    cut = len(labels) * 4 // 5
    train, test = order[:cut], order[cut:]
    return images[train], labels[train], images[test], labels[test]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="a few epochs only")
    options = parser.parse_args()
    epochs = 4 if options.quick else options.epochs

    gradc.manual_seed(0)
    x_train, y_train, x_test, y_test = read_data()
    model = LeNet()
    opt = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)

    @gradc.compile
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    @gradc.compile
    def predict(x):
        with gradc.no_grad():
            return model(x).argmax(1)

    loader = DataLoader(
        TensorDataset(x_train, y_train), batch_size=64, shuffle=True, drop_last=True
    )
    first = time.perf_counter()
    step(*next(iter(loader)))
    start = time.perf_counter()
    print(f"first step (trace, compile, run)   {start - first:.2f} s")
    steps = 0
    for epoch in range(epochs):
        losses = [step(x, y).item() for x, y in loader]
        steps += len(losses)
        print(f"epoch {epoch + 1:2d}   loss {np.mean(losses):.4f}")
    seconds = time.perf_counter() - start
    print(f"{steps} steps, {seconds / steps * 1e6:.0f} us each with loading")

    model.eval()  # the running statistics of the batch normalisation from here on
    accuracy = float((predict(gradc.from_numpy(x_test)).numpy() == y_test).mean())
    print(f"test accuracy {accuracy:.1%}")
    if accuracy < (0.9 if options.quick else 0.97):
        raise SystemExit("the test accuracy is too low")


if __name__ == "__main__":
    main()
