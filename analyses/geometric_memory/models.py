"""Ways of memorising the edges of a graph, each with its embeddings.

Each gives logits (n, n): from every node to every node.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

WIDTH = 64
ASSOCIATIVE_WIDTH = 256
HEADS = 4
SCALE = 0.02


def drawn(*shape: int) -> nn.Parameter:
    return nn.Parameter(SCALE * torch.randn(*shape))


class Node2Vec(nn.Module):
    """Logits ``V V^T``; as wide as there are nodes, so no bottleneck.

    Of Node2Vec (Grover and Leskovec 2016) with walks of one step and the
    whole softmax, as Noroozizadeh et al. (2025) look at it.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.V = drawn(n, n)

    def forward(self) -> Tensor:
        return self.V @ self.V.T

    def embeddings(self) -> dict[str, Tensor]:
        return {"V": self.V}


class Node2VecApart(Node2Vec):
    """The same, where no node is asked for itself."""

    def forward(self) -> Tensor:
        own = torch.eye(len(self.V), dtype=torch.bool)
        return super().forward().masked_fill(own, -1e9)


class Associative(nn.Module):
    """Logits ``E W E^T`` of a random E that stays: only W learns."""

    def __init__(self, n: int) -> None:
        super().__init__()
        d = ASSOCIATIVE_WIDTH
        self.register_buffer("E", torch.randn(n, d) / d**0.5)
        self.W = drawn(d, d)

    def forward(self) -> Tensor:
        return self.E @ self.W @ self.E.T

    def embeddings(self) -> dict[str, Tensor]:
        return {"E": self.E, "E W": self.E @ self.W}


class Transformer(nn.Module):
    """One block of pre-norm attention and MLP on (start, node).

    Only what the node's place gives is computed: it alone is asked.
    """

    def __init__(self, n: int, *, is_tied: bool) -> None:
        super().__init__()
        self.E = drawn(n + 1, WIDTH)
        self.U = self.E if is_tied else drawn(n + 1, WIDTH)
        self.places = drawn(2, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(self) -> Tensor:
        nodes = self.E[:-1]
        start = self.E[-1].expand_as(nodes)
        x = torch.stack([start, nodes], dim=1) + self.places
        h = self.norms[0](x)
        added, _ = self.attention(h[:, 1:], h, h, need_weights=False)
        y = (x[:, 1:] + added)[:, 0]
        y = y + self.mlp(self.norms[1](y))
        return self.norms[2](y) @ self.U[:-1].T

    def embeddings(self) -> dict[str, Tensor]:
        found = {"E": self.E[:-1]}
        return found if self.U is self.E else found | {"U": self.U[:-1]}


@dataclass(frozen=True)
class Way:
    """How one model is trained: all edges at once, `steps` times.

    Attributes
    ----------
    make
        Takes the number of nodes.
    """

    name: str
    make: Callable[[int], nn.Module]
    optimiser: Callable[..., torch.optim.Optimizer]
    rate: float
    steps: int


def tied(n: int) -> nn.Module:
    return Transformer(n, is_tied=True)


def untied(n: int) -> nn.Module:
    return Transformer(n, is_tied=False)


SGD = torch.optim.SGD
ADAM = partial(torch.optim.Adam, fused=True)

WAYS = (
    Way("Node2Vec", Node2Vec, SGD, 4.0, 512),
    Way("Node2Vec, apart", Node2VecApart, SGD, 4.0, 512),
    Way("transformer, tied", tied, ADAM, 0.001, 256),
    Way("transformer, untied", untied, ADAM, 0.001, 256),
    Way("associative", Associative, ADAM, 0.03, 256),
)
