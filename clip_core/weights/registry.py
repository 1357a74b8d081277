"""The nine published checkpoints: names, files, digests, where else they are, how large they are.

Sources: openai/CLIP (MIT), `clip.py`, for names, files, addresses and digests; open_clip (MIT),
`pretrained.py`, for their homes on the Hugging Face Hub. Resolutions and numbers of parameters:
tables 19 and 20 of the paper (arXiv 2103.00020), counted here. Bytes follow from them: an archive
holds matrices in float16 and the rest in float32. What each is for: by its size, and by the
zero-shot results in table 11.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

ADDRESS = "https://openaipublic.azureedge.net/clip/models"
HUB_FILE = "open_clip_model.safetensors"  # float32, in each of the nine repositories


@dataclass(frozen=True)
class Published:
    """One published checkpoint."""

    file: str
    sha256: str  # of the file, in hexadecimal
    repository: str  # its home on the Hub
    input_resolution: int  # pixels a side
    parameters: int
    megabytes: int  # of the file, 10^6 bytes
    purpose: str  # a word on what it is for

    def address(self, mirror: str | None = None) -> str:
        """Where the file is: the published place, or the same path below a mirror's address."""
        base = mirror or os.environ.get("CLIP_MIRROR") or ADDRESS
        return f"{base.rstrip('/')}/{self.sha256}/{self.file}"


PUBLISHED = {
    "RN50": Published(
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        "timm/resnet50_clip.openai",
        224,
        102_007_137,
        255,
        "smallest download",
    ),
    "RN101": Published(
        "RN101.pt",
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        "timm/resnet101_clip.openai",
        224,
        119_688_033,
        291,
        "a deeper ResNet",
    ),
    "RN50x4": Published(
        "RN50x4.pt",
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        "timm/resnet50x4_clip.openai",
        288,
        178_300_601,
        421,
        "a wider ResNet",
    ),
    "RN50x16": Published(
        "RN50x16.pt",
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        "timm/resnet50x16_clip.openai",
        384,
        290_979_217,
        660,
        "fine detail, slow",
    ),
    "RN50x64": Published(
        "RN50x64.pt",
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        "timm/resnet50x64_clip.openai",
        448,
        623_258_305,
        1352,
        "finest detail, slowest",
    ),
    "ViT-B/32": Published(
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "timm/vit_base_patch32_clip_224.openai",
        224,
        151_277_313,
        353,
        "fast, the usual choice",
    ),
    "ViT-B/16": Published(
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "timm/vit_base_patch16_clip_224.openai",
        224,
        149_620_737,
        350,
        "better, still quick",
    ),
    "ViT-L/14": Published(
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "timm/vit_large_patch14_clip_224.openai",
        224,
        427_616_513,
        932,
        "strong, slower",
    ),
    "ViT-L/14@336px": Published(
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        "timm/vit_large_patch14_clip_336.openai",
        336,
        427_944_193,
        933,
        "the best of the nine",
    ),
}
