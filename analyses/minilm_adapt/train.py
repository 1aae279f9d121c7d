"""Train held-out tasks in the directions of other tasks' adapters.

Six of the tasks of `analyses.minilm_lora` are held out; the adapters of the
others make the basis. Each held-out task is learned in every way of `ARMS`,
from the same heads, batches and dropout draws. Rates are chosen on two other
tasks, whose own adapter is taken out of the basis then. What the record
already has is kept, so a stopped run goes on where it was.

Usage::

    python -m analyses.minilm_lora.train avail.txt BASE OUT \\
        --same-seed 0 --record OUT/trained.json
    python -m analyses.minilm_adapt.train avail.txt BASE \\
        OUT/independent --trained OUT/trained.json --record record.json
"""

import argparse
import hashlib
import importlib.metadata
import itertools
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers.utils import logging as loading

import spectra
from analyses.minilm_lora.train import (
    BASE_NAME,
    Classifier,
    Task,
    distinct_tags,
    jaccard,
    make_task,
    read_descriptions,
)

STEPS = 64
BATCH = 8
TOGETHER = 32
RANK = 8
N_TASKS = 32
SEEDS = (0, 1, 2)

# Places among the 32 tasks, most frequent tag first, evenly spread.
HELD_OUT = (2, 7, 12, 17, 22, 27)
TUNED_ON = (4, 14)

log = logging.getLogger("adapt")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of learning a task.

    Attributes
    ----------
    k
        Directions; 0 for none.
    kind
        Arms of one kind have one pair of rates.
    rates
        (of the head, of the rest) that are tried, learning rates of AdamW.
    """

    name: str
    kind: str
    k: int
    rates: tuple[tuple[float, float], ...]


_HEADS = tuple((rate, 0.0) for rate in (1e-3, 1e-2, 1e-1))
_LORA = ((1e-3, 1e-3), *((1e-2, rate) for rate in (1e-3, 3e-3, 1e-2)))
_FEW = tuple((1e-2, rate) for rate in (3e-3, 1e-2, 3e-2, 1e-1, 3e-1))

ARMS = (
    Arm("frozen", "frozen", 0, _HEADS),
    Arm("mean", "mean", 0, _HEADS),
    Arm("basis, k = 4", "basis", 4, _FEW),
    Arm("basis, k = 25", "basis", 25, _FEW),
    Arm("random, k = 4", "random", 4, _FEW),
    Arm("random, k = 25", "random", 25, _FEW),
    Arm("lora", "lora", 0, _LORA),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is recorded of one training.

    Attributes
    ----------
    n_trained
        Numbers that are trained beside the head.
    norm
        Of the update, all layers together, in the Frobenius norm.
    """

    part: str
    tag: str
    task: int
    arm: str
    k: int
    seed: int
    head_rate: float
    rate: float
    n_trained: int
    norm: float
    test_examples: int
    test_accuracy: float
    final_loss: float
    cpu_seconds: float


def build(
    arm: Arm, run: spectra.Run, base: Path, *, seed: int
) -> tuple[Classifier, Any]:
    """Return a classifier, and its adaptation where it has one."""
    model = Classifier(base, rank=RANK)
    if arm.kind == "lora":
        return model, None
    model.encoder = model.encoder.unload()
    model.encoder.requires_grad_(False)
    if arm.kind == "frozen":
        return model, None
    adaptation = spectra.adapt(
        model.encoder,
        run,
        k=max(arm.k, 1),
        init="mean",
        random=arm.kind == "random",
        seed=seed,
    )
    if not arm.k:
        for parameter in adaptation.parameters():
            parameter.requires_grad_(False)
    return model, adaptation


def trained_of(model: Classifier, adaptation: Any) -> list[Any]:
    """Return what is trained beside the head."""
    own = [] if adaptation is None else adaptation.parameters()
    every = [*model.encoder.parameters(), *own]
    return [p for p in every if p.requires_grad]


def fit(
    model: Classifier,
    task: Task,
    trained: Sequence[Any],
    *,
    seed: int,
    rates: tuple[float, float],
) -> float:
    """Train, and return the last batch's loss."""
    rng = np.random.default_rng([task.number, 1, seed])
    torch.manual_seed(5000 + 100 * seed + task.number)
    head, rest = rates
    groups = [{"params": list(model.head.parameters()), "lr": head}]
    if trained:
        groups.append({"params": list(trained), "lr": rest})
    optimiser = torch.optim.AdamW(groups)
    model.train()
    for _ in range(STEPS):
        rows = rng.choice(len(task.train), BATCH, replace=False)
        texts, labels = zip(*(task.train[i] for i in rows), strict=True)
        loss = binary_cross_entropy_with_logits(
            model(list(texts)), torch.tensor(labels)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


@torch.no_grad()
def accuracy(model: Classifier, task: Task) -> float:
    """Return the share of the test examples that are answered rightly."""
    model.eval()
    # Texts of one length go together: less of a batch is padding.
    test = sorted(task.test, key=lambda example: len(example[0]))
    right = 0
    for start in range(0, len(test), TOGETHER):
        texts, labels = zip(*test[start : start + TOGETHER], strict=True)
        said = model(list(texts)) > 0
        right += int((said == (torch.tensor(labels) > 0)).sum())
    return right / len(test)


@torch.no_grad()
def norm_of(model: Classifier, adaptation: Any) -> float:
    """Return the Frobenius norm of all updates together."""
    if adaptation is not None:
        updates = [one.update().update() for one in adaptation.hooked]
        return float(np.linalg.norm([np.linalg.norm(x) for x in updates]))
    state = dict(model.encoder.named_parameters())
    norms = [
        torch.linalg.norm(2 * state[name.replace("lora_A", "lora_B")] @ A)
        for name, A in state.items()
        if "lora_A" in name
    ]
    return float(torch.linalg.norm(torch.stack(norms))) if norms else 0.0


def one(
    part: str,
    arm: Arm,
    task: Task,
    run: spectra.Run,
    base: Path,
    *,
    seed: int,
    rates: tuple[float, float],
) -> Result:
    """Train and test once."""
    started = time.process_time()
    torch.manual_seed(1000 + 100 * seed + task.number)
    model, adaptation = build(arm, run, base, seed=seed)
    trained = trained_of(model, adaptation)
    loss = fit(model, task, trained, seed=seed, rates=rates)
    right = accuracy(model, task)
    return Result(
        part=part,
        tag=task.tag,
        task=task.number,
        arm=arm.name,
        k=arm.k,
        seed=seed,
        head_rate=rates[0],
        rate=rates[1],
        n_trained=sum(p.numel() for p in trained),
        norm=round(norm_of(model, adaptation), 4),
        test_examples=len(task.test),
        test_accuracy=round(right, 4),
        final_loss=round(loss, 4),
        cpu_seconds=round(time.process_time() - started, 1),
    )


def fitted(adapters: Path, without: Sequence[Task]) -> spectra.Run:
    """Return the run of all adapters but those of some tasks."""
    left_out = {task.folder for task in without}
    kept = sorted(p for p in adapters.iterdir() if p.name not in left_out)
    return spectra.fit(spectra.scan(*(str(path) for path in kept)))


def best(results: Sequence[Result], kind: str) -> tuple[float, float]:
    """Return the rates with the highest mean accuracy in the tuning."""
    names = {arm.name for arm in ARMS if arm.kind == kind}
    mine = [r for r in results if r.part == "tuning" and r.arm in names]
    rates = dict.fromkeys((r.head_rate, r.rate) for r in mine)
    means = {
        pair: np.mean(
            [r.test_accuracy for r in mine if (r.head_rate, r.rate) == pair]
        )
        for pair in rates
    }
    return max(rates, key=lambda pair: means[pair])


def tuned_arms() -> Iterator[Arm]:
    """Yield one arm of each kind: that of the most directions."""
    for _, arms in itertools.groupby(ARMS, key=lambda arm: arm.kind):
        yield max(arms, key=lambda arm: arm.k)


def by_recipe(trained: Path, tasks: Sequence[Task]) -> dict[str, float]:
    """Return the test accuracies of the tasks' own adapters."""
    rows = json.loads(trained.read_text())["adapters"]
    found = {row["tag"]: row["test_accuracy"] for row in rows}
    return {task.tag: found[task.tag] for task in tasks}


def neighbours(
    tagged: dict[str, set[str]], tasks: Sequence[Task]
) -> list[dict[str, Any]]:
    """Return for each held-out task the most alike that is in the basis."""
    having = {
        task.tag: {text for text, tags in tagged.items() if task.tag in tags}
        for task in tasks
    }
    held_out = [tasks[i] for i in HELD_OUT]
    others = [task for task in tasks if task not in held_out]
    rows = []
    for task in held_out:
        index = {
            other.tag: jaccard(having[task.tag], having[other.tag])
            for other in others
        }
        nearest = max(index, key=lambda tag: index[tag])
        rows.append(
            {"tag": task.tag, "nearest": nearest,
             "jaccard": round(index[nearest], 4)}
        )  # fmt: skip
    return rows


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was trained, of what and with what."""
    names = ("numpy", "peft", "tokenizers", "torch", "transformers")
    files = sorted(options.adapters.glob("*/adapter_model.safetensors"))
    sha256 = {
        "base": options.base / "model.safetensors",
        "listing": options.available,
    }
    together = hashlib.sha256()
    for path in files:
        together.update(path.read_bytes())
    return {
        "base": BASE_NAME,
        "sha256": {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in sha256.items()
        }
        | {"adapters": together.hexdigest()},
        "versions": {
            name: importlib.metadata.version(name)
            for name in (*names, "hf-spectra")
        },
        "settings": {
            "steps": STEPS, "batch": BATCH, "lora_rank": RANK,
            "seeds": list(SEEDS), "threads": 1,
        },
    }  # fmt: skip


def arguments() -> argparse.Namespace:
    """Return the command line."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    add = parser.add_argument
    add("available", type=Path, help="output of apt-cache dumpavail")
    add("base", type=Path, help="folder of all-MiniLM-L6-v2")
    add("adapters", type=Path, help="folder of the 32 tasks' adapters")
    add("--trained", type=Path, required=True, help="their record")
    add("--record", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


def plan(
    tasks: Sequence[Task], results: Sequence[Result]
) -> Iterator[tuple[str, Arm, Task, int, tuple[float, float]]]:
    """Yield part, arm, task, seed and rates of every training, in order.

    `results` grows meanwhile: the rates of the second part are the best of
    the first.
    """
    for place, arm in itertools.product(TUNED_ON, tuned_arms()):
        for rates in arm.rates:
            yield "tuning", arm, tasks[place], 0, rates
    for seed, place, arm in itertools.product(SEEDS, HELD_OUT, ARMS):
        yield "held-out", arm, tasks[place], seed, best(results, arm.kind)


def main() -> None:
    """Carry out the plan; the record is rewritten after every training."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    loading.set_verbosity_error()
    loading.disable_progress_bar()
    options = arguments()
    torch.set_num_threads(1)
    tagged = read_descriptions(options.available)
    tags = distinct_tags(tagged)[:N_TASKS]
    tasks = [make_task(tagged, tag, number) for number, tag in tags]
    held_out = [tasks[i] for i in HELD_OUT]
    record = provenance(options) | {
        "descriptions": len(tagged), "neighbours": neighbours(tagged, tasks),
        "recipe": by_recipe(options.trained, held_out),
    }  # fmt: skip
    results: list[Result] = []
    if options.record.exists():
        rows = json.loads(options.record.read_text())["results"]
        results = [Result(**row) for row in rows]
    made = {(r.part, r.arm, r.task, r.seed, r.head_rate, r.rate)
            for r in results}  # fmt: skip
    runs: dict[tuple[str, ...], spectra.Run] = {}
    for part, arm, task, seed, rates in plan(tasks, results):
        if (part, arm.name, task.number, seed, *rates) in made:
            continue
        without = [*held_out, *([task] if part == "tuning" else [])]
        key = tuple(each.tag for each in without)
        if key not in runs:
            runs[key] = fitted(options.adapters, without)
        result = one(
            part, arm, task, runs[key], options.base, seed=seed, rates=rates
        )
        results.append(result)
        log.info("%s", result)
        rows = [asdict(each) for each in results]
        text = json.dumps(record | {"results": rows}, indent=1)
        options.record.write_text(text + "\n")


if __name__ == "__main__":
    main()
