"""Whether half precision helps on this machine's CPU: float32, bfloat16 and float16 in one run.

    python -m benchmarks.precision          # ViT-B/32's shape, random weights

Seconds are medians of interleaved rounds: one picture, eight pictures, and 64 prompts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from clip_core import CLIP, tokenize
from clip_core.model import VisionTransformer
from clip_core.weights.resolve import DTYPES, place

ROUNDS = 15


def main() -> None:
    models = {}
    for name, dtype in DTYPES.items():
        torch.manual_seed(0)
        tower = VisionTransformer(224, 32, 768, 12, 12, 512)
        models[name] = place(CLIP(512, tower, 77, 49408, 512, 8, 12).eval(), "cpu", dtype)
    texts = tokenize([f"a photo of a number, {i}." for i in range(64)])[:, :16]
    one, eight = torch.randn(1, 3, 224, 224), torch.randn(8, 3, 224, 224)
    work: dict[str, Callable[[CLIP], object]] = {
        "one picture": lambda model: model.encode_image(one),
        "eight pictures": lambda model: model.encode_image(eight),
        "64 prompts": lambda model: model.encode_text(texts),
    }
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    print("| work | " + " | ".join(f"{name}, ms" for name in models) + " |")
    print("|---|" + "---|" * len(models))
    with torch.inference_mode():
        for what, run in work.items():
            seconds: dict[str, list[float]] = {name: [] for name in models}
            for turn in range(ROUNDS + 1):
                for name, model in models.items():
                    started = time.perf_counter()
                    run(model)
                    if turn:  # the first is warming up
                        seconds[name].append(time.perf_counter() - started)
            medians = [f"{1000 * statistics.median(taken):.1f}" for taken in seconds.values()]
            print(f"| {what} | " + " | ".join(medians) + " |")


if __name__ == "__main__":
    main()
