"""Files of weights: every format that is published, and nothing in any of them is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from clip_core import CheckpointError, available_models, load
from clip_core.checkpoints import read_checkpoint
from clip_core.model import CLIP, ModifiedResNet, VisionTransformer, convert_weights
from clip_core.published import PUBLISHED

Weights = dict[str, torch.Tensor]

# torch deprecates writing such archives; the published ones stay as they are.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning"
)


def make_clip(tower: nn.Module | None = None) -> CLIP:
    torch.manual_seed(3)
    tower = tower or VisionTransformer(32, 16, 64, 2, 1, 32)
    return CLIP(32, tower, 77, 49408, 64, 1, 2).eval()


class Holder(nn.Module):
    """A module tree with CLIP's names and integers, simple enough for TorchScript to compile."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        children: dict[str, Weights] = {}
        for name, tensor in weights.items():
            head, _, rest = name.partition(".")
            if rest:
                children.setdefault(head, {})[rest] = tensor
            else:
                self.register_buffer(head, tensor)
        for head, tensors in children.items():
            self.add_module(head, Holder(tensors))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def write_archive(path: Path, model: CLIP) -> Weights:
    """Writes a TorchScript archive as published: float16, three integers; returns its tensors."""
    convert_weights(model)
    integers = {
        "input_resolution": torch.tensor(model.visual.input_resolution),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    torch.jit.save(torch.jit.script(Holder(model.state_dict() | integers)), path)
    return model.state_dict()


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, Weights]:
    path = tmp_path / "archive.pt"
    return path, write_archive(path, make_clip())


@pytest.fixture(autouse=True)
def no_script_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch.jit.load runs an archive's code")

    monkeypatch.setattr(torch.jit, "load", refuse)


def assert_same(model: CLIP, weights: Weights) -> None:
    loaded = model.state_dict()
    assert loaded.keys() == weights.keys()
    for name, tensor in weights.items():
        wanted = tensor.float() if tensor.is_floating_point() else tensor
        assert loaded[name].dtype == wanted.dtype
        assert torch.equal(loaded[name], wanted), name


@pytest.mark.parametrize(
    "tower",
    [
        lambda: VisionTransformer(32, 16, 64, 2, 1, 32),
        lambda: ModifiedResNet((1, 2, 1, 1), 32, 4, 64, 8),
    ],
    ids=["ViT", "ResNet"],
)
def test_archive_loads_as_published(tower: Callable[[], nn.Module], tmp_path: Path) -> None:
    path = tmp_path / "ViT-L-14.pt"  # the name says nothing
    weights = write_archive(path, make_clip(tower()))
    assert {tensor.dtype for tensor in weights.values()} >= {torch.float16, torch.float32}
    read = read_checkpoint(path)
    assert read.integers["vocab_size"] == 49408
    assert all(torch.equal(read.weights[name], weights[name]) for name in weights)
    model, preprocess = load(path, device="cpu")
    assert_same(model, weights)
    assert type(model.visual) is type(tower())
    assert model.visual.input_resolution == read.integers["input_resolution"]
    image = preprocess(Image.new("RGB", (90, 70))).unsqueeze(0)
    with torch.no_grad():
        assert model.encode_image(image).shape == (1, 32)


def test_jit_is_declined_aloud(archive: tuple[Path, Weights]) -> None:
    path, weights = archive
    with pytest.warns(UserWarning, match="jit=True"):
        model, _ = load(path, device="cpu", jit=True)
    assert_same(model, weights)


class Evil:
    """Pickles to a call of os.system."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_hostile_archive_is_refused(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    source, mark, path = archive[0], tmp_path / "was-run", tmp_path / "evil.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            evil = name.endswith("/data.pkl")
            new.writestr(name, pickle.dumps(Evil(mark), protocol=2) if evil else old.read(name))
    with pytest.raises(CheckpointError, match="system"):
        load(path, device="cpu")
    assert not mark.exists()


def test_archive_code_is_not_looked_at(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    source, path = archive[0], tmp_path / "garbled.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\xff not code" if "/code/" in name else old.read(name))
    assert_same(load(path, device="cpu")[0], archive[1])


def test_view_past_its_storage_is_refused(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    source, path = archive[0], tmp_path / "short.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\0\0" if "/data/" in name else old.read(name))
    with pytest.raises(CheckpointError, match="no weights"):
        load(path, device="cpu")


def test_hostile_pickle_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    for name, write in (
        ("new.pt", lambda path: torch.save({"x": Evil(mark)}, path)),
        ("old.pt", lambda path: path.write_bytes(pickle.dumps(Evil(mark)))),
    ):
        write(tmp_path / name)
        with pytest.raises(CheckpointError):
            load(tmp_path / name, device="cpu")
    assert not mark.exists()


def test_state_dicts(tmp_path: Path) -> None:
    weights = make_clip().state_dict()
    torch.save(weights, tmp_path / "plain.bin")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in weights.items()}},
        tmp_path / "training.pt",
    )
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "named.pt", metadata={"default_template": "a {}"})
    for path in sorted(tmp_path.iterdir()):
        assert_same(load(path, device="cpu")[0], weights)
    assert read_checkpoint(tmp_path / "named.pt").metadata == {"default_template": "a {}"}


def test_loaded_model_answers_as_the_one_saved(tmp_path: Path) -> None:
    model = make_clip(ModifiedResNet((1, 1, 1, 1), 32, 4, 64, 8))
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    image, text = torch.randn(2, 3, 64, 64), torch.tensor([[49406, 320, 49407, 0]])
    with torch.no_grad():
        for a, b in zip(
            model(image, text),
            load(tmp_path / "m.safetensors", device="cpu")[0](image, text),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w.pop("ln_final.bias"), "lack the tensor 'ln_final.bias'"),
        (lambda w: w.pop("text_projection"), "lack the tensor 'text_projection'"),
        (lambda w: w.pop("visual.conv1.weight"), "lack the tensor 'conv1.weight'"),
        (lambda w: w.update({"logit_bias": torch.zeros(1)}), "no CLIP has: 'logit_bias'"),
        (
            lambda w: w.update({"visual.ln_post.weight": torch.ones(5)}),
            r"'visual.ln_post.weight' has the shape \(5,\)",
        ),
        (lambda w: w.pop("visual.proj"), "no CLIP that is known"),
        (lambda w: w.update({"visual.proj": torch.zeros(64, 40)}), "don't belong together"),
    ],
)
def test_what_is_wrong_is_named(
    spoil: Callable[[Weights], object], says: str, tmp_path: Path
) -> None:
    weights = make_clip().state_dict()
    spoil(weights)
    save_file(weights, tmp_path / "spoilt.safetensors")
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path / "spoilt.safetensors", device="cpu")


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    weights = make_clip().state_dict()
    save_file(weights, tmp_path / "a")
    torch.save(weights, tmp_path / "b")
    whole = {name: (tmp_path / name).read_bytes() for name in "ab"}
    files = {
        "empty.pt": b"",
        "cut.safetensors": whole["a"][:5000],
        "cut.pt": whole["b"][:5000],
        "text.pt": b"hello",
        "picture.pt": (Path(__file__).parents[2] / "ui/examples/cat.jpg").read_bytes(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / name, device="cpu")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no state dict"):
        load(tmp_path / "list.pt", device="cpu")


def test_names() -> None:
    names = available_models()
    assert len(names) == 10
    assert names[-1] == "bundled"
    for name, published in PUBLISHED.items():
        with pytest.raises(CheckpointError, match=published.sha256) as caught:
            load(name)
        assert published.file in str(caught.value)
        assert "by its path" in str(caught.value)
    with pytest.raises(RuntimeError, match="ViT-B/31 not found"):
        load("ViT-B/31")
    with pytest.raises(CheckpointError, match="not found"):
        load("x" * 5000)


def test_bundled_loads() -> None:
    model, preprocess = load("bundled", device="cpu")
    assert (model.context_length, model.vocab_size, model.dtype) == (77, 49408, torch.float32)
    assert preprocess(Image.new("RGB", (300, 500))).shape == (3, 260, 260)


def test_another_zip_is_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="no weights"):
        read_checkpoint(tmp_path / "x.zip")
