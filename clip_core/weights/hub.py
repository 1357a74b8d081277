"""Models from the Hugging Face Hub, by `huggingface_hub`: its cache, token, offline mode, endpoint.

A repository holds CLIP in one of two layouts: open_clip's, with an `open_clip_config.json`, or
transformers', with a `config.json`. Both may be there; a safetensors file is preferred to a pickle.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub import constants, errors
from tqdm import tqdm

from clip_core.config import Config
from clip_core.errors import CheckpointError, DownloadError

from .config_files import OPEN_CLIP_CONFIG, PREPROCESSOR_CONFIG, TRANSFORMERS_CONFIG, read_config
from .download import OnProgress, causes_of

# Best first: a config, and the weights that go with it.
LAYOUTS = (
    (OPEN_CLIP_CONFIG, "open_clip_model.safetensors"),
    (OPEN_CLIP_CONFIG, "open_clip_pytorch_model.safetensors"),
    (TRANSFORMERS_CONFIG, "model.safetensors"),
    (OPEN_CLIP_CONFIG, "open_clip_pytorch_model.bin"),
    (TRANSFORMERS_CONFIG, "pytorch_model.bin"),
)
SCHEME = "hf-hub:"
UNWRITABLE = (errno.EROFS, errno.ENOTDIR, errno.EDQUOT)  # beside what PermissionError stands for

Result = TypeVar("Result")


def repository_of(name: str) -> tuple[str, str | None] | None:
    """Repository and revision of "hf-hub:owner/name@revision" or "owner/name"; None for others."""
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name.removeprefix(SCHEME))
    return (found[1], found[2]) if found else None


def cached_file(repository: str, file: str, revision: str | None = None) -> Path | None:
    """A repository's file where the Hub's cache has it; asks nobody."""
    found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch_file(
    repository: str,
    file: str,
    revision: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """A repository's file in the Hub's cache, downloaded if it isn't there.

    on_progress: as for `download.download`; without it the Hub's own bar is shown. Raises
    DownloadError, with one sentence, when the file can't be had.
    """
    watched = _Watched(on_progress) if on_progress else None

    def fetch() -> str:
        return huggingface_hub.hf_hub_download(
            repository,
            file,
            revision=revision,
            tqdm_class=watched.bar_class() if watched else None,
        )

    return Path(_ask(fetch, repository, watched))


def fetch_repository(name: str, on_progress: OnProgress | None = None) -> tuple[Path, Config]:
    """The weights of a repository, "owner/name" or "owner/name@revision", and their config.

    A model that is in the Hub's cache is taken from there and the Hub is not asked, so that it
    loads at once and without a network; delete it there to have it fetched anew.

    Raises DownloadError when they can't be had, CheckpointError when the repository holds no CLIP
    that runs here, saying what it holds.
    """
    found = repository_of(name)
    if found is None:
        raise CheckpointError(f"{name!r} is no name of a repository: it is wanted as owner/name.")
    repository, revision = found
    cached = {
        name: path
        for name in {name for pair in LAYOUTS for name in pair}
        if (path := cached_file(repository, name, revision)) is not None
    }
    layout = _choose(cached)
    if layout is not None:
        return cached[layout[1]], _read_config(repository, cached[layout[0]])
    files = _ask(lambda: huggingface_hub.list_repo_files(repository, revision=revision), repository)
    layout = _choose(files)
    if layout is None:
        raise CheckpointError(
            f"The repository {repository} holds no CLIP that can be read here: it has none of "
            + ", ".join(weights for _, weights in LAYOUTS)
            + " with a config beside it."
        )
    # The config first: a model that can't run here is refused before its weights are fetched
    fetched = {
        name: fetch_file(repository, name, revision)
        for name in {layout[0], PREPROCESSOR_CONFIG}.intersection(files)
    }
    config = _read_config(repository, fetched[layout[0]])
    return fetch_file(repository, layout[1], revision, on_progress), config


def _choose(files: Iterable[str]) -> tuple[str, str] | None:
    there = set(files)
    return next((pair for pair in LAYOUTS if there.issuperset(pair)), None)


def _read_config(repository: str, path: Path) -> Config:
    try:
        return read_config(path)
    except CheckpointError as error:
        raise CheckpointError(f"{repository}: {error}") from error


class _Watched:
    """Makes the Hub's progress bar call `on_progress`, and knows what that raised."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress
        self.raised: BaseException | None = None

    def bar_class(self) -> type[tqdm[Any]]:
        watched = self

        class Bar(tqdm):  # type: ignore[type-arg]
            def __init__(self, *args: Any, **settings: Any) -> None:
                self.done, self.all = settings.get("initial") or 0, settings.get("total")
                super().__init__(disable=True)

            def update(self, n: float | None = 1) -> bool | None:
                self.done += int(n or 0)
                try:
                    watched.on_progress(self.done, self.all)
                except BaseException as error:
                    watched.raised = error
                    raise
                return None

        return Bar


def _ask(ask: Callable[[], Result], repository: str, watched: _Watched | None = None) -> Result:
    try:
        return ask()
    except Exception as error:  # its network library's own errors come through, which vary
        if watched and watched.raised:
            raise watched.raised from None
        raise DownloadError(_explain(error, repository)) from error


def _explain(error: Exception, repository: str) -> str:
    """One sentence for the person: what was wrong with asking the Hub, and what to do."""
    where = f"{repository} on {constants.ENDPOINT}"
    causes = list(causes_of(error))
    if constants.HF_HUB_OFFLINE:
        return (
            f"{repository} is not in the Hugging Face cache, and offline mode is on: unset "
            "HF_HUB_OFFLINE to download it."
        )
    unwritable = f"The Hugging Face cache, {constants.HF_HUB_CACHE}, can't be written: set HF_HOME."
    # The narrower kind stands first: a gated repository is reported as one that isn't found.
    sentences: tuple[tuple[type[BaseException], str], ...] = (
        (errors.GatedRepoError, f"{where} asks for permission: accept its terms, set HF_TOKEN."),
        (errors.RevisionNotFoundError, f"There is no such revision of {where}."),
        (
            errors.RepositoryNotFoundError,
            f"There is no {where}, or it is private: check the name, or set HF_TOKEN.",
        ),
        (
            errors.HFValidationError,
            f"{repository!r} is no name of a repository: it is wanted as owner/name.",
        ),
        (PermissionError, unwritable),
    )
    for kind, sentence in sentences:
        if any(isinstance(cause, kind) for cause in causes):
            return sentence
    for cause in causes:
        response = getattr(cause, "response", None)
        if isinstance(cause, errors.HfHubHTTPError) and response is not None:
            return f"Asked for {where}, the Hub answered with status {response.status_code}."
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return f"The disk is full: free some space for {repository}, or set HF_HOME."
        if isinstance(cause, OSError) and cause.errno in UNWRITABLE:
            return unwritable
    return (
        f"{where} could not be fetched: there may be no network, or the connection broke "
        f"({type(causes[-1]).__name__})."
    )
