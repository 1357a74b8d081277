"""Rows -> a table in Markdown, JSON, and a plot."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .curves import Curve
from .peers import ORT, OURS, OURS_ONNX, installed
from .timing import Row

PACKAGES = ("torch", "openai-clip", "open_clip_torch", "transformers", "onnxruntime", "gradio")


def describe_machine() -> dict[str, Any]:
    """What the figures depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": found,
    }


@dataclass
class Results:
    """What a run measured. said: sentences on what is no race; curves_apart: in another run."""

    quick: bool = False
    rows: list[Row] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    curves_apart: bool = False


def to_markdown(results: Results, machine: dict[str, Any], plots: str) -> str:
    """The whole of RESULTS.md. plots: what the plots' names begin with."""
    rows = results.rows
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items())
    missing = [name for name, here in installed().items() if not here]
    lines = [
        "# Results",
        "",
        f"Written by `python -m benchmarks{' --quick' if results.quick else ''}`;",
        "[README.md](README.md) says what is measured, [NOTES.md](NOTES.md) what limits it.",
        *(["A quick run: few rounds, less work, and rows left out."] if results.quick else []),
        "",
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['capability']}, Python {machine['python']};",
        f"{packages}. " + (f"GPU: {machine['gpu']}." if machine["gpu"] else "No GPU was at hand."),
        "",
        "Times are medians with quartiles, of rounds in which all take turns. Ratio: the base's",
        "median by ours, the base being the first named. Difference: the largest of normalised",
        "features from the base's.",
        "",
        "| work | contender | ms | quartiles | ratio | bar | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for name in [row.base, *(n for n in row.seconds if n != row.base)]:
            low, high = (1000 * each for each in row.spread(name))
            bar = f"{row.bar:g}" if name == OURS and row.bar else ""
            difference = f"{row.differences[name]:.0e}" if name in row.differences else ""
            ours = "**" if name in (OURS, OURS_ONNX) else ""
            lines.append(
                f"| {row.work} | {ours}{name}{ours} | {1000 * row.median(name):,.1f} | "
                f"{low:,.1f} to {high:,.1f} | {row.ratio(name):.2f} | {bar} | {difference} |"
            )
    beside = [row for row in rows if ORT in row.seconds and OURS in row.seconds]
    if beside:
        lines += [
            "",
            "Beside ONNX Runtime used by hand (its median by ours; above 1 we are ahead):",
        ]
        lines += ["", "| work | ours | ours, --onnx |", "|---|---|---|"]
        for row in beside:
            ours, by_flag = (
                f"{row.median(ORT) / row.median(name):.2f}" if name in row.seconds else ""
                for name in (OURS, OURS_ONNX)
            )
            lines.append(f"| {row.work} | {ours} | {by_flag} |")
    if rows:
        lines += ["", f"![Ratios]({plots}.png)"]
    if results.said:
        lines += ["", "## The page", "", *(f"- {sentence}" for sentence in results.said)]
    if results.curves:
        lines += ["", "## How it grows", "", f"![Curves]({plots}-curves.png)"]
        if results.curves_apart:
            lines += ["", "Measured in a run of their own, by `python -m benchmarks --curves`."]
    for curve in results.curves:
        lines += ["", f"{curve.title}:", "", *(f"- {point}" for point in curve.said)]
    if not machine["gpu"]:
        lines += ["", "## GPU", "", "Not measured: none was at hand."]
    if missing:
        lines += ["", f"Not installed, and so not measured: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def read(out: Path) -> Results:
    """What was written there, from its JSON."""
    data = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    return Results(
        data["quick"],
        [Row(**row) for row in data["rows"]],
        data["said"],
        [Curve(**curve) for curve in data["curves"]],
        data.get("curves_apart", False),
    )


def write(results: Results, out: Path) -> None:
    """Writes out, and beside it the same as JSON, and plots."""
    machine = describe_machine()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(to_markdown(results, machine, out.stem), encoding="utf-8")
    data = {"machine": machine, **asdict(results)}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draw(results.rows, out.with_suffix(".png"))
    if results.curves:
        draw_curves(results.curves, out.with_name(f"{out.stem}-curves.png"))


def draw(rows: list[Row], path: Path) -> None:
    """How many times as fast as its base each contender is, on a logarithmic axis."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow to import)

    names = sorted({name for row in rows for name in row.seconds}, key=lambda name: name != OURS)
    figure = Figure(figsize=(9, 0.5 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        for name in row.seconds:
            axes.plot(
                row.ratio(name), place, "o" if name == OURS else "x", color=f"C{names.index(name)}"
            )
        if row.bar:
            axes.plot(row.bar, place, "|", color="grey", markersize=16)
    axes.set_yticks(range(len(rows)), [row.work for row in reversed(rows)])
    axes.set_xscale("log")
    axes.set_xlabel("times as fast as the base (grey bar: what ours should reach)")
    axes.grid(axis="x", alpha=0.3)
    for name in names:
        axes.plot([], [], "o" if name == OURS else "x", color=f"C{names.index(name)}", label=name)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


def draw_curves(curves: list[Curve], path: Path) -> None:
    """Each curve in a plot of its own, both axes logarithmic."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (slow to import)

    figure = Figure(figsize=(4 * len(curves), 3.4), layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        axes.plot(*zip(*curve.points, strict=True), "o-")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(curve.title, fontsize=9)
        axes.set_xlabel(curve.unit)
        axes.set_ylabel(curve.y)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
