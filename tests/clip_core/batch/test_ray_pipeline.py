"""Ray Data on this one machine, with two workers: the same results as without it."""

from __future__ import annotations

import importlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_core.batch import ray_pipeline
from clip_core.batch.inputs import InputItem
from clip_core.cli.main import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sort(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """All in this process: to start Ray, and its workers with it, takes longer than the sorting."""

    def run(pictures: list[Path], out: Path, model: Path, *more: str) -> str:
        command = ["sort", *map(str, pictures), "--out", str(out), "--labels", "cat", "lion"]
        command += ["tower", "--model", str(model), "--device", "cpu", *more]
        assert main(command) == 1  # one of the pictures is broken
        return capsys.readouterr().err

    monkeypatch.chdir(ROOT)
    yield run
    importlib.import_module("ray").shutdown()


def test_the_same_results_over_two_workers(
    sort: Callable[..., str], photographs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((photographs / "tower").iterdir()):
            zipped.write(path, path.name)
        zipped.writestr("broken.jpg", b"no picture")
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(sorted((photographs / "cheetah").iterdir())[0], copies / name)
    # Relative, as Ray's workers run in a folder of their own
    pictures = [Path(os.path.relpath(path, ROOT)) for path in (photographs / "cheetah", archive)]
    pictures.append(copies)
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    sort(pictures, one, tiny_model, "--features", str(tmp_path / "one"))
    said = sort(pictures, two, tiny_model, "--features", str(tmp_path / "two"), "--ray", "2")
    pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(two), atol=1e-6)
    errors = [pd.read_parquet(tmp_path / f"{name}-errors.parquet") for name in ("one", "two")]
    pd.testing.assert_frame_equal(*errors)
    assert " 0 encoded" not in said
    again = sort(pictures, two, tiny_model, "--features", str(tmp_path / "two"), "--ray", "2")
    assert " 0 encoded" in again
    for path in copies.iterdir():  # other stamps, the same contents
        path.rename(path.with_suffix(".jpeg"))
    moved = sort(pictures, two, tiny_model, "--features", str(tmp_path / "two"), "--ray", "2")
    assert " 0 encoded" in moved


def test_an_archive_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pipeline, "MEMBERS_PER_TASK", 2)
    sources = [
        *(InputItem(name, name) for name in ("a.jpg", "b.jpg")),
        *(InputItem(f"x.tar!/{i}", "x.tar", f"{i}.jpg") for i in range(3)),
        *(InputItem(f"x.zip!/{i}", "x.zip", f"{i}.jpg") for i in range(3)),
    ]
    tasks = [
        (os.path.relpath(task["path"]), task["members"])
        for task in ray_pipeline._tasks(sources)
        if os.path.isabs(task["path"])
    ]
    assert tasks == [
        *(("a.jpg", []), ("b.jpg", [])),
        ("x.tar", ["0.jpg", "1.jpg", "2.jpg"]),
        *(("x.zip", ["0.jpg", "1.jpg"]), ("x.zip", ["2.jpg"])),
    ]


def test_copies_in_a_batch_are_encoded_once(tiny_model: Path) -> None:
    encoder = ray_pipeline.Encoder(str(tiny_model), "cpu", None, False)
    size = encoder.classifier.input_resolution
    crops = np.zeros((1, size, size, 3), dtype=np.uint8)
    column = ray_pipeline._column
    batch = {
        "content": column([b"x", b"", b"y", b"x"]),
        "stat_key": column([b""] * 4),
        "error": column(["", "broken", "", ""]),
        "crops": column([crops.tobytes(), b"", b"", crops.tobytes()]),
        "shape": column([crops.shape, [0], [0], crops.shape]),
    }
    features = encoder(batch)["features"]
    assert [bool(each) for each in features] == [True, False, False, False]
