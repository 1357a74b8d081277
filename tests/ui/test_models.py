from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ui.models
from clip_core import CheckpointError, ZeroShotClassifier
from ui.models import PUBLISHED_DEFAULT, Models
from ui.question import Question, QuestionError, answer_with, see

SECONDS = 60


def test_loads_in_the_background_and_once(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    loaded: list[tuple[str, str | None]] = []

    def load(name: str, device: str | None) -> ZeroShotClassifier:
        assert go_on.wait(SECONDS)
        loaded.append((name, device))
        return ZeroShotClassifier(name, device)

    monkeypatch.setattr(ui.models, "ZeroShotClassifier", load)
    models = Models([str(tiny_model)], "cpu")  # does not wait
    assert models.names == ["tiny.safetensors"]
    assert models.default_template("tiny.safetensors") == "a photo of a {}."
    assert not models.is_ready("tiny.safetensors")
    with ThreadPoolExecutor(8) as askers:
        asked = [askers.submit(models.get, "tiny.safetensors") for _ in range(8)]
        go_on.set()
        answers = [future.result(SECONDS) for future in asked]
    assert models.is_ready("tiny.safetensors")
    assert loaded == [(str(tiny_model), "cpu")]
    assert all(answer is answers[0] for answer in answers)
    assert answers[0].input_resolution == 64


def test_several_models_the_first_by_default(tiny_model: Path, tmp_path: Path) -> None:
    other = shutil.copy(tiny_model, tmp_path / "other.safetensors")
    models = Models([str(other), str(tiny_model)], "cpu")
    assert models.names == ["other.safetensors", "tiny.safetensors"]
    assert models.get("other.safetensors") is not models.get("tiny.safetensors")
    assert models.get("tiny.safetensors").name == "tiny.safetensors"


def test_a_file_that_names_no_template_gets_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"anything")
    assert Models([str(path)]).default_template("weights.pt") == PUBLISHED_DEFAULT


def test_unknown_name(tiny_model: Path) -> None:
    models = Models([str(tiny_model)], "cpu")
    # not to be told that it is loading
    assert models.is_ready("RN50")
    with pytest.raises(ValueError, match=r"^There is no model 'RN50' here: choose tiny\."):
        models.get("RN50")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        Models([str(tmp_path / "none.pt")])


def test_two_files_of_one_name(tiny_model: Path, tmp_path: Path) -> None:
    again = shutil.copy(tiny_model, tmp_path / tiny_model.name)
    with pytest.raises(ValueError, match="same file name: rename one"):
        Models([str(tiny_model), str(again)])


def test_a_broken_file_reaches_the_page_as_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    """The page starts all the same, the other models answer, and no folder is shown to anyone."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny_model.read_bytes()[:100_000])
    models = Models([str(broken), str(tiny_model)], "cpu")
    asked = Question("cat.jpg", "cat.jpg", ("a", "b"), "{}", [["a"], ["b"]], "broken.safetensors")
    for question in (
        lambda: answer_with(models, asked),
        lambda: see(models, "broken.safetensors", {"path": __file__}),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        message = str(caught.value)
        assert message.startswith("The model broken.safetensors could not be loaded. ")
        assert "holds no weights that can be read safely" in message
        assert str(tmp_path) not in message
    assert models.get("tiny.safetensors").name == "tiny.safetensors"
