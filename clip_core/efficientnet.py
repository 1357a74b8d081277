"""The bundled model's image tower: EfficientNet-Lite, with a head that answers in CLIP's space.

Sources: Tan and Le, "EfficientNet" (arXiv 1905.11946), table 1, for the stages; its Lite variants
(tensorflow/tpu, `efficientnet/lite`): no squeeze-and-excitation, ReLU6, stem and last convolution
not scaled. BatchNorm is folded into the convolutions before the weights are saved, so a layer here
is a convolution with a bias. The head is ours; see `EfficientNetLite`.

Shapes in comments: N pictures, C channels, H x W pixels, D embed_dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config
from .model import PUBLISHED_CONFIG, Shapes
from .preprocess import MEAN, STD

# Kernel size and first stride of the seven stages (arXiv 1905.11946, table 1). Every stage is wider
# than the one before, which is how `for_shapes` tells where one begins.
KERNEL_SIZES = (3, 3, 5, 3, 5, 5, 3)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
INPUT_RESOLUTION = 260  # EfficientNet-Lite2; tensorflow/tpu, efficientnet_lite_builder.py
# The weights were trained on (pixel - 127) / 128 for pixels in 0..255; same source.
PIXEL_MEAN, PIXEL_STD = 127.0, 128.0
# CLIP's normalised value v is pixel = 255 (v STD + MEAN): the one re-expressed in the other is
# v * SCALE + SHIFT, per channel.
SCALE = tuple(255 * std / PIXEL_STD for std in STD)
SHIFT = tuple((255 * mean - PIXEL_MEAN) / PIXEL_STD for mean in MEAN)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, an odd pixel of it on the right and below.

    Takes [N, C, H, W], returns [N, C', ceil(H / stride), ceil(W / stride)].
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads = [total // 2, total - total // 2, *pads]  # F.pad names the last axis first
        if pads[0] == pads[1] and pads[2] == pads[3]:  # the convolution can do it without a copy
            padding = (pads[2], pads[0])
        else:
            x, padding = F.pad(x, pads), (0, 0)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """Widen by 1x1, filter each channel by itself, narrow by 1x1; added to the input if it fits."""

    def __init__(self, inplanes: int, hidden: int, planes: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.expand = SameConv2d(inplanes, hidden, 1) if hidden != inplanes else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, planes, 1)
        self.residual = stride == 1 and inplanes == planes

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        h = self.project(F.relu6(self.depthwise(h), inplace=True))
        return x + h if self.residual else h


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite and a head made of what its classes are called.

    Pooled features f [N, 1280] give ImageNet's logits l [N, classes]. The head reads the classes
    through their prototypes, points in the text tower's space, and adds a linear look at f for what
    no class stands for:

        softmax(attention_scale * l) @ prototypes + blend * unit(proj(f))

    Takes pictures [N, 3, H, W] preprocessed as for every CLIP model, returns [N, output_dim], not
    normalised, in the pictures' dtype.

    blocks: (inplanes, hidden, planes, kernel, stride) of each inverted bottleneck.
    """

    def __init__(
        self,
        stem: int,
        blocks: Sequence[tuple[int, int, int, int, int]],
        width: int,
        classes: int,
        output_dim: int,
        input_resolution: int = INPUT_RESOLUTION,
    ) -> None:
        super().__init__()
        self.input_resolution = input_resolution
        self.output_dim = output_dim
        self.stem = SameConv2d(3, stem, 3, stride=2)
        self.blocks = nn.Sequential(*(InvertedBottleneck(*block) for block in blocks))
        self.head = SameConv2d(blocks[-1][2], width, 1)
        self.classifier = nn.Linear(width, classes)
        self.prototypes = nn.Parameter(torch.zeros(classes, output_dim))
        self.proj = nn.Linear(width, output_dim)
        self.attention_scale = nn.Parameter(torch.ones(()))
        self.blend = nn.Parameter(torch.zeros(()))

    @classmethod
    def for_shapes(cls, shapes: Shapes, _: Config = PUBLISHED_CONFIG) -> EfficientNetLite:
        """An unfilled tower for weights of these shapes, by names that lost their `visual.`.

        Raises KeyError when a tensor is missing, ValueError when there are not seven stages or a
        stage's kernels are not those of the paper.
        """
        stem = shapes["stem.weight"][0]
        blocks: list[tuple[int, int, int, int, int]] = []
        stage, inplanes = -1, stem
        while f"blocks.{len(blocks)}.project.weight" in shapes:
            name = f"blocks.{len(blocks)}"
            planes, hidden = shapes[f"{name}.project.weight"][:2]
            first = not blocks or planes != inplanes
            stage += first
            kernel = shapes[f"{name}.depthwise.weight"][-1]
            if stage >= len(STRIDES) or kernel != KERNEL_SIZES[stage]:
                raise ValueError(f"{name} does not follow EfficientNet-Lite's table of stages.")
            blocks.append((inplanes, hidden, planes, kernel, STRIDES[stage] if first else 1))
            inplanes = planes
        if stage != len(STRIDES) - 1:
            raise ValueError(f"EfficientNet-Lite has {len(STRIDES)} stages, not {stage + 1}.")
        classes, width = shapes["classifier.weight"]
        return cls(stem, blocks, width, classes, output_dim=shapes["prototypes"][1])

    def forward(self, x: Tensor) -> Tensor:
        pooled, logits = self.classify(x)
        return self.embed(pooled, logits).to(x.dtype)

    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, H, W] -> pooled features [N, 1280], ImageNet logits [N, classes]."""
        pooled = self.appearance(x)
        return pooled, self.classifier(pooled)

    def appearance(self, x: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] -> pooled features [N, 1280], which tell pictures apart that show
        the same thing: by way of the prototypes those become all but one point.
        """
        return self.features(x).mean(dim=(2, 3))

    def features(self, x: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] -> the last grid [N, 1280, ceil(H / 32), ceil(W / 32)]."""
        scale = torch.tensor(SCALE, dtype=x.dtype, device=x.device).view(3, 1, 1)
        shift = torch.tensor(SHIFT, dtype=x.dtype, device=x.device).view(3, 1, 1)
        x = (x * scale + shift).contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu6(self.stem(x), inplace=True))
        return F.relu6(self.head(x), inplace=True)

    def embed(self, pooled: Tensor, logits: Tensor) -> Tensor:
        """The head: pooled features [..., 1280] and logits [..., classes] -> float32 [..., D].

        In float32 whatever the dtype of the convolutions: a softmax over a thousand classes and
        its mixture lose too much in float16.
        """
        attention = F.softmax(self.attention_scale.float() * logits.float(), dim=-1)
        looked = F.linear(pooled.float(), self.proj.weight.float(), self.proj.bias.float())
        unit = F.normalize(looked, dim=-1)
        return attention @ self.prototypes.float() + self.blend.float() * unit
