"""What tests of several folders share: a small random model, and the real app in a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running_app import RunningApp, free_port
from tests.tiers import (  # noqa: F401  (pytest looks for its hooks here)
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_ignore_collect,
)

ROOT = Path(__file__).parents[1]
SECONDS_TO_START = 300  # importing torch and gradio on a busy machine

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests run side by side, each with the processes it starts: more threads than cores slow all.
    # PyTorch reads it when it is imported, which is not before a test is collected.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What httpx gives a server by itself, five seconds, is little on a busy machine.
httpx._config.DEFAULT_TIMEOUT_CONFIG.read = 300.0

# A shell starts what runs in the background with Ctrl-C ignored, and processes pass that on. Tests
# interrupt what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another has kept, or what lies in the home folder."""
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "clip-cache"))


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flag of app.py is set by the environment that the tests run in."""
    for name in set(os.environ) - {"CLIP_CACHE"}:
        if name.startswith(("CLIP_", "GRADIO_SERVER_", "GRADIO_SHARE", "GRADIO_ROOT_PATH")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights: answers at once, and means nothing by it."""
    # Here, as the process that only hands the tests out needs none of it
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    from clip_core.model import CLIP, VisionTransformer  # noqa: PLC0415

    torch.manual_seed(0)
    tower = VisionTransformer(
        input_resolution=64, patch_size=16, width=64, layers=2, heads=1, output_dim=64
    )
    model = CLIP(64, tower, 77, 49408, 64, 1, 2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"default_template": "a photo of a {}."})
    return path


@pytest.fixture(scope="module")
def run_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningApp]]:
    """Starts app.py with these flags and variables, and waits until it can answer questions."""
    with running_apps(tmp_path_factory.mktemp("app")) as start:
        yield start


@pytest.fixture(scope="module")
def start_app(run_app: Callable[..., RunningApp]) -> Callable[..., str]:
    """As `run_app`; gives the address alone."""
    return lambda *flags, **environment: run_app(*flags, **environment).address


@pytest.fixture(scope="session")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app as a Space starts it, with no model named, and with tools for assistants."""
    with running_apps(tmp_path_factory.mktemp("shared-app")) as start:
        yield start("--mcp")


@contextmanager
def running_apps(folder: Path) -> Iterator[Callable[..., RunningApp]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, **environment: str) -> RunningApp:
        port = free_port()
        log = folder / f"{port}.log"
        settings = {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(folder / str(port)),
            "CLIP_CACHE": str(folder / "clip-cache"),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *flags],
                cwd=ROOT,
                env=os.environ | settings | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=60).close()
                return RunningApp(address, process, log, folder / str(port))
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"The app did not start:\n{log.read_text(errors='replace')}")

    try:
        yield start
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
