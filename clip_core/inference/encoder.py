"""The features of a model that is trained no more, with less work than its modules do.

The same parameters and the same numbers up to rounding; what is left out is work whose result
nobody sees:

- Under the text tower's causal mask a token depends only on those before it. So padding is never
  run, and texts that begin alike (as those of one template do) share the tokens they begin with.
- Both Transformers are read at one place a row: in the last layer only that place has a query, and
  only it goes through the MLP.
- The ResNets' batch norms are folded into the convolutions before them, and their attention pool,
  which asks one question, makes no keys and values.
- Weights are laid out once for a CPU and few rows (`prepack.py`).

Each tower is tested against the plain forward in `model.py`, for every published shape.

Shapes in comments: N pictures or texts, L positions, C channels, D embed_dim, T tokens that are
run.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_core.efficientnet import EfficientNetLite
from clip_core.model import (
    CLIP,
    AttentionPool2d,
    Bottleneck,
    ModifiedResNet,
    QuickGELU,
    ResidualAttentionBlock,
    Transformer,
    VisionTransformer,
)

from .onnx import OnnxTower
from .oom import split_on_oom
from .prepack import Linear, fold_batch_norms

ROWS = 256  # texts that are run at once
SHORT = 16  # tokens: longer texts are run apart, so that short ones needn't wait for them

# Queries, keys and values [T, 3C] -> what was attended to [T', C], T' the rows that are kept
Attend = Callable[[Tensor], Tensor]
# Runs work, here or elsewhere, now or later, and returns what it gives
Run = Callable[[Callable[[], Tensor]], Tensor]


def _at_once(work: Callable[[], Tensor]) -> Tensor:
    return work()


class Encoder:
    """Encodes pictures and texts with a model's parameters as they are now.

    model: in evaluation mode. Changes to its parameters later may or may not be seen. pack: whether
    weights may be there twice, which is quicker for a picture or a few texts on a CPU. onnx_folder:
    has ONNX Runtime run the image tower, by a graph that is kept there. Safe to share by threads.

    On out of memory the batch is halved (`oom.py`).

    Raises as `OnnxTower` does; encoding raises NotEnoughMemoryError when not even one row fits.
    """

    def __init__(self, model: CLIP, pack: bool = True, onnx_folder: Path | None = None) -> None:
        self._model = model
        self._text = TextEncoder(model, pack)
        self._image: Any = model.visual
        if onnx_folder is not None:
            self._image = OnnxTower(model.visual, onnx_folder)
        elif isinstance(model.visual, VisionTransformer):
            self._image = VisionEncoder(model.visual, pack)
        elif isinstance(model.visual, ModifiedResNet | EfficientNetLite):
            self._image = arrange_convolutions(model.visual)

    @property
    def extra_bytes(self) -> int:
        """The memory taken beside the model's own parameters."""
        if isinstance(self._image, VisionEncoder | OnnxTower):
            return self._text.extra_bytes + self._image.extra_bytes
        if self._image is self._model.visual:
            return self._text.extra_bytes
        image = sum(each.numel() * each.element_size() for each in self._image.parameters())
        return self._text.extra_bytes + image

    @torch.inference_mode()
    def encode_image(self, image: Tensor) -> Tensor:
        """As `CLIP.encode_image`: [N, 3, input_resolution, input_resolution] -> [N, D]."""

        def run(rows: Tensor) -> Tensor:
            return self._image(self._place(rows))

        return split_on_oom(run, image)

    @torch.inference_mode()
    def encode_appearance(self, image: Tensor) -> Tensor:
        """What compares pictures with pictures, [N, appearance_dim]; see `EfficientNetLite`.

        As `encode_image` for a tower that has nothing else for it.
        """
        tower = self._model.visual if isinstance(self._image, OnnxTower) else self._image
        if not isinstance(tower, EfficientNetLite):
            return self.encode_image(image)

        def run(rows: Tensor) -> Tensor:
            return tower.appearance(self._place(rows))

        return split_on_oom(run, image)

    def encode_text(self, text: Tensor, run: Run = _at_once) -> Tensor:
        """As `CLIP.encode_text`: token rows [N, L] -> [N, D].

        run: is given the work, `ROWS` texts at a time; between two calls others may have theirs.
        """
        return self._text(text, run)

    def _place(self, rows: Tensor) -> Tensor:
        return rows.to(self._model.text_projection.device, self._model.dtype)


class Block:
    """One residual attention block over rows [T, C] of any texts or pictures."""

    def __init__(self, block: ResidualAttentionBlock, pack: bool) -> None:
        attn: Any = block.attn
        mlp: Any = block.mlp
        self._ln_1, self._ln_2, self._gelu = block.ln_1, block.ln_2, mlp.gelu
        slope = 1.0
        if isinstance(mlp.gelu, QuickGELU):
            # x sigmoid(1.702 x) is silu(1.702 x) / 1.702, and the products around it can do the
            # scaling: one pass over the widest rows instead of three
            slope = QuickGELU.SLOPE
            self._gelu = nn.SiLU(inplace=True)
        self._qkv = Linear(attn.in_proj_weight, attn.in_proj_bias, pack)
        self._out = Linear(attn.out_proj.weight, attn.out_proj.bias, pack)
        self._fc = Linear(mlp.c_fc.weight, mlp.c_fc.bias, pack, alpha=slope, beta=slope)
        self._proj = Linear(mlp.c_proj.weight, mlp.c_proj.bias, pack, alpha=1 / slope)

    @property
    def extra_bytes(self) -> int:
        """The memory of the weights' second layout."""
        return sum(each.extra_bytes for each in (self._qkv, self._out, self._fc, self._proj))

    def __call__(self, x: Tensor, attend: Attend, kept: Tensor | None = None) -> Tensor:
        """[T, C] -> [T, C]; with `kept`, row numbers [T'], only those rows come out: [T', C].

        Then `attend` too must give only those.
        """
        attended = attend(self._qkv(self._ln_1(x)))
        if kept is not None:
            x = x[kept]
        x = x + self._out(attended)
        return x + self._proj(self._gelu(self._fc(self._ln_2(x))))


class VisionEncoder:
    """The ViT image tower: [N, 3, input_resolution, input_resolution] -> [N, D]."""

    def __init__(self, tower: VisionTransformer, pack: bool) -> None:
        self._tower = tower
        self._heads, self._blocks = _read_blocks(tower.transformer, pack)
        kernel = tower.conv1.weight.flatten(1)
        self._patches = Linear(kernel, kernel.new_zeros(len(kernel)), pack)

    @property
    def extra_bytes(self) -> int:
        """The memory of the weights' second layout."""
        return self._patches.extra_bytes + sum(block.extra_bytes for block in self._blocks)

    def __call__(self, x: Tensor) -> Tensor:
        tower, n = self._tower, len(x)
        side = tower.conv1.kernel_size[0]
        grid = x.shape[-1] // side
        # A convolution whose stride is its kernel is a product with each patch laid out flat
        patches = x.reshape(n, 3, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5)
        x = self._patches(patches.reshape(n * grid**2, -1)).view(n, grid**2, -1)
        x = tower.add_places(x)
        length, width = x.shape[1:]
        x = x.reshape(n * length, width)
        firsts = torch.arange(0, n * length, length, device=x.device)  # the class tokens

        def attend(qkv: Tensor, last: bool = False) -> Tensor:
            q, k, v = _split_heads(qkv.view(n, length, -1), self._heads)
            attended = F.scaled_dot_product_attention(q[:, :, :1] if last else q, k, v)
            return attended.transpose(1, 2).reshape(-1, width)

        for block in self._blocks[:-1]:
            x = block(x, attend)
        x = self._blocks[-1](x, lambda qkv: attend(qkv, last=True), firsts)
        return tower.ln_post(x) @ tower.proj


class TextEncoder:
    """The text tower: token rows [N, L] -> [N, D]."""

    def __init__(self, model: CLIP, pack: bool) -> None:
        self._model = model
        self._heads, self._blocks = _read_blocks(model.transformer, pack)

    @property
    def extra_bytes(self) -> int:
        """The memory of the weights' second layout."""
        return sum(block.extra_bytes for block in self._blocks)

    def __call__(self, text: Tensor, run: Run) -> Tensor:
        text = text.cpu()
        lengths = text.argmax(dim=-1) + 1  # to the end token, the highest number
        order = _sharing_order(text, lengths)
        batches = []
        for rows in order.split(ROWS):
            for part in (rows[lengths[rows] <= SHORT], rows[lengths[rows] > SHORT]):
                if len(part):
                    work = functools.partial(split_on_oom, self._encode, text[part])
                    batches.append((part, run(work)))
        joined = torch.cat([features for _, features in batches])
        place = torch.cat([rows for rows, _ in batches]).argsort()
        return joined[place.to(joined.device)]

    @torch.inference_mode()
    def _encode(self, text: Tensor) -> Tensor:
        """Rows in an order in which those that begin alike are neighbours."""
        model = self._model
        lengths = text.argmax(dim=-1) + 1
        text = text[:, : int(lengths.max())]
        n, length = text.shape
        token, place = _shared_tokens(text, lengths)
        device = model.text_projection.device
        ends = torch.arange(n) * length + lengths - 1
        last_tokens = token.flatten()[ends].to(device)
        token, ends = token.to(device), ends.to(device)
        x = model.token_embedding(text.flatten()[place].to(device))
        x = x + model.positional_embedding[(place % length).to(device)]
        x, place = x.to(model.dtype), place.to(device)

        def attend(qkv: Tensor, rows: Tensor) -> Tensor:
            q, k, v = _split_heads(qkv[token], self._heads)  # each text with the tokens it shares
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return attended.transpose(1, 2).reshape(n * length, -1)[rows]

        for block in self._blocks[:-1]:
            x = block(x, lambda qkv: attend(qkv, place))
        x = self._blocks[-1](x, lambda qkv: attend(qkv, ends), last_tokens)
        return model.ln_final(x) @ model.text_projection


class OneQueryPool(nn.Module):
    """`AttentionPool2d` for its one query: [N, C, H, W] -> [N, D].

    A place x scores q · W_k x, which is x · (W_k^T q), and what comes out is the sum of the places'
    values, W_v times the sum of the places. So each head's weights are applied once a picture and
    not at every place. The keys' bias adds the same to each score, and softmax forgets it.
    """

    def __init__(self, pool: AttentionPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        pool, heads = self.pool, self.pool.num_heads
        x = pool.add_places(x)
        n, _, c = x.shape
        query = pool.q_proj(x[:, 0]).view(n, heads, -1).transpose(0, 1)
        keys, values = (
            proj.weight.view(heads, c // heads, c) for proj in (pool.k_proj, pool.v_proj)
        )
        asked = (query @ keys).transpose(0, 1)  # [N, heads, C]
        scores = asked @ x.transpose(1, 2) * (c // heads) ** -0.5
        seen = scores.softmax(dim=-1) @ x  # [N, heads, C]
        pooled = (seen.transpose(0, 1) @ values.transpose(1, 2)).transpose(0, 1).reshape(n, c)
        return pool.c_proj(pooled + pool.v_proj.bias)


def arrange_convolutions(tower: nn.Module) -> nn.Module:
    """A copy of a convolutional tower for inference: its batch norms folded into the convolutions
    before them, its pool for one query, and its weights channels last, as the kernels read them.
    """
    arranged = copy.deepcopy(tower).eval().requires_grad_(False)
    if isinstance(arranged, ModifiedResNet):
        pairs = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"}
        fold_batch_norms(arranged, pairs)
        for block in arranged.modules():
            if isinstance(block, Bottleneck):
                fold_batch_norms(block, pairs)
                if block.downsample is not None:
                    fold_batch_norms(block.downsample, {"0": "1"})
        arranged.add_module("attnpool", OneQueryPool(arranged.attnpool))
    return arranged.to(memory_format=torch.channels_last)


def _sharing_order(text: Tensor, lengths: Tensor) -> Tensor:
    """The numbers of rows [N, L] in an order in which those that begin alike are neighbours."""
    rows = [tuple(row[:length]) for row, length in zip(text.tolist(), lengths, strict=True)]
    return torch.tensor(sorted(range(len(rows)), key=rows.__getitem__))


def _shared_tokens(text: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens of neighbouring rows [N, L] have to be run, once each.

    Returns for each token of each row the number of the one that is run for it, [N, L], and of
    those that are run the place in the flattened rows, [T]. A token is run for all neighbours that
    are the same up to it; what lies beyond a row's end is given some token that is run.
    """
    n, length = text.shape
    is_run = torch.ones(n, length, dtype=torch.bool)
    is_run[1:] = (text[1:] != text[:-1]).cummax(dim=1).values
    is_run &= torch.arange(length) < lengths[:, None]
    number = torch.where(is_run, is_run.flatten().cumsum(0).view(n, length) - 1, 0)
    return number.cummax(dim=0).values, is_run.flatten().nonzero().squeeze(1)


def _read_blocks(transformer: Transformer, pack: bool) -> tuple[int, list[Block]]:
    """How many heads a Transformer has, and its blocks."""
    blocks: list[Any] = list(transformer.resblocks)
    return blocks[0].attn.num_heads, [Block(block, pack) for block in blocks]


def _split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """[N, L, 3C] -> queries, keys and values [N, heads, L, C / heads]."""
    n, length, _ = qkv.shape
    q, k, v = qkv.view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v
