"""What tests of several folders share: a small random model, and the real app in a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from safetensors.torch import save_file

from clip_core.model import CLIP, VisionTransformer
from tests.running_app import RunningApp, free_port

ROOT = Path(__file__).parents[1]
SECONDS_TO_START = 180  # importing torch and gradio on a busy machine

# hypothesis's 200 ms are of the clock on the wall, which a busy machine passes with nothing wrong
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


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
    torch.manual_seed(0)
    tower = VisionTransformer(
        input_resolution=64, patch_size=16, width=64, layers=2, heads=1, output_dim=64
    )
    model = CLIP(64, tower, 77, 49408, 64, 1, 2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={"default_template": "a photo of a {}."})
    return path


@pytest.fixture(scope="session")
def run_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningApp]]:
    """Starts app.py with these flags and variables on a free port, and waits until it answers."""
    folder = tmp_path_factory.mktemp("app")
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
                urllib.request.urlopen(address, timeout=5).close()
                return RunningApp(address, process, log, folder / str(port))
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"The app did not start:\n{log.read_text(errors='replace')}")

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def start_app(run_app: Callable[..., RunningApp]) -> Callable[..., str]:
    """As `run_app`; gives the address alone."""
    return lambda *flags, **environment: run_app(*flags, **environment).address
