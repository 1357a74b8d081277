"""Trees, shapes and tokens are the model's own, not a description of it."""

from __future__ import annotations

import threading

import pytest
import torch

from clip_core import CLIP, TextTooLongError, ZeroShotClassifier, count_tokens, tokenize
from clip_core.explain.introspect import module_tree, token_row, trace_image, trace_text
from clip_core.model import ModifiedResNet, VisionTransformer


def tiny(tower: str) -> CLIP:
    torch.manual_seed(0)
    if tower == "vit":
        return CLIP(32, VisionTransformer(64, 16, 48, 2, 1, 32), 77, 49408, 24, 1, 2).eval()
    resnet = ModifiedResNet((1, 2, 1, 1), 32, 1, input_resolution=64, width=2)
    return CLIP(32, resnet, 77, 49408, 24, 1, 2).eval()


def test_shapes_of_a_vision_transformer() -> None:
    stages = trace_image(tiny("vit"), torch.zeros(2, 3, 64, 64))
    assert [(stage.name, stage.taken, stage.given) for stage in stages] == [
        ("visual.conv1", (2, 3, 64, 64), (2, 48, 4, 4)),
        ("visual.ln_pre", (2, 17, 48), (2, 17, 48)),
        ("visual.transformer.resblocks.0", (17, 2, 48), (17, 2, 48)),
        ("visual.transformer.resblocks.1", (17, 2, 48), (17, 2, 48)),
        ("visual.ln_post", (2, 48), (2, 48)),
        ("visual", (2, 3, 64, 64), (2, 32)),
    ]


def test_shapes_of_a_resnet() -> None:
    stages = trace_image(tiny("resnet"), torch.zeros(1, 3, 64, 64))
    given = {stage.name: stage.given for stage in stages}
    assert list(given) == [
        *("visual.conv1", "visual.bn1", "visual.conv2", "visual.bn2", "visual.conv3"),
        *("visual.bn3", "visual.avgpool", "visual.layer1.0", "visual.layer2.0", "visual.layer2.1"),
        *("visual.layer3.0", "visual.layer4.0", "visual.attnpool", "visual"),
    ]
    assert given["visual.conv1"] == (1, 1, 32, 32)
    assert given["visual.avgpool"] == (1, 2, 16, 16)
    assert given["visual.layer2.1"] == (1, 16, 8, 8)
    assert given["visual.layer4.0"] == (1, 64, 2, 2)
    assert given["visual"] == (1, 32)


def test_shapes_of_the_bundled_model() -> None:
    classifier = ZeroShotClassifier("bundled", device="cpu")
    pixels = torch.zeros(1, 3, 260, 260)
    stages = {stage.name: stage for stage in trace_image(classifier.model, pixels)}
    assert stages["visual.stem"].given == (1, 32, 130, 130)
    assert stages["visual.head"].given == (1, 1280, 9, 9)
    assert stages["visual.classifier"].taken == (1, 1280)
    assert stages["visual"].given == (1, 256)
    assert sum(name.startswith("visual.blocks.") for name in stages) == len(
        classifier.model.visual.blocks
    )
    tree = module_tree(classifier.model)
    assert tree.parameters == sum(weight.numel() for weight in classifier.model.parameters())


def test_shapes_of_a_text() -> None:
    model = tiny("vit")
    stages = trace_text(model, tokenize("a photo of a cat."))
    assert [(stage.name, stage.taken, stage.given) for stage in stages] == [
        ("token_embedding", (1, 77), (1, 77, 24)),
        ("transformer.resblocks.0", (77, 1, 24), (77, 1, 24)),
        ("transformer.resblocks.1", (77, 1, 24), (77, 1, 24)),
        ("ln_final", (1, 24), (1, 24)),
        ("text_projection", (1, 24), (1, 32)),
    ]


def test_nothing_stays_hooked_and_others_are_not_heard() -> None:
    model = tiny("vit")
    original, others = model.visual.forward, []

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not others:  # while ours runs, another thread asks the same model
            others.append(threading.Thread(target=lambda: model.encode_image(x)))
            others[0].start()
            others[0].join()
        return original(x)

    model.visual.forward = forward
    assert len(trace_image(model, torch.zeros(1, 3, 64, 64))) == 6
    assert not any(module._forward_hooks for module in model.modules())


def test_the_tree_is_the_models() -> None:
    model = tiny("vit")
    tree = module_tree(model)
    assert (tree.kind, tree.parameters) == ("CLIP", sum(p.numel() for p in model.parameters()))
    assert [part.name for part in tree.parts] == [name for name, _ in model.named_children()]
    assert ("logit_scale", ()) in tree.weights
    block = tree.parts[0].parts[2].parts[0].parts[1]
    assert (block.name, block.kind) == ("1", "ResidualAttentionBlock")
    assert [part.kind for part in block.parts] == [
        *("MultiheadAttention", "LayerNorm", "Sequential", "LayerNorm")
    ]


@pytest.mark.parametrize(
    "text", ["", "a photo of a cat.", "!!a", "狗 🐈", "<|endoftext|> cat", "It's 42 unhappinesses"]
)
def test_tokens_are_those_of_tokenize(text: str) -> None:
    row = token_row(text)
    tokens = tokenize(text)[0]
    assert [token.number for token in row.tokens] == tokens[: count_tokens(text)].tolist()
    assert not tokens[len(row.tokens) :].any()
    assert row.end == int(tokens.argmax())
    assert row.tokens[row.end].text == "<|endoftext|>"
    assert (row.tokens[0].text, row.context_length) == ("<|startoftext|>", 77)


def test_tokens_say_what_they_stand_for() -> None:
    words = [(token.text, token.ends_word) for token in token_row("A photo, unhappinesses").tokens]
    assert words[1:4] == [("a", True), ("photo", True), (",", True)]
    parts = words[4:-1]
    assert "".join(text for text, _ in parts) == "unhappinesses"
    assert [ends for _, ends in parts] == [False] * (len(parts) - 1) + [True]
    dog = [token.text for token in token_row("狗").tokens[1:-1]]
    assert bytes.fromhex("".join(dog)) == "狗".encode() or "".join(dog) == "狗"


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(TextTooLongError, match="too long"):
        token_row("cat " * 76)
