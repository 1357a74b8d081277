"""Many people at once, who ask as the page does: upload a picture, join the queue, read the answer.

Each has pictures of their own and a session of their own; each answer is compared with what the
model says of that picture by itself, so that none can be another's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from clip_core import ZeroShotClassifier

LABELS = (
    *("cat", "dog", "cup of coffee", "pagoda", "horse", "bar chart", "diagram", "tree"),
    *("bicycle", "teapot"),
)
TEMPLATE = "a photo of a {}."
SAME = 2e-3  # largest difference of a share from that of the picture asked alone, in 0 to 1
SECONDS = 120.0


@dataclass
class Crowd:
    """What so many people at once saw. seconds: of each answer, upload included."""

    people: int
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second, of all together."""
        return len(self.seconds) / self.elapsed

    def percentile(self, share: float) -> float:
        """The time, in seconds, that a share of the answers took at most."""
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]

    def __str__(self) -> str:
        return (
            f"{self.people} at once: {self.rate:.1f} answers a second, median "
            f"{1000 * statistics.median(self.seconds):,.0f} ms, p95 "
            f"{1000 * self.percentile(0.95):,.0f} ms"
        )


class Page:
    """The page at an address, and the model that its answers are compared with."""

    def __init__(self, address: str, model: str) -> None:
        self._address, self._model = address, Path(model).name
        self._classifier = ZeroShotClassifier(model, "cpu", texts_on_disk=False)
        self._expected: dict[Path, dict[str, float]] = {}
        self._loop = asyncio.new_event_loop()
        self._one = httpx.AsyncClient(base_url=address, timeout=SECONDS)
        config = httpx.get(f"{address}config", timeout=SECONDS).json()
        (self._function,) = (
            each["id"] for each in config["dependencies"] if each["api_name"] == "classify"
        )

    def expect(self, pictures: list[Path]) -> None:
        """Asks the model by itself, before anything is timed."""
        for path in pictures:
            scores = self._classifier.classify(path, LABELS, [TEMPLATE])
            shares = zip(scores.labels, scores.probabilities.tolist(), strict=True)
            self._expected[path] = dict(shares)

    def wait_until_ready(self, path: Path, minutes: float) -> None:
        """Until the page has loaded its model: until then it says that it is on its way."""
        deadline = time.monotonic() + 60 * minutes
        while True:
            try:
                self.time_one(path, LABELS)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def ask_all(self, people: int, pictures: list[Path]) -> Crowd:
        """Has so many people ask about all pictures, each about the next when it has an answer."""
        return asyncio.run(self._ask_all(people, pictures))

    async def _ask_all(self, people: int, pictures: list[Path]) -> Crowd:
        crowd, left = Crowd(people), iter(pictures)
        limits = httpx.Limits(max_connections=2 * people, max_keepalive_connections=2 * people)
        async with httpx.AsyncClient(
            base_url=self._address, timeout=SECONDS, limits=limits
        ) as client:
            started = time.perf_counter()
            names = [f"person-{time.time_ns()}-{number}" for number in range(people)]
            await asyncio.gather(*(self._person(client, name, left, crowd) for name in names))
            crowd.elapsed = time.perf_counter() - started
        return crowd

    def time_one(self, path: Path, labels: Sequence[str]) -> float:
        """Seconds from question to answer for somebody whose picture is up already."""

        async def ask() -> float:
            picture = await self._upload(self._one, path)
            started = time.perf_counter()
            await self._ask(self._one, "one-person", picture, labels)
            return time.perf_counter() - started

        return self._loop.run_until_complete(ask())

    async def _person(
        self, client: httpx.AsyncClient, session: str, left: Iterator[Path], crowd: Crowd
    ) -> None:
        for path in left:
            started = time.perf_counter()
            picture = await self._upload(client, path)
            shares = await self._ask(client, session, picture, LABELS)
            crowd.seconds.append(time.perf_counter() - started)
            expected = self._expected[path]
            worst = max(abs(shares[label] - expected[label]) for label in LABELS)
            if worst > SAME:
                raise RuntimeError(f"The answer to {path.name} is another's: off by {worst:.3f}.")

    async def _upload(self, client: httpx.AsyncClient, path: Path) -> dict[str, Any]:
        sent = await client.post("gradio_api/upload", files={"files": path.open("rb")})
        (uploaded,) = sent.json()
        return {"path": uploaded, "meta": {"_type": "gradio.FileData"}}

    async def _ask(
        self, client: httpx.AsyncClient, session: str, picture: Any, labels: Sequence[str]
    ) -> dict[str, float]:
        body = {
            "data": [picture, "\n".join(labels), TEMPLATE, self._model, "best"],
            "fn_index": self._function,
            "session_hash": session,
        }
        joined = await client.post("gradio_api/queue/join", json=body)
        if joined.is_error:
            raise RuntimeError(joined.text)
        where, answer = {"session_hash": session}, None
        async with (
            client.stream("GET", "gradio_api/queue/data", params=where) as stream,
            aclosing(stream.aiter_lines()) as lines,
        ):
            async for line in lines:
                if not line.startswith("data:"):
                    continue
                said = json.loads(line.removeprefix("data:"))
                if said["msg"] == "process_completed":
                    if not said["success"]:
                        raise RuntimeError(said["output"])
                    found = said["output"]["data"][0]["confidences"]
                    answer = {each["label"]: each["confidence"] for each in found}
        if answer is None:
            raise RuntimeError("The stream ended without an answer.")
        return answer


@contextmanager
def random_weights(folder: Path) -> Iterator[Path]:
    """A file of ViT-B/32's shape, for the page to load."""
    from safetensors.torch import save_file  # noqa: PLC0415

    from .peers import make  # noqa: PLC0415

    path = folder / "vit-b-32.safetensors"
    tensors = make("ViT-B/32", ()).model.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    yield path
