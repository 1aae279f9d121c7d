"""EfficientNet-Lite0, trained on ImageNet, as a package ships it.

Its file is of the format that torch had before 2020: pickles, of which the
last two say what is where, and behind them the numbers. The pickles are read
as a list of words; nothing is unpickled.
"""

import pickletools
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

ATOMS = ("UNICODE", "INT", "GLOBAL", "LONG")

DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}

# Kernel, repeats, width, stride and expansion of each stage.
STAGES = (
    (3, 1, 16, 1, 1), (3, 2, 24, 2, 6), (5, 2, 40, 2, 6), (3, 3, 80, 2, 6),
    (5, 3, 112, 1, 6), (5, 4, 192, 2, 6), (3, 1, 320, 1, 6),
)  # fmt: skip


def words(file: object) -> list[object]:
    """Return the strings and numbers of one pickle, and ids of storages."""
    memo: dict[object, object] = {}
    found: list[object] = []
    is_atom = False
    for op, value, _ in pickletools.genops(file):
        if op.name.endswith("PUT"):
            memo[value] = found[-1] if is_atom else None
            continue
        is_got = op.name.endswith("GET")
        is_atom = not is_got and any(part in op.name for part in ATOMS)
        if is_atom or is_got:
            found.append(memo[value] if is_got else value)
        elif op.name == "BINPERSID":
            found.append(op.name)
    return found


def is_number(word: object) -> bool:
    return isinstance(word, int)


def tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; each has a storage of its own."""
    found = {}
    with path.open("rb") as file:
        *_, held, keys = [words(file) for _ in range(5)]
        places = [i for i, word in enumerate(held) if word == "BINPERSID"]
        where = {held[i - 3]: i for i in places}
        for key in keys:
            i = where[key]
            name, dtype, n = held[i - 7], DTYPES[held[i - 4]], held[i - 1]
            assert int.from_bytes(file.read(8), "little") == n
            values = np.frombuffer(file.read(n * dtype.itemsize), dtype)
            offset, *numbers = takewhile(is_number, held[i + 1 :])
            assert offset == 0, name
            half = len(numbers) // 2
            found[name] = torch.tensor(values).as_strided(
                numbers[:half], numbers[half:]
            )
    return found


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow pads, more behind than before."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        size = x.shape[-1]
        need = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        before, behind = need // 2, need - need // 2
        x = nn.functional.pad(x, (before, behind, before, behind))
        return super().forward(x)


def conv(
    a: int, b: int, kernel: int, stride: int = 1, groups: int = 1
) -> Same:
    return Same(a, b, kernel, stride, groups=groups, bias=False)


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


class Block(nn.Module):
    """Expand, filter each channel, project; add the input where it fits."""

    def __init__(self, a: int, b: int, kernel: int, stride: int, wider: int):
        super().__init__()
        middle = a * wider
        if wider > 1:
            self._expand_conv, self._bn0 = conv(a, middle, 1), norm(middle)
        self._depthwise_conv = conv(middle, middle, kernel, stride, middle)
        self._bn1 = norm(middle)
        self._project_conv, self._bn2 = conv(middle, b, 1), norm(b)
        self.is_wider, self.is_added = wider > 1, a == b and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.is_wider:
            y = nn.functional.relu6(self._bn0(self._expand_conv(y)))
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.is_added else y


class Lite0(nn.Module):
    """The network, of images (n, 3, 224, 224) of numbers from 0 to 255."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, 32, 3, 2), norm(32)
        blocks, a = [], 32
        for kernel, repeats, b, stride, wider in STAGES:
            for i in range(repeats):
                blocks.append(Block(a, b, kernel, 1 if i else stride, wider))
                a = b
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = conv(320, 1280, 1), norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, images: Tensor) -> Tensor:
        """Return what the classes are told from, (n, 1280)."""
        x = (images - 127) / 128
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = nn.functional.relu6(self._bn1(self._conv_head(x)))
        return x.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self._fc(self.features(images))


def trained(path: Path) -> Lite0:
    model = Lite0()
    kept = model.load_state_dict(tensors(path), strict=False)
    assert not kept.unexpected_keys
    assert all("num_batches" in name for name in kept.missing_keys)
    return model.eval()


def untrained() -> Lite0:
    torch.manual_seed(0)
    return Lite0().eval()
