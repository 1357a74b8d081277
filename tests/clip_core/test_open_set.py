"""Whether any label fits: the score, its threshold, and the command that fits it to a model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from clip_core import ZeroShotClassifier, none_of_these
from clip_core.cli.main import main
from clip_core.evaluation.calibrate import auroc, calibrate, draw_lists, fit, half_of, list_scores
from clip_core.open_set import (
    NEIGHBOURS,
    OpenSetCalibration,
    csls_score,
    judge,
    read_fit,
    write_fit,
)

EXAMPLES = Path(__file__).parents[2] / "ui/examples"
# The right label, and what is none of the pictures
RIGHT = {"cat.jpg": "cat", "coffee.jpg": "cup of coffee", "diagram.png": "diagram"}
WRONG = ["violin", "tractor", "penguin", "umbrella"]


@pytest.fixture(scope="module")
def bundled() -> ZeroShotClassifier:
    return ZeroShotClassifier("bundled", device="cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fits of these tests are kept."""
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prompts(labels: list[str]) -> list[list[str]]:
    return [[f"a photo of a {label}."] for label in labels]


@pytest.mark.parametrize("picture", RIGHT)
def test_the_bundled_model_knows_when_nothing_fits(
    bundled: ZeroShotClassifier, picture: str
) -> None:
    fits = none_of_these(bundled, EXAMPLES / picture, prompts([*WRONG, RIGHT[picture]]))
    misses = none_of_these(bundled, EXAMPLES / picture, prompts(WRONG))
    assert fits is not None
    assert misses is not None
    assert misses.is_none
    assert misses.chance > 0.75
    assert not fits.is_none
    assert fits.chance < 0.4
    alone = none_of_these(bundled, EXAMPLES / picture, prompts([RIGHT[picture]]))
    assert alone is not None
    assert not alone.is_none


def test_an_answer_brings_it_along(bundled: ZeroShotClassifier) -> None:
    picture = EXAMPLES / "cat.jpg"
    scores = bundled.score(picture, WRONG, prompts(WRONG))
    assert scores.none_of_these == none_of_these(bundled, picture, prompts(WRONG))


def test_a_model_that_nothing_was_fitted_for(tiny_model: Path) -> None:
    classifier = ZeroShotClassifier(tiny_model, device="cpu")
    assert none_of_these(classifier, EXAMPLES / "cat.jpg", prompts(["cat"])) is None


def test_a_cosine_less_what_label_and_picture_get_from_everything() -> None:
    torch.manual_seed(0)
    images, texts, background = (F.normalize(torch.randn(count, 8), dim=-1) for count in (3, 4, 50))
    found = csls_score(images, texts, background)
    for i, image in enumerate(images):
        for j, text in enumerate(texts):
            of_label = sorted((float(text @ b) for b in background), reverse=True)[:NEIGHBOURS]
            of_image = sorted((float(image @ b) for b in background), reverse=True)[:NEIGHBOURS]
            expected = float(image @ text) - np.mean(of_label) - np.mean(of_image) / 2
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


def test_the_chance_falls_as_the_fit_grows() -> None:
    near, far = torch.eye(8)[:1], torch.eye(8)[1:2]
    fitted = OpenSetCalibration(threshold=-0.5, slope=20, offset=4, background=torch.eye(8)[2:])
    image = torch.eye(8)[0]
    good, bad = judge(image, near, fitted), judge(image, far, fitted)
    assert (good.is_none, bad.is_none) == (False, False)
    assert 0 < good.chance < bad.chance < 1
    assert judge(-image, near, fitted).is_none
    assert judge(-1000 * image, near, fitted).chance == 1  # no overflow


def test_kept_by_the_models_name_and_space(folder: Path, bundled: ZeroShotClassifier) -> None:
    tower = bundled.model.visual
    background = F.normalize(torch.randn(20, tower.output_dim), dim=-1)
    write_fit("owner/model", OpenSetCalibration(-0.25, 10.0, 1.0, background), folder)
    found = read_fit("owner/model", {}, tower, folder)
    assert found is not None
    assert (found.threshold, found.slope, found.offset) == (-0.25, 10.0, 1.0)
    assert torch.equal(found.background, background)
    assert read_fit("owner-model", {}, tower, folder) is None  # the same file, another name
    write_fit("owner/model", OpenSetCalibration(-0.25, 10.0, 1.0, background[:, :7]), folder)
    assert read_fit("owner/model", {}, tower, folder) is None  # another model's space


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"threshold": "high"}', '{"threshold": NaN}'])
def test_a_strangers_notes_are_not_believed(
    folder: Path, bundled: ZeroShotClassifier, note: str
) -> None:
    assert read_fit("x", {"none_of_these": note}, bundled.model.visual, folder) is None


def test_a_broken_file_of_a_fit_is_none(folder: Path, bundled: ZeroShotClassifier) -> None:
    path = write_fit("x", OpenSetCalibration(0.0, 1.0, 0.0, torch.eye(256)), folder)
    path.write_bytes(path.read_bytes()[:100])
    assert read_fit("x", {}, bundled.model.visual, folder) is None


def test_lists_hold_the_right_label_or_not() -> None:
    holding, without = draw_lists([2, 0], labels=7, size=3)
    assert holding.shape == without.shape
    assert (holding[0, :, 0] == 2).all()
    assert (holding[1, :, 0] == 0).all()
    assert not (without[0] == 2).any()
    assert not (without[1] == 0).any()
    assert all(len(set(row)) == 3 for row in [*holding.reshape(-1, 3), *without.reshape(-1, 3)])


def test_area_under_the_curve() -> None:
    assert auroc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 0
    assert auroc(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.5
    assert auroc(np.array([1.0, 3.0]), np.array([2.0])) == 0.5


def test_the_fit_finds_the_threshold_and_the_curve() -> None:
    g = np.random.default_rng(0)
    # Two normal distributions of one width: the chance is logistic with these figures
    holding, without = g.normal(1, 1, 200_000), g.normal(-1, 1, 200_000)
    found = fit(holding, without, torch.eye(2))
    assert found.threshold == pytest.approx(1 - 1.2816, abs=0.02)
    assert found.slope == pytest.approx(2, abs=0.05)
    assert found.offset == pytest.approx(0, abs=0.05)


def test_chosen_on_one_half_and_reported_on_the_other() -> None:
    r = random.Random(0)
    labels = [f"label {i}" for i in range(30)]
    right = [r.randrange(30) for _ in range(200)]
    halves = [half_of(labels[i]) for i in right]
    torch.manual_seed(0)
    fits = torch.randn(200, 30)
    fits[torch.arange(200), torch.tensor(right)] += 3
    fitted, report = calibrate(fits, right, halves, torch.eye(2))
    assert [row.size for row in report] == [1, 3, 5, 10]
    assert all(row.auroc > 0.8 for row in report)
    # What lies in the reporting half does not move the fit
    other = fits.clone()
    other[torch.tensor([half == "report" for half in halves])] += 5
    assert calibrate(other, right, halves, torch.eye(2))[0].threshold == fitted.threshold
    holding, _ = list_scores(fits, right, 5)
    choosing = np.array([half == "choose" for half in halves])
    assert (holding[choosing] < fitted.threshold).mean() == pytest.approx(0.1, abs=0.01)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Coloured squares, sorted by their colours' names."""
    r = random.Random(0)
    colours = ["red", "green", "blue", "yellow", "white", "black", "pink", "brown", "orange"]
    for colour in colours:
        place = tmp_path / "pictures" / colour
        place.mkdir(parents=True)
        for i in range(6):
            image = Image.new("RGB", (80, 80), "grey")
            corner = r.randrange(30)
            ImageDraw.Draw(image).rectangle((corner, corner, corner + 40, corner + 40), colour)
            image.save(place / f"{i}.png")
    return tmp_path / "pictures"


def test_calibrate_on_the_command_line(
    pictures: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A thousand names through a random model tell no more than ten
    nouns = type("Nouns", (), {"labels": ("dog", "cat", "car", "tree", "house", "cup")})
    monkeypatch.setattr("clip_core.cli.calibrate.find_label_set", lambda _: nouns)
    (pictures / "red" / "broken.png").write_bytes(b"no picture")
    assert main(["calibrate", str(pictures), "--model", str(tiny_model)]) == 0
    printed = capsys.readouterr()
    assert "broken.png is left out." in printed.err
    assert [line.split()[0] for line in printed.out.splitlines()[2:]] == ["1", "3", "5"]
    fitted = ZeroShotClassifier(tiny_model, device="cpu").fitted
    assert fitted is not None
    assert len(fitted.background) == 6


def few(folder: Path) -> None:
    (folder / "red").mkdir(parents=True)
    Image.new("RGB", (20, 20), "red").save(folder / "red" / "0.png")


def broken(folder: Path) -> None:
    (folder / "red").mkdir(parents=True)
    (folder / "red" / "0.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "subfolders named by their labels"),
        (few, "Too few pictures"),
        (broken, "None of the pictures can be read."),
    ],
)
def test_what_can_not_be_calibrated_on(
    make: Callable[[Path], None],
    said: str,
    tmp_path: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nouns = type("Nouns", (), {"labels": ("dog", "cat")})
    monkeypatch.setattr("clip_core.cli.calibrate.find_label_set", lambda _: nouns)
    make(tmp_path / "some")
    assert main(["calibrate", str(tmp_path / "some"), "--model", str(tiny_model)]) == 2
    assert said in capsys.readouterr().err
