"""Pool of models: downloaded and loaded in the background, kept within a memory budget.

A model is absent, being downloaded or loaded, ready, or failed. Questions for one that isn't ready
are answered by another until it is. `bundled`, which comes with the project, is never evicted.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from clip_core import CheckpointError, ZeroShotClassifier
from clip_core.classifier import best_device
from clip_core.config import Config
from clip_core.errors import ClipError, InputError
from clip_core.inference.batcher import Batcher
from clip_core.inference.malloc import give_back_freed_memory
from clip_core.inference.onnx import check_onnx
from clip_core.inference.oom import is_out_of_memory
from clip_core.weights.build import Checkpoint, outline, read_checkpoint
from clip_core.weights.reader import read_metadata
from clip_core.weights.registry import PUBLISHED
from clip_core.weights.resolve import BUNDLED, choose_dtype, find_on_disk, find_weights, is_known

from .memory import INSTEAD, MemoryBudget, readable
from .telemetry import log_event, seconds_since

# The set of templates that the CLIP repository's search chose for the published weights
PUBLISHED_DEFAULT = "imagenet-7"
ALWAYS = "bundled"  # answers when no other model can
SECONDS_TO_LEAVE = 10.0
# The folders of a path, but nothing of an address
FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^/\s'\"]+/)+")

Stage = Literal["absent", "downloading", "loading", "ready", "failed"]


class CancelledError(Exception):
    """Nobody waits for a download any longer."""


class NotReadyError(ClipError, ValueError):
    """A model can't answer yet; the message is one sentence that says how far it is."""


@dataclass
class PoolEntry:
    """One model and its state. Only `ModelPool` changes it."""

    source: str  # as `clip_core.load` takes it
    stage: Stage = "absent"
    done: int = 0  # bytes of a download so far
    total: int | None = None
    problem: str = ""  # why it failed
    classifier: ZeroShotClassifier | None = None
    size: int = 0  # bytes in memory, while it is ready
    users: int = 0  # answers being computed with it
    last_used: float = 0.0  # by `time.monotonic`
    waiting: set[str] = field(default_factory=set)  # visitors who want its download


class Loader:
    """Download and construction of classifiers for one device.

    The parameters are those of `ModelPool`. Raises InputError for a device, a dtype or an ONNX
    Runtime that can't be used.
    """

    def __init__(
        self, device: str | None, dtype: str | None, mirror: str | None, onnx: bool
    ) -> None:
        try:
            self.device = torch.device(device or best_device())
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # which one depends on torch's build
            raise InputError(
                f"The device {device!r} can't be used here: name none to take the best there is."
            ) from error
        self.dtype = choose_dtype(dtype, self.device)
        if onnx:
            check_onnx(self.device, self.dtype)
        self._mirror, self._onnx = mirror, onnx
        self._batcher = Batcher()  # one for all models: they share the cores

    def fetch(
        self, source: str, on_progress: Callable[[int, int | None], None]
    ) -> tuple[Path, Config | None]:
        """The file of a model, downloaded unless it is on the disk. As `find_weights` returns it.

        on_progress: called with the bytes so far and in all, first when the download begins. What
        it raises ends the download, which is resumed the next time.
        """
        found = find_on_disk(source)
        if found is None:
            on_progress(0, None)
            found = find_weights(source, mirror=self._mirror, on_progress=on_progress)
        return found

    def build(self, name: str, checkpoint: Checkpoint, pack: bool) -> ZeroShotClassifier:
        """A classifier with these weights. pack: as for `ZeroShotClassifier`."""
        return ZeroShotClassifier(
            checkpoint,
            self.device,
            self.dtype,
            name,
            pack=pack,
            turns=self._batcher,
            onnx=self._onnx,
        )


class ModelPool:
    """Classifiers by name. `bundled` and the models given start loading at once.

    given: what `clip_core.load` takes; the first of them is the default. A file goes by its name
    without its folders, which visitors must not see. offer_published: whether the nine published
    models can be chosen. memory: bytes that models may take together. mirror: as for
    `find_weights`. in_background: False loads a model before `request` returns, in the same thread.
    onnx: as for `ZeroShotClassifier`.

    Raises CheckpointError when there is no such model, InputError when two have the same name, and
    as `Loader` does.
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
        self._loader = Loader(device, dtype, mirror, onnx)
        self._budget = MemoryBudget(memory, self._loader.device, self._loader.dtype)
        self._in_background = in_background
        published = list(PUBLISHED) if offer_published else []
        named = {_shown_name(name): name for name in given}
        if len(named) < len(set(given)):
            raise InputError("Two of these models have the same file name: rename one.")
        self._entries = {
            name: PoolEntry(source)
            for name, source in ({ALWAYS: ALWAYS} | {n: n for n in published} | named).items()
        }
        self.default = next(iter(named), ALWAYS)
        # Guards the entries; notified when one changes its stage or loses its last user
        self._changed = threading.Condition()
        self._one_at_a_time = threading.Lock()  # loading: the budget is counted model by model
        # Leaving the program in the middle of torch's work would crash it
        atexit.register(self._one_at_a_time.acquire, timeout=SECONDS_TO_LEAVE)
        for name in {ALWAYS: 0} | named:
            self.request(name)

    @property
    def device(self) -> torch.device:
        """The device that models run on."""
        return self._loader.device

    @property
    def names(self) -> list[str]:
        """The names: bundled, the published models, those that were given."""
        return list(self._entries)

    def entry(self, name: str) -> PoolEntry:
        """The state of a model, to be read. Raises InputError when there is no such model."""
        if name not in self._entries:
            raise InputError(
                f"There is no model {name!r} here: choose one of {', '.join(self.names)}."
            )
        return self._entries[name]

    def is_ready(self, name: str) -> bool:
        """Whether a model answers without waiting."""
        return self.entry(name).stage == "ready"

    def answering(self, name: str, before: str | None = None) -> str:
        """The model that answers for `name` now: itself, else the one before, else bundled."""
        known = (n for n in (name, before) if n in self._entries)
        return next((n for n in known if self.is_ready(n)), ALWAYS)

    def request(self, name: str, who: str = "") -> None:
        """Starts to download and load a model, unless it is there or on its way.

        who: a visitor, who may `cancel` a download that nobody else waits for.
        """
        entry = self.entry(name)
        with self._changed:
            entry.waiting.add(who)
            if entry.stage not in ("absent", "failed"):
                return
            entry.done, entry.total = 0, None
            self._transition(entry, "loading")
        if self._in_background:
            # A daemon: leaving the program must not wait for a download
            threading.Thread(target=self._bring, args=(name, entry), daemon=True).start()
        else:
            self._bring(name, entry)

    def cancel(self, name: str, who: str = "") -> None:
        """Ends a visitor's wait. A download that nobody waits for stops, to be resumed later."""
        with self._changed:
            self.entry(name).waiting.discard(who)

    @contextmanager
    def use(self, name: str) -> Iterator[ZeroShotClassifier]:
        """The classifier, which stays in memory while it is used.

        Waits while the model is loaded from the disk, which takes a second or two. Raises
        NotReadyError while it is downloaded, and CheckpointError when it failed.
        """
        entry = self.entry(name)
        if entry.stage in ("absent", "failed"):
            self.request(name)
        with self._changed:
            self._changed.wait_for(lambda: entry.stage != "loading")
            if entry.stage == "downloading":
                raise NotReadyError(f"The model {name} {describe(entry)}; ask again when it is in.")
            classifier = entry.classifier
            if classifier is None:
                raise CheckpointError(entry.problem or f"{name} was put out of memory: ask again.")
            entry.users += 1
            entry.last_used = time.monotonic()
        try:
            yield classifier
        finally:
            with self._changed:
                entry.users -= 1
                if not entry.users:
                    self._changed.notify_all()

    def default_template(self, name: str) -> str:
        """The template, or the name of the set of templates, that measured best for a model."""
        return self._metadata(name).get("default_template", PUBLISHED_DEFAULT)

    def default_framing(self, name: str) -> str:
        """The framing that measured best for a model, else "crop"."""
        return self._metadata(name).get("default_framing", "crop")

    def _metadata(self, name: str) -> dict[str, str]:
        source = self.entry(name).source
        return read_metadata(BUNDLED if source == ALWAYS else source)

    def label(self, name: str) -> str:
        """A line for a menu: the name, the size, the resolution, what it is for."""
        source = self.entry(name).source
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

    def _bring(self, name: str, entry: PoolEntry) -> None:
        """Downloads and loads a model; ends in the stage "ready", "failed" or "absent"."""
        started = time.perf_counter()

        def on_progress(done: int, total: int | None) -> None:
            entry.done, entry.total = done, total
            if entry.stage != "downloading":
                self._transition(entry, "downloading")
            if not entry.waiting:
                raise CancelledError

        try:
            if name != ALWAYS and entry.source in PUBLISHED:
                size = self._budget.size_of(PUBLISHED[entry.source].parameters)
                self._budget.check_limit(name, size, self._entries[ALWAYS].size)
            found = self._loader.fetch(entry.source, on_progress)
            self._transition(entry, "loading")
            with self._one_at_a_time:
                checkpoint = read_checkpoint(*found)
                size = self._budget.size_of(checkpoint.parameters)
                self._make_room(name, size)
                # Packed weights are quicker, but are there twice
                pack = name == ALWAYS or self._budget.left(self._taken()) >= 2 * size
                classifier = self._loader.build(name, checkpoint, pack)
        except CancelledError:
            log_event("model", model=name, outcome="called off")
            self._transition(entry, "absent")
        except ClipError as error:
            print(f"{name}: {error}", file=sys.stderr)
            _log_failure(name, error)
            # Visitors must not see where files lie on the host
            self._transition(entry, "failed", FOLDERS.sub("", str(error)))
        except Exception as error:  # else everyone would wait for a thread that has ended
            _log_failure(name, error)
            if is_out_of_memory(error):
                problem = f"There was too little memory for {name}. {INSTEAD}"
                self._transition(entry, "failed", problem)
                return
            problem = f"It could not be loaded ({type(error).__name__})."
            self._transition(entry, "failed", problem)
            raise
        else:
            log_event("model", model=name, outcome="ready", seconds=seconds_since(started))
            self._transition(entry, "ready", classifier=classifier)

    def _transition(
        self,
        entry: PoolEntry,
        stage: Stage,
        problem: str = "",
        classifier: ZeroShotClassifier | None = None,
    ) -> None:
        """Puts a model into a stage: the only place where one changes."""
        with self._changed:
            # The stage last: whoever sees a model ready must see its size
            entry.size = _bytes_of(classifier) if classifier is not None else 0
            entry.problem, entry.classifier = problem, classifier
            entry.stage = stage
            if stage not in ("downloading", "loading"):
                entry.waiting.clear()
                entry.last_used = time.monotonic()
            self._changed.notify_all()

    def _taken(self) -> int:
        """Bytes that the models in memory take."""
        return sum(entry.size for entry in self._entries.values())

    def _idle(self) -> list[PoolEntry]:
        """The models that may be evicted."""
        return [
            entry
            for name, entry in self._entries.items()
            if entry.stage == "ready" and name != ALWAYS and not entry.users
        ]

    def _make_room(self, name: str, size: int) -> None:
        """Evicts the least recently used models until `size` bytes fit.

        Waits for those that are in use. Raises CheckpointError when they can't fit; `bundled` is
        loaded all the same.
        """
        with self._changed:
            if name != ALWAYS:
                self._budget.check_limit(name, size, self._entries[ALWAYS].size)
                # Checked first: a model that can't fit must not have others evicted
                self._budget.check_free(name, size, sum(entry.size for entry in self._idle()))
            while self._budget.left(self._taken()) < size:
                if idle := self._idle():
                    self._transition(min(idle, key=lambda entry: entry.last_used), "absent")
                    give_back_freed_memory()
                elif name == ALWAYS:
                    return
                elif self._budget.limit - self._taken() < size:
                    self._changed.wait()  # until an answer ends and its model can be evicted
                else:
                    self._budget.check_free(name, size, evictable=0)


def describe(entry: PoolEntry) -> str:
    """How far a model is, to follow its name in a sentence; empty when there is nothing to say."""
    if entry.stage == "downloading":
        if entry.total:
            return f"is being downloaded: {entry.done / 1e6:,.0f} of {entry.total / 1e6:,.0f} MB"
        return "is being downloaded"
    return "is being loaded" if entry.stage == "loading" else ""


def _log_failure(name: str, error: Exception) -> None:
    kind = type(error).__name__
    log_event("model", logging.ERROR, model=name, outcome="failed", kind=kind)


def _shown_name(source: str) -> str:
    return Path(source).name if Path(source).exists() else source


def _bytes_of(classifier: ZeroShotClassifier) -> int:
    tensors = classifier.model.state_dict().values()
    own = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return own + classifier.extra_bytes
