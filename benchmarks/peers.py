"""The same random weights in this project and in its peers.

Peers that are not installed are left out, and the report says so: benchmarks/requirements.txt.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.inference.encoder import Encoder
from clip_core.model import CLIP, ModifiedResNet, VisionTransformer

OURS, REFERENCE, ORT = "ours", "openai/CLIP", "ONNX Runtime"
OURS_ONNX = "ours, --onnx"
PEERS = {
    REFERENCE: "clip",
    "open_clip": "open_clip",
    "transformers": "transformers",
    ORT: "onnxruntime",
}
# embed_dim, image layers, image width, patch size, text width; a ResNet has four numbers of layers
SHAPES: dict[str, tuple[int, Any, int, int | None, int]] = {
    "ViT-B/32": (512, 12, 768, 32, 512),
    "ViT-L/14": (768, 24, 1024, 14, 768),
    "RN50": (1024, (3, 4, 6, 3), 64, None, 512),
}
OPEN_CLIP = {"ViT-B/32": "ViT-B-32-quickgelu", "ViT-L/14": "ViT-L-14-quickgelu"}
Encode = Callable[[Tensor], Tensor]


@dataclass
class Contenders:
    """Encoders of one shape and one set of weights, by contender."""

    shape: str
    model: CLIP
    encoder: Encoder
    image: dict[str, Encode] = field(default_factory=dict)
    text: dict[str, Encode] = field(default_factory=dict)


def installed() -> dict[str, bool]:
    """Which peers are here."""
    return {name: importlib.util.find_spec(module) is not None for name, module in PEERS.items()}


def make(shape: str, peers: tuple[str, ...]) -> Contenders:
    """Contenders of a shape: ours and those of `peers` that are installed and have such a shape."""
    embed_dim, layers, width, patch, text_width = SHAPES[shape]
    heads = text_width // 64
    torch.manual_seed(0)
    tower: nn.Module = (
        ModifiedResNet(layers, embed_dim, width * 32 // 64, 224, width)
        if patch is None
        else VisionTransformer(224, patch, width, layers, width // 64, embed_dim)
    )
    model = CLIP(embed_dim, tower, 77, 49408, text_width, heads, 12).eval()
    if patch is None:
        _give_statistics(model)
    made = Contenders(shape, model, Encoder(model))
    made.image[OURS], made.text[OURS] = made.encoder.encode_image, made.encoder.encode_text
    here = installed()
    if REFERENCE in peers and here[REFERENCE]:
        _add_reference(made)
    if "open_clip" in peers and here["open_clip"] and shape in OPEN_CLIP:
        _add_open_clip(made)
    if "transformers" in peers and here["transformers"] and patch is not None:
        _add_transformers(made)
    if ORT in peers and here[ORT]:
        made.image[ORT] = to_onnx(model.visual, model.visual.input_resolution)
    if OURS_ONNX in peers and here[ORT]:
        made.image[OURS_ONNX] = by_onnx(model)
    return made


def by_onnx(model: CLIP) -> Encode:
    """Ours with ONNX Runtime for the image tower, as --onnx has it."""
    with tempfile.TemporaryDirectory() as folder:
        return Encoder(model, pack=False, onnx_folder=Path(folder)).encode_image


def to_onnx(tower: nn.Module, side: int) -> Encode:
    """An image tower in ONNX Runtime as somebody would do it by hand, a graph for each batch size.

    With as many threads as torch has.
    """
    import onnxruntime  # noqa: PLC0415  (optional)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    sessions: dict[int, Any] = {}

    def encode(pictures: Tensor) -> Tensor:
        if len(pictures) not in sessions:  # a graph of fixed shapes is what it runs quickest
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                path = Path(folder) / "tower.onnx"
                example = torch.randn(len(pictures), 3, side, side)
                torch.onnx.export(tower, (example,), path, dynamo=True, verbose=False)
                sessions[len(pictures)] = onnxruntime.InferenceSession(
                    path, options, providers=["CPUExecutionProvider"]
                )
        session = sessions[len(pictures)]
        inputs = {session.get_inputs()[0].name: pictures.numpy()}
        return torch.from_numpy(session.run(None, inputs)[0])

    return encode


def _add_reference(made: Contenders) -> None:
    from clip.model import CLIP as Reference  # noqa: N811, PLC0415  (optional)

    embed_dim, layers, width, patch, text_width = SHAPES[made.shape]
    peer = Reference(
        embed_dim, 224, layers, width, patch, 77, 49408, text_width, text_width // 64, 12
    ).eval()
    peer.load_state_dict(made.model.state_dict())
    made.image[REFERENCE], made.text[REFERENCE] = peer.encode_image, peer.encode_text


def _add_open_clip(made: Contenders) -> None:
    import open_clip  # noqa: PLC0415  (optional)

    peer = open_clip.create_model(OPEN_CLIP[made.shape]).eval()
    peer.load_state_dict(made.model.state_dict(), strict=False)
    made.image["open_clip"], made.text["open_clip"] = peer.encode_image, peer.encode_text


def _add_transformers(made: Contenders) -> None:
    from transformers import CLIPConfig, CLIPModel  # noqa: PLC0415  (optional)

    embed_dim, layers, width, patch, text_width = SHAPES[made.shape]
    common = {"projection_dim": embed_dim}
    config = CLIPConfig(
        **common,
        text_config=common
        | {
            "hidden_size": text_width,
            "intermediate_size": 4 * text_width,
            "num_attention_heads": text_width // 64,
        },
        vision_config=common
        | {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_attention_heads": width // 64,
            "num_hidden_layers": layers,
            "patch_size": patch,
        },
    )
    peer = CLIPModel(config).eval()
    peer.load_state_dict(_transformers_names(made.model.state_dict()), strict=False)
    made.image["transformers"] = lambda pictures: _features(peer.get_image_features(pictures))
    made.text["transformers"] = lambda text: _features(peer.get_text_features(text.long()))


def _features(answer: Any) -> Tensor:
    """What newer versions wrap in an object."""
    return answer if isinstance(answer, Tensor) else answer.pooler_output


def _transformers_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names -> transformers': queries, keys and values apart, projections transposed."""
    found = {
        "logit_scale": tensors["logit_scale"],
        "visual_projection.weight": tensors["visual.proj"].T,
        "text_projection.weight": tensors["text_projection"].T,
        "text_model.embeddings.token_embedding.weight": tensors["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": tensors["positional_embedding"],
        "vision_model.embeddings.class_embedding": tensors["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": tensors["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": tensors["visual.positional_embedding"],
    }
    norms = {
        "text_model.final_layer_norm": "ln_final",
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
    }
    parts = {
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    for theirs, prefix in (("text_model", ""), ("vision_model", "visual.")):
        start = f"{prefix}transformer.resblocks."
        numbers = {name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)}
        for number in numbers:
            layer, block = f"{theirs}.encoder.layers.{number}", f"{start}{number}"
            norms |= {f"{layer}.{their}": f"{block}.{our}" for their, our in parts.items()}
            for kind in ("weight", "bias"):
                joined = tensors[f"{block}.attn.in_proj_{kind}"].chunk(3)
                for letter, part in zip("qkv", joined, strict=True):
                    found[f"{layer}.self_attn.{letter}_proj.{kind}"] = part
    for theirs, ours in norms.items():
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = tensors[f"{ours}.{kind}"]
    return found


@torch.no_grad()
def _give_statistics(model: CLIP) -> None:
    """Batch norms as after training: random ones would make every picture look alike."""
    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        norm.momentum = 1.0
    model.train()
    model.encode_image(torch.randn(4, 3, 224, 224))
    model.eval()
