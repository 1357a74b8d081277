"""Features of pictures on disk, by content and model, so that nothing is ever encoded twice.

A folder for each model and framing, in it `model.json`, which says whose they are, and parts
(`parts.py`): features by content, and stamps, which tell the content of a file that is as it was
without reading it. A part whose bytes have changed is dropped, so that its pictures are encoded
again.

Small parts are merged into larger ones from time to time. Each process writes in a folder of its
own, and all read everything.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import filelock
import torch
from safetensors import SafetensorError
from torch import Tensor

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import StoreError
from clip_core.inference.fingerprint import update_with_tower
from clip_core.inference.threads import available_cores

from .shards import BrokenPartError, Part, read_part, write_part

FORM = "2"  # of the parts, and of how pixels become features: raised when either changes
SECONDS_BETWEEN_PARTS = 1.0  # what a kill may cost
ROWS_IN_MEMORY = 4096  # that wait to be written: 8 MB at 512 float32
MERGED_AT_ONCE = 16  # small parts of one size become one of the next
LARGEST_PART = 65536  # rows: no merged part has more, so that merging takes bounded memory


class FeatureStore(AbstractContextManager["FeatureStore"]):
    """The features that one model has for pictures, by the SHA-256 of their files.

    folder: of `store_folder`; made when there is none. Raises StoreError where it can't be used.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        self.folder, self.dimensions = folder, dimensions
        self.broken = 0  # parts that could not be read
        self._parts: list[Tensor] = []  # features, mapped
        self._rows: dict[bytes, tuple[int, int]] = {}  # content -> part, row
        self._stamps: dict[bytes, bytes] = {}
        self._waiting: dict[bytes, Tensor] = {}
        self._new_stamps: dict[bytes, bytes] = {}
        self._flushed = time.monotonic()
        try:
            self._own, self._lock = _claim(folder)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StoreError(
                f"Features can't be kept in {str(folder)!r}: {reason}. Name another folder by "
                "--features."
            ) from error
        self._mine: list[tuple[Path, int]] = []  # own parts and their rows
        seen: set[Path] = set()
        while new := [path for path in _list_parts(folder) if path not in seen]:
            seen.update(new)  # another process may merge some meanwhile: then there are new ones
            with ThreadPoolExecutor(available_cores()) as pool:  # checksums take most of the time
                parts = [pool.submit(read_part, path, dimensions) for path in new]
                for path, part in zip(new, parts, strict=True):
                    self._add(path, part.result)

    def __len__(self) -> int:
        return len(self._rows) + len(self._waiting)

    def __contains__(self, content: bytes) -> bool:
        return content in self._rows or content in self._waiting

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def contents(self) -> Iterator[bytes]:
        """The contents that have features on disk."""
        return iter(self._rows)

    def content_of(self, stamp: bytes) -> bytes | None:
        """The content of a file that is as it was when `stamp` was noted, if its features are here.

        A stamp may be known of a picture whose features are not: then the answer is None.
        """
        content = self._stamps.get(stamp)
        return content if content is not None and content in self else None

    def get(self, content: bytes) -> Tensor | None:
        """The features [D] of a content, or None."""
        found = self._waiting.get(content)
        if found is not None:
            return found
        place = self._rows.get(content)
        return None if place is None else self._parts[place[0]][place[1]]

    def gather(self, contents: Sequence[bytes]) -> Tensor:
        """The features [n, D] of contents that are here. Raises KeyError for one that is not."""
        parts, rows = list(self._parts), self._rows
        if self._waiting:
            waiting = {content: (len(parts), row) for row, content in enumerate(self._waiting)}
            parts.append(torch.stack(list(self._waiting.values())))
            places = [waiting.get(content) or rows[content] for content in contents]
        else:
            places = [rows[content] for content in contents]
        return _take(parts, places, self.dimensions)

    def put(self, content: bytes, features: Tensor) -> None:
        """Keeps the features [D] of a content; they are on disk a second later, or at `close`."""
        if content not in self:
            self._waiting[content] = features.detach().cpu().float()

    def note(self, stamp: bytes, content: bytes) -> None:
        """Remembers that the file with this stamp has this content."""
        if self._stamps.get(stamp) != content:
            self._stamps[stamp] = self._new_stamps[stamp] = content

    def flush(self, at_once: bool = True) -> None:
        """Writes what waits. at_once: even if little waits and the last time was just now."""
        if not self._waiting and not self._new_stamps:
            return
        is_due = time.monotonic() - self._flushed >= SECONDS_BETWEEN_PARTS
        if not (at_once or is_due or len(self._waiting) >= ROWS_IN_MEMORY):
            return
        contents = list(self._waiting)
        features = self.gather(contents)
        path = self._write(contents, features, self._new_stamps)
        self._add(path, partial(read_part, path, self.dimensions))
        # What can't be read back waits on, to be written once more
        self._waiting = {key: self._waiting[key] for key in contents if key not in self._rows}
        if not self._waiting:
            self._new_stamps = {}
        self._flushed = time.monotonic()
        self._merge()

    def close(self) -> None:
        """Writes what waits, and lets other processes have this one's folder."""
        try:
            self.flush()
        finally:
            self._lock.release()

    def _write(
        self, contents: Sequence[bytes], features: Tensor, stamps: dict[bytes, bytes]
    ) -> Path:
        path = self._own / f"part-{uuid.uuid4().hex}.safetensors"
        try:
            write_part(path, FORM, contents, features, stamps)
        except (OSError, SafetensorError) as error:
            raise StoreError(
                f"Features can't be written to {str(self.folder)!r}: {error}. What was written "
                "before is safe: make room, or name another folder by --features, and start again."
            ) from error
        return path

    def _add(self, path: Path, read: Callable[[], Part]) -> None:
        part = self._try(path, read)
        if part is None:
            return
        number = len(self._parts)
        self._parts.append(part.features)
        for row, content in enumerate(part.contents):
            self._rows[content] = (number, row)
        self._stamps.update(part.stamps)
        if path.parent == self._own:
            self._mine.append((path, len(part.contents)))

    def _try(self, path: Path, read: Callable[[], Part]) -> Part | None:
        """A part, or None for one that is not there, or can't be used: then it is said."""
        try:
            return read()
        except FileNotFoundError:  # merged by its process meanwhile: its rows are in a newer part
            return None
        except BrokenPartError:
            said = "is broken and dropped"
            with suppress(OSError):
                path.unlink()
        except OSError as error:
            said = f"can't be read ({(error.strerror or str(error)).lower()})"
        self.broken += 1
        print(f"{path} {said}: its pictures are encoded anew.", file=sys.stderr)
        return None

    def _merge(self) -> None:
        """Makes one part of many small ones, so that there are few however long a run lasts."""
        size = 1
        while size < LARGEST_PART:
            band = [each for each in self._mine if size <= max(each[1], 1) < size * 16]
            size *= 16
            small = _at_most(LARGEST_PART, band) if len(band) >= MERGED_AT_ONCE else []
            if len(small) < 2:
                continue
            parts: list[Tensor] = []
            places: dict[bytes, tuple[int, int]] = {}
            stamps: dict[bytes, bytes] = {}
            replaced: list[Path] = []
            for path in small:
                part = self._try(path, partial(read_part, path, self.dimensions))
                if part is not None:
                    for row, key in enumerate(part.contents):
                        places[key] = (len(parts), row)
                    parts.append(part.features)
                    stamps.update(part.stamps)
                    replaced.append(path)
            features = _take(parts, list(places.values()), self.dimensions)
            merged = self._write(list(places), features, stamps)
            # The merged part is there before the small ones go: a kill between costs only space
            for path in replaced:
                with suppress(OSError):  # Windows lets nobody remove what is mapped
                    path.unlink()
            self._mine = [(path, rows) for path, rows in self._mine if path not in small]
            self._add(merged, partial(read_part, merged, self.dimensions))
            self._forget_unused()

    def _forget_unused(self) -> None:
        """Lets go of mapped parts to which no row leads any longer."""
        used = sorted({number for number, _ in self._rows.values()})
        places = {number: place for place, number in enumerate(used)}
        self._parts = [self._parts[number] for number in used]
        self._rows = {key: (places[number], row) for key, (number, row) in self._rows.items()}


def open_store(
    base: Path, classifier: ZeroShotClassifier, framing: str, appearance: bool = False
) -> FeatureStore:
    """The store under `base` for one model and framing.

    appearance: for the features that compare pictures with pictures, where the model has others for
    that. Raises StoreError when it can't be used.
    """
    dimensions = classifier.appearance_dim if appearance else None
    kind = framing if dimensions is None else f"{framing}-appearance"
    folder = store_folder(base, classifier, kind)
    return FeatureStore(folder, dimensions or classifier.model.visual.output_dim)


def store_folder(base: Path, classifier: ZeroShotClassifier, kind: str) -> Path:
    """The folder under `base` for one model's features: named for people, and by its weights.

    kind: the framing, and what else the features hang on. Makes it with its `model.json` if it is
    not there. Raises StoreError when it can't be made.
    """
    digest = weights_digest(classifier, kind)
    plain = re.sub(r"[^\w.-]+", "-", Path(classifier.name).name)[-60:]
    folder = base / f"{plain}-{kind}-{digest[:12]}"
    described = {
        "model": classifier.name,
        "weights": digest,
        "kind": kind,
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "form": FORM,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sidecar = folder / "model.json"
        if not sidecar.exists():
            partial = folder / f"model.json.{uuid.uuid4().hex}"
            partial.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
            partial.replace(sidecar)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(
            f"Features can't be kept in {str(base)!r}: {reason}. Name another folder by --features."
        ) from error
    return folder


def weights_digest(classifier: ZeroShotClassifier, kind: str) -> str:
    """SHA-256 of all that features hang on: the image tower, its weights, their dtype, the kind."""
    digest = hashlib.sha256(
        f"{FORM} {kind} {classifier.input_resolution} {classifier.pixel_statistics}".encode()
    )
    update_with_tower(digest, classifier.model.visual)
    return digest.hexdigest()


def _claim(folder: Path) -> tuple[Path, filelock.BaseFileLock]:
    """A folder that this process alone writes in: the first that no other process has."""
    number = 0
    while True:
        own = folder / f"writer-{number:03d}"
        own.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(own / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            number += 1
            continue
        for left in own.iterdir():  # by a process that was killed, under safetensors' own names too
            if left.name != "lock" and left.suffix != ".safetensors":
                left.unlink(missing_ok=True)
        return own, lock


def _list_parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("writer-*/part-*.safetensors"))


def _at_most(rows: int, parts: Sequence[tuple[Path, int]]) -> list[Path]:
    """As many of the parts, smallest first, as have so many rows together."""
    chosen, total = [], 0
    for path, count in sorted(parts, key=lambda part: part[1]):
        total += count
        if total > rows:
            break
        chosen.append(path)
    return chosen


def _take(parts: Sequence[Tensor], places: Sequence[tuple[int, int]], dimensions: int) -> Tensor:
    """Rows [n, D] of features by part and row: a part at once, since a row at a time is slow."""
    taken = torch.empty(len(places), dimensions)
    numbers, rows = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    for number in numbers.unique().tolist():
        at = (numbers == number).nonzero().squeeze(1)
        taken.index_copy_(0, at, parts[number].index_select(0, rows[at]))
    return taken
