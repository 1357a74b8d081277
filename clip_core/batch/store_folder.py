"""The folder of a model's feature store, named by a fingerprint of its image tower."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from clip_core.classifier import ZeroShotClassifier
from clip_core.errors import StoreError
from clip_core.files import atomic_write, reason_of
from clip_core.inference.feature_store import FeatureStore
from clip_core.inference.fingerprint import image_fingerprint

FORM = "3"  # raise it when the store, or how pixels become features, changes


def open_store(
    base: Path, classifier: ZeroShotClassifier, framing: str, appearance: bool = False
) -> FeatureStore:
    """The feature store under `base` for one model and framing.

    appearance: for the features that compare images with images, where the model has separate ones
    for that. Raises StoreError where it can't be made.
    """
    dimensions = classifier.appearance_dim if appearance else None
    kind = framing if dimensions is None else f"{framing}-appearance"
    folder = store_folder(base, classifier, kind)
    return FeatureStore(folder, dimensions or classifier.model.visual.output_dim)


def store_folder(base: Path, classifier: ZeroShotClassifier, kind: str) -> Path:
    """The folder under `base` for one model's features: its name is for people, and has the
    fingerprint's first digits. Made, with a `model.json`, when there is none.

    kind: the framing, and whatever else the features depend on. Raises StoreError where it can't be
    made.
    """
    fingerprint = store_fingerprint(classifier, kind)
    plain = re.sub(r"[^\w.-]+", "-", Path(classifier.name).name)[-60:]
    folder = base / f"{plain}-{kind}-{fingerprint[:12]}"
    described = {
        "model": classifier.name,
        "weights": fingerprint,
        "kind": kind,
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "form": FORM,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model.json").exists():
            # Not found: another process has just written the same
            with suppress(FileNotFoundError), atomic_write(folder / "model.json") as partial:
                partial.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"Features can't be kept in {str(base)!r}: {reason_of(error)}. Name another folder by "
            "--features."
        ) from error
    return folder


def store_fingerprint(classifier: ZeroShotClassifier, kind: str) -> str:
    """The fingerprint of all that features depend on: the image tower, its pixels, the kind."""
    details = (FORM, kind, classifier.input_resolution, classifier.pixel_statistics)
    return image_fingerprint(classifier.model.visual, *details)
