"""A model by name, by file, by folder or by repository: the first call of `import clip`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from clip_core.config import Config
from clip_core.errors import CheckpointError, DownloadError
from clip_core.files import sha256_of
from clip_core.model import CLIP, convert_weights
from clip_core.preprocess import preprocess

from .build import build_model, read_checkpoint
from .download import OnProgress, download
from .hub import LAYOUTS, SCHEME, cached_file, fetch_file, fetch_repository, repository_of
from .registry import HUB_FILE, PUBLISHED

if TYPE_CHECKING:
    from torchvision.transforms import Compose

BUNDLED = Path(__file__).parents[1] / "bundled.safetensors"
WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MAX_BYTES_OVER = 1.1  # an archive is its weights and a little code: more is something else


def available_models() -> list[str]:
    """The names `load` knows: the nine published shapes and "bundled"."""
    return [*PUBLISHED, "bundled"]


def load(
    name_or_path: str | Path,
    device: str | torch.device | None = None,
    jit: bool = False,
    download_root: str | None = None,
    dtype: str | torch.dtype | None = None,
) -> tuple[CLIP, Compose]:
    """A model and the transform its pictures need, as `clip.load` of openai/CLIP gives them.

    name_or_path: a name of `available_models()`; a file: a published archive, a state dict or
    safetensors, in openai/CLIP's, open_clip's or transformers' layout; a folder with one and its
    config; or a repository of the Hugging Face Hub, "owner/name" or "hf-hub:owner/name". Of a file
    with no config in it or beside it the activation is taken to be QuickGELU, the published one.

    device: CUDA where there is one, otherwise the CPU, unless named. dtype: "float32", "float16" or
    "bfloat16", for the matrix products; float16 on CUDA, as published, and float32 elsewhere unless
    named. jit: kept for compatibility; an archive's code is never run, the model is always this
    package's own, and asking for another draws a warning. download_root: where the nine published
    archives are kept; CLIP_CACHE, or ~/.cache/clip, unless named.

    The transform maps a PIL picture to float32 [3, input_resolution, input_resolution].

    Raises CheckpointError for what is no usable model, DownloadError for what can't be downloaded
    (both RuntimeErrors), with one sentence that says what is wrong.
    """
    if jit:
        warnings.warn(
            "jit=True is ignored: an archive's code is never run, and the eager model answers "
            "the same.",
            stacklevel=2,
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = read_checkpoint(*find_weights(name_or_path, download_root))
    model = build_model(checkpoint, device, choose_dtype(dtype, device))
    config = checkpoint.config
    return model, preprocess(model.visual.input_resolution, config.image_mean, config.image_std)


def find_weights(
    name_or_path: str | Path,
    download_root: str | Path | None = None,
    mirror: str | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Path, Config | None]:
    """The file that holds a model's weights, downloaded if need be, and its config where known.

    mirror: an address that has the published files under the same paths; CLIP_MIRROR unless given.
    on_progress: as for `download.download`.

    Raises CheckpointError when there is no such model, DownloadError when it can't be had.
    """
    found = find_on_disk(name_or_path, download_root)
    if found is not None:
        return found
    name = str(name_or_path)
    if name in PUBLISHED:
        return _fetch_published(name, download_root, mirror, on_progress)
    if _is_repository(name):
        try:
            return fetch_repository(name, on_progress)
        except DownloadError as error:
            if name.startswith(SCHEME):
                raise
            raise DownloadError(
                f"{_not_found(name)} As a repository of the Hub: {error}"
            ) from error
    raise CheckpointError(_not_found(name))


def find_on_disk(
    name_or_path: str | Path, download_root: str | Path | None = None
) -> tuple[Path, Config | None] | None:
    """As `find_weights` where nothing need be downloaded for it; None where something must be.

    Repositories are None: the Hub's cache is asked when they are loaded. A published archive counts
    when its SHA-256 is right, which takes a second for a gigabyte.
    """
    name = str(name_or_path)
    if name == "bundled":
        return BUNDLED, None
    if os.path.isfile(name):  # False, and no error, for what can be no file's name
        return Path(name), None
    if os.path.isdir(name):
        return _find_in_folder(Path(name)), None
    if name in PUBLISHED:
        published = PUBLISHED[name]
        path = weights_folder(download_root) / published.file
        if path.is_file() and sha256_of(path) == published.sha256:
            return path, None
        cached = cached_file(published.repository, HUB_FILE)
        if cached is not None:
            return cached, Config()
    return None


def is_known(name_or_path: str | Path) -> bool:
    """Whether this may be a model: a name, a file, a folder, or what could be a repository."""
    name = str(name_or_path)
    return name in available_models() or os.path.exists(name) or _is_repository(name)


def weights_folder(download_root: str | Path | None = None) -> Path:
    """Where published archives are kept: as the reference has it, unless CLIP_CACHE says so."""
    return Path(download_root or os.environ.get("CLIP_CACHE") or "~/.cache/clip").expanduser()


def choose_dtype(dtype: str | torch.dtype | None, device: str | torch.device) -> torch.dtype:
    """What matrix products run in: what is asked for, or float16 on CUDA and float32 elsewhere.

    bfloat16 is never chosen by itself. Raises ValueError for what is no dtype for a model.
    """
    if dtype is None:
        return torch.float16 if torch.device(device).type == "cuda" else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}.")
    return chosen


def place(model: CLIP, device: str | torch.device, dtype: torch.dtype) -> CLIP:
    """Moves a model to a device, in the precision it is to run in there."""
    model = model.float().to(device)  # type: ignore[assignment]
    if dtype != torch.float32:
        convert_weights(model, dtype)
    return model


def _fetch_published(
    name: str,
    download_root: str | Path | None,
    mirror: str | None,
    on_progress: OnProgress | None,
) -> tuple[Path, Config | None]:
    published = PUBLISHED[name]
    path = weights_folder(download_root) / published.file
    try:
        download(
            published.address(mirror),
            path,
            published.sha256,
            max_bytes=int(published.megabytes * 1e6 * MAX_BYTES_OVER),
            on_progress=on_progress,
        )
    except DownloadError as error:
        try:
            file = fetch_file(published.repository, HUB_FILE, on_progress=on_progress)
        except DownloadError as second:
            raise DownloadError(
                f"{name} could not be downloaded. {error} From the Hugging Face Hub: {second}"
            ) from second
        return file, Config()
    return path, None


def _find_in_folder(folder: Path) -> Path:
    for pair in LAYOUTS:
        if all((folder / name).is_file() for name in pair):
            return folder / pair[1]
    raise CheckpointError(
        f"The folder {str(folder)!r} holds no model: a config and weights are wanted, as in "
        + " or ".join(" with ".join(pair) for pair in LAYOUTS[:3:2])
        + "."
    )


def _is_repository(name: str) -> bool:
    # A path that was mistyped is not to be asked of the Hub
    return repository_of(name) is not None and not name.endswith(WEIGHTS_SUFFIXES)


def _not_found(name: str) -> str:
    return (
        f"Model {name} not found: it is neither a file nor one of {', '.join(available_models())}."
    )
