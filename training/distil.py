"""Stage B: CLIP's text Transformer learns to say what the aligned teacher says.

It starts as a bag of words inside CLIP's architecture: each token's row is what the teacher thinks
of that token's own string, the first attention takes a plain average, the projection is the
identity. In the second half the training pictures and their names join in, by CLIP's own loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm, trange

from clip_core import CLIP, contrastive_loss, tokenize
from clip_core.efficientnet import EfficientNetLite
from clip_core.model import ResidualAttentionBlock
from clip_core.tokenizer import VOCAB_SIZE

from .align import EMBED_DIM, Alignment
from .features import Pairs
from .names import Names, sample_pairs
from .precision import autocast

WIDTH, LAYERS, HEADS, CONTEXT_LENGTH = 256, 3, 4, 77
BATCH = 512
STEPS = 1700
HELD_OUT_TEXTS = 2000  # never trained on, to measure by
PAIR_EVERY = 2  # of the second half's steps, every so many also see pictures
SHARPNESS = 20.0  # the scale at which distributions over classes and neighbours are compared
TOKEN_RATE, RATE, WARM_UP = 1.5e-3, 1e-3, 40
LONGEST = 32  # tokens; no text of the corpus is longer


@dataclass(frozen=True)
class Distilled:
    """The text tower's state dict, and how near it came to the teacher on texts it never saw."""

    state: dict[str, Tensor]
    distance: float  # mean of 1 - cosine
    found: float  # share of texts whose own target is the nearest of all


def build_clip(tower: EfficientNetLite, seed: int) -> CLIP:
    """The bundled model's shape, text tower at random.

    Seeded here, since `distil` leaves the biases as they are built.
    """
    torch.manual_seed(seed)
    return CLIP(EMBED_DIM, tower, CONTEXT_LENGTH, VOCAB_SIZE, WIDTH, HEADS, LAYERS)


def start_as_bag_of_words(model: CLIP, tokens: Tensor) -> None:
    """tokens: the targets of the tokens' own strings [vocabulary, 256]."""
    rows = tokens - tokens.mean(0)
    rows = 0.7 * rows / rows.std()
    with torch.no_grad():
        rows[-2:] = 0.02 * torch.randn(2, WIDTH)  # start and end of text mean nothing yet
        model.token_embedding.weight.copy_(rows)
        blocks = cast(list[ResidualAttentionBlock], list(model.transformer.resblocks))
        for i, block in enumerate(blocks):
            block.mlp.c_proj.weight.mul_(0.3)  # type: ignore[operator, union-attr]
            block.attn.out_proj.weight.mul_(0.3)
            if i == 0:
                block.attn.in_proj_weight[: 2 * WIDTH].mul_(0.3)  # queries, keys: nearly uniform
                block.attn.in_proj_weight[2 * WIDTH :].copy_(torch.eye(WIDTH))
                block.attn.out_proj.weight.copy_(torch.eye(WIDTH))
        model.text_projection.copy_(torch.eye(WIDTH, EMBED_DIM))


def encode(model: CLIP, rows: Tensor, batch: int = 512) -> Tensor:
    """Token rows [N, L] -> unit text features [N, 256], in batches of like length."""
    lengths = rows.argmax(dim=-1)
    order = lengths.argsort()
    out = torch.empty(len(rows), EMBED_DIM)
    with torch.inference_mode(), autocast():
        for part in order.split(batch):
            cut = rows[part, : int(lengths[part].max()) + 1]
            out[part] = F.normalize(model.encode_text(cut.long()).float(), dim=-1)
    return out


def tokenize_all(texts: list[str], show: str = "") -> Tensor:
    """Token rows [N, LONGEST], int32."""
    parts = [texts[i : i + 4096] for i in range(0, len(texts), 4096)]
    progress = tqdm(parts, desc=show or "tokens", disable=not show)
    return torch.cat([tokenize(part, LONGEST, truncate=True) for part in progress])


def distil(
    model: CLIP,
    rows: Tensor,
    teacher: dict[str, Tensor],
    alignment: Alignment,
    pairs: Pairs,
    names: Names,
    seed: int,
) -> Distilled:
    """Trains the model's text tower. rows: the corpus's tokens [N, LONGEST]."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    model.initialize_parameters()
    start_as_bag_of_words(model, alignment.text_targets(teacher["tokens"]))
    targets = alignment.text_targets(teacher["texts"])
    prototypes = F.normalize(alignment.prototypes, dim=-1)
    with torch.no_grad():
        seen = alignment.fill(model.visual).embed(pairs.pooled, pairs.logits)
    name_rows = [tokenize_all(texts) for texts in names.texts]

    model.token_embedding.sparse = True  # a batch touches few of the vocabulary's rows
    others = [
        parameter
        for name, parameter in model.named_parameters()
        if not name.startswith(("visual.", "token_embedding.")) and name != "logit_scale"
    ]
    model.logit_scale.data.fill_(float(np.log(SHARPNESS)))
    model.logit_scale.requires_grad_(False)
    optimizers = [
        torch.optim.SparseAdam([model.token_embedding.weight], lr=TOKEN_RATE),
        torch.optim.AdamW(others, lr=RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, _rate) for o in optimizers]
    batches = _batches(rows[HELD_OUT_TEXTS:], g)
    for step in (progress := trange(STEPS, desc="distil")):
        chosen, cut = next(batches)
        wanted = targets[HELD_OUT_TEXTS + chosen]
        with autocast():
            said = model.encode_text(cut.long())
        said = F.normalize(said.float(), dim=-1)
        distance = (1 - (said * wanted).sum(1)).mean()
        classes = _divergence(said @ prototypes.T, wanted @ prototypes.T)
        neighbours = _divergence(said @ wanted.T, wanted @ wanted.T)
        loss = 2 * distance + classes + 0.5 * neighbours
        if step >= STEPS // 2 and step % PAIR_EVERY == 0:
            named, pictures = sample_pairs(names, 256, 32, g)
            form = int(torch.randint(len(name_rows), (), generator=g))
            cut = name_rows[form][named]
            cut = cut[:, : int(cut.argmax(dim=-1).max()) + 1].long()
            with autocast():
                called = model.encode_text(cut)
            loss = loss + 0.3 * contrastive_loss(seen[pictures], called.float(), model.logit_scale)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        if step % 50 == 0:
            progress.set_postfix(distance=distance.item(), classes=classes.item())
    held_out = encode(model, rows[:HELD_OUT_TEXTS])
    wanted = targets[:HELD_OUT_TEXTS]
    nearest = (held_out @ wanted.T).argmax(1) == torch.arange(HELD_OUT_TEXTS)
    return Distilled(
        state={
            key: value.clone()
            for key, value in model.state_dict().items()
            if not key.startswith("visual.")
        },
        distance=(1 - (held_out * wanted).sum(1)).mean().item(),
        found=nearest.float().mean().item(),
    )


def _rate(step: int) -> float:
    """Warm-up, then half a cosine to a fiftieth."""
    fall = 0.5 * (1 + np.cos(np.pi * min(step / STEPS, 1)))
    return float(min(1, (step + 1) / WARM_UP) * (0.02 + 0.98 * fall))


def _divergence(said: Tensor, wanted: Tensor) -> Tensor:
    """How far two sets of cosines are apart as distributions over their columns."""
    return F.kl_div(
        F.log_softmax(SHARPNESS * said, dim=1),
        F.softmax(SHARPNESS * wanted, dim=1),
        reduction="batchmean",
    )


def _batches(rows: Tensor, g: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of texts of like length: which they are, and their tokens cut at the end."""
    lengths = rows.argmax(dim=-1)
    while True:
        for some in torch.randperm(len(rows), generator=g).split(BATCH * 24):
            parts = list(some[lengths[some].argsort()].split(BATCH))
            for i in torch.randperm(len(parts), generator=g).tolist():
                yield parts[i], rows[parts[i], : int(lengths[parts[i]].max()) + 1]
