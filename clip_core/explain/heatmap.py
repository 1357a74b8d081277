"""Which parts of a picture speak for a label: a map for each label from one forward pass.

The tower's last pooling is left out: each place of its last grid takes the way that the pooled
picture takes, and is compared with the labels. From each label's map the mean of the others is
taken away, so that it shows what speaks for this label rather than for any. docs/heat-maps.md has
the measurements that chose this.

Sources: Zhou et al., "Extract Free Dense Labels from CLIP" (MaskCLIP, arXiv 2112.01071), for the
value path of the last attention; Li et al., "CLIP Surgery" (arXiv 2304.05653), for leaving out the
last block's other branches and for taking away what labels have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from clip_core.classifier import ZeroShotClassifier
from clip_core.efficientnet import EfficientNetLite
from clip_core.model import ModifiedResNet, VisionTransformer

# The viridis colour map at ten even steps, dark to bright: told apart by people of any colour
# vision, and in grey. Source: Smith and van der Walt, BIDS/colormap, CC0.
VIRIDIS = (
    *("#440154", "#482878", "#3e4a89", "#31688e", "#26828e"),
    *("#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
)

# A convolutional tower takes pictures of any size: one scaled up so many times has a finer grid,
# which measured better on small parts (docs/heat-maps.md). The published towers have no choice:
# their positional embeddings fix the grid.
FINER = 1.75


@torch.inference_mode()
def heat_maps(
    classifier: ZeroShotClassifier,
    image: Image.Image | str | Path | bytes,
    labels: Sequence[str],
    prompts: Sequence[Sequence[str]],
    framing: str | None = None,
) -> np.ndarray:
    """Where each label is seen in the square that stands for a picture.

    image, prompts, framing: as for `ZeroShotClassifier.score`; of several squares the middle one is
    taken. Returns float32 [labels, height, width] on the tower's last grid, 0 to 1: the lowest and
    the highest place of all labels together, so that the maps of one call compare. With one label
    there is nothing to take away, and its map shows what is more like it than the rest of the
    picture.

    Raises as `ZeroShotClassifier.score` does.
    """
    if not labels or len(labels) != len(prompts):
        raise ValueError("At least one label is needed, and prompts for each.")
    squares = classifier.pixels(image, framing)
    square = squares[len(squares) // 2 : len(squares) // 2 + 1]
    model = classifier.model
    places = classifier.in_turn(lambda: encode_places(model.visual, square.to(model.dtype)))
    features = F.normalize(places[0].float(), dim=-1)
    maps = torch.einsum("hwd,ld->lhw", features, classifier.label_features(prompts))
    if len(labels) > 1:
        maps = maps - (maps.sum(dim=0) - maps) / (len(labels) - 1)
    low, high = maps.min(), maps.max()
    return ((maps - low) / (high - low).clamp(min=1e-12)).cpu().numpy()


def encode_places(tower: nn.Module, pixels: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] -> what each place of the last grid stands for, [N, h, w, D].

    Not normalised. Raises TypeError for a tower of another kind than CLIP's and the bundled one.
    """
    if isinstance(tower, EfficientNetLite):
        pixels = F.interpolate(pixels, scale_factor=FINER, mode="bicubic", align_corners=False)
        places = tower.features(pixels).permute(0, 2, 3, 1)
        return tower.embed(places, tower.classifier(places))
    if isinstance(tower, VisionTransformer):
        return _encode_patches(tower, pixels)
    if isinstance(tower, ModifiedResNet):
        pool = tower.attnpool
        grid = tower.features(pixels)
        places = grid.flatten(2).permute(0, 2, 1) + pool.positional_embedding[1:].to(grid.dtype)
        return pool.c_proj(pool.v_proj(places)).unflatten(1, grid.shape[-2:])
    raise TypeError(f"There are no heat maps for a tower of the kind {type(tower).__name__}.")


def _encode_patches(tower: VisionTransformer, pixels: Tensor) -> Tensor:
    """A ViT's patches by the values of its last attention, without that block's other branches."""
    x = tower.embed_patches(pixels).permute(1, 0, 2)
    blocks: list[Any] = list(tower.transformer.resblocks)  # nn.Sequential hides their attributes
    last = blocks.pop()
    for block in blocks:
        x = block(x)
    attention = last.attn
    width = attention.embed_dim
    values = F.linear(
        last.ln_1(x[1:]), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    )
    places = tower.ln_post(attention.out_proj(values)) @ tower.proj
    side = round(len(places) ** 0.5)
    return places.permute(1, 0, 2).unflatten(1, (side, side))


def draw_heat_map(square: Image.Image, heat: np.ndarray, opacity: float = 0.6) -> Image.Image:
    """A map over its square, in the colours of viridis: the brighter, the more.

    square: RGB. heat: float [height, width], 0 to 1, drawn smoothly over the whole square. opacity:
    of the map, 0 to 1.
    """
    colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in VIRIDIS])
    smooth = Image.fromarray(heat.astype(np.float32)).resize(square.size, Image.Resampling.BICUBIC)
    steps = np.linspace(0, 1, len(colours))
    values = np.clip(np.asarray(smooth), 0, 1)
    painted = np.stack([np.interp(values, steps, colours[:, i]) for i in range(3)], axis=-1)
    return Image.blend(square, Image.fromarray(painted.round().astype(np.uint8)), opacity)
