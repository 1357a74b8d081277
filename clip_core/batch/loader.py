"""Pictures read, hashed and decoded in worker processes, in order, a bounded number ahead.

A file that brings its worker down is found and named; the others are read all the same.
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
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import IO

import numpy as np

from clip_core.errors import ImageError
from clip_core.images.decode import open_image
from clip_core.preprocess import squares

from .inputs import ARCHIVE_ERRORS, MAX_FILE_BYTES, too_large

TRIES = 3  # to read a file that changes meanwhile
SETTLED_NS = 2_000_000_000  # a file changed later than this before its reading may change unseen
LOST_WORKER = "Reading this file brought the program that decodes it down: it is broken."


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One picture to be read, and how it is made square."""

    path: str
    data: bytes | None  # of an archive's member, read already
    stamp: bytes | None  # of an archive's member
    input_resolution: int
    framing: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was read. content: SHA-256 of the file's bytes; stamp: see `stat_key`.

    squares: uint8 [squares, input_resolution, input_resolution, 3], None of a picture whose content
    was known, and where there is a problem: then content is None unless the bytes could be read.
    """

    content: bytes | None = None
    stamp: bytes | None = None
    squares: np.ndarray | None = None
    problem: str | None = None


def stat_key(path: str, status: os.stat_result, member: str | None = None) -> bytes:
    """16 bytes that stand for a file as it is: where it lies, its size, inode and times.

    The time of its last change in the inode can't be set back, so a file whose stamp is known has
    the content it had.
    """
    facts = (
        *(os.path.abspath(path), member or "", status.st_size, status.st_mtime_ns),
        *(status.st_ctime_ns, status.st_ino, status.st_dev),
    )
    return hashlib.blake2b(
        "\0".join(map(str, facts)).encode("utf-8", "surrogateescape"), digest_size=16
    ).digest()


def prefixes(contents: Iterable[bytes]) -> np.ndarray:
    """The first 8 bytes of digests, uint64, sorted: small enough to be handed to every worker."""
    joined = b"".join(content[:8] for content in contents)
    return np.sort(np.frombuffer(joined, dtype=np.uint64))


class Loader(AbstractContextManager["Loader"]):
    """Worker processes that read pictures.

    workers: how many; 0 reads in this process. known: `prefixes` of contents that need no decoding.
    """

    def __init__(self, workers: int, known: np.ndarray) -> None:
        self.workers, self._known = workers, known
        self._pool: ProcessPoolExecutor | None = None
        self._alone: ProcessPoolExecutor | None = None  # of one worker, for what may bring it down

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drop_pool()
        if self._alone is not None:
            self._alone.shutdown(wait=True, cancel_futures=True)

    def read(self, jobs: Iterable[DecodeTask | Decoded], ahead: int) -> Iterator[Decoded]:
        """One `Decoded` for each job, in order; a job that is a `Decoded` already passes through.

        ahead: how many jobs may be under way.
        """
        if not self.workers:
            know(self._known)
            for job in jobs:
                yield job if isinstance(job, Decoded) else run_task(job)
            return
        waiting: deque[Future[Decoded] | DecodeTask | Decoded] = (
            deque()
        )  # jobs wait only while one is sought
        asked: deque[DecodeTask | Decoded] = deque()
        for job in jobs:
            asked.append(job)
            waiting.append(self._submit(job) if isinstance(job, DecodeTask) else job)
            if len(waiting) >= ahead:
                yield self._next(waiting, asked)
        while waiting:
            yield self._next(waiting, asked)

    def _next(
        self,
        waiting: deque[Future[Decoded] | DecodeTask | Decoded],
        asked: deque[DecodeTask | Decoded],
    ) -> Decoded:
        first, job = waiting.popleft(), asked.popleft()
        if isinstance(first, Decoded):
            return first
        assert isinstance(job, DecodeTask)
        if isinstance(first, Future):
            try:
                return first.result()
            except BrokenProcessPool:
                # One of those under way did it: until it is found, each is read by itself.
                self._drop_pool()
                for i, other in enumerate(waiting):
                    if isinstance(other, Future) and not _is_done(other):
                        waiting[i] = asked[i]
        read = self._read_alone(job)
        if read.problem == LOST_WORKER:
            for i, other in enumerate(waiting):
                if isinstance(other, DecodeTask):
                    waiting[i] = self._submit(other)
        return read

    def _read_alone(self, job: DecodeTask) -> Decoded:
        # In a pool of its own: newer jobs are under way in the other, and may be what breaks that
        if self._alone is None:
            self._alone = self._start_pool(1)
        try:
            return self._alone.submit(run_task, job).result()
        except BrokenProcessPool:
            self._alone.shutdown()
            self._alone = None
            return Decoded(problem=LOST_WORKER)

    def _start_pool(self, workers: int) -> ProcessPoolExecutor:
        # Not forked: this process has threads, of torch and of the progress bar
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload([__name__])  # what all import is imported once
        return ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(self._known,)
        )

    def _submit(self, job: DecodeTask) -> Future[Decoded]:
        if self._pool is None:
            self._pool = self._start_pool(self.workers)
        try:
            return self._pool.submit(run_task, job)
        except BrokenProcessPool as error:  # noticed between two jobs: the next result says so too
            lost: Future[Decoded] = Future()
            lost.set_exception(error)
            return lost

    def _drop_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _is_done(future: Future[Decoded]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


_known = np.empty(0, dtype=np.uint64)


def know(known: np.ndarray) -> None:
    """Tells this process which contents need no decoding: their `prefixes`."""
    global _known  # noqa: PLW0603  (a worker has no other place for what all its jobs need)
    _known = known


def _start_worker(known: np.ndarray) -> None:
    """Runs once in each worker."""
    know(known)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends the workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def leave() -> None:
        # A parent that is killed can't end its workers: they would wait for it for ever
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def run_task(job: DecodeTask) -> Decoded:
    """Reads, hashes and decodes one picture. What goes wrong is the result's problem."""
    data, stamp = job.data, job.stamp
    try:
        if data is None:
            data, stamp = read_whole(job.path)
    except ImageError as error:
        return Decoded(problem=str(error))
    content = hashlib.sha256(data).digest()
    if _is_known(content):
        return Decoded(content, stamp)
    try:
        seen = squares(open_image(data), job.input_resolution, job.framing)
    except (ImageError, MemoryError) as error:
        return Decoded(content, stamp, problem=str(error) or "There is not enough memory for it.")
    return Decoded(content, stamp, np.stack([np.asarray(square) for square in seen]))


def read_whole(path: str) -> tuple[bytes, bytes | None]:
    """A file's bytes, none of them from before a change and others from after, and its stamp.

    The stamp is None where the file was changed so lately that a change could go unseen. Raises
    ImageError, with one sentence.
    """
    try:
        for _ in range(TRIES):
            # Never waits for somebody to write into a pipe
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
            if _same(before, after) and len(data) == after.st_size:
                if not data:
                    raise ImageError("This file is empty.")
                return data, stat_key(path, after) if is_settled(after) else None
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("There is no such file: it was removed, or the link is broken.") from error
    except PermissionError as error:
        raise ImageError("This file may not be read: its owner has to allow it.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"This file can't be read: {reason.lower()}.") from error
    raise ImageError("This file kept changing while it was read: try again when it is finished.")


def is_settled(status: os.stat_result) -> bool:
    """Whether a file's last change lies so far back that a later one would show in its times."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS


def read_members(
    path: str, wanted: Iterable[str]
) -> Iterator[tuple[bytes | None, bytes | None, str | None]]:
    """Members of an archive in the order they are wanted: bytes and stamp, or what is wrong.

    Compressed tar files are read from front to back: any other order costs a new start each time.
    """
    try:
        with _open_archive(path) as archive:
            # Not before it is open: a later change shows in the stamp when it is asked for next
            status = os.stat(path)
            settled = is_settled(status)
            for name in wanted:
                data, problem = _read_member(archive, name)
                yield data, stat_key(path, status, name) if settled else None, problem
    except ARCHIVE_ERRORS:
        while True:  # it was whole when its names were read
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
    except RuntimeError:  # what zipfile raises for a password, or a packing it doesn't know
        return None, "This picture is locked or packed in a rare way: unpack the archive first."
    except ARCHIVE_ERRORS:
        return None, "The archive is broken at this picture."
    if len(data) > MAX_FILE_BYTES:
        return None, too_large(len(data))
    return (data, None) if data else (None, "This file is empty.")


def _is_known(content: bytes) -> bool:
    prefix = np.frombuffer(content[:8], dtype=np.uint64)[0]
    at = int(np.searchsorted(_known, prefix))
    return at < len(_known) and bool(_known[at] == prefix)


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
