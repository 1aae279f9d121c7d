"""Write the tables of this folder's page and its figure from record.json.

From the root of a checkout: ``python -m analyses.minilm_adapt.tables``.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

FOLDER = Path(__file__).resolve().parent
PAGE, FIGURE = FOLDER / "README.md", FOLDER / "accuracy.svg"
RECORD = FOLDER / "record.json"

Record = Mapping[str, Any]
Row = Sequence[str]

LEFT, WIDTH, RIGHT, TOP, STEP, BOTTOM = 130, 430, 130, 66, 34, 62
INK, MUTED, LINE, ACCENT = "#1b2126", "#58626b", "#dfdcd4", "#0b5a7d"


def arms(record: Record) -> list[str]:
    rows = record["results"]
    names = dict.fromkeys(r["arm"] for r in rows if r["part"] == "held-out")
    order = ("frozen", "mean", "basis", "random", "lora")
    return sorted(
        names, key=lambda name: (order.index(name.split(",")[0]), len(name))
    )


def accuracies(record: Record, arm: str) -> dict[str, list[float]]:
    """Return the accuracies of each held-out task, one a seed."""
    found: dict[str, list[float]] = {
        row["tag"]: [] for row in record["neighbours"]
    }
    for row in record["results"]:
        if row["part"] == "held-out" and row["arm"] == arm:
            found[row["tag"]].append(row["test_accuracy"])
    return found


def by_task(record: Record, arm: str) -> Any:
    """Return the mean over seeds of each task."""
    return np.array([np.mean(v) for v in accuracies(record, arm).values()])


def interval(differences: Any) -> tuple[float, float]:
    """Return mean and half the 95 % t interval, tasks being the sample."""
    n = len(differences)
    spread = float(np.std(differences, ddof=1)) / np.sqrt(n)
    return float(np.mean(differences)), float(t.ppf(0.975, n - 1)) * spread


def number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def signed(mean: float, half: float) -> str:
    sign = "-" if mean < 0 else "+"
    return f"{sign}{number(abs(mean))} ± {number(half)}"


def arm_rows(record: Record) -> Iterator[Row]:
    frozen, lora = by_task(record, "frozen"), by_task(record, "lora")
    for arm in arms(record):
        mine = by_task(record, arm)
        held = [
            row
            for row in record["results"]
            if row["part"] == "held-out" and row["arm"] == arm
        ]
        norm = float(np.mean([row["norm"] for row in held]))
        yield (
            arm,
            f"{held[0]['n_trained']:,}",
            f"{norm:.2f}",
            number(float(mine.mean())),
            "" if arm == "frozen" else signed(*interval(mine - frozen)),
            "" if arm == "lora" else signed(*interval(mine - lora)),
        )


def control_rows(record: Record) -> Iterator[Row]:
    for arm in arms(record):
        kind, _, k = arm.partition(", ")
        if kind == "basis":
            mine = by_task(record, arm)
            random, mean = (
                by_task(record, other) for other in (f"random, {k}", "mean")
            )
            yield (
                k.removeprefix("k = "),
                signed(*interval(mine - random)),
                signed(*interval(mine - mean)),
            )


def task_rows(record: Record) -> Iterator[Row]:
    names = arms(record)
    each = {arm: accuracies(record, arm) for arm in names}
    for row in record["neighbours"]:
        cells = [
            f"{number(np.mean(values))} ± {number(np.std(values, ddof=1))}"
            for values in (each[arm][row["tag"]] for arm in names)
        ]
        own = record["recipe"][row["tag"]]
        yield (f"`{row['tag']}`", *cells, number(own))
    cells = [number(float(by_task(record, arm).mean())) for arm in names]
    mean = float(np.mean(list(record["recipe"].values())))
    yield "mean", *cells, number(mean)


def neighbour_rows(record: Record) -> Iterator[Row]:
    for row in record["neighbours"]:
        yield f"`{row['tag']}`", f"`{row['nearest']}`", number(row["jaccard"])


def rate_rows(record: Record) -> Iterator[Row]:
    """Yield what was tried on the tasks for it; the best is in bold."""
    tuning = [r for r in record["results"] if r["part"] == "tuning"]
    for arm in dict.fromkeys(r["arm"] for r in tuning):
        mine = [r for r in tuning if r["arm"] == arm]
        pairs = dict.fromkeys((r["head_rate"], r["rate"]) for r in mine)
        means = {
            pair: np.mean(
                [
                    r["test_accuracy"]
                    for r in mine
                    if (r["head_rate"], r["rate"]) == pair
                ]
            )
            for pair in pairs
        }
        best = max(pairs, key=lambda pair: means[pair])
        for (head, rate), value in sorted(means.items()):
            mark = "**" if (head, rate) == best else ""
            yield (
                arm.partition(",")[0],
                f"{head:g}",
                f"{rate:g}" if rate else "",
                f"{mark}{number(value)}{mark}",
            )


TABLES: dict[str, tuple[Callable[[Record], Row], Any]] = {
    "arms": (
        lambda _: (
            "arm", "trained beside the head", "norm of the update",
            "accuracy", "less frozen", "less LoRA",
        ),
        arm_rows,
    ),
    "control": (
        lambda _: ("k", "basis less random", "basis less mean"),
        control_rows,
    ),
    "tasks": (
        lambda record: ("task", *arms(record), "its own adapter"),
        task_rows,
    ),
    "neighbours": (
        lambda _: ("held out", "nearest in the basis", "Jaccard index"),
        neighbour_rows,
    ),
    "rates": (
        lambda _: ("arms", "rate of the head", "of the rest", "accuracy"),
        rate_rows,
    ),
}  # fmt: skip


def table(name: str, record: Record) -> str:
    titles, rows = TABLES[name]
    head = titles(record)
    lines = (head, ["---"] * len(head), *rows(record))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_tables(page: str, record: Record) -> str:
    """Return the page with the tables between its marks."""
    for name in TABLES:
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, name=name: (
                f"{found[1]}{table(name, record)}\n{found[2]}"
            ),
            page,
            flags=re.DOTALL,
        )
    return page


def draw(record: Record) -> str:
    """Return an SVG: what each arm adds to the frozen model, by task."""
    frozen = by_task(record, "frozen")
    names = [arm for arm in arms(record) if arm != "frozen"]
    added = {arm: by_task(record, arm) - frozen for arm in names}
    every = np.concatenate(list(added.values()))
    low = np.floor(20 * every.min()) / 20
    high = np.ceil(20 * every.max()) / 20
    height = TOP + STEP * len(names) + BOTTOM

    def at(value: float) -> float:
        return LEFT + WIDTH * (value - low) / (high - low)

    bold = 'font-weight="bold"'
    grey, middle = f'fill="{MUTED}"', 'text-anchor="middle"'
    parts = [
        (
            f'<text x="16" y="26" font-size="15" {bold}>What training adds to'
            " the frozen model, in accuracy</text>"
        )
    ]
    for tick in np.arange(low, high + 1e-9, 0.05):
        x, colour = at(tick), MUTED if abs(tick) < 1e-9 else LINE
        parts += [
            (
                f'<path d="M{x:.1f} {TOP - 16}V{height - BOTTOM}"'
                f' stroke="{colour}"/>'
            ),
            (
                f'<text x="{x:.1f}" y="{height - BOTTOM + 18}" {middle}'
                f" {grey}>{tick:+.2f}</text>"
            ),
        ]
    for i, (arm, values) in enumerate(added.items()):
        y = TOP + STEP * i
        mean, half = interval(values)
        left, right = at(max(low, mean - half)), at(min(high, mean + half))
        parts += [
            (
                f'<text x="{LEFT - 14}" y="{y + 4}" text-anchor="end">'
                f"{escape(arm)}</text>"
            ),
            (
                f'<path d="M{left:.1f} {y}H{right:.1f}" stroke="{ACCENT}"'
                ' stroke-width="3"/>'
            ),
            *(
                f'<circle cx="{at(v):.1f}" cy="{y}" r="3" fill="none"'
                f' stroke="{MUTED}"/>'
                for v in values
            ),
            f'<circle cx="{at(mean):.1f}" cy="{y}" r="6" fill="{ACCENT}"/>',
            (
                f'<text x="{LEFT + WIDTH + 16}" y="{y + 4}" {grey}>'
                f"{signed(mean, half)}</text>"
            ),
        ]
    parts.append(
        f'<text x="16" y="{height - 14}" {grey}>Rings: the six held-out tasks,'
        " means over three seeds. Discs: their mean, with its 95 % interval"
        "</text>"
    )
    width = LEFT + WIDTH + RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}" font-size="12"'
        f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
        "<title>What training adds to the frozen model</title>"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def main() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), record), "utf-8")
    FIGURE.write_text(draw(record), "utf-8")


if __name__ == "__main__":
    main()
