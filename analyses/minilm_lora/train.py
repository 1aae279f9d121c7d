"""Train the demo population: LoRA adapters of all-MiniLM-L6-v2.

Every task is one debtag: does a Debian package carry it, judged by its short
description? The tags are taken most frequent first, without near-copies of a
tag already taken, and there are two sets:

- ``independent``: every adapter has its own random initialisation;
- ``same-seed``: the first tasks once more, all from one initialisation.

Task ``t`` has the same split, batches and dropout draws in both sets, so that
two adapters of one task differ by their initialisation alone. Adapters that
the record already has are kept, so a stopped run goes on where it was.

Usage::

    apt-cache dumpavail > avail.txt
    python train.py avail.txt BASE OUT --record record.json
"""

import argparse
import hashlib
import importlib.metadata
import json
import logging
import re
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as loading

BASE_NAME = "sentence-transformers/all-MiniLM-L6-v2"
WIDTH = 384
BATCH = 32
MAX_TOKENS = 32

# A tag is a task if it has enough positives to learn and to test, and leaves
# enough negatives to balance them.
LEAST_POSITIVES = 250
GREATEST_SHARE = 0.4

# Of interface::x11 and interface::graphical all but one description are the
# same (Jaccard index 0.9996): two names of one task.
GREATEST_JACCARD = 0.8

MOST_TEST = 200
MOST_TRAIN = 1024

SHARED_SEED = 0
OWN_SEED = 1000  # plus the number of the task
DROPOUT_SEED = 5000  # plus the number of the task

DESCRIPTION = re.compile(r"^Description(?:-en)?: (.*)$", re.MULTILINE)
TAGS = re.compile(r"^Tag: (.*(?:\n .*)*)", re.MULTILINE)

log = logging.getLogger("train")

Example = tuple[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One debtag as a balanced yes-or-no question about descriptions.

    Attributes
    ----------
    number
        Place of the tag among the frequent tags, from 0; near-copies that
        were skipped leave gaps.
    positives
        Descriptions with the tag, used here or not.
    train, test
        Disjoint pairs of a description and 1.0 or 0.0, half of each.
    """

    number: int
    tag: str
    positives: int
    train: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def folder(self) -> str:
        """The name of the folder of its adapters."""
        words = self.tag.lower().replace("+", "p")
        slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
        return f"{self.number:02d}-{slug}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What is recorded of one trained adapter.

    Attributes
    ----------
    seed
        Seed of the initialisation of the adapter and of the linear head.
    test_accuracy
        Of the adapter as it is stored, in float16, under its float32 head.
    test_examples
        Test descriptions, half of them positive: chance is 0.5.
    final_loss
        Cross-entropy of the last training batch, in nats.
    cpu_seconds
        Processor time of loading, training and testing.
    """

    folder: str
    tag: str
    task: int
    seed: int
    positives: int
    train_examples: int
    test_examples: int
    steps: int
    test_accuracy: float
    final_loss: float
    cpu_seconds: float


def read_descriptions(path: Path) -> dict[str, set[str]]:
    """Return the debtags of every short description, in sorted order."""
    tagged: dict[str, set[str]] = defaultdict(set)
    for block in path.read_text("utf-8", errors="replace").split("\n\n"):
        description = DESCRIPTION.search(block)
        tags = TAGS.search(block)
        if description and tags:
            names = (tag.strip() for tag in tags[1].split(","))
            tagged[description[1]].update(t for t in names if "::" in t)
    return dict(sorted(tagged.items()))


def frequent_tags(tagged: dict[str, set[str]]) -> list[str]:
    """Return the tags that can be tasks, most frequent first."""
    counts = Counter(tag for tags in tagged.values() for tag in tags)
    most = GREATEST_SHARE * len(tagged)
    fit = [t for t, n in counts.items() if LEAST_POSITIVES <= n <= most]
    return sorted(fit, key=lambda tag: (-counts[tag], tag))


def jaccard(a: set[str], b: set[str]) -> float:
    """Return the size of the intersection over that of the union."""
    return len(a & b) / len(a | b)


def distinct_tags(tagged: dict[str, set[str]]) -> list[tuple[int, str]]:
    """Return the frequent tags with their places, without near-copies."""
    taken: dict[tuple[int, str], set[str]] = {}
    for number, tag in enumerate(frequent_tags(tagged)):
        having = {text for text, tags in tagged.items() if tag in tags}
        nearest = max((jaccard(having, h) for h in taken.values()), default=0)
        if nearest <= GREATEST_JACCARD:
            taken[number, tag] = having
    return list(taken)


def make_task(tagged: dict[str, set[str]], tag: str, number: int) -> Task:
    """Return the task of one tag, split by a generator of its own."""
    rng = np.random.default_rng([number, 0])
    yes = [(text, 1.0) for text, tags in tagged.items() if tag in tags]
    no = [(text, 0.0) for text, tags in tagged.items() if tag not in tags]
    yes_order, no_order = rng.permutation(len(yes)), rng.permutation(len(no))
    n_test = min(len(yes) // 5, MOST_TEST)
    stop = n_test + min(len(yes) - n_test, MOST_TRAIN)

    def both(part: slice) -> tuple[Example, ...]:
        chosen = [yes[i] for i in yes_order[part]]
        return (*chosen, *(no[i] for i in no_order[part]))

    return Task(
        number=number,
        tag=tag,
        positives=len(yes),
        train=both(slice(n_test, stop)),
        test=both(slice(n_test)),
    )


class Classifier(torch.nn.Module):
    """The base under a LoRA adapter, mean pooling and one linear output.

    Parameters
    ----------
    base
        Folder of the base model with its tokenizer.
    rank
        Rank of the adapter; alpha is twice the rank, so its scale is 2.
    """

    def __init__(self, base: Path, *, rank: int) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(
            base, local_files_only=True
        )
        encoder = AutoModel.from_pretrained(
            base, add_pooling_layer=False, local_files_only=True
        )
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=["query", "value"],
            bias="none",
            task_type="FEATURE_EXTRACTION",
        )
        self.encoder = get_peft_model(encoder, config)
        self.head = torch.nn.Linear(WIDTH, 1)

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Return one logit a text."""
        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        hidden = self.encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        return self.head((hidden * mask).sum(1) / mask.sum(1)).squeeze(1)


def fit(model: Classifier, task: Task, *, steps: int, rate: float) -> float:
    """Train the adapter with its head, and return the last batch's loss."""
    rng = np.random.default_rng([task.number, 1])
    torch.manual_seed(DROPOUT_SEED + task.number)
    free = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(free, lr=rate)
    model.train()
    for _ in range(steps):
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
    right = 0
    for start in range(0, len(task.test), 2 * BATCH):
        examples = task.test[start : start + 2 * BATCH]
        texts, labels = zip(*examples, strict=True)
        said = model(list(texts)) > 0
        right += int((said == (torch.tensor(labels) > 0)).sum())
    return right / len(task.test)


@torch.no_grad()
def round_to_half(model: Classifier) -> None:
    """Round the adapter to float16, so that what is tested is stored."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            half = parameter.to(torch.float16)
            if not torch.isfinite(half).all():
                raise OverflowError(f"{name} does not fit into float16")
            parameter.copy_(half)


def save(model: Classifier, folder: Path) -> None:
    """Write the adapter as PEFT does, but in float16 and without a card."""
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(
        model.encoder, save_embedding_layers=False
    )
    half = {k: v.to(torch.float16).contiguous() for k, v in state.items()}
    path = folder / "adapter_model.safetensors"
    save_file(half, path, metadata={"format": "pt"})
    path.chmod(0o644)
    config = model.encoder.peft_config["default"]
    config.base_model_name_or_path = BASE_NAME
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(folder)


def save_head(model: Classifier, folder: Path) -> None:
    """Write the linear head, in float32, beside its adapter."""
    path = folder / "head.safetensors"
    save_file(model.head.state_dict(), path, metadata={"format": "pt"})
    path.chmod(0o644)


def train_one(
    task: Task, folder: Path, *, seed: int, options: argparse.Namespace
) -> Adapter:
    """Train, test and write one adapter.

    Parameters
    ----------
    task
        What to learn.
    folder
        Where to write it: ``folder / task.folder``.
    seed
        Seed of the initialisation.
    options
        The command line: base, rank, steps, rate and heads.

    Returns
    -------
    Adapter
        The record of it.
    """
    started = time.process_time()
    torch.manual_seed(seed)
    model = Classifier(options.base, rank=options.rank)
    loss = fit(model, task, steps=options.steps, rate=options.rate)
    round_to_half(model)
    right = accuracy(model, task)
    save(model, folder / task.folder)
    if options.heads:
        save_head(model, folder / task.folder)
    return Adapter(
        folder=f"{folder.name}/{task.folder}",
        tag=task.tag,
        task=task.number,
        seed=seed,
        positives=task.positives,
        train_examples=len(task.train),
        test_examples=len(task.test),
        steps=options.steps,
        test_accuracy=round(right, 4),
        final_loss=round(loss, 4),
        cpu_seconds=round(time.process_time() - started, 1),
    )


def provenance(options: argparse.Namespace) -> dict[str, object]:
    """Return what the adapters were made of and with."""
    weights = (options.base / "model.safetensors").read_bytes()
    listing = options.available.read_bytes()
    names = ("numpy", "peft", "safetensors", "tokenizers", "torch")
    return {
        "base": {
            "name": BASE_NAME,
            "sha256": hashlib.sha256(weights).hexdigest(),
        },
        "data": {
            "made_by": "apt-cache dumpavail",
            "sha256": hashlib.sha256(listing).hexdigest(),
        },
        "versions": {
            name: importlib.metadata.version(name)
            for name in (*names, "transformers")
        },
        "settings": {
            "rank": options.rank,
            "alpha": 2 * options.rank,
            "target_modules": ["query", "value"],
            "steps": options.steps,
            "batch": BATCH,
            "learning_rate": options.rate,
            "max_tokens": MAX_TOKENS,
            "threads": options.threads,
            "stored_as": "float16",
        },
    }


def arguments() -> argparse.Namespace:
    """Return the command line."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    add = parser.add_argument
    add("available", type=Path, help="output of apt-cache dumpavail")
    add("base", type=Path, help="folder of all-MiniLM-L6-v2")
    add("out", type=Path, help="folder for the two sets")
    add("--record", type=Path, required=True, help="JSON file to write")
    add("--independent", type=int, default=32, help="adapters, one a task")
    add("--same-seed", type=int, default=16, help="adapters from one seed")
    add("--heads", action="store_true", help="keep the linear heads")
    add("--rank", type=int, default=8)
    add("--steps", type=int, default=64)
    add("--rate", type=float, default=1e-3, help="learning rate of AdamW")
    add("--threads", type=int, default=1, help="threads of torch")
    return parser.parse_args()


def recorded(options: argparse.Namespace) -> dict[str, Adapter]:
    """Return the adapters of a run that was stopped, by their folder."""
    if not options.record.exists():
        return {}
    rows = json.loads(options.record.read_text())["adapters"]
    return {row["folder"]: Adapter(**row) for row in rows}


def plan(
    tasks: list[Task], options: argparse.Namespace
) -> dict[str, tuple[Task, int]]:
    """Return task and seed of every adapter, by its folder, in order."""
    own = {
        f"independent/{task.folder}": (task, OWN_SEED + task.number)
        for task in tasks[: options.independent]
    }
    shared = {
        f"same-seed/{task.folder}": (task, SHARED_SEED)
        for task in tasks[: options.same_seed]
    }
    return own | shared


def main() -> None:
    """Train both sets; the record is rewritten after every adapter."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    loading.set_verbosity_error()
    loading.disable_progress_bar()
    options = arguments()
    torch.set_num_threads(options.threads)
    tagged = read_descriptions(options.available)
    tags = distinct_tags(tagged)
    most = max(options.independent, options.same_seed)
    tasks = [make_task(tagged, tag, number) for number, tag in tags[:most]]
    record = provenance(options)
    record |= {"descriptions": len(tagged), "possible_tasks": len(tags)}
    planned, made = plan(tasks, options), recorded(options)
    for folder, (task, seed) in planned.items():
        made[folder] = made.get(folder) or train_one(
            task, (options.out / folder).parent, seed=seed, options=options
        )
        log.info("%s  %.3f", folder, made[folder].test_accuracy)
        rows = [asdict(made[name]) for name in planned if name in made]
        text = json.dumps(record | {"adapters": rows}, indent=1)
        options.record.write_text(text + "\n")


if __name__ == "__main__":
    main()
