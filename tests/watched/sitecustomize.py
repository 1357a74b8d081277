"""Refuses and notes every way out of a process that has this folder on its PYTHONPATH.

Python's own audit events are raised by each socket, whichever module has opened it. What doesn't
use Python's sockets, as compiled code with sockets of its own, is not seen.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

NOTES = os.environ["NETWORK_NOTES"]
TO_ADDRESS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
TO_NAME = {"socket.getaddrinfo", "socket.gethostbyname"}


def note(line: str) -> None:
    with open(NOTES, "a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def is_here(host: str | bytes | None) -> bool:
    """Whether it is this machine, by an address or a name that need not be asked for."""
    text = host.decode() if isinstance(host, bytes) else host or "localhost"
    if text == "localhost":
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in TO_ADDRESS and isinstance(arguments[1], tuple):  # a Unix socket's is a path
        host = arguments[1][0]
    elif event in TO_NAME:
        host = arguments[0]
    else:
        return
    if not is_here(host):
        note(f"{event} {host!r}")
        raise ConnectionRefusedError(f"{event} {host!r}: refused by the tests")


note("watched")
sys.addaudithook(watch)
