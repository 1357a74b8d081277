"""An image tower run by ONNX Runtime, where a host has installed it: one picture is quicker there.

The graph is exported from the tower's own modules, so there is no second model to keep right, and
before it answers it is compared with them. How much quicker is in benchmarks/RESULTS.md.

Sources: PyTorch's exporter (torch.onnx), and ONNX Runtime's session options, whose names are those
of onnxruntime_session_options_config_keys.h.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_core.errors import InputError

from .fingerprint import update_with_tower

PACKAGES = ("onnxruntime", "onnx", "onnxscript")
FILE = "tower.onnx"
FORM = "1"  # of what is exported: raised when the export below changes
# Largest difference of normalised features from the tower's own, on one picture. Deep ResNets of
# random weights differ by 2e-4 from themselves in another order of the same sums.
AGREE = 1e-3


class OnnxTower:
    """A tower's forward pass: [N, 3, input_resolution, input_resolution] -> [N, D], float32.

    tower: on the CPU, in float32, in evaluation mode. folder: where the graph is kept, so that only
    the first start exports it, which takes from some seconds to a minute. Safe to share by threads.

    Needs what `check_onnx` looks for. Raises RuntimeError when what was exported doesn't agree with
    the tower.
    """

    def __init__(self, tower: nn.Module, folder: Path) -> None:
        side: Any = tower.input_resolution
        self._side: int = side
        kept = folder / _digest(tower)
        session = _open(kept)
        if session is None or not self._agrees(session, tower):  # never made, or damaged
            shutil.rmtree(kept, ignore_errors=True)
            session = _export(tower, self._side, kept)
            if not self._agrees(session, tower):
                raise RuntimeError(
                    "ONNX Runtime's features differ from the model's own: leave out --onnx."
                )
        self._session = session
        self.extra_bytes = sum(each.numel() * each.element_size() for each in tower.parameters())

    def __call__(self, x: Tensor) -> Tensor:
        return _run(self._session, x)

    @torch.inference_mode()
    def _agrees(self, session: Any, tower: nn.Module) -> bool:
        generator = torch.Generator().manual_seed(0)
        picture = torch.randn(1, 3, self._side, self._side, generator=generator)
        try:
            found = _run(session, picture)
        except Exception:  # its errors have no common class but this
            return False
        expected = tower(picture)
        if found.shape != expected.shape:
            return False
        difference = F.normalize(found, dim=-1) - F.normalize(expected, dim=-1)
        return bool(difference.abs().max() <= AGREE)


def check_onnx(device: torch.device, dtype: torch.dtype) -> None:
    """Raises InputError, with one sentence, where ONNX Runtime can't run a tower."""
    if device.type != "cpu" or dtype != torch.float32:
        raise InputError(
            f"ONNX Runtime runs towers on the CPU in float32 here, not on {device.type} in "
            f"{str(dtype).removeprefix('torch.')}: leave it out, or name that device and dtype."
        )
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX Runtime needs packages that are not here: pip install {' '.join(missing)}"
        )


def _run(session: Any, x: Tensor) -> Tensor:
    # Picture by picture: the graph is of fixed shapes, which it runs quickest, and it has nothing
    # to gain from several
    (given,) = session.get_inputs()
    rows = [session.run(None, {given.name: row[None].numpy()})[0] for row in x.contiguous()]
    return torch.cat([torch.from_numpy(row) for row in rows])


def _open(folder: Path) -> Any:
    """A session on the graph in a folder; None where there is none that can be read."""
    import onnxruntime  # noqa: PLC0415  (optional)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Its threads would go on spinning after each picture and take the cores from the text tower
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not (folder / FILE).is_file():
        return None
    try:
        return onnxruntime.InferenceSession(
            folder / FILE, options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # as above: a damaged file raises whatever it meets first
        return None


def _export(tower: nn.Module, side: int, kept: Path) -> Any:
    """Writes the graph for one picture at a time, keeps it if it can, and opens it."""
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
    beside = kept.parent if os.access(kept.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=beside, ignore_cleanup_errors=True) as name:
        made, example = Path(name), torch.zeros(1, 3, side, side)
        with _quiet(), torch.no_grad():
            torch.onnx.export(tower, (example,), made / FILE, dynamo=True, verbose=False)
        if beside is not None:
            with contextlib.suppress(OSError):  # another process was quicker
                made = made.rename(kept)
        session = _open(made)
    if session is None:
        raise RuntimeError("ONNX Runtime can't read what PyTorch exported: leave out --onnx.")
    return session


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on torch's insides."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _digest(tower: nn.Module) -> str:
    digest = hashlib.sha256(f"{FORM} {torch.__version__} {tower.input_resolution}".encode())
    update_with_tower(digest, tower)
    return digest.hexdigest()
