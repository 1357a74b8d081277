"""What many pictures cost: rates, memory, a second run, and search, in one run.

    python -m benchmarks.many                       # 2,000 pictures and 200,000 vectors
    python -m benchmarks.many --pictures 10000 --vectors 1000000

Pictures are different parts of the page's own examples, 640 x 480, as JPEG; the commands run as a
person starts them, in processes of their own. Memory is the resident memory of the command and its
workers together, pages that they share counted once (PSS). Vectors are features of such parts, each
moved by noise, so that neighbours are as near each other as pictures of one thing are.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "ui/examples"
SIZE = (640, 480)
LABELS = ("cat", "cup of coffee", "pagoda", "horse", "bar chart", "diagram", "dog", "tree")
OTHERS = ("animal", "drink", "building", "toy", "table of numbers", "drawing", "fox", "lake")
NOISE = 0.35  # length of what is added to a feature of length 1
QUERIES = 200
ROUNDS = 5


def write_pictures(folder: Path, count: int) -> None:
    """Different parts of the examples, at different scales."""
    from PIL import Image  # noqa: PLC0415  (the commands that are measured need the memory)

    chance = random.Random(0)
    opened = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.[jp]*g"))]
    for number in range(count):
        picture = opened[number % len(opened)]
        share = chance.uniform(0.4, 0.95)
        width, height = (int(side * share) for side in picture.size)
        left = chance.randint(0, picture.width - width)
        top = chance.randint(0, picture.height - height)
        part = picture.crop((left, top, left + width, top + height)).resize(SIZE)
        directory = folder / f"{number // 1000:03d}"
        directory.mkdir(parents=True, exist_ok=True)
        part.save(directory / f"{number:06d}.jpg", quality=90)


def sort(
    pictures: Path, features: Path, labels: tuple[str, ...]
) -> tuple[float, list[tuple[float, float]], str]:
    """One `sort`: seconds, (second, MB) as it ran, and what it said at its end."""
    command = [
        *(sys.executable, "-m", "clip_core", "sort", str(pictures), "--labels", *labels),
        *("--features", str(features), "--out", str(features.with_suffix(".parquet"))),
        *("--device", "cpu"),
    ]
    started = time.perf_counter()
    said = features.with_suffix(".txt")
    with said.open("w") as log:
        running = subprocess.Popen(command, cwd=ROOT, stderr=log)
        process, curve = psutil.Process(running.pid), []
        while running.poll() is None:
            curve.append((time.perf_counter() - started, _memory(process) / 1e6))
            time.sleep(0.5 if len(curve) > 20 else 0.05)
    seconds = time.perf_counter() - started
    if running.returncode:
        raise RuntimeError(said.read_text())
    (summary,) = [line for line in said.read_text().splitlines() if " a second): " in line]
    return seconds, curve, summary


def measure_runs(count: int) -> None:
    """A first run, a second one with other labels, and the memory of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", count)
        features = folder / "features"
        first, curve, said = sort(folder / "pictures", features, LABELS)
        print(said)
        again = [sort(folder / "pictures", features, labels)[0] for labels in (OTHERS, LABELS)]
        kept = sum(path.stat().st_size for path in features.rglob("*") if path.is_file())
        settled = [mb for second, mb in curve if second > 0.1 * first]
        print(f"first run: {first:.1f} s, {count / first:.1f} pictures a second, start included")
        print(f"other labels: {again[0]:.2f} s, {first / again[0]:.1f} times as fast")
        print(f"the first labels again: {again[1]:.2f} s")
        print(f"kept: {kept / count:,.0f} bytes a picture")
        tenth = max(len(settled) // 10, 1)
        print(
            f"memory: {statistics.median(settled[:tenth]):,.0f} MB in the first tenth, "
            f"{statistics.median(settled[-tenth:]):,.0f} MB in the last, {max(settled):,.0f} MB "
            "at most"
        )
        print(json.dumps([[round(s), round(mb)] for s, mb in curve[:: max(len(curve) // 20, 1)]]))


def measure_search(count: int) -> None:
    """Exact search and, by faiss, the approximate one: time, and recall against the exact."""
    import torch  # noqa: PLC0415
    import torch.nn.functional as F  # noqa: PLC0415

    from clip_core import ZeroShotClassifier  # noqa: PLC0415
    from clip_core.batch.approximate import ApproximateIndex  # noqa: PLC0415
    from clip_core.batch.inputs import InputItem  # noqa: PLC0415
    from clip_core.batch.loader import DecodeTask, run_task  # noqa: PLC0415
    from clip_core.batch.pipeline import encode_crops  # noqa: PLC0415
    from clip_core.batch.search import ExactIndex  # noqa: PLC0415

    classifier = ZeroShotClassifier("bundled", device="cpu")
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name), 500)
        read = [
            run_task(
                DecodeTask(InputItem(path.name, str(path)), classifier.input_resolution, "crop")
            )
            for path in sorted(Path(name).rglob("*.jpg"))
        ]
    crops = [each.crops for each in read if each.crops is not None]
    with torch.inference_mode():
        real = torch.cat(
            [encode_crops(classifier, crops[i : i + 8]) for i in range(0, len(crops), 8)]
        )
        torch.manual_seed(0)

        def near(rows: int) -> torch.Tensor:
            pairs = torch.randint(len(real), (2, rows))
            between = torch.rand(rows, 1)
            mixed = real[pairs[0]] * between + real[pairs[1]] * (1 - between)
            noise = F.normalize(torch.randn(rows, real.shape[1]), dim=-1)
            return F.normalize(F.normalize(mixed, dim=-1) + NOISE * noise, dim=-1)

        features = torch.cat([near(min(100_000, count - i)) for i in range(0, count, 100_000)])
        queries = near(QUERIES)
        exact = ExactIndex(features)
        print(f"exact search in {count:,} vectors: {_time(lambda: exact.search(queries[0], 20))}")
        started = time.perf_counter()
        index = ApproximateIndex(features)
        print(f"approximate index, made in {time.perf_counter() - started:,.0f} s")
        print(f"approximate search: {_time(lambda: index.search(queries[0], 20))}")
        for top in (1, 10, 100):
            found = [
                len(set(exact.search(q, top)[1]) & set(index.search(q, top)[1])) / top
                for q in queries
            ]
            print(f"recall of the first {top}: {statistics.mean(found):.4f}")


def _memory(process: psutil.Process) -> int:
    total = 0
    for each in [process, *_children(process)]:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _time(run: Callable[[], object]) -> str:
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return f"{1000 * statistics.median(taken[1:]):,.1f} ms"  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000, help="0 for none")
    parser.add_argument("--vectors", type=int, default=200_000, help="0 for none")
    options = parser.parse_args()
    if options.pictures:
        measure_runs(options.pictures)
    if options.vectors:
        measure_search(options.vectors)


if __name__ == "__main__":
    main()
