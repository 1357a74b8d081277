"""The models the page can ask: loaded once per process, in the background."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from clip_core import CheckpointError, ZeroShotClassifier
from clip_core.checkpoints import read_metadata
from clip_core.load import find_file

# The set that the CLIP repository's own search over templates chose for published weights.
PUBLISHED_DEFAULT = "imagenet-7"


class Models:
    """Classifiers by name; each starts loading at once, in turn, while the page already answers.

    names: what `clip_core.load` takes. On the page a file goes by its name without its folders,
    which are nobody's business there. Raises CheckpointError when there is no such file, ValueError
    when two have the same name or there is no such device.
    """

    def __init__(self, names: Sequence[str], device: str | None = None) -> None:
        self._files = {Path(name).name: find_file(name) for name in names}
        if len(self._files) < len(names):
            raise ValueError("Two of these models have the same file name: rename one.")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # which one depends on torch's build
            raise ValueError(
                f"The device {device!r} can't be used here: name none to take the best there is."
            ) from error
        loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model-loader")
        self._loading: dict[str, Future[ZeroShotClassifier]] = {
            Path(name).name: loader.submit(ZeroShotClassifier, name, device) for name in names
        }
        loader.shutdown(wait=False)

    @property
    def names(self) -> list[str]:
        """The names, the default first."""
        return list(self._files)

    def is_ready(self, name: str) -> bool:
        """Whether `get` would answer without waiting."""
        return name not in self._loading or self._loading[name].done()

    def get(self, name: str) -> ZeroShotClassifier:
        """The classifier, once it is loaded. Raises what loading it raised, or a ValueError."""
        if name not in self._loading:
            raise ValueError(f"There is no model {name!r} here: choose {' or '.join(self.names)}.")
        try:
            return self._loading[name].result()
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(self._files[name]), name)) from error

    def default_template(self, name: str) -> str:
        """The template, or the name of the set of templates, that measured best for a model."""
        return read_metadata(self._files[name]).get("default_template", PUBLISHED_DEFAULT)
