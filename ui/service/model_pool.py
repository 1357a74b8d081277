"""The models the page can ask: fetched and loaded in the background, kept within a budget.

A model is absent, on its way, ready, or failed. Whoever asks for one that isn't ready is answered
by another until it is; `bundled`, which comes with the project, always can.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from clip_core import CheckpointError, DownloadError, ZeroShotClassifier
from clip_core.classifier import best_device
from clip_core.errors import ClipError, InputError
from clip_core.inference.batcher import Batcher
from clip_core.inference.malloc import give_back_freed_memory
from clip_core.inference.onnx import check_onnx
from clip_core.inference.oom import is_out_of_memory
from clip_core.weights.build import Checkpoint, outline, read_checkpoint
from clip_core.weights.reader import read_metadata
from clip_core.weights.registry import PUBLISHED
from clip_core.weights.resolve import BUNDLED, choose_dtype, find_on_disk, find_weights, is_known

from .memory import default_budget, free_memory, readable
from .telemetry import log_event, seconds_since

# The set that the CLIP repository's own search over templates chose for published weights.
PUBLISHED_DEFAULT = "imagenet-7"
ALWAYS = "bundled"  # never put out: it is what answers when nothing else can
INSTEAD = "Choose a smaller model, or try again later."
SECONDS_TO_LEAVE = 10.0
FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^/\s'\"]+/)+")  # of a path, not of an address

Stage = Literal["absent", "downloading", "loading", "ready", "failed"]


class CancelledError(Exception):
    """Nobody waits for a download any longer."""


class NotReadyError(ClipError, ValueError):
    """A model can't answer yet; the message is one sentence that says how far it is."""


@dataclass
class PoolEntry:
    """One model and where it stands."""

    source: str  # what `clip_core.load` takes
    stage: Stage = "absent"
    done: int = 0  # bytes, of a download
    total: int | None = None
    problem: str = ""  # why it failed
    classifier: ZeroShotClassifier | None = None
    size: int = 0  # bytes in memory, once ready
    users: int = 0  # answers being computed with it
    last_used: int = 0
    waiting: set[str] = field(default_factory=set)  # who wants its download
    # Set once it is ready or has failed; each request has a new one
    settled: threading.Event = field(default_factory=threading.Event)


class ModelPool:
    """Classifiers by name. `bundled` starts loading at once, and so do those that were given.

    given: what `clip_core.load` takes; the first of them is the default. On the page a file goes by
    its name without its folders, which are nobody's business there. offer_published: whether the
    nine published models are there to choose. memory: bytes that models may take together.
    in_background: False loads what is asked for before `request` returns, in the same thread. onnx:
    as for `ZeroShotClassifier`.

    Raises CheckpointError when there is no such model, InputError when two have the same name,
    there is no such device or dtype, or no ONNX Runtime where it is wanted.
    """

    def __init__(
        self,
        given: Sequence[str] = (),
        device: str | None = None,
        dtype: str | None = None,
        memory: int | None = None,
        mirror: str | None = None,
        offer_published: bool = True,
        in_background: bool = True,
        onnx: bool = False,
    ) -> None:
        for name in given:
            if not is_known(name):
                find_weights(name)  # raises, saying what could be meant
        try:
            self._device = torch.device(device or best_device())
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError) as error:  # which one depends on torch's build
            raise InputError(
                f"The device {device!r} can't be used here: name none to take the best there is."
            ) from error
        self._dtype = choose_dtype(dtype, self._device)
        self._onnx = onnx
        if onnx:
            check_onnx(self._device, self._dtype)
        self.memory = memory or default_budget(self._device)
        self._mirror, self._in_background = mirror, in_background
        published = list(PUBLISHED) if offer_published else []
        named = {_shown_name(name): name for name in given}
        if len(named) < len(set(given)):
            raise InputError("Two of these models have the same file name: rename one.")
        self._slots = {
            name: PoolEntry(source)
            for name, source in ({ALWAYS: ALWAYS} | {n: n for n in published} | named).items()
        }
        self.default = next(iter(named), ALWAYS)
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()  # loading: the budget is counted model by model
        # Leaving the program in the middle of torch's work would crash it
        atexit.register(self._one_at_a_time.acquire, timeout=SECONDS_TO_LEAVE)
        self._turns = Batcher()  # one line for all models: they share the cores
        self._clock = 0
        for name in {ALWAYS: 0} | named:
            self.request(name)

    @property
    def device(self) -> torch.device:
        """Where models run."""
        return self._device

    @property
    def names(self) -> list[str]:
        """The names: bundled, the published ones, those that were given."""
        return list(self._slots)

    def slot(self, name: str) -> PoolEntry:
        """Where a model stands. Raises InputError when there is no such model."""
        if name not in self._slots:
            raise InputError(
                f"There is no model {name!r} here: choose one of {', '.join(self.names)}."
            )
        return self._slots[name]

    def is_ready(self, name: str) -> bool:
        """Whether a model answers without waiting."""
        return self.slot(name).stage == "ready"

    def answering(self, name: str, before: str | None = None) -> str:
        """Who answers when `name` is asked: itself, else the one from before, else bundled."""
        return next((n for n in (name, before) if n in self._slots and self.is_ready(n)), ALWAYS)

    def request(self, name: str, who: str = "") -> None:
        """Has a model fetched and loaded in the background, unless it is there or on its way.

        who: a visitor, who may `cancel` what nobody else waits for.
        """
        slot = self.slot(name)
        with self._lock:
            slot.waiting.add(who)
            if slot.stage not in ("absent", "failed"):
                return
            slot.stage, slot.problem, slot.done, slot.total = "loading", "", 0, None
            slot.settled = threading.Event()
        if self._in_background:
            # A daemon: leaving the program must not wait for a download
            threading.Thread(target=self._bring, args=(name,), daemon=True).start()
        else:
            self._bring(name)

    def cancel(self, name: str, who: str = "") -> None:
        """A visitor no longer waits; a download that nobody waits for ends, to be resumed later."""
        with self._lock:
            self.slot(name).waiting.discard(who)

    @contextmanager
    def use(self, name: str) -> Iterator[ZeroShotClassifier]:
        """The classifier, which stays in memory while it is used.

        One that only has to be loaded is waited for. Raises NotReadyError for one that is being
        downloaded, and CheckpointError for one that failed.
        """
        slot = self.slot(name)
        if slot.stage in ("absent", "failed"):
            self.request(name)
        # A download shows itself at once; what is on disk is loaded in a second or two.
        while not slot.settled.wait(0.05):
            if slot.stage == "downloading":
                raise NotReadyError(f"The model {name} {describe(slot)}; ask again when it is in.")
        with self._lock:
            classifier = slot.classifier
            if classifier is None:
                raise CheckpointError(slot.problem or f"{name} was put out of memory: ask again.")
            slot.users += 1
            self._clock += 1
            slot.last_used = self._clock
        try:
            yield classifier
        finally:
            with self._lock:
                slot.users -= 1

    def default_template(self, name: str) -> str:
        """The template, or the name of the set of templates, that measured best for a model."""
        return self._metadata(name).get("default_template", PUBLISHED_DEFAULT)

    def default_framing(self, name: str) -> str:
        """How a picture is made square where that measured best for a model, else "crop"."""
        return self._metadata(name).get("default_framing", "crop")

    def _metadata(self, name: str) -> dict[str, str]:
        source = self.slot(name).source
        return read_metadata(BUNDLED if source == ALWAYS else source)

    def label(self, name: str) -> str:
        """A line for a menu: the name, the size, the resolution, what it is for."""
        source = self.slot(name).source
        if name in PUBLISHED and source == name:
            known = PUBLISHED[name]
            return (
                f"{name} · {known.megabytes:,} MB · {known.input_resolution} px · {known.purpose}"
            )
        path = BUNDLED if source == ALWAYS else Path(source)
        purpose = "comes with the page" if source == ALWAYS else "given by the host"
        parts = [name]
        if path.is_file():
            parts.append(readable(path.stat().st_size))
            try:
                parts.append(f"{outline(read_checkpoint(path)).visual.input_resolution} px")
            except CheckpointError:
                purpose = "can't be read"  # what is wrong is said to whoever chooses it
        return " · ".join([*parts, purpose])

    def _bring(self, name: str) -> None:
        """Downloads if need be, makes room, loads; ends in "ready", "failed" or "absent"."""
        slot = self._slots[name]
        started = time.perf_counter()

        def on_progress(done: int, total: int | None) -> None:
            slot.done, slot.total, slot.stage = done, total, "downloading"
            if not slot.waiting:
                raise CancelledError

        try:
            if slot.source in PUBLISHED:
                self._check_fits(name, PUBLISHED[slot.source].parameters)
            found = find_on_disk(slot.source)
            if found is None:
                slot.stage = "downloading"
                found = find_weights(slot.source, mirror=self._mirror, on_progress=on_progress)
            slot.stage = "loading"
            with self._one_at_a_time:
                checkpoint = read_checkpoint(*found)
                self._make_room(name, checkpoint)
                # Weights are there twice, which is quicker, where there is room for that
                twice = 2 * self._bytes_for(checkpoint.parameters)
                room = min(self._left(), free_memory(self._device))
                pack = name == ALWAYS or room >= twice
                classifier = ZeroShotClassifier(
                    checkpoint,
                    self._device,
                    self._dtype,
                    name,
                    pack=pack,
                    turns=self._turns,
                    onnx=self._onnx,
                )
        except CancelledError:
            log_event("model", model=name, outcome="called off")
            self._settle(slot, "absent")
        except (CheckpointError, DownloadError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            log_event(
                "model", logging.ERROR, model=name, outcome="failed", kind=type(error).__name__
            )
            # Where files lie is the host's business, not the page's
            self._settle(slot, "failed", FOLDERS.sub("", str(error)))
        except Exception as error:  # a thread that dies in silence would leave everyone waiting
            log_event(
                "model", logging.ERROR, model=name, outcome="failed", kind=type(error).__name__
            )
            if is_out_of_memory(error):
                self._settle(slot, "failed", f"There was too little memory for {name}. {INSTEAD}")
                return
            self._settle(slot, "failed", f"It could not be loaded ({type(error).__name__}).")
            raise
        else:
            slot.size = _bytes_of(classifier)
            log_event("model", model=name, outcome="ready", seconds=seconds_since(started))
            self._settle(slot, "ready", classifier=classifier)

    def _settle(
        self,
        slot: PoolEntry,
        stage: Stage,
        problem: str = "",
        classifier: ZeroShotClassifier | None = None,
    ) -> None:
        with self._lock:
            slot.stage, slot.problem, slot.classifier = stage, problem, classifier
            slot.waiting.clear()
            self._clock += 1
            slot.last_used = self._clock
            slot.settled.set()

    def _bytes_for(self, parameters: int) -> int:
        return parameters * self._dtype.itemsize

    def _check_fits(self, name: str, parameters: int) -> None:
        needed = self._bytes_for(parameters)
        if name != ALWAYS and needed + self._slots[ALWAYS].size > self.memory:
            raise CheckpointError(
                f"{name} takes {readable(needed)} of memory, and models may take "
                f"{readable(self.memory)} here: choose a smaller one, or raise --memory."
            )

    def _check_free(self, name: str, needed: int) -> None:
        """Refuses what the machine has no room for now, before any other model is put out."""
        with self._lock:
            free = free_memory(self._device) + sum(slot.size for slot in self._idle())
        if name != ALWAYS and needed > free:
            raise CheckpointError(
                f"{name} takes {readable(needed)} of memory, and {readable(free)} are free here "
                f"now. {INSTEAD}"
            )

    def _idle(self) -> list[PoolEntry]:
        """The models that may be put out of memory."""
        return [
            slot
            for name, slot in self._slots.items()
            if slot.classifier is not None and name != ALWAYS and not slot.users
        ]

    def _left(self) -> int:
        """The memory that models may still take."""
        ready = (slot.size for slot in self._slots.values() if slot.classifier is not None)
        return self.memory - sum(ready)

    def _make_room(self, name: str, checkpoint: Checkpoint) -> None:
        """Puts out the least recently used until a model fits."""
        self._check_fits(name, checkpoint.parameters)
        needed = self._bytes_for(checkpoint.parameters)
        self._check_free(name, needed)
        while True:
            with self._lock:
                fits = self._left() >= needed
                if fits and free_memory(self._device) >= needed:
                    return
                ready = {n: s for n, s in self._slots.items() if s.classifier is not None}
                idle = self._idle()
                if idle:
                    oldest = min(idle, key=lambda slot: slot.last_used)
                    oldest.classifier, oldest.stage, oldest.size = None, "absent", 0
                    give_back_freed_memory()
                    continue
                if fits or name == ALWAYS or set(ready) <= {ALWAYS}:
                    break
            threading.Event().wait(0.05)  # the others are answering: each ends soon
        self._check_free(name, needed)


def describe(slot: PoolEntry) -> str:
    """How far a model is, to follow its name in a sentence; empty when there is nothing to say."""
    if slot.stage == "downloading":
        if slot.total:
            return f"is being downloaded: {slot.done / 1e6:,.0f} of {slot.total / 1e6:,.0f} MB"
        return "is being downloaded"
    if slot.stage == "loading":
        return "is being loaded"
    return ""


def _shown_name(source: str) -> str:
    return Path(source).name if Path(source).exists() else source


def _bytes_of(classifier: ZeroShotClassifier) -> int:
    tensors = classifier.model.state_dict().values()
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return own + classifier.extra_bytes
