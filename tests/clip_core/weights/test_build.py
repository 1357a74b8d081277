"""Files of weights: every format that is published, and nothing in any of them is run."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from clip_core import CheckpointError, available_models, load
from clip_core.model import CLIP, ModifiedResNet, VisionTransformer
from clip_core.weights.build import read_checkpoint
from clip_core.weights.registry import PUBLISHED
from tests.archives import write_archive

Weights = dict[str, torch.Tensor]

# torch deprecates writing such archives; the published ones stay as they are.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning"
)


def make_clip(tower: nn.Module | None = None) -> CLIP:
    torch.manual_seed(3)
    tower = tower or VisionTransformer(32, 16, 64, 2, 1, 32)
    return CLIP(32, tower, 77, 49408, 64, 1, 2).eval()


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
    for name, tensor in weights.items():
        assert torch.equal(read.weights[name].read(tensor.dtype), tensor)
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
    with pytest.raises(CheckpointError, match=r"tensor '[\w.]+' .* reaches past the bytes"):
        load(path, device="cpu")


def rewritten(source: Path, path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """An archive with some of its members changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_member_outside_the_archive_is_never_written(
    archive: tuple[Path, Weights], tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = Path(shutil.copy(archive[0], inner / "climbing.pt"))
    with zipfile.ZipFile(path, "a") as climbing:
        climbing.writestr("../escaped.txt", b"out")
        climbing.writestr("/tmp/escaped-from-a-test.txt", b"out")
    before = set(tmp_path.rglob("*"))
    assert_same(load(path, device="cpu")[0], archive[1])
    assert set(tmp_path.rglob("*")) == before
    assert not Path("/tmp/escaped-from-a-test.txt").exists()


def test_zip_bomb_is_refused_unopened(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(archive[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if "/data/" in name:
                bomb = zipfile.ZipInfo(name)
                bomb.compress_type = zipfile.ZIP_DEFLATED
                new.writestr(bomb, bytes(50_000_000))
                break
            new.writestr(name, old.read(name))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(CheckpointError, match="is compressed"):
        load(path, device="cpu")


def test_huge_pickle_in_a_state_dict_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/data.pkl", bytes(70_000_000))
    with pytest.raises(CheckpointError, match=r"'bomb/data\.pkl' is compressed"):
        load(path, device="cpu")


def test_broken_bytes_are_noticed(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    path = Path(shutil.copy(archive[0], tmp_path / "flipped.pt"))
    with zipfile.ZipFile(path) as whole:
        largest = max(whole.infolist(), key=lambda member: member.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + 5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is broken: its part"):
        load(path, device="cpu")


def test_negative_size_is_refused(archive: tuple[Path, Weights], tmp_path: Path) -> None:
    # 32 stands in the pickle as BININT1 32; -1 as BININT -1
    path = rewritten(
        archive[0],
        tmp_path / "negative.pt",
        lambda name, data: (
            data.replace(b"K\x20", b"J\xff\xff\xff\xff") if name.endswith("/data.pkl") else data
        ),
    )
    with pytest.raises(CheckpointError, match="negative size"):
        load(path, device="cpu")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("form", ["safetensors", "state dict", "archive"])
def test_what_is_no_number_is_named(value: float, form: str, tmp_path: Path) -> None:
    model, path = make_clip(), tmp_path / "weights"
    with torch.no_grad():
        model.visual.ln_post.weight[3] = value
    if form == "archive":
        write_archive(path, model)
    elif form == "safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"'visual\.ln_post\.weight' holds .* no numbers"):
        load(path, device="cpu")


def test_quantised_file_is_refused(tmp_path: Path) -> None:
    weights = make_clip().state_dict()
    weights["visual.conv1.weight"] = weights["visual.conv1.weight"].to(torch.float8_e4m3fn)
    save_file(weights, tmp_path / "q.safetensors")
    with pytest.raises(CheckpointError, match=r"'visual\.conv1\.weight' is stored as F8_E4M3"):
        load(tmp_path / "q.safetensors", device="cpu")


def test_weights_stay_mapped(tmp_path: Path) -> None:
    """What needs no change is not copied: the tensors' memory is the file's."""
    weights = make_clip().state_dict()
    save_file(weights, tmp_path / "a.safetensors")
    model, _ = load(tmp_path / "a.safetensors", device="cpu")
    large = model.token_embedding.weight
    with Path("/proc/self/maps").open() as maps:
        spans = [line.split()[0].split("-") for line in maps if "a.safetensors" in line]
    assert any(int(a, 16) <= large.data_ptr() < int(b, 16) for a, b in spans)


def test_half_precision_on_the_cpu(tmp_path: Path) -> None:
    weights = make_clip().state_dict()
    save_file(weights, tmp_path / "a.safetensors")
    text = torch.tensor([[49406, 320, 49407, 0]])
    full = load(tmp_path / "a.safetensors", "cpu")[0].encode_text(text)
    for name, bar in (("float16", 0.999), ("bfloat16", 0.99)):
        model, _ = load(tmp_path / "a.safetensors", "cpu", dtype=name)
        assert model.dtype == getattr(torch, name)
        assert model.ln_final.weight.dtype == torch.float32
        features = model.encode_text(text)
        assert features.dtype == model.dtype
        assert F.cosine_similarity(features.float(), full).item() > bar
    with pytest.raises(ValueError, match="dtype must be one of"):
        load(tmp_path / "a.safetensors", "cpu", dtype="int8")


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
        (lambda w: w.pop("visual.conv1.weight"), "lack the tensor 'visual.conv1.weight'"),
        (lambda w: w.update({"logit_bias": torch.zeros(1)}), "SigLIP model.*'logit_bias'"),
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
        "picture.pt": (Path(__file__).parents[3] / "ui/examples/cat.jpg").read_bytes(),
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


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = available_models()
    assert len(names) == 10
    assert names[-1] == "bundled"
    assert names[:9] == list(PUBLISHED)
    with pytest.raises(RuntimeError, match=r"weights/ViT-B-32\.pt not found"):
        load("weights/ViT-B-32.pt")  # a file that isn't there is not asked of the Hub
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
