"""A crowd of strangers on the page for some minutes: python -m benchmarks.load [--people 200].

Most ask about pictures of their own, with some seconds between two questions. A few ask with a
thousand new labels each time, read their answers slowly, or leave before the answer. Every answer
is compared with what the model says of that picture by itself, and no two pictures have the same
answer, so that none can be another's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from clip_core import ZeroShotClassifier

from .page import CAT, free_port, running_app
from .people import LABELS, SAME, TEMPLATE

PICTURES = 200
SIZE = (480, 360)
KINDS = {"slow": 6, "leaving": 6}  # of these so many in a crowd of 200
LEFT, RIGHT = "left before the answer", "right answers"
MOST_LABELS = 1000
PATIENCE = 120.0  # seconds that a person waits for an answer before it counts as lost
SLOWLY = 0.2  # seconds between two lines of an answer, for who reads slowly
COME_ANEW = 0.2  # how often a person opens the page once more, and has a new session
SETTLED = 120.0  # seconds after which memory is compared with the end's
# Below the 5 s after which the server closes an idle connection: a browser would ask again itself
KEPT_OPEN = 3.0


@dataclass
class Seen:
    """What the crowd saw. seconds: of each answer, by kind of person; counts: of what happened."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, int]] = field(default_factory=list)  # seconds, bytes
    most_waiting: int = 0

    def say(self) -> str:
        """The figures, a line each."""
        lines = [f"{what}: {count:,}" for what, count in sorted(self.counts.items())]
        for kind, seconds in sorted(self.seconds.items()):
            ordered = sorted(seconds)
            lines.append(
                f"{kind}: {len(ordered):,} answers, median {statistics.median(ordered):.2f} s, "
                f"p95 {ordered[int(0.95 * (len(ordered) - 1))]:.2f} s, longest {ordered[-1]:.2f} s"
            )
        settled = [size for moment, size in self.memory if moment >= SETTLED] or [0]
        lines.append(
            f"memory: {settled[0] / 1e6:,.0f} MB after {SETTLED:.0f} s, "
            f"{settled[-1] / 1e6:,.0f} MB at the end, {max(settled) / 1e6:,.0f} MB at most"
        )
        lines.append(f"most questions in the queue at once: {self.most_waiting}")
        return "\n".join(lines)


class Crowd:
    """People at one address, until the time is over."""

    def __init__(self, address: str, pictures: dict[Path, dict[str, float]], until: float) -> None:
        self._address, self._pictures, self._until = address, pictures, until
        config = httpx.get(f"{address}config", timeout=60).json()
        (self._function,) = (
            each["id"] for each in config["dependencies"] if each["api_name"] == "classify"
        )
        self.seen = Seen()

    async def run(self, people: int, greedy: int, process: psutil.Process) -> Seen:
        """Has them all ask, and looks at the page's memory and queue meanwhile.

        greedy: how many of them ask with `MOST_LABELS` labels.
        """
        few = ["greedy"] * min(greedy, people)
        few += [kind for kind, count in KINDS.items() for _ in range(count * people // 200)]
        kinds = few + ["plain"] * (people - len(few))
        watching = asyncio.create_task(self._watch(process))
        await asyncio.gather(*(self._person(kind, number) for number, kind in enumerate(kinds)))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching  # raises what ended it before
        return self.seen

    async def _watch(self, process: psutil.Process) -> None:
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=self._address, timeout=60) as client:
            while True:
                self.seen.memory.append((time.monotonic() - started, process.memory_info().rss))
                queue = (await client.get("healthz")).json()["queue"]
                self.seen.most_waiting = max(self.seen.most_waiting, queue["waiting"])
                await asyncio.sleep(1)

    async def _person(self, kind: str, number: int) -> None:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, 5))  # nobody comes at the same moment
        limits = httpx.Limits(keepalive_expiry=KEPT_OPEN)
        session, lost = f"{number}-0", False
        async with httpx.AsyncClient(
            base_url=self._address, timeout=PATIENCE, limits=limits
        ) as client:
            while time.monotonic() < self._until:
                path = chance.choice(list(self._pictures))
                labels = list(LABELS)
                if kind == "greedy":
                    labels += [f"thing {chance.random()}" for _ in range(MOST_LABELS - len(labels))]
                started = time.monotonic()
                if kind == "leaving" or lost or chance.random() < COME_ANEW:
                    session = f"{number}-{started}"
                lost = True
                try:
                    with anyio.fail_after(PATIENCE):
                        shares = await self._ask(client, kind, session, path, labels)
                except TimeoutError:
                    self.seen.counts["lost: no answer in time"] += 1
                except (httpx.HTTPError, RuntimeError) as error:
                    self.seen.counts[f"failed: {type(error).__name__} {str(error)[:80]}"] += 1
                else:
                    lost = False
                    if shares is not None:
                        self.seen.seconds.setdefault(kind, []).append(time.monotonic() - started)
                        self._check(path, shares)
                await asyncio.sleep(chance.uniform(1, 4))

    def _check(self, path: Path, shares: dict[str, float]) -> None:
        expected = self._pictures[path]
        # With more labels shares are smaller, and keep their proportions
        total = sum(shares[label] for label in LABELS)
        worst = max(abs(shares[label] / total - expected[label]) for label in LABELS)
        self.seen.counts[RIGHT if worst <= SAME else "WRONG ANSWERS"] += 1

    async def _ask(
        self, client: httpx.AsyncClient, kind: str, session: str, path: Path, labels: Sequence[str]
    ) -> dict[str, float] | None:
        """The shares; None for who left, or was told that the queue is full."""
        sent = await self._post(
            client, "gradio_api/upload", files={"files": (path.name, path.read_bytes())}
        )
        sent.raise_for_status()
        picture = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        body = {
            "data": [picture, "\n".join(labels), TEMPLATE, "bundled", "best"],
            "fn_index": self._function,
            "session_hash": session,
        }
        joined = await self._post(client, "gradio_api/queue/join", json=body)
        if joined.status_code == 503:
            self.seen.counts["told that the queue is full"] += 1
            return None
        joined.raise_for_status()
        where = {"session_hash": session}
        async with client.stream("GET", "gradio_api/queue/data", params=where) as stream:
            if kind == "leaving":
                self.seen.counts[LEFT] += 1
                return None
            async for said in _events(stream, slowly=kind == "slow"):
                if said["msg"] == "process_completed":
                    if not said["success"]:
                        raise RuntimeError(str(said["output"].get("error")))
                    found = said["output"]["data"][0]["confidences"]
                    return {each["label"]: each["confidence"] for each in found}
        raise RuntimeError("The stream ended without an answer.")

    async def _post(self, client: httpx.AsyncClient, path: str, **what: Any) -> httpx.Response:
        """As a browser does it: once more where a connection that was kept is closed meanwhile."""
        try:
            return await client.post(path, **what)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            self.seen.counts["sent once more, since a kept connection was closed"] += 1
            return await client.post(path, **what)


async def _events(stream: httpx.Response, slowly: bool) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.aiter_lines():
        if slowly:
            await asyncio.sleep(SLOWLY)
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def make_pictures(folder: Path, count: int) -> dict[Path, dict[str, float]]:
    """Pictures with the shares that each gets by itself, those of any two far enough apart."""
    classifier = ZeroShotClassifier("bundled", "cpu", texts_on_disk=False)
    opened = [Image.open(path).convert("RGB") for path in sorted(CAT.parent.glob("*.*g"))]
    chance = random.Random(0)
    expected: dict[Path, dict[str, float]] = {}
    told_apart = np.empty((0, len(LABELS)))
    while len(expected) < count:
        path = folder / f"{len(expected)}.jpg"
        one, other = (_piece(chance.choice(opened), chance) for _ in range(2))
        Image.blend(one, other, chance.random()).save(path, quality=85)
        scores = classifier.classify(path, LABELS, [TEMPLATE])
        shares = scores.probabilities
        if (np.abs(told_apart - shares).max(axis=1) > 2 * SAME).all():
            told_apart = np.vstack([told_apart, shares])
            expected[path] = dict(zip(scores.labels, shares.tolist(), strict=True))
    return expected


def _piece(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Some rectangle of a picture, at `SIZE`."""
    share = chance.uniform(0.3, 0.9)
    width, height = share * picture.width, share * picture.height
    left = chance.uniform(0, picture.width - width)
    top = chance.uniform(0, picture.height - height)
    return picture.resize(SIZE, box=(left, top, left + width, top + height))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--greedy", type=int, default=4, help="ask with a thousand labels")
    parser.add_argument("--queue-size", type=int, default=100, help="as for app.py")
    parser.add_argument("--sessions", type=int, default=1000, help="as for app.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pictures = make_pictures(Path(name), PICTURES)
        metrics = free_port()
        flags = {"queue-size": options.queue_size, "sessions": options.sessions, "metrics": metrics}
        with running_app(*(f"--{name}={value}" for name, value in flags.items())) as (
            address,
            process,
        ):
            until = time.monotonic() + 60 * options.minutes
            crowd = Crowd(address, pictures, until)
            page = psutil.Process(process.pid)
            seen = asyncio.run(crowd.run(options.people, options.greedy, page))
            print(seen.say())
            started = time.monotonic()
            while not _is_idle(address):
                if time.monotonic() - started > PATIENCE:
                    sys.exit("The queue did not empty.")
                time.sleep(0.1)
            print(f"queue empty {time.monotonic() - started:.1f} s after the last left")
            unread = _answered(metrics) - seen.counts[RIGHT]
            print(f"{seen.counts[LEFT]:,} left before; {unread:,.0f} answers that nobody read")
    lost = [what for what in seen.counts if what.startswith(("lost", "failed", "WRONG"))]
    sys.exit(1 if lost else 0)


def _is_idle(address: str) -> bool:
    queue = httpx.get(f"{address}healthz").json()["queue"]
    return not queue["waiting"] and not queue["running"]


def _answered(metrics: int) -> float:
    """How many answers models gave, by the page's own figures."""
    figures = text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{metrics}/metrics").text)
    return sum(
        sample.value
        for family in figures
        for sample in family.samples
        if sample.name == "clip_answer_seconds_count"
    )


if __name__ == "__main__":
    main()
