"""What follows when a model is chosen, without the page around it."""

from __future__ import annotations

import pytest

from ui.service.model_pool import PUBLISHED_DEFAULT, ModelPool
from ui.widgets.model_menu import follow_template


@pytest.mark.parametrize(
    ("name", "switched", "chosen", "expected"),
    [
        ("ViT-B/32", "bundled", "bundled's", PUBLISHED_DEFAULT),
        ("bundled", "ViT-B/32", PUBLISHED_DEFAULT, "bundled's"),
        ("ViT-B/32", "bundled", "my {}", None),  # one's own stays
        ("bundled", "bundled", PUBLISHED_DEFAULT, None),  # nothing was switched
    ],
)
def test_the_template_follows_a_switch_alone(
    name: str, switched: str, chosen: str, expected: str | None
) -> None:
    models = ModelPool(["bundled"])
    own = models.default_template("bundled")
    assert own != PUBLISHED_DEFAULT
    chosen, expected = (own if each == "bundled's" else each for each in (chosen, expected))
    assert follow_template(models, name, switched, str(chosen)) == expected
