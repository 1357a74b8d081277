"""A visitor's pictures, without the page around them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clip_core import ZeroShotClassifier
from clip_core.batch.classify import Ranking
from clip_core.batch.duplicates import find_near_copies
from clip_core.batch.pipeline import encode_crops
from ui.service import image_collection as album_module
from ui.service.errors import QuestionError
from ui.service.image_collection import ImageCollection, Picture, Progress
from ui.service.limits import LIMITS
from ui.tabs.many.best_prompt import check_labels
from ui.tabs.many.duplicates import closest
from ui.tabs.many.session import draw_progress
from ui.tabs.many.sort import ALL, SURE, UNSURE, Sorted, offer
from ui.tabs.many.tab import describe

EXAMPLES = Path(__file__).parents[3] / "ui/examples"
KIND = ("tiny", "crop", False)


def uploaded(*paths: Path) -> list[dict[str, Any]]:
    return [{"path": str(path), "orig_name": path.name} for path in paths]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> ZeroShotClassifier:
    return ZeroShotClassifier(tiny_model, device="cpu")


@pytest.fixture
def album(tmp_path: Path) -> ImageCollection:
    return ImageCollection(tmp_path / "thumbnails")


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(EXAMPLES / "cat.jpg", "all/cat/1.jpg")
        archive.write(EXAMPLES / "cat.jpg", "all/cat/copy.jpg")
        archive.write(EXAMPLES / "coffee.jpg", "all/cup/1.jpg")
        archive.writestr("all/cup/broken.jpg", b"no picture")
        archive.writestr("loose.jpg", b"")
    return path


class Model:
    """Encodes, and counts what it was given."""

    def __init__(self, classifier: ZeroShotClassifier) -> None:
        self.classifier, self.batches = classifier, []  # type: ignore[var-annotated]

    def __call__(self, batch: list[np.ndarray]) -> torch.Tensor:
        self.batches.append(len(batch))
        return encode_crops(self.classifier, batch)


def encode(
    album: ImageCollection, model: Model, kind: tuple[str, str, bool] = KIND
) -> list[Progress]:
    return list(album.encode(kind, model.classifier.input_resolution, model))


def test_pictures_zips_and_what_is_wrong_with_them(
    album: ImageCollection, tiny: ZeroShotClassifier, zipped: Path
) -> None:
    album.take(uploaded(EXAMPLES / "horse.png", zipped))
    assert [(p.name, p.label) for p in album.pictures] == [
        ("horse.png", None),
        ("all/cat/1.jpg", "cat"),
        ("all/cat/copy.jpg", "cat"),
        ("all/cup/1.jpg", "cup"),
        ("all/cup/broken.jpg", "cup"),
        ("loose.jpg", None),
    ]
    model = Model(tiny)
    reports = encode(album, model)
    assert (reports[0].done, reports[-1].done, reports[-1].total) == (0, 6, 6)
    assert sum(model.batches) == 3  # a copy and two broken ones cost nothing
    problems = [picture.problem for picture in album.pictures]
    assert problems[:4] == [None] * 4
    assert "not a picture" in (problems[4] or "")
    assert problems[5] == "This file is empty."
    assert album.features(KIND).shape == (4, 64)
    assert torch.equal(*album.features(KIND)[1:3])
    for picture in album.encoded(KIND):
        assert picture.thumbnail is not None
        with Image.open(picture.thumbnail) as opened:
            assert max(opened.size) == 320
    for row, path in ((0, "horse.png"), (3, "coffee.jpg")):
        expected = tiny.image_features(EXAMPLES / path, "crop")
        assert torch.allclose(album.features(KIND)[row], expected, atol=1e-5)


def test_what_is_known_stays_known(
    album: ImageCollection, tiny: ZeroShotClassifier, zipped: Path
) -> None:
    album.take(uploaded(EXAMPLES / "horse.png", zipped))
    model = Model(tiny)
    encode(album, model)
    album.take(uploaded(zipped, EXAMPLES / "cat.jpg", EXAMPLES / "chart.png"))
    assert [picture.name for picture in album.pictures][-2:] == ["cat.jpg", "chart.png"]
    (first, *_, last) = encode(album, model)
    assert (first.done, last.done, last.total) == (5, 7, 7)
    assert model.batches == [3, 1]  # the chart alone: the cat is in the zip
    assert encode(album, model)[-1].new == 0
    assert encode(album, model, ("tiny", "pad", False))[-1].new == 5


def test_stopped_it_keeps_what_was_done(
    album: ImageCollection,
    tiny: ZeroShotClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(album_module, "SECONDS_BETWEEN_REPORTS", -1)
    paths = []
    for i in range(20):
        with Image.open(EXAMPLES / "cat.jpg") as opened:
            opened.crop((i, 0, 300 + i, 300)).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    album.take(uploaded(*paths))
    model = Model(tiny)
    running = album.encode(KIND, 64, model)
    assert [next(running).done for _ in range(2)] == [0, 8]
    album.stopping = True
    assert list(running) == []
    assert len(album.encoded(KIND)) == 8
    album.stopping = False
    assert encode(album, model)[0].done == 8
    assert model.batches == [8, 8, 4]


def test_labels_from_a_table(album: ImageCollection, zipped: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("picture,label\nhorse.png,a horse\n1.jpg,one\n", encoding="utf-8")
    album.take(uploaded(EXAMPLES / "horse.png", zipped, table))
    assert [picture.label for picture in album.pictures] == ["a horse", "one", None, "one"] + [
        None
    ] * 2
    album.take(uploaded(EXAMPLES / "horse.png", zipped))
    assert [picture.label for picture in album.pictures][:2] == [None, "cat"]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("x.zip", b"PK\x03\x04 no more", "x.zip is broken"),
        ("x.csv", b"one column\n", "two columns"),
        ("x.csv", b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_what_can_not_be_taken_leaves_the_others(
    album: ImageCollection, tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(data)
    album.take(uploaded(EXAMPLES / "cat.jpg", tmp_path / name, EXAMPLES / "horse.png"))
    assert [picture.name for picture in album.pictures] == ["cat.jpg", "horse.png"]
    assert len(album.problems) == 1
    assert problem in album.problems[0]
    said = describe(album)
    assert said.index("2 pictures.") < said.index("problem") < said.index(problem)
    album.take(uploaded(EXAMPLES / "cat.jpg"))
    assert "problem" not in describe(album)


def test_a_zip_without_pictures(album: ImageCollection, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("read me.txt", b"x")
    album.take(uploaded(tmp_path / "x.zip"))
    assert album.problems == ["There are no pictures in x.zip."]


def test_the_rows_of_a_table_that_name_no_picture_are_counted(
    album: ImageCollection, tmp_path: Path
) -> None:
    table = tmp_path / "<b>.csv"
    table.write_text("picture,label\nhorse.png,a\ncat.jpg,b\nx.jpg,c\n", encoding="utf-8")
    album.take(uploaded(table))
    assert "Drop the pictures that &lt;b&gt;.csv names, too." in describe(album)
    album.take(uploaded(table, EXAMPLES / "horse.png", EXAMPLES / "cat.jpg"))
    assert "2 of 3 rows of &lt;b&gt;.csv name one of these pictures." in describe(album)


def test_one_folder_is_no_label(album: ImageCollection, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(EXAMPLES / "cat.jpg", "holiday/1.jpg")
    album.take(uploaded(tmp_path / "x.zip", EXAMPLES / "horse.png"))
    assert album.labels == []
    assert "labelled" not in describe(album)
    with pytest.raises(QuestionError, match="All are in one folder"):
        check_labels(album)
    album.take([])
    with pytest.raises(QuestionError, match="Drop some pictures"):
        check_labels(album)


def test_pictures_of_one_name_are_told_apart(album: ImageCollection, zipped: Path) -> None:
    album.take(uploaded(EXAMPLES / "horse.png", zipped))
    assert [picture.short_name for picture in album.pictures] == [
        *("horse.png", "cat/1.jpg", "copy.jpg", "cup/1.jpg", "broken.jpg", "loose.jpg")
    ]


def test_the_chosen_picture_goes_with_its_file(album: ImageCollection) -> None:
    album.take(uploaded(EXAMPLES / "horse.png", EXAMPLES / "cat.jpg"))
    album.picked = album.pictures[1]
    album.take(uploaded(EXAMPLES / "cat.jpg"))
    assert album.picked is album.pictures[0]
    album.take(uploaded(EXAMPLES / "horse.png"))
    assert album.picked is None


def test_too_many_pictures_are_counted(
    album: ImageCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMITS, "pictures", 2)
    album.take(uploaded(*(EXAMPLES / name for name in ("cat.jpg", "horse.png", "chart.png"))))
    assert len(album.pictures) == 2
    assert album.left_out == 1


def test_a_picture_that_was_deleted_meanwhile(
    album: ImageCollection, tiny: ZeroShotClassifier, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "gone.jpg")
    album.take(uploaded(tmp_path / "gone.jpg", EXAMPLES / "horse.png"))
    (tmp_path / "gone.jpg").unlink()
    encode(album, Model(tiny))
    assert "There is no such file" in (album.pictures[0].problem or "")
    assert len(album.encoded(KIND)) == 1


def test_stopped_in_a_batch_it_reports_that_batch(
    album: ImageCollection, tiny: ZeroShotClassifier, zipped: Path
) -> None:
    album.take(uploaded(EXAMPLES / "horse.png", zipped))

    def run(batch: list[np.ndarray]) -> torch.Tensor:
        album.stopping = True
        return encode_crops(tiny, batch)

    assert [progress.done for progress in album.encode(KIND, 64, run)] == [0, 6]


def test_what_is_said_of_progress() -> None:
    assert "4 of 6 pictures …" in draw_progress(Progress(5, 6, 0, 0.0), bad=1)
    assert "5 of 6 pictures in 2.0 s, 3.0 a second." in draw_progress(Progress(6, 6, 6, 2.0), bad=1)
    assert "6 of 6 pictures." in draw_progress(Progress(6, 6, 0, 0.0), bad=0)


def test_the_similarity_of_a_copy_is_that_to_the_most_similar_other() -> None:
    angles = torch.tensor([0.0, 0.5, 1.0])  # a chain: the first and the last are far apart
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    (group,) = find_near_copies(features, 0.85)
    assert closest(features, group) == pytest.approx([np.cos(0.5)] * 3)


def test_a_label_may_be_called_as_a_choice_is() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    ranking = Ranking(("all", "none"), probabilities, probabilities, None, None)
    pictures = [Picture(name, name) for name in "abc"]
    found = Sorted(pictures, ranking, np.array([0, 1, 1]), probabilities.max(axis=1))
    assert len({value for _, value in offer(found)["choices"]}) == 3
    assert found.chosen(ALL, UNSURE).tolist() == [2, 1, 0]
    assert found.chosen(0, SURE).tolist() == [0]
    assert found.chosen(1, SURE).tolist() == [1, 2]


def test_rates_and_times_left() -> None:
    assert Progress(10, 50, 5, 2.5).rate == 2
    assert Progress(10, 50, 5, 2.5).seconds_left == 20
    assert Progress(10, 50, 0, 2.5).seconds_left is None
