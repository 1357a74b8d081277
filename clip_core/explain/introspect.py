"""What a model is made of, and what a picture and a text become on their way through it.

Sources: the two towers of section 2.4 of the paper (arXiv 2103.00020), and what their modules say
of themselves: shapes are read with forward hooks while the model runs, never worked out by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.model import CLIP
from clip_core.tokenizer import END, START, WORD_END, count_tokens, tokenize, tokenizer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModuleNode:
    """A module, with the modules inside it."""

    name: str  # in its parent; empty for the whole
    kind: str  # its class
    parameters: int  # numbers that were learned, those of the parts inside it included
    weights: tuple[tuple[str, Shape], ...]  # the tensors that are its own
    parts: tuple[ModuleNode, ...]


@dataclass(frozen=True)
class LayerTrace:
    """A module that ran: the shapes of what it took and of what it gave."""

    name: str  # from the tower down, as in `state_dict`
    kind: str
    taken: Shape
    given: Shape


@dataclass(frozen=True)
class Token:
    """A token and what it stands for.

    text: its characters, or its bytes in hexadecimal where it is only a part of a character.
    """

    number: int
    text: str
    ends_word: bool


@dataclass(frozen=True)
class TokenRow:
    """A text as the text tower takes it, without the zeros after its end."""

    tokens: tuple[Token, ...]  # start and end included
    end: int  # the place, from 0, at which the feature is read
    context_length: int  # places there are


def module_tree(module: nn.Module, name: str = "") -> ModuleNode:
    """A module as a tree of its parts."""
    parts = tuple(module_tree(part, key) for key, part in module.named_children())
    own = tuple((key, tuple(weight.shape)) for key, weight in module.named_parameters("", False))
    parameters = sum(weight.numel() for weight in module.parameters())
    return ModuleNode(name, type(module).__name__, parameters, own, parts)


@torch.inference_mode()
def trace_image(model: CLIP, pixels: Tensor) -> list[LayerTrace]:
    """The stages of preprocessed pictures [N, 3, H, W] on the model's device, in order.

    The last is the image tower as a whole. Layers without weights that keep a shape are left out.
    """
    return _watch(
        [("visual." + name, part) for name, part in _stages_of(model.visual)]
        + [("visual", model.visual)],
        lambda: model.encode_image(pixels),
    )


@torch.inference_mode()
def trace_text(model: CLIP, tokens: Tensor) -> list[LayerTrace]:
    """The stages of token rows [N, L], as `tokenize` gives them, in order; then the projection.

    The text tower is no module by itself, so what it gives as a whole stands as `text_projection`.
    """
    rows = tokens.to(model.text_projection.device)
    features: list[Tensor] = []
    modules = [
        ("token_embedding", model.token_embedding),
        *(("transformer." + name, part) for name, part in _stages_of(model.transformer)),
        ("ln_final", model.ln_final),
    ]
    stages = _watch(modules, lambda: features.append(model.encode_text(rows)))
    return [
        *stages,
        LayerTrace("text_projection", "Parameter", stages[-1].given, tuple(features[0].shape)),
    ]


def token_row(text: str, context_length: int = 77) -> TokenRow:
    """The tokens of a text. Raises TextTooLongError when they are more than the context holds."""
    row = tokenize(text, context_length)[0]
    used = count_tokens(text)  # not the zeros: 0 is also the number of a token
    tokens = tuple(_token(number) for number in row[:used].tolist())
    return TokenRow(tokens, int(row.argmax()), context_length)  # as `CLIP.encode_text` finds it


def _token(number: int) -> Token:
    known = tokenizer()
    characters = known.decoder[number]
    if characters in (START, END):
        return Token(number, characters, True)
    ends_word = characters.endswith(WORD_END)
    data = bytes(known.byte_decoder[c] for c in characters.removesuffix(WORD_END))
    try:
        return Token(number, data.decode("utf-8"), ends_word)
    except UnicodeDecodeError:
        return Token(number, data.hex(" "), ends_word)


def _stages_of(tower: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A tower's parts by name; of a stack of blocks, each block."""
    for name, part in tower.named_children():
        blocks = getattr(part, "resblocks", part)
        if isinstance(blocks, nn.Sequential):
            prefix = name if blocks is part else f"{name}.resblocks"
            yield from ((f"{prefix}.{key}", block) for key, block in blocks.named_children())
        else:
            yield name, part


def _watch(modules: list[tuple[str, nn.Module]], run: Callable[[], object]) -> list[LayerTrace]:
    stages: list[LayerTrace] = []
    here = threading.get_ident()  # a model may be shared: others' runs are not ours

    def listen(name: str, has_weights: bool) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, taken: tuple[Tensor, ...], given: Tensor) -> None:
            shapes = tuple(taken[0].shape), tuple(given.shape)
            if threading.get_ident() == here and (has_weights or shapes[0] != shapes[1]):
                stages.append(LayerTrace(name, type(module).__name__, *shapes))

        return hook

    hooks = [
        module.register_forward_hook(listen(name, any(True for _ in module.parameters())))
        for name, module in modules
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return stages
