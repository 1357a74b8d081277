"""Download of images that are given by URL, with limits of size and time.

gradio refuses hosts that aren't public, but reads their answers without a limit: one URL could fill
the memory, or occupy a place in the queue for ever.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
from html import escape
from pathlib import Path

import anyio
import gradio as gr
import httpx
from gradio import processing_utils
from safehttpx import AsyncSecureTransport

from clip_core.errors import ClipError
from ui.service.limits import LIMITS

from .uploads import FULL, has_room

SECONDS = 20.0  # for all of it, redirects included
MAX_REDIRECTS = 5
# Images are not served at other ports: they would only be probed from here
PORTS = {"http": (None, 80), "https": (None, 443)}
# Well-known prefix that leads to any IPv4 address (RFC 6052)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class FetchError(ClipError):
    """The image can't be downloaded; the message is one sentence for whoever gave the URL."""


def limit_fetches() -> None:
    """Makes gradio download with `fetch`, for the page and for the API."""
    processing_utils.async_ssrf_protected_download = fetch


async def fetch(url: str, cache_dir: str) -> str:
    """Downloads a public URL into a new folder below `cache_dir` and returns the file's path.

    Takes at most `LIMITS.file_mb` megabytes and `SECONDS`. Raises gr.Error with one sentence.
    """
    try:
        with anyio.fail_after(SECONDS):
            return str(await _follow(httpx.URL(url), Path(cache_dir)))
    except FetchError as error:
        said = str(error)
    except TimeoutError:
        said = f"The picture's address took more than {SECONDS:.0f} seconds: upload the picture."
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        said = "The picture's address can't be read: upload the picture instead."
    # Gradio shows an error's text as HTML
    raise gr.Error(escape(said, quote=False), print_exception=False)


async def _follow(url: httpx.URL, folder: Path) -> Path:
    for _ in range(MAX_REDIRECTS + 1):
        if url.port not in PORTS.get(url.scheme, ()):
            raise FetchError("A picture's address begins with http:// or https://, without a port.")
        # The address is resolved only once: a second lookup might give another one
        transport = AsyncSecureTransport(await public_address(url.host))
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.has_redirect_location:
                url = url.join(answer.headers["Location"])
                continue
            if answer.status_code != 200:
                raise FetchError(f"The picture's address answers {answer.status_code}, not 200.")
            return await _save(answer, folder / secrets.token_hex(16) / _name(url))
    raise FetchError(f"The picture's address leads on more than {MAX_REDIRECTS} times.")


async def _save(answer: httpx.Response, path: Path) -> Path:
    if not has_room(path.parents[1], LIMITS.file_mb << 20):
        raise FetchError(FULL)
    path.parent.mkdir(parents=True)
    size = 0
    try:
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in answer.aiter_bytes():
                size += len(chunk)
                if size > (LIMITS.file_mb << 20):
                    raise FetchError(
                        f"What lies at the picture's address is larger than {LIMITS.file_mb} MB."
                    )
                await file.write(chunk)
    except BaseException:  # a timeout too, which cancels this task
        path.unlink(missing_ok=True)
        raise
    return path


async def public_address(host: str) -> str:
    """One address of a host. Raises FetchError unless all of its addresses are public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError("The picture's address leads to no host that can be found.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(map(is_public, addresses)):
        raise FetchError("A picture's address must lead to a public host: upload the picture.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is public, also when it is embedded in an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False  # it has a zone, as link-local addresses do
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in NAT64
    ):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _name(url: httpx.URL) -> str:
    """A file name from a URL: the last part of its path, in plain characters."""
    return re.sub(r"[^\w.-]+", "-", url.path.rsplit("/", 1)[-1]).strip(".-")[-80:] or "picture"
