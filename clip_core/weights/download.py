"""Download of one file: resumable, checked by SHA-256, and done once among several processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import filelock
import httpx
from tqdm import tqdm

from clip_core.errors import DownloadError
from clip_core.files import sha256_of

# Takes the bytes so far, and the size of the file where it is known. What it raises cancels the
# download; the bytes so far are kept for the next one.
OnProgress = Callable[[int, int | None], None]

TIMEOUT = httpx.Timeout(30.0, connect=10.0)  # seconds without any new byte, and for a connection
SECONDS_BETWEEN_TRIES = (1.0, 2.0, 4.0)
LONGEST_RETRY_AFTER = 30.0  # seconds: the longest wait that a busy server can ask for
SECONDS_BETWEEN_REPORTS = 0.1
MAX_REDIRECTS = 5
CHUNK = 1 << 20  # bytes that a try must bring to count as progress


class RetryableError(DownloadError):
    """Another try may succeed, after `wait` seconds."""

    wait = 0.0


# The first that fits an error or one of its causes is used: narrower kinds stand before wider ones.
# {reason} is the operating system's own words.
FAILURES: tuple[tuple[type[Exception], type[DownloadError], str], ...] = (
    (httpx.InvalidURL, DownloadError, "{address!r} is no address: {error}"),
    (httpx.UnsupportedProtocol, DownloadError, "{address!r} can't be downloaded from: {error}"),
    (httpx.DecodingError, DownloadError, "{address!r} can't be downloaded from: {error}"),
    (
        httpx.TooManyRedirects,
        DownloadError,
        "{host} redirects in a circle: use another mirror.",
    ),
    (
        httpx.TimeoutException,
        RetryableError,
        "{host} did not answer in time or stopped sending: try again later; what has come is kept.",
    ),
    (
        httpx.RemoteProtocolError,
        RetryableError,
        "{host} closed the connection early, every time: try again later; what has come is kept.",
    ),
    (
        ssl.SSLError,
        DownloadError,
        "The connection to {host} is not secure ({reason}): check the machine's clock and "
        "certificates.",
    ),
    (
        httpx.TransportError,
        RetryableError,
        "{host} can't be reached ({reason}): check the network, or name a mirror.",
    ),
)


def download(
    address: str,
    path: Path,
    sha256: str,
    *,
    max_bytes: int | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Ensures that `path` is the file with this SHA-256.

    A file with the right SHA-256 is left alone, one with another is replaced. The bytes are written
    to PATH.part, which a later call resumes, and renamed once their SHA-256 is right. PATH.lock
    makes other processes wait for the one that downloads. max_bytes: the download stops if the
    server sends more. on_progress: called about ten times a second, also while waiting; without it
    a progress bar is shown on a terminal.

    Raises DownloadError, with one sentence, when the file can't be downloaded.
    """
    if path.is_file() and sha256_of(path) == sha256:
        return
    with _reporter(path.name, on_progress) as report, _translated(address, path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, report):
            if path.is_file():
                if sha256_of(path) == sha256:  # another process downloaded it meanwhile
                    return
                path.unlink()  # an interrupted download of another program leaves such a file
            part = PartialFile(path)
            for _ in range(2 if part.size else 1):  # what was there before may be another file's
                _fetch(address, part, max_bytes, report)
                if part.finish(sha256):
                    return
    raise DownloadError(
        f"{httpx.URL(address).host} sent other bytes than {path.name} has (its SHA-256 is wrong): "
        "they were removed; use another mirror."
    )


class PartialFile:
    """The bytes downloaded so far, in PATH.part."""

    def __init__(self, path: Path) -> None:
        self.final_path = path
        self.path = path.with_name(path.name + ".part")

    @property
    def size(self) -> int:
        """In bytes; 0 where there is no such file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, chunks: Iterable[bytes], start: int) -> Iterator[int]:
        """Writes chunks from byte `start` on, the size or 0, and yields the size after each."""
        try:
            with self.path.open("ab" if start else "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    start += len(chunk)
                    yield start
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno == errno.ENOSPC:  # other programs need the space
                with contextlib.suppress(OSError):
                    self.path.unlink()
            raise

    def finish(self, sha256: str) -> bool:
        """Gives the file its final name if its SHA-256 is right, else removes it. True if right."""
        if sha256_of(self.path) != sha256:
            self.path.unlink()
            return False
        os.replace(self.path, self.final_path)
        return True


def _fetch(address: str, part: PartialFile, max_bytes: int | None, report: OnProgress) -> None:
    """Sends requests until the file is complete."""
    tries = 0
    while True:
        before = part.size
        try:
            with _translated(address, part.path.parent):
                return _request_rest(address, part, max_bytes, report)
        except RetryableError as error:
            tries = 1 if part.size - before >= CHUNK else tries + 1
            if tries > len(SECONDS_BETWEEN_TRIES):
                raise
            until = time.monotonic() + max(SECONDS_BETWEEN_TRIES[tries - 1], error.wait)
        while (left := until - time.monotonic()) > 0:
            report(part.size, None)
            time.sleep(min(left, SECONDS_BETWEEN_REPORTS))


def _request_rest(
    address: str, part: PartialFile, max_bytes: int | None, report: OnProgress
) -> None:
    """Sends one request for the bytes that are missing, and writes them."""
    start = part.size
    # Of a compressed answer, Range and Content-Length would count other bytes
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    report(start, None)
    with (
        httpx.Client(follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=TIMEOUT) as client,
        client.stream("GET", address, headers=headers) as response,
    ):
        host = httpx.URL(address).host
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if content_range.rpartition("/")[2] == str(start):
                return  # complete
            part.path.unlink()
            raise RetryableError(f"{host} has another file there than was begun.")
        _check_status(response, host)
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            start = 0  # the server sends the whole file
        elif content_range.removeprefix("bytes ").split("-")[0] != str(start):
            raise DownloadError(f"{host} sent another part of the file than asked for.")
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if total is not None:
            _check_size(total, max_bytes, host)
            if shutil.disk_usage(part.path.parent).free < total - start:
                raise _disk_full(part.path.parent, total - start)
        reported = 0.0
        for size in part.append(response.iter_raw(), start):
            _check_size(size, max_bytes, host)
            if time.monotonic() - reported >= SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                report(size, total)
        report(part.size, total)


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        return
    if status in (401, 403):
        raise DownloadError(f"{host} refuses to hand the file out (status {status}).")
    if status in (404, 410):
        raise DownloadError(f"{host} does not have the file (status {status}).")
    if status != httpx.codes.TOO_MANY_REQUESTS and status < 500:
        raise DownloadError(f"{host} answered with status {status} where the file was expected.")
    error = RetryableError(f"{host} answered with status {status}, every time: try again later.")
    after = response.headers.get("Retry-After", "")
    error.wait = min(float(after), LONGEST_RETRY_AFTER) if after.isdigit() else 0.0
    raise error


def _check_size(size: int, max_bytes: int | None, host: str) -> None:
    if max_bytes is not None and size > max_bytes:
        raise DownloadError(
            f"{host} sends more than the file has ({size / 1e6:,.0f} MB where at most "
            f"{max_bytes / 1e6:,.0f} can be right): use another mirror."
        )


def _disk_full(folder: Path, needed: int | None = None) -> DownloadError:
    amount = f" {needed / 1e6:,.0f} MB" if needed else ""
    return DownloadError(
        f"The disk is full: free{amount or ' some space'} for {str(folder)!r}, or set CLIP_CACHE "
        "to a folder elsewhere."
    )


@contextlib.contextmanager
def _translated(address: str, folder: Path) -> Iterator[None]:
    """Turns errors of the network and of the disk into DownloadErrors, one sentence each."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(folder) from error
        raise DownloadError(
            f"The folder {str(folder)!r} can't be written ({error.strerror}): set CLIP_CACHE to "
            "one that can."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        causes = list(causes_of(error))
        for kind, translation, sentence in FAILURES:
            if any(isinstance(cause, kind) for cause in causes):
                host = "" if kind is httpx.InvalidURL else httpx.URL(address).host
                reason = str(getattr(causes[-1], "strerror", None) or causes[-1]).splitlines()[0]
                words = {"address": address, "host": host, "error": error, "reason": reason}
                raise translation(sentence.format_map(words)) from error
        raise


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then the one that led to it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def _locked(path: Path, report: OnProgress) -> Iterator[None]:
    """Holds PATH.lock, which the system releases when the process dies. Reports while it waits."""
    lock = filelock.FileLock(f"{path}.lock")
    while True:
        try:
            lock.acquire(timeout=SECONDS_BETWEEN_REPORTS)
            break
        except filelock.Timeout:
            report(0, None)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _reporter(name: str, on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """The caller's own function, or one that draws a progress bar on a terminal."""
    if on_progress is not None:
        yield on_progress
        return
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None) as bar:

        def draw(done: int, total: int | None) -> None:
            bar.total = total or bar.total
            bar.update(done - bar.n)

        yield draw
