"""Loader that reads, hashes and decodes images ahead of the model, in order and in bounded memory.

Worker processes do the work, or threads of this process. An image that crashes its worker is found
and reported; the others are still read.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import stat
import tarfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import Image

from clip_core.errors import ImageError
from clip_core.files import reason_of
from clip_core.images.decode import open_image
from clip_core.preprocess import squares

from .inputs import ARCHIVE_ERRORS, MAX_FILE_BYTES, InputItem, too_large

TRIES = 3  # to read a file that changes meanwhile
SETTLED_NS = 2_000_000_000  # a file changed more recently may change again within its clock's tick
LOST_WORKER = "Reading this file brought the program that decodes it down: it is broken."
NONE_KNOWN = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """An image to read, and how to crop it.

    data, stat_key: of a member of an archive, which is read already; None for a file.
    """

    item: InputItem
    input_resolution: int
    framing: str
    data: bytes | None = None
    stat_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of reading one image.

    content: SHA-256 of the file's bytes, None where they could not be read. stat_key: see the
    function `stat_key`, None where the file changed too recently. crops: uint8 [crops,
    input_resolution, input_resolution, 3]; None where the content was known and where there is an
    error.
    """

    item: InputItem
    content: bytes | None = None
    stat_key: bytes | None = None
    crops: np.ndarray | None = None
    error: str | None = None


def stat_key(path: str, status: os.stat_result, member: str | None = None) -> bytes:
    """A 16-byte digest of a file's path, size, inode and times: equal keys mean equal contents.

    Nobody can set back the time at which an inode changed (`st_ctime`).
    """
    facts = (
        *(os.path.abspath(path), member or "", status.st_size, status.st_mtime_ns),
        *(status.st_ctime_ns, status.st_ino, status.st_dev),
    )
    return hashlib.blake2b(
        "\0".join(map(str, facts)).encode("utf-8", "surrogateescape"), digest_size=16
    ).digest()


def prefixes(contents: Iterable[bytes]) -> np.ndarray:
    """The first 8 bytes of digests, uint64 [N], sorted: small enough to hand to every worker."""
    joined = b"".join(content[:8] for content in contents)
    return np.sort(np.frombuffer(joined, dtype=np.uint64))


@dataclass(slots=True)
class _Pending:
    """A task in the queue. future: None for a result that passes through, or to be run alone."""

    task: DecodeTask | Decoded
    future: Future[Decoded] | None = None


class Loader(AbstractContextManager["Loader"]):
    """Runs decode tasks.

    workers: processes; with 0, threads of this process; with 0 of both, the caller's thread.
    known: `prefixes` of the contents that are not to be decoded. on_image: called with each image
    that is opened, in the thread that opened it; not with worker processes.
    """

    def __init__(
        self,
        workers: int = 0,
        known: np.ndarray = NONE_KNOWN,
        threads: int = 0,
        on_image: Callable[[InputItem, Image.Image], None] | None = None,
    ) -> None:
        self._workers, self._known, self._threads = workers, known, threads
        self._on_image = on_image
        self._pool: Executor | None = None
        self._single: ProcessPoolExecutor | None = None  # one worker, for tasks that may crash it

    def __exit__(self, *_: object) -> None:
        self._shut_down_pool()
        if self._single is not None:
            self._single.shutdown(wait=True, cancel_futures=True)

    def load(self, tasks: Iterable[DecodeTask | Decoded], ahead: int) -> Iterator[Decoded]:
        """One result for each task, in order; a `Decoded` among the tasks passes through.

        ahead: how many tasks may be under way or waiting to be taken.
        """
        if not (self._workers or self._threads):
            for task in tasks:
                yield task if isinstance(task, Decoded) else self._run_here(task)
            return
        pending: deque[_Pending] = deque()
        for task in tasks:
            pending.append(_Pending(task, self._submit(task)))
            if len(pending) >= ahead:
                yield self._next(pending)
        while pending:
            yield self._next(pending)

    def _next(self, pending: deque[_Pending]) -> Decoded:
        first = pending.popleft()
        if isinstance(first.task, Decoded):
            return first.task
        if first.future is not None:
            try:
                return first.future.result()
            except BrokenProcessPool:
                # One of the tasks under way crashed it. Until it is found, each runs alone.
                self._shut_down_pool()
                for other in pending:
                    if other.future is not None and not _succeeded(other.future):
                        other.future = None
        decoded = self._run_alone(first.task)
        if decoded.error == LOST_WORKER:  # found: the others may share the pool again
            for other in pending:
                other.future = other.future or self._submit(other.task)
        return decoded

    def _run_here(self, task: DecodeTask) -> Decoded:
        return run_task(task, self._known, self._on_image)

    def _run_alone(self, task: DecodeTask) -> Decoded:
        # In a pool of its own: the other one has newer tasks, which may crash it too
        if self._single is None:
            self._single = self._start_processes(1)
        try:
            return self._single.submit(_run_in_worker, task).result()
        except BrokenProcessPool:
            self._single.shutdown()
            self._single = None
            return Decoded(task.item, error=LOST_WORKER)

    def _submit(self, task: DecodeTask | Decoded) -> Future[Decoded] | None:
        if isinstance(task, Decoded):
            return None
        if not self._workers:
            self._pool = self._pool or ThreadPoolExecutor(self._threads)
            return self._pool.submit(self._run_here, task)
        self._pool = self._pool or self._start_processes(self._workers)
        try:
            return self._pool.submit(_run_in_worker, task)
        except BrokenProcessPool as error:  # noticed between two tasks: `_next` deals with it
            lost: Future[Decoded] = Future()
            lost.set_exception(error)
            return lost

    def _start_processes(self, workers: int) -> ProcessPoolExecutor:
        # Not forked: this process has threads, of torch and of the progress bar
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload([__name__])  # so that each worker needn't import it
        return ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(self._known,)
        )

    def _shut_down_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _succeeded(future: Future[Decoded]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


_known = NONE_KNOWN  # in a worker process


def _start_worker(known: np.ndarray) -> None:
    """Runs once in each worker process."""
    global _known  # noqa: PLW0603  (a worker has no other place for what all its tasks need)
    _known = known
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def exit_with_parent() -> None:
        # A parent that is killed can't end its workers, which would wait for tasks for ever
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _run_in_worker(task: DecodeTask) -> Decoded:
    return run_task(task, _known)


def run_task(
    task: DecodeTask,
    known: np.ndarray = NONE_KNOWN,
    on_image: Callable[[InputItem, Image.Image], None] | None = None,
) -> Decoded:
    """Reads, hashes and decodes one image. A file that can't be used gives a result with an error.

    known, on_image: as for `Loader`.
    """
    item, data, key = task.item, task.data, task.stat_key
    try:
        if data is None:
            data, key = read_whole(item.path)
    except ImageError as error:
        return Decoded(item, error=str(error))
    content = hashlib.sha256(data).digest()
    if _is_known(content, known):
        return Decoded(item, content, key)
    try:
        image = open_image(data)
        if on_image is not None:
            on_image(item, image)
        crops = squares(image, task.input_resolution, task.framing)
    except (ImageError, MemoryError) as error:
        said = str(error) or "There is not enough memory for it."
        return Decoded(item, content, key, error=said)
    return Decoded(item, content, key, np.stack([np.asarray(crop) for crop in crops]))


def read_whole(path: str) -> tuple[bytes, bytes | None]:
    """A file's bytes, all of one version of it, and its `stat_key`.

    The key is None where the file changed so recently that another change could go unnoticed.
    Raises ImageError, with one sentence.
    """
    try:
        for _ in range(TRIES):
            # Not blocking, or opening a pipe would wait until somebody writes into it
            number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                before = os.fstat(number)
                if not stat.S_ISREG(before.st_mode):
                    raise ImageError("This is no file but a folder, a pipe or a device.")
                if before.st_size > MAX_FILE_BYTES:
                    raise ImageError(too_large(before.st_size))
                with open(number, "rb", closefd=False) as file:
                    data = file.read(MAX_FILE_BYTES + 1)
                after = os.fstat(number)
            finally:
                os.close(number)
            if _version(before) == _version(after) and len(data) == after.st_size:
                if not data:
                    raise ImageError("This file is empty.")
                return data, stat_key(path, after) if is_settled(after) else None
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("There is no such file: it was removed, or the link is broken.") from error
    except PermissionError as error:
        raise ImageError("This file may not be read: its owner has to allow it.") from error
    except OSError as error:
        raise ImageError(f"This file can't be read: {reason_of(error)}.") from error
    except ValueError as error:  # a path with a NUL
        raise ImageError(f"This file can't be read: {str(error).lower()}.") from error
    raise ImageError("This file kept changing while it was read: try again when it is finished.")


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(status: os.stat_result) -> bool:
    """Whether a file's last change is old enough that another one would show in its times."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS


def read_members(
    path: str, wanted: Iterable[str]
) -> Iterator[tuple[bytes | None, bytes | None, str | None]]:
    """Members of an archive in the order given: bytes and `stat_key`, or an error.

    Ask for them in the archive's own order: a compressed tar file is read from front to back, and
    each step back starts it again.
    """
    try:
        with _open_archive(path) as archive:
            # After it is open: a later change to the file will show in its key
            status = os.stat(path)
            settled = is_settled(status)
            for name in wanted:
                data, error = _read_member(archive, name)
                yield data, stat_key(path, status, name) if settled else None, error
    except ARCHIVE_ERRORS:
        while True:  # it was whole when its names were listed
            yield None, None, "The archive is broken, or was changed while it was read."


def _open_archive(path: str) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(path) if path.lower().endswith(".zip") else tarfile.open(path)


def _read_member(
    archive: zipfile.ZipFile | tarfile.TarFile, name: str
) -> tuple[bytes | None, str | None]:
    try:
        if isinstance(archive, zipfile.ZipFile):
            file: IO[bytes] | None = archive.open(name)
        else:
            file = archive.extractfile(name)
        if file is None:
            return None, "This is no file but a folder or a link."
        with file:
            data = file.read(MAX_FILE_BYTES + 1)
    except RuntimeError:  # zipfile's for a password, or a method that it doesn't know
        return None, "This picture is locked or packed in a rare way: unpack the archive first."
    except ARCHIVE_ERRORS:
        return None, "The archive is broken at this picture."
    if len(data) > MAX_FILE_BYTES:
        return None, too_large(len(data))
    return (data, None) if data else (None, "This file is empty.")


def _is_known(content: bytes, known: np.ndarray) -> bool:
    prefix = np.frombuffer(content[:8], dtype=np.uint64)[0]
    row = int(np.searchsorted(known, prefix))
    return row < len(known) and bool(known[row] == prefix)
