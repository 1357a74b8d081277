"""Weights files of every format: read without running them, and refused in one sentence."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from clip_core.checkpoints import (
    Checkpoint,
    CheckpointError,
    build_model,
    read_archive,
    read_checkpoint,
    read_metadata,
)
from clip_core.load import load
from clip_core.model import CLIP, ModifiedResNet, VisionTransformer, convert_weights

INTEGERS = {"input_resolution": 32, "context_length": 9, "vocab_size": 50}

Weights = dict[str, Tensor]


def make_weights(kind: str = "vit") -> Weights:
    """A small CLIP's tensors in the mix of precisions that the published archives have."""
    torch.manual_seed(0)
    tower: nn.Module = VisionTransformer(32, 16, 64, 2, 1, 64)
    if kind == "resnet":
        tower = ModifiedResNet((1, 1, 1, 1), 64, heads=4, input_resolution=32, width=8)
    model = CLIP(64, tower, 9, 50, 64, 1, 2)
    convert_weights(model)
    return model.state_dict()


class Node(nn.Module):
    """A place in the tree of an archive's modules."""


class Root(Node):
    """The head of the tree, with something for TorchScript to compile."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.input_resolution


def script(weights: Weights, path: Path, trace: bool = False) -> None:
    """Saves weights as a TorchScript archive with the three integers as buffers."""
    root = Root()
    for name, tensor in (weights | {k: torch.tensor(v) for k, v in INTEGERS.items()}).items():
        node: nn.Module = root
        *parents, leaf = name.split(".")
        for parent in parents:
            if parent not in dict(node.named_children()):
                node.add_module(parent, Node())
            node = node.get_submodule(parent)
        if tensor.is_floating_point() and "running" not in leaf:
            node.register_parameter(leaf, nn.Parameter(tensor))
        else:
            node.register_buffer(leaf, tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather export
        scripted = torch.jit.trace(root, torch.zeros(1)) if trace else torch.jit.script(root)
        torch.jit.save(scripted, str(path))


@pytest.fixture(autouse=True)
def no_torchscript(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch.jit.load runs an archive's code")

    monkeypatch.setattr(torch.jit, "load", refuse)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def assert_same(found: Weights, expected: Weights) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def refused(path: Path, pattern: str) -> None:
    with pytest.raises(CheckpointError, match=pattern) as caught:
        load(path, "cpu")
    assert_one_sentence(str(caught.value))


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"[.!?]\s", message)


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


@pytest.mark.parametrize("trace", [False, True], ids=["scripted", "traced"])
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_an_archive_is_read_back_equal(tmp_path: Path, kind: str, trace: bool) -> None:
    weights, path = make_weights(kind), tmp_path / "model.pt"
    script(weights, path, trace)
    integers = {name: torch.tensor(value) for name, value in INTEGERS.items()}
    assert_same(read_archive(path), weights | integers)
    checkpoint = read_checkpoint(path)
    assert checkpoint.integers == INTEGERS
    assert_same(checkpoint.weights, weights)
    assert any(tensor.dtype == torch.float16 for tensor in checkpoint.weights.values())
    model, _ = load(path, "cpu")
    assert_same(model.state_dict(), {k: to_float32(v) for k, v in weights.items()})


def to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def test_an_archive_of_views_into_one_storage_is_read_back_equal(tmp_path: Path) -> None:
    weights = make_weights()
    storage = torch.randn(3, 64, 64).half()
    weights["visual.proj"] = storage[1].T  # strided, and not at the start
    script(weights, tmp_path / "model.pt")
    assert torch.equal(read_archive(tmp_path / "model.pt")["visual.proj"], storage[1].T)


def test_the_integers_of_an_archive_may_be_plain_numbers(tmp_path: Path) -> None:
    class WithNumbers(Node):
        def __init__(self) -> None:
            super().__init__()
            self.input_resolution, self.context_length, self.vocab_size = 32, 9, 50
            self.attn_mask = torch.zeros(9, 9)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.input_resolution + self.attn_mask.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(WithNumbers()), str(tmp_path / "model.pt"))
    checkpoint = read_checkpoint(tmp_path / "model.pt")
    assert checkpoint.integers == INTEGERS
    assert checkpoint.weights == {}  # the causal mask is no weight


def test_an_archive_that_would_run_a_command_is_refused(tmp_path: Path, marker: Path) -> None:
    script(make_weights(), tmp_path / "good.pt")
    evil = pickle.dumps(Bomb(marker))

    rewrite(
        tmp_path / "good.pt",
        tmp_path / "evil.pt",
        lambda name, data: evil if name.endswith("/data.pkl") else data,
    )
    refused(tmp_path / "evil.pt", r"asks for \w+\.system, which no weights need")
    assert not marker.exists()
    pickle.loads(evil)
    assert marker.exists()  # the pickle was a live one


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("torch", "load"),
        ("os", "system"),
        ("torch._utils", "_rebuild_qtensor"),
    ],
)
def test_an_archive_may_name_nothing_but_tensors(tmp_path: Path, module: str, name: str) -> None:
    script(make_weights(), tmp_path / "good.pt")
    pickled = f"c{module}\n{name}\n.".encode()
    rewrite(
        tmp_path / "good.pt",
        tmp_path / "evil.pt",
        lambda entry, data: pickled if entry.endswith("/data.pkl") else data,
    )
    refused(tmp_path / "evil.pt", re.escape(f"{module}.{name}"))


def test_the_code_of_an_archive_is_not_looked_at(tmp_path: Path, marker: Path) -> None:
    weights = make_weights()
    script(weights, tmp_path / "good.pt")
    code = f"import os\nos.system('touch {marker}')\n".encode()
    replaced = []

    def replace(name: str, data: bytes) -> bytes:
        if "/code/" in name or name.endswith("/constants.pkl"):
            replaced.append(name)
            return pickle.dumps(Bomb(marker)) if name.endswith("pkl") else code
        return data

    rewrite(tmp_path / "good.pt", tmp_path / "evil.pt", replace)
    assert len(replaced) >= 2
    assert_same(read_checkpoint(tmp_path / "evil.pt").weights, weights)
    assert not marker.exists()


def test_a_tensor_past_the_end_of_its_storage_is_refused(tmp_path: Path) -> None:
    script(make_weights(), tmp_path / "good.pt")
    rewrite(
        tmp_path / "good.pt",
        tmp_path / "short.pt",
        lambda name, data: data[: len(data) // 2] if "/data/" in name else data,
    )
    refused(tmp_path / "short.pt", "holds no weights")


@pytest.mark.parametrize("wrap", ["bare", "in a list", "in a state dict"])
def test_a_pickle_that_would_run_a_command_is_refused(
    tmp_path: Path, marker: Path, wrap: str
) -> None:
    path = tmp_path / "evil.pt"
    bomb = Bomb(marker)
    if wrap == "in a state dict":
        torch.save({"state_dict": make_weights() | {"extra": bomb}}, path)
    else:
        path.write_bytes(pickle.dumps(bomb if wrap == "bare" else [bomb]))
    refused(path, "holds no weights that can be read safely")
    assert not marker.exists()


def test_a_state_dict_is_read(tmp_path: Path) -> None:
    weights = make_weights()
    torch.save(weights, tmp_path / "model.pt")
    assert_same(read_checkpoint(tmp_path / "model.pt").weights, weights)
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert_same(read_checkpoint(tmp_path / "old.pt").weights, weights)


def test_a_state_dict_of_training_is_read(tmp_path: Path) -> None:
    weights = make_weights()
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": v for key, v in weights.items()}}
    torch.save(wrapped, tmp_path / "epoch_3.pt")
    assert_same(read_checkpoint(tmp_path / "epoch_3.pt").weights, weights)


def test_the_integers_of_a_state_dict_are_no_weights(tmp_path: Path) -> None:
    integers = {name: torch.tensor(value) for name, value in INTEGERS.items()}
    torch.save(make_weights() | integers, tmp_path / "model.pt")
    assert read_checkpoint(tmp_path / "model.pt").integers == INTEGERS
    assert load(tmp_path / "model.pt", "cpu")[0].context_length == 9


def test_safetensors_are_read_with_their_notes(tmp_path: Path) -> None:
    weights, path = make_weights(), tmp_path / "model.safetensors"
    save_file(weights, path, metadata={"default_template": "a {}."})
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.weights, weights)
    assert checkpoint.metadata == read_metadata(path) == {"default_template": "a {}."}


def test_other_files_have_no_notes(tmp_path: Path) -> None:
    torch.save(make_weights(), tmp_path / "model.pt")
    assert read_metadata(tmp_path / "model.pt") == {}
    assert read_metadata(tmp_path / "missing") == {}


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    weights = make_weights()
    save_file(weights, tmp_path / "safetensors.pt")
    torch.save(weights, tmp_path / "state.safetensors")
    script(weights, tmp_path / "archive.jpg")
    for path in tmp_path.iterdir():
        assert_same(read_checkpoint(path).weights, weights)


def test_the_shape_is_read_from_the_tensors_not_the_name(tmp_path: Path) -> None:
    torch.save(make_weights("vit"), tmp_path / "RN50.pt")
    model, transform = load(tmp_path / "RN50.pt", "cpu")
    assert isinstance(model.visual, VisionTransformer)
    assert (model.visual.input_resolution, model.context_length, model.vocab_size) == (32, 9, 50)
    assert len(model.visual.transformer.resblocks) == 2
    assert transform(Image.new("RGB", (50, 40))).shape == (3, 32, 32)
    torch.save(make_weights("resnet"), tmp_path / "ViT-B-32.pt")
    assert isinstance(load(tmp_path / "ViT-B-32.pt", "cpu")[0].visual, ModifiedResNet)


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
@pytest.mark.parametrize("form", ["archive", "state dict", "old state dict", "safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, form: str, kept: float) -> None:
    weights, path = make_weights(), tmp_path / "model.pt"
    if form == "archive":
        script(weights, path)
    elif form == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "state dict")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path, "holds no weights")


def test_other_files_are_refused(tmp_path: Path) -> None:
    picture, empty, text = tmp_path / "a.jpg", tmp_path / "empty.pt", tmp_path / "page.pt"
    Image.new("RGB", (50, 40)).save(picture)
    empty.touch()
    text.write_text("<!doctype html>" * 100)
    with zipfile.ZipFile(tmp_path / "plain.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for path in (picture, empty, text, tmp_path / "plain.pt"):
        refused(path, re.escape(repr(str(path))))


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    for value in ([1, 2], {"a": "b"}, {1: torch.zeros(1)}, torch.zeros(3)):
        torch.save(value, tmp_path / "model.pt")
        refused(tmp_path / "model.pt", "holds no state dict of tensors")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.pt"):
        refused(path, "neither a file nor one of")
        with pytest.raises(CheckpointError, match="can't be read"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "name",
    [
        *("logit_scale", "text_projection", "visual.conv1.weight", "ln_final.bias"),
        *("token_embedding.weight", "visual.transformer.resblocks.1.mlp.c_fc.bias"),
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    weights = make_weights()
    del weights[name]
    torch.save(weights, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", f"lack the tensor '{re.escape(name)}'")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("visual.class_embedding", (65,)),
        ("transformer.resblocks.0.attn.in_proj_weight", (64, 64)),
        ("visual.proj", (64, 32)),
        ("visual.ln_pre.weight", ()),
    ],
)
def test_a_tensor_of_the_wrong_shape_is_named(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    torch.save(make_weights() | {name: torch.zeros(shape)}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", f"The tensor '{re.escape(name)}' has the shape ")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("visual.conv1.weight", (64, 3)), ("text_projection", (64,)), ("ln_final.weight", (3,))],
)
def test_shapes_that_make_no_clip_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    torch.save(make_weights() | {name: torch.zeros(shape)}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "")


def test_an_extra_tensor_is_named(tmp_path: Path) -> None:
    torch.save(make_weights() | {"visual.extra": torch.zeros(1)}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", r"no CLIP has: 'visual\.extra'")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", r"no CLIP that is known here: .*visual\.proj")


def test_the_model_takes_the_tensors_themselves_for_evaluation() -> None:
    weights = make_weights()
    model = build_model(Checkpoint(weights))
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == weights[name].data_ptr()
