"""How long loading takes and how much memory: this project beside the reference and others.

    python -m benchmarks.loading            # ViT-L/14's shape, random weights, on the CPU

Each load runs in a process of its own, interleaved over rounds, from files in the page cache.
Time: from the call to a model that is ready. Peak: the most resident memory while loading, mapped
files among it, above what the process had after its imports, in units of the float32 weights.
Needs benchmarks/requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 5
FLOAT32_BYTES = 4 * 427_616_513  # parameters of ViT-L/14

# What runs in each process: imports first, then what is timed.
OURS = ("import clip_core", "clip_core.load({path!r}, device='cpu')")
LOADS = {
    "reference, archive": ("import clip", "clip.load({path!r}, device='cpu')", "archive.pt"),
    "ours, archive": (*OURS, "archive.pt"),
    "open_clip, safetensors": (
        "import open_clip",
        "open_clip.create_model('ViT-L-14-quickgelu', pretrained={path!r})",
        "model.safetensors",
    ),
    "ours, safetensors": (*OURS, "model.safetensors"),
    "ours, state dict": (*OURS, "model.pt"),
    "transformers, folder": (
        "from transformers import CLIPModel",
        "CLIPModel.from_pretrained({path!r})",
        "transformers",
    ),
    "ours, transformers' folder": (*OURS, "transformers"),
    "ours, half safetensors": (*OURS, "half.safetensors"),
}

MEASURE = """
import gc, json, sys, threading, time, warnings
warnings.simplefilter("ignore")
import psutil, torch
{imports}
torch.zeros(1) @ torch.zeros(1)
gc.collect()
process = psutil.Process()
before = process.memory_info().rss
peak, done = before, threading.Event()

def watch():
    global peak
    while not done.is_set():
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.002)

watcher = threading.Thread(target=watch)
watcher.start()
started = time.perf_counter()
model = {load}
seconds = time.perf_counter() - started
done.set()
watcher.join()
print(json.dumps([seconds, max(peak, process.memory_info().rss) - before]))
"""


def write_files(folder: Path) -> None:
    """The same random weights in each format."""
    import torch  # noqa: PLC0415  (the processes that are measured shall not wait for this one)
    from safetensors.torch import save_file  # noqa: PLC0415
    from transformers import CLIPConfig, CLIPModel  # noqa: PLC0415

    from clip_core.weights.convert import convert  # noqa: PLC0415

    from .archives import large_vit, write_archive  # noqa: PLC0415

    model = large_vit()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    torch.save(model.state_dict(), folder / "model.pt")
    write_archive(folder / "archive.pt", model)
    convert(folder / "archive.pt", folder / "half.safetensors", half=True)
    config = CLIPConfig(
        projection_dim=768,
        text_config={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "projection_dim": 768,
        },
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
        },
    )
    CLIPModel(config).save_pretrained(folder / "transformers")


def measure(imports: str, load: str, path: Path) -> tuple[float, float]:
    """Seconds and peak bytes of one load in a fresh process. Raises RuntimeError if it fails."""
    code = MEASURE.format(imports=imports, load=load.format(path=str(path)))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    if run.returncode:
        raise RuntimeError(run.stderr.strip().splitlines()[-1])
    seconds, peak = json.loads(run.stdout.splitlines()[-1])
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for what, (imports, load, file) in LOADS.items():
                try:
                    found.setdefault(what, []).append(measure(imports, load, folder / file))
                except RuntimeError as error:
                    print(f"{what}: not measured: {error}", file=sys.stderr)
        seconds = {what: statistics.median(s for s, _ in runs) for what, runs in found.items()}
        reference = seconds.get("reference, archive")
        print("| what | seconds | of the reference | peak, of float32 weights |")
        print("|---|---|---|---|")
        for what, runs in found.items():
            if runs:
                ratio = f"{seconds[what] / reference:.2f}" if reference else "-"
                peak = statistics.median(p for _, p in runs) / FLOAT32_BYTES
                print(f"| {what} | {seconds[what]:.2f} | {ratio} | {peak:.2f} |")


if __name__ == "__main__":
    main()
