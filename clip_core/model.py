"""CLIP: two towers, one space.

Sources: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
(arXiv 2103.00020), sections 2.3 to 2.5 and figure 3; module and parameter names as in the published
checkpoints of openai/CLIP (MIT), so that their weights load unchanged.

Read from the top: small layers, the Transformer, the two published image towers, the whole, the
loss. The bundled model's own image tower stands in `efficientnet.py`.

Shapes in comments: N pictures or texts, L positions, C channels, D embed_dim, H x W pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config

# Section 2.5 of the paper: the logit scale is clipped so that logits are never scaled above 100.
MAX_LOGIT_SCALE = 100.0
HEAD_WIDTH = 64  # every published tower gives each attention head 64 channels
PUBLISHED_CONFIG = Config()

Shapes = Mapping[str, tuple[int, ...]]


class LayerNorm(nn.LayerNorm):
    """LayerNorm that computes in float32 whatever the input's dtype, and returns that dtype."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(
            x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
        )
        return y.to(x.dtype)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the GELU approximation that the published weights were trained with."""

    SLOPE = 1.702

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.SLOPE * x)


class ResidualAttentionBlock(nn.Module):
    """One pre-norm Transformer layer: x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, width: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        # The published weights want QuickGELU, many that open_clip trained the exact GELU
        activations = {"quick_gelu": QuickGELU, "gelu": nn.GELU}
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width),
                gelu=activations[activation](),
                c_proj=nn.Linear(4 * width, width),
            )
        )
        self.ln_2 = LayerNorm(width)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, attn_mask=attn_mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of `layers` residual attention blocks over [L, N, width]."""

    def __init__(self, width: int, layers: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.resblocks = nn.Sequential(
            *(ResidualAttentionBlock(width, heads, activation) for _ in range(layers))
        )

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, attn_mask)
        return x


class VisionTransformer(nn.Module):
    """The ViT image tower (section 2.4): patches, a class token, an extra LayerNorm before.

    Takes [N, 3, input_resolution, input_resolution], returns [N, output_dim].
    """

    def __init__(
        self,
        input_resolution: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        output_dim: int,
        activation: str = "quick_gelu",
    ) -> None:
        super().__init__()
        self.input_resolution = input_resolution
        self.output_dim = output_dim
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)
        scale = width**-0.5
        places = (input_resolution // patch_size) ** 2 + 1
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(places, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, activation)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, output_dim))

    @classmethod
    def for_shapes(cls, shapes: Shapes, config: Config = PUBLISHED_CONFIG) -> VisionTransformer:
        """An unfilled tower for weights of these shapes, by names that lost their `visual.`."""
        width, _, patch_size, _ = shapes["conv1.weight"]
        grid = math.isqrt(shapes["positional_embedding"][0] - 1)
        return cls(
            input_resolution=patch_size * grid,
            patch_size=patch_size,
            width=width,
            layers=count_blocks(shapes, "transformer.resblocks."),
            heads=config.vision_heads or width // HEAD_WIDTH,
            output_dim=shapes["proj"][1],
            activation=config.activation,
        )

    def embed_patches(self, x: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] -> what the Transformer takes, [N, L, C]; the class token first."""
        return self.add_places(self.conv1(x).flatten(2).permute(0, 2, 1))

    def add_places(self, x: Tensor) -> Tensor:
        """Embedded patches [N, L - 1, C] -> [N, L, C], as `embed_patches`."""
        class_token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([class_token, x], dim=1)
        return self.ln_pre(x + self.positional_embedding.to(x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed_patches(x).permute(1, 0, 2)  # the attention layers want [L, N, C]
        x = self.transformer(x)
        return self.ln_post(x[0]) @ self.proj  # the class token's place -> [N, D]


class Bottleneck(nn.Module):
    """A ResNet bottleneck whose strides are average pools after the convolution (anti-aliased)."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outplanes = planes * self.expansion
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outplanes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outplanes)
        self.relu3 = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inplanes != outplanes:
            # The odd names are the published ones: "-1" pools, so "0" and "1" keep their numbers.
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", nn.Conv2d(inplanes, outplanes, 1, bias=False)),
                        ("1", nn.BatchNorm2d(outplanes)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu1(self.bn1(self.conv1(x)))
        h = self.relu2(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(self.avgpool(h)))
        return self.relu3(h + (x if self.downsample is None else self.downsample(x)))


class AttentionPool2d(nn.Module):
    """Pools a grid by attention: the grid's mean asks, every place and the mean itself answer."""

    def __init__(self, grid: int, embed_dim: int, heads: int, output_dim: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(
            torch.randn(grid**2 + 1, embed_dim) * embed_dim**-0.5
        )
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.c_proj = nn.Linear(embed_dim, output_dim)
        self.num_heads = heads

    def add_places(self, x: Tensor) -> Tensor:
        """A grid [N, C, H, W] -> its mean and its places, with their positions [N, 1 + HW, C]."""
        x = x.flatten(2).permute(0, 2, 1)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
        return x + self.positional_embedding.to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = self.add_places(x)
        n, _, c = x.shape

        def heads(y: Tensor) -> Tensor:  # [N, L, C] -> [N, heads, L, C / heads]
            return y.view(n, -1, self.num_heads, c // self.num_heads).transpose(1, 2)

        pooled = F.scaled_dot_product_attention(
            heads(self.q_proj(x[:, :1])), heads(self.k_proj(x)), heads(self.v_proj(x))
        )
        return self.c_proj(pooled.transpose(1, 2).reshape(n, c))


class ModifiedResNet(nn.Module):
    """The ResNet image tower (section 2.4): three-layer stem, anti-aliased strides, attention pool.

    Takes [N, 3, input_resolution, input_resolution], returns [N, output_dim]. `width` is the stem's
    width; the last stage has 32 x width channels on a grid 32 times coarser than the picture.
    """

    def __init__(
        self,
        layers: tuple[int, int, int, int],
        output_dim: int,
        heads: int,
        input_resolution: int = 224,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.input_resolution = input_resolution
        self.output_dim = output_dim
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu3 = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(2)
        self._inplanes = width
        self.layer1 = self._make_layer(width, layers[0])
        self.layer2 = self._make_layer(width * 2, layers[1], stride=2)
        self.layer3 = self._make_layer(width * 4, layers[2], stride=2)
        self.layer4 = self._make_layer(width * 8, layers[3], stride=2)
        self.attnpool = AttentionPool2d(input_resolution // 32, width * 32, heads, output_dim)

    @classmethod
    def for_shapes(cls, shapes: Shapes, config: Config = PUBLISHED_CONFIG) -> ModifiedResNet:
        """An unfilled tower for weights of these shapes, by names that lost their `visual.`."""
        width = shapes["layer1.0.conv1.weight"][0]
        grid = math.isqrt(shapes["attnpool.positional_embedding"][0] - 1)
        counts = [count_blocks(shapes, f"layer{stage}.") for stage in (1, 2, 3, 4)]
        return cls(
            layers=(counts[0], counts[1], counts[2], counts[3]),
            output_dim=shapes["attnpool.c_proj.weight"][0],
            heads=config.vision_heads or width * 32 // HEAD_WIDTH,
            input_resolution=grid * 32,
            width=width,
        )

    def _make_layer(self, planes: int, blocks: int, stride: int = 1) -> nn.Sequential:
        first = Bottleneck(self._inplanes, planes, stride)
        self._inplanes = planes * Bottleneck.expansion
        return nn.Sequential(
            first, *(Bottleneck(self._inplanes, planes) for _ in range(blocks - 1))
        )

    def features(self, x: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] -> the last grid [N, 32 x width, H / 32, W / 32]."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.avgpool(self.relu3(self.bn3(self.conv3(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.attnpool(self.features(x))


class CLIP(nn.Module):
    """An image tower and a causal text Transformer that meet in `embed_dim` dimensions.

    `visual` is any module with `input_resolution` that maps [N, 3, H, W] to [N, embed_dim].
    """

    def __init__(
        self,
        embed_dim: int,
        visual: nn.Module,
        context_length: int,
        vocab_size: int,
        transformer_width: int,
        transformer_heads: int,
        transformer_layers: int,
        activation: str = "quick_gelu",
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.visual: Any = visual  # typed loosely: nn.Module hides a tower's own attributes
        self.transformer = Transformer(
            transformer_width, transformer_layers, transformer_heads, activation
        )
        self.vocab_size = vocab_size
        # Started below; nn.Embedding's own start of a meta tensor would import torch's compiler
        self.token_embedding = nn.Embedding.from_pretrained(
            torch.empty(vocab_size, transformer_width), freeze=False
        )
        self.positional_embedding = nn.Parameter(torch.empty(context_length, transformer_width))
        self.ln_final = LayerNorm(transformer_width)
        self.text_projection = nn.Parameter(torch.empty(transformer_width, embed_dim))
        # Section 2.5: the temperature starts at 0.07.
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.initialize_parameters()

    def initialize_parameters(self) -> None:
        """Starts the text tower, and a tower of the published kinds, as openai/CLIP does."""
        if self.token_embedding.weight.is_meta:  # a checkpoint's tensors are to come
            return
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        if isinstance(self.visual, ModifiedResNet):
            pool = self.visual.attnpool
            for proj in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
                nn.init.normal_(proj.weight, std=pool.c_proj.in_features**-0.5)
            for module in self.visual.modules():
                if isinstance(module, Bottleneck):
                    nn.init.zeros_(module.bn3.weight)
        width, layers = self.transformer.width, self.transformer.layers
        residual_std = width**-0.5 * (2 * layers) ** -0.5
        block: Any  # as above: nn.Sequential hides its layers' attributes
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=residual_std)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the matrix products run in: float32, or what `convert_weights` made it."""
        return self.text_projection.dtype

    def encode_image(self, image: Tensor) -> Tensor:
        """Preprocessed pictures [N, 3, input_resolution, input_resolution] -> [N, embed_dim].

        The features have the model's dtype and are not normalised.
        """
        return self.visual(image.to(self.dtype))

    def encode_text(self, text: Tensor) -> Tensor:
        """Token rows [N, L], L at most context_length, as `tokenize` gives them -> [N, embed_dim].

        The attention is causal and the feature is read at the end token, so rows may be cut
        anywhere after it: columns of padding change nothing but the time it takes. The features
        have the model's dtype and are not normalised.
        """
        length = text.shape[1]
        x = self.token_embedding(text).to(self.dtype)  # [N, L, C]
        x = x + self.positional_embedding[:length].to(self.dtype)
        mask = torch.full((length, length), -math.inf, dtype=self.dtype, device=x.device).triu_(1)
        x = self.transformer(x.permute(1, 0, 2), mask).permute(1, 0, 2)
        # The end token has the highest number of the vocabulary, so argmax finds its place.
        x = x[torch.arange(len(x), device=x.device), text.argmax(dim=-1)]
        return self.ln_final(x) @ self.text_projection

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, H, W] and token rows [M, L] -> logits per image [N, M], per text [M, N].

        Logits are cosine similarities times exp(logit_scale).
        """
        image_features = F.normalize(self.encode_image(image), dim=-1)
        text_features = F.normalize(self.encode_text(text), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.t()
        return logits_per_image, logits_per_image.t()


def convert_weights(model: nn.Module, dtype: torch.dtype = torch.float16) -> None:
    """Makes a model float16, the way the published checkpoints are, or bfloat16.

    Convolutions, linear and attention layers and the two projections change; LayerNorm, BatchNorm,
    embeddings and the logit scale stay float32.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MultiheadAttention):
            module.to(dtype)
    for name, parameter in model.named_parameters():
        if name.rsplit(".", 1)[-1] in ("text_projection", "proj"):
            parameter.data = parameter.data.to(dtype)


def contrastive_loss(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """The symmetric contrastive loss of figure 3: the mean of two cross-entropies.

    image_features, text_features: [N, D], row i of one belongs to row i of the other; they need
    not be normalised. Of the N x N pairs, N are positives and N^2 - N negatives. logit_scale: the
    logarithm of the inverse temperature, a scalar as in `CLIP.logit_scale`; its exponential is
    clamped at 100 (section 2.5). Returns a scalar.

    Raises ValueError when the two sides don't have the same shape [N, D].
    """
    if image_features.ndim != 2 or image_features.shape != text_features.shape:
        raise ValueError(
            "contrastive_loss needs one text for each picture, both [N, D], "
            f"not {tuple(image_features.shape)} and {tuple(text_features.shape)}."
        )
    scale = logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    image_features = F.normalize(image_features, dim=-1)
    text_features = F.normalize(text_features, dim=-1)
    logits = scale * image_features @ text_features.t()
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.t(), pairs)) / 2


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """How many numbered blocks the names have right after `prefix`."""
    return len({name[len(prefix) :].split(".", 1)[0] for name in names if name.startswith(prefix)})
