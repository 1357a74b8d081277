"""One file from one address, whole or not at all: resumed, checked, and fetched once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import httpx
from tqdm import tqdm

from clip_core.errors import DownloadError

# Bytes so far, and in all where that is known. What it raises ends a download; what has come is
# kept for the next time.
OnProgress = Callable[[int, int | None], None]

SECONDS_TO_CONNECT, SECONDS_TO_WAIT = 10.0, 30.0  # for a connection, for the next bytes
SECONDS_BETWEEN_TRIES = (1.0, 2.0, 4.0)
LONGEST_RETRY_AFTER = 30.0  # seconds that a busy server may ask to be left alone
SECONDS_BETWEEN_REPORTS = 0.1
MAX_REDIRECTS = 5
CHUNK = 1 << 20  # bytes


class _TransientError(Exception):
    """Worth another try. The message is what to say if there is none left."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait = wait


class _WrongBytesError(Exception):
    """All bytes are here, and they are not the ones wanted."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(
    address: str,
    path: Path,
    sha256: str,
    *,
    max_bytes: int | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """After this, `path` holds exactly the file with that SHA-256.

    A file that is there and right is left alone; one that is there and wrong is replaced. Bytes go
    to PATH.part, which a later call resumes, and take the file's name once their number and their
    SHA-256 are right. PATH.lock sees to it that of several processes one fetches and the others
    wait. max_bytes: a server that sends more is stopped. on_progress: called about ten times a
    second, while it waits as well; without it a bar is shown on a terminal.

    Raises DownloadError, with one sentence, when the file can't be had.
    """
    if path.is_file() and sha256_of(path) == sha256:
        return
    with _bar(path.name, on_progress) as report, _lock(path, report):
        if path.is_file():
            if sha256_of(path) == sha256:  # another process fetched it
                return
            path.unlink()  # as an interrupted download of other programs leaves it
        part = path.with_name(path.name + ".part")
        resumed = part.exists()
        try:
            _fetch(address, part, sha256, max_bytes, report)
        except _WrongBytesError:
            if not resumed:
                raise _wrong_bytes(address, path.name) from None
            try:  # what was there from before may have been the wrong part
                _fetch(address, part, sha256, max_bytes, report)
            except _WrongBytesError:
                raise _wrong_bytes(address, path.name) from None
        os.replace(part, path)


def _fetch(
    address: str, part: Path, sha256: str, max_bytes: int | None, report: OnProgress
) -> None:
    """Tries until the part is whole, with the right bytes; else removes it."""
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(address, part, max_bytes, report)
            break
        except _TransientError as error:
            came = part.stat().st_size if part.exists() else 0
            tries = 1 if came - before >= CHUNK else tries + 1  # a bad connection is no dead one
            if tries > len(SECONDS_BETWEEN_TRIES):
                raise DownloadError(str(error)) from error
            _wait(max(SECONDS_BETWEEN_TRIES[tries - 1], error.wait), came, report)
    if sha256_of(part) != sha256:
        part.unlink()
        raise _WrongBytesError


def _fetch_rest(address: str, part: Path, max_bytes: int | None, report: OnProgress) -> None:
    """One request for what the part lacks."""
    have = part.stat().st_size if part.exists() else 0
    try:
        host = httpx.URL(address).host
    except httpx.InvalidURL as error:
        raise DownloadError(f"{address!r} is no address: {error}") from error
    # Compressed on the way, numbers of bytes would mean something else
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = httpx.Timeout(SECONDS_TO_WAIT, connect=SECONDS_TO_CONNECT)
    report(have, None)
    try:
        with (
            httpx.Client(
                follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=timeout
            ) as client,
            client.stream("GET", address, headers=headers) as response,
        ):
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _size_of_all(response) != have:  # more than there is: not this file's part
                    part.unlink()
                    raise _TransientError(f"{host} has another file there than was begun.")
                return
            _check_status(response, host)
            if not _continues(response, have):
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdigit() else None
            _check_size(total, max_bytes, host)
            _check_room(part, total, have)
            _write(response, part, have, total, max_bytes, report)
    except (httpx.UnsupportedProtocol, httpx.DecodingError) as error:
        raise DownloadError(f"{address!r} can't be downloaded from: {error}") from error
    except httpx.TooManyRedirects as error:
        raise DownloadError(f"{host} redirects in a circle: use another mirror.") from error
    except httpx.TimeoutException as error:
        raise _TransientError(
            f"{host} did not answer in time or stopped sending: try again later; what has come "
            "is kept."
        ) from error
    except httpx.RemoteProtocolError as error:
        raise _TransientError(
            f"{host} closed the connection early, every time: try again later; what has come is "
            "kept."
        ) from error
    except httpx.TransportError as error:
        if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
            raise DownloadError(
                f"The connection to {host} is not secure ({_last(error)}): check the machine's "
                "clock and certificates."
            ) from error
        raise _TransientError(
            f"{host} can't be reached ({_last(error)}): check the network, or name a mirror."
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise _not_writable(part.parent, error) from error
        with contextlib.suppress(OSError):
            part.unlink()  # a disk that stays full would trouble every other program
        raise _full(part.parent) from error


def _write(
    response: httpx.Response,
    part: Path,
    have: int,
    total: int | None,
    max_bytes: int | None,
    report: OnProgress,
) -> None:
    reported = 0.0
    with part.open("ab" if have else "wb") as file:
        for chunk in response.iter_raw():  # as it comes: what is gathered is lost when it breaks
            file.write(chunk)
            have += len(chunk)
            _check_size(have, max_bytes, response.url.host)
            now = time.monotonic()
            if now - reported >= SECONDS_BETWEEN_REPORTS:
                reported = now
                report(have, total)
        file.flush()
        os.fsync(file.fileno())
    report(have, total)


def _check_status(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        return
    if status in (401, 403):
        raise DownloadError(f"{host} refuses to hand the file out (status {status}).")
    if status in (404, 410):
        raise DownloadError(f"{host} does not have the file (status {status}).")
    sentence = f"{host} answered with status {status}"
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        after = response.headers.get("Retry-After", "")
        wait = min(float(after), LONGEST_RETRY_AFTER) if after.isdigit() else 0.0
        raise _TransientError(f"{sentence}, every time: try again later.", wait)
    raise DownloadError(f"{sentence} where the file was expected.")


def _continues(response: httpx.Response, have: int) -> bool:
    """Whether an answer goes on where the part ends; otherwise it starts anew."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return False
    starts = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    if starts != str(have):
        raise DownloadError(f"{response.url.host} sent another part of the file than asked for.")
    return True


def _size_of_all(response: httpx.Response) -> int | None:
    size = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _check_size(size: int | None, max_bytes: int | None, host: str) -> None:
    if size is not None and max_bytes is not None and size > max_bytes:
        raise DownloadError(
            f"{host} sends more than the file has ({size / 1e6:,.0f} MB where at most "
            f"{max_bytes / 1e6:,.0f} can be right): use another mirror."
        )


def _check_room(part: Path, total: int | None, have: int) -> None:
    if total is not None and shutil.disk_usage(part.parent).free < total - have:
        raise _full(part.parent, total - have)


def _wait(seconds: float, have: int, report: OnProgress) -> None:
    """Sleeps, and can be called off while it does."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        report(have, None)
        time.sleep(min(left, SECONDS_BETWEEN_REPORTS))


@contextlib.contextmanager
def _bar(name: str, on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """The caller's own report, or one that draws a bar where there is a terminal."""
    if on_progress is not None:
        yield on_progress
        return
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None) as bar:

        def draw(done: int, total: int | None) -> None:
            bar.total = total or bar.total
            bar.update(done - bar.n)

        yield draw


@contextlib.contextmanager
def _lock(path: Path, report: OnProgress) -> Iterator[None]:
    """Holds PATH.lock, which the system lets go of when a process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    except OSError as error:
        raise _not_writable(path.parent, error) from error


def _not_writable(folder: Path, error: OSError) -> DownloadError:
    return DownloadError(
        f"The folder {str(folder)!r} can't be written ({error.strerror}): set CLIP_CACHE to one "
        "that can."
    )


def _full(folder: Path, needed: int | None = None) -> DownloadError:
    amount = f" {needed / 1e6:,.0f} MB" if needed else ""
    return DownloadError(
        f"The disk is full: free{amount or ' some space'} for {str(folder)!r}, or set CLIP_CACHE "
        "to a folder elsewhere."
    )


def _wrong_bytes(address: str, name: str) -> DownloadError:
    return DownloadError(
        f"{httpx.URL(address).host} sent other bytes than {name} has (its SHA-256 is wrong): they "
        "were removed; use another mirror."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _last(error: BaseException) -> str:
    """The system's own words, which the library's wrap."""
    first = list(_causes(error))[-1]
    return str(getattr(first, "strerror", None) or first).splitlines()[0]
