"""Memorise every graph in every way, and write record.json, tables, figure.

One command makes all of this folder's page::

    python -m analyses.geometric_memory.train
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analyses.geometric_memory import tables
from analyses.geometric_memory.graphs import GRAPHS, Graph, Matrix
from analyses.geometric_memory.measure import chance, overlaps, p_of
from analyses.geometric_memory.models import WAYS, Way

SEEDS = (0, 1, 2)

Run = dict[str, Any]


def answers(graph: Graph) -> Tensor:
    """Return what is to be learned: each neighbour with the same share."""
    A = torch.tensor(graph.adjacency, dtype=torch.float32)
    return A / A.sum(dim=1, keepdim=True)


def cross_entropy(logits: Tensor, T: Tensor) -> Tensor:
    return -(T * logits.log_softmax(dim=1)).sum(dim=1).mean()


def floor(graph: Graph) -> float:
    """Return the least cross-entropy: that of shares with themselves."""
    return float(np.log(graph.adjacency.sum(axis=1)).mean())


def recall(logits: Matrix, graph: Graph) -> float:
    """Return the mean share of neighbours among the likeliest others.

    As many as a node has neighbours; the node itself is not looked at.
    """
    logits = logits.copy()
    np.fill_diagonal(logits, -np.inf)
    order = np.argsort(-logits, axis=1, kind="stable")
    return float(
        np.mean(
            [
                near[likeliest[: int(near.sum())]].mean()
                for near, likeliest in zip(graph.adjacency, order, strict=True)
            ]
        )
    )


def host(X: Tensor) -> Matrix:
    return X.detach().double().numpy()


@dataclass(frozen=True)
class State:
    """What a model is at one step of its training.

    Attributes
    ----------
    excess
        Cross-entropy above the floor.
    embeddings
        By name, each (n, d).
    """

    step: int
    excess: float
    recall: float
    embeddings: Mapping[str, Matrix]


def memorised(way: Way, graph: Graph, seed: int) -> Iterator[State]:
    """Yield what there is before training and after each power of two."""
    torch.manual_seed(seed)
    model, T = way.make(graph.n), answers(graph)
    optimiser = way.optimiser(model.parameters(), lr=way.rate)
    for step in range(way.steps + 1):
        logits = model()
        loss = cross_entropy(logits, T)
        if step & (step - 1) == 0:
            found = model.embeddings().items()
            yield State(
                step,
                loss.item() - floor(graph),
                recall(host(logits), graph),
                {name: host(X) for name, X in found},
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def rounded(value: float) -> float:
    return round(value, 4)


def followed(states: Sequence[State], name: str, graph: Graph) -> Run:
    """Return the overlaps of one embedding at each step."""
    each = [asdict(overlaps(s.embeddings[name], graph)) for s in states]
    return {key: [rounded(one[key]) for one in each] for key in each[0]}


def run(way: Way, graph: Graph, seed: int) -> Run:
    """Return what was measured over the training of one model."""
    states = list(memorised(way, graph, seed))
    last = states[-1].embeddings
    return {
        "graph": graph.name,
        "model": way.name,
        "seed": seed,
        "steps": [state.step for state in states],
        "excess": [rounded(state.excess) for state in states],
        "recall": [rounded(state.recall) for state in states],
        "embeddings": {
            name: followed(states, name, graph) | {"p": p_of(X, graph, seed)}
            for name, X in last.items()
        },
    }


def graph_row(graph: Graph) -> Run:
    mean, spread = chance(graph)
    return {
        "graph": graph.name,
        "n": graph.n,
        "edges": int(graph.adjacency.sum()) // 2,
        "k": graph.k,
        "gap": rounded(graph.gaps[graph.k]),
        "chance": rounded(mean),
        "spread": rounded(spread),
        "quarter": rounded(graph.quarter.shape[1] / (graph.n - 1)),
    }


def main() -> None:
    torch.set_num_threads(1)
    runs = [
        run(way, graph, seed)
        for graph in GRAPHS
        for way in WAYS
        for seed in SEEDS
    ]
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.partition("+")[0],
    }
    graphs = [graph_row(graph) for graph in GRAPHS]
    tables.RECORD.write_text(as_text(versions, graphs, runs), "utf-8")
    tables.main()


def as_text(versions: Run, graphs: list[Run], runs: list[Run]) -> str:
    """Return the record as JSON, one line a graph or run."""
    parts = [f'"versions": {json.dumps(versions)}']
    for name, rows in (("graphs", graphs), ("runs", runs)):
        lines = ",\n".join(map(json.dumps, rows))
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
