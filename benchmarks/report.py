"""Rows -> a table in Markdown, JSON, and a plot."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .peers import OURS, installed
from .timing import Row

PACKAGES = ("torch", "openai-clip", "open_clip_torch", "transformers", "onnxruntime", "gradio")
ORT = "ONNX Runtime"


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


def to_markdown(rows: list[Row], machine: dict[str, Any], more: list[str]) -> str:
    """The whole of RESULTS.md. more: sentences on what is no race."""
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items())
    missing = [name for name, here in installed().items() if not here]
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks`; [README.md](README.md) says what is measured and how,",
        "[NOTES.md](NOTES.md) what limits it.",
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
            ours = "**" if name == OURS else ""
            lines.append(
                f"| {row.work} | {ours}{name}{ours} | {1000 * row.median(name):,.1f} | "
                f"{low:,.1f} to {high:,.1f} | {row.ratio(name):.2f} | {bar} | {difference} |"
            )
    beside = [row for row in rows if ORT in row.seconds and OURS in row.seconds]
    if beside:
        lines += ["", "Ours beside ONNX Runtime (its median by ours; above 1 we are ahead):", ""]
        lines += [f"- {row.work}: {row.median(ORT) / row.median(OURS):.2f}" for row in beside]
    if more:
        lines += ["", *(f"- {sentence}" for sentence in more)]
    if missing:
        lines += ["", f"Not installed, and so not measured: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def write(rows: list[Row], more: list[str], out: Path) -> None:
    """Writes out, and beside it the same as JSON and a plot."""
    machine = describe_machine()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(to_markdown(rows, machine, more), encoding="utf-8")
    data = {"machine": machine, "rows": [row.to_dict() for row in rows], "more": more}
    out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draw(rows, out.with_suffix(".png"))


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


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
