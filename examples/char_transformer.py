"""A character-level transformer, trained on real text with the whole step compiled to C.

The text is a file you name, or by default the sources of Python's standard library.

    python examples/char_transformer.py [FILE] [--steps N] [--layers N] [--width N] [--quick]
"""

import argparse
import pathlib
import sysconfig
import time

import numpy as np

import gradc
import gradc.nn.functional as F
from gradc import nn, optim


def read_text(path):
    """The file's text, or a megabyte of the standard library's sources."""
    if path is not None:
        return pathlib.Path(path).read_text(errors="replace")
    folder = pathlib.Path(sysconfig.get_paths()["stdlib"])
    text = ""
    for file in sorted(folder.glob("*.py")):
        text += file.read_text(errors="replace")
        if len(text) > 1_000_000:
            break
    return text


class Block(nn.Module):
    """Attention and a feed-forward net, each with a residual connection."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x):
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = (t.reshape(shape).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class CharTransformer(nn.Module):
    """Characters to the logits of the next one."""

    def __init__(self, characters, length, width, layers, heads=4):
        super().__init__()
        self.tokens = nn.Embedding(characters, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(gradc.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    steps = 20 if options.quick else options.steps

    text = read_text(options.file)
    alphabet = sorted(set(text))
    codes = {c: i for i, c in enumerate(alphabet)}
    data = np.array([codes[c] for c in text], np.int64)
    print(f"{len(text):,} characters, {len(alphabet)} different")

    gradc.manual_seed(0)
    model = CharTransformer(len(alphabet), options.length, options.width, options.layers)
    count = sum(p.numel() for p in model.parameters())
    print(f"{count:,} parameters")
    opt = optim.AdamW(model.parameters(), lr=3e-3)

    @gradc.compile
    def step(x, y):
        opt.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits.reshape(-1, len(alphabet)), y.reshape(-1))
        loss.backward()
        opt.step()
        return loss

    rng = np.random.default_rng(0)

    def batch():
        starts = rng.integers(0, len(data) - options.length - 1, options.batch)
        rows = np.stack([data[s : s + options.length + 1] for s in starts])
        return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])

    begin = time.perf_counter()
    loss = step(*batch()).item()
    print(f"first step {time.perf_counter() - begin:.2f} s, loss {loss:.3f}")
    begin = time.perf_counter()
    for i in range(1, steps + 1):
        loss = step(*batch()).item()
        if i % max(steps // 10, 1) == 0:
            each = (time.perf_counter() - begin) / i * 1e3
            print(f"step {i:5d}   loss {loss:.3f}   {each:.1f} ms each")
    print("step needs", f"{step.memory_analysis().peak_bytes:,} bytes")

    @gradc.compile
    def predict(tokens):
        with gradc.no_grad():
            return F.softmax(model(tokens)[0, -1], dim=-1)

    window = data[: options.length].copy()
    sample = []
    for _ in range(40 if options.quick else 200):
        p = predict(window[None]).numpy().astype(np.float64)
        sample.append(int(rng.choice(len(alphabet), p=p / p.sum())))
        window = np.append(window[1:], sample[-1])
    print("sample:", repr("".join(alphabet[i] for i in sample)))


if __name__ == "__main__":
    main()
