from __future__ import annotations

import pkgutil

import pytest

import clip_core


def test_every_public_name_is_there_and_listed() -> None:
    for name in clip_core.__all__:
        assert getattr(clip_core, name).__name__ == name
        assert name in dir(clip_core)


def test_no_module_is_called_like_a_public_name() -> None:
    """Whoever imported the module would find it in the name's place."""
    modules = {module.name for module in pkgutil.iter_modules(clip_core.__path__)}
    assert not modules & set(clip_core.__all__)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        clip_core.lode  # noqa: B018
