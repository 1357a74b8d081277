"""Stage A: one space for the teacher's texts and the locked tower's pictures.

Learns a linear map from the teacher's 384 dimensions to ours, and the tower's head: a prototype for
each of the thousand classes, a linear look at the pooled features, and how sharp the attention is.
Three lessons at once: pictures with names (CLIP's contrastive loss), pseudo photographs of the
classes, and texts whose similarities are to stay as the teacher sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from clip_core import contrastive_loss
from clip_core.efficientnet import EfficientNetLite

from .features import Pairs
from .imagenet import ImageNetClass
from .names import Names, sample_pairs
from .texts import Corpus

EMBED_DIM = 256
STEPS = 900
BLEND = 0.25  # weight of the linear look beside the attention over classes


@dataclass(frozen=True)
class Alignment:
    """`project`: [256, 384], teacher's space to ours. The rest are the head's tensors."""

    project: Tensor
    prototypes: Tensor
    proj_weight: Tensor
    proj_bias: Tensor
    attention_scale: float
    blend: float = BLEND

    def text_targets(self, vectors: Tensor) -> Tensor:
        """Teacher's vectors [N, 384] -> what a text tower is to answer [N, 256], unit length."""
        return F.normalize(vectors.float() @ self.project.T, dim=-1)

    def fill(self, tower: EfficientNetLite) -> EfficientNetLite:
        """The tower with this head."""
        tower.prototypes.data = self.prototypes.clone()
        tower.proj.weight.data = self.proj_weight.clone()
        tower.proj.bias.data = self.proj_bias.clone()
        tower.attention_scale.data = torch.tensor(self.attention_scale)
        tower.blend.data = torch.tensor(self.blend)
        return tower


class PseudoPhotos:
    """Pooled features as a photograph of a class might give them; ImageNet itself is not used.

    Linear discriminant analysis run backwards: features of one covariance, moved along covariance
    times the class's row of the classifier until the classifier is sure enough.
    """

    def __init__(self, tower: EfficientNetLite, pooled: Tensor) -> None:
        self.weight, self.bias = tower.classifier.weight, tower.classifier.bias
        self.mean = pooled.mean(0)
        centred = pooled - self.mean
        spread = centred.T @ centred / len(centred)
        spread = 0.7 * spread + 0.3 * torch.diag(spread.diag())  # shrunk: pictures are few
        self.root = torch.linalg.cholesky(spread + 1e-5 * torch.eye(len(spread)))
        rows = self.weight - self.weight.mean(0)
        self.step = rows @ spread  # moving by one step raises the class's own logit by one
        self.step /= (self.step * rows).sum(1, keepdim=True)

    def draw(self, classes: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pooled features [N, 1280] and logits [N, 1000] of pictures of `classes` [N]."""
        noise = torch.randn(len(classes), len(self.mean), generator=g) @ self.root.T
        pooled = self.mean + 0.6 * noise
        logits = pooled @ self.weight.T + self.bias
        lead = 1 + 5 * torch.rand(len(classes), generator=g)
        lack = logits.max(1).values - logits.gather(1, classes.unsqueeze(1)).squeeze(1) + lead
        pooled = (pooled + self.step[classes] * lack.unsqueeze(1)).clamp(min=0)
        return pooled, pooled @ self.weight.T + self.bias


def class_vectors(corpus: Corpus, classes: list[ImageNetClass], nouns: Tensor) -> list[Tensor]:
    """For each class, the teacher's vectors of its names [names, 384]."""
    number = {noun: i for i, noun in enumerate(corpus.nouns)}
    return [nouns[[number[name] for name in c.names]].float() for c in classes]


def align(
    tower: EfficientNetLite,
    pairs: Pairs,
    names: Names,
    texts: Tensor,
    of_classes: list[Tensor],
    seed: int,
) -> Alignment:
    """Learns the alignment. texts: the corpus's teacher vectors [N, 384]."""
    g = torch.Generator().manual_seed(seed)
    texts, pooled, logits = texts.float(), pairs.pooled.float(), pairs.logits.float()
    photos = PseudoPhotos(tower, pooled)
    mean, std = pooled.mean(0), pooled.std(0) + 1e-3
    whole = torch.stack([F.normalize(v.mean(0) + v[0], dim=-1) for v in of_classes])
    vectors = names.vectors.float()

    sample = texts[torch.randperm(len(texts), generator=g)[:20_000]]
    axes = torch.linalg.eigh(sample.T @ sample).eigenvectors.flip(1)
    project = nn.Parameter(axes[:, :EMBED_DIM].T.contiguous())
    start = F.normalize(whole @ project.data.T, dim=-1)
    look = nn.Linear(len(mean), EMBED_DIM)
    # The linear look begins as the classifier's own rows, read through the prototypes.
    rows = start.T @ (tower.classifier.weight - tower.classifier.weight.mean(0)) * std
    look.weight.data = rows / rows.norm() * EMBED_DIM**0.5
    look.bias.data.zero_()
    offset = nn.Parameter(torch.zeros(len(whole), EMBED_DIM))
    sharpness = nn.Parameter(torch.tensor(1.2))
    scale = nn.Parameter(torch.tensor(3.0))
    optimizer = torch.optim.AdamW(
        [
            {"params": [project, offset], "lr": 3e-4, "weight_decay": 0.0},
            {"params": look.parameters(), "lr": 3e-4, "weight_decay": 0.3},
            {"params": [sharpness, scale], "lr": 1e-3, "weight_decay": 0.0},
        ]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], STEPS, pct_start=0.05
    )

    def to_text(x: Tensor) -> Tensor:
        return F.normalize(x @ project.T, dim=-1)

    def see(x: Tensor, classes: Tensor) -> Tensor:
        prototypes = to_text(whole) + offset
        looked = F.normalize(look((x - mean) / std), dim=-1)
        return F.softmax(sharpness * classes, dim=-1) @ prototypes + BLEND * looked

    for _ in (progress := trange(STEPS, desc="align")):
        chosen, rows_ = sample_pairs(names, 512, 40, g)
        form = int(torch.randint(len(vectors), (), generator=g))
        blur = 0.15 * std * torch.randn(len(rows_), len(mean), generator=g)
        seen = see(pooled[rows_] + blur, logits[rows_])
        named = contrastive_loss(seen, vectors[form][chosen] @ project.T, scale)

        classes = torch.randint(len(whole), (256,), generator=g)
        picks = torch.rand(len(whole), generator=g).tolist()
        one_name = torch.stack([v[int(x * len(v))] for v, x in zip(of_classes, picks, strict=True)])
        photo = F.normalize(see(*photos.draw(classes, g)), dim=-1)
        sorted_ = F.cross_entropy(scale.exp() * photo @ to_text(one_name).T, classes)

        some = texts[torch.randint(len(texts), (1024,), generator=g)]
        ours = to_text(some)
        kept = (ours @ ours.T - some @ some.T).square().mean()

        loss = named + 0.5 * sorted_ + 20 * kept + 0.02 * offset.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(pairs=named.item(), photos=sorted_.item(), kept=kept.item())
    with torch.no_grad():
        weight = look.weight / std
        return Alignment(
            project=project.detach().clone(),
            prototypes=(to_text(whole) + offset).clone(),
            proj_weight=weight.clone(),
            proj_bias=(look.bias - weight @ mean).clone(),
            attention_scale=sharpness.item(),
        )
