"""Check that a file named by a request is an upload of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from .errors import QuestionError
from .examples import EXAMPLES


def uploaded_path(image: Mapping[str, Any]) -> str:
    """Where gradio put an upload. Raises QuestionError for any other place, or when it is gone.

    gradio itself looks only where a request says that it has a file ("meta"), so that a path alone
    would have the page open any picture of the server's.
    """
    path = image.get("path")
    try:
        is_ours = isinstance(path, str) and any(
            Path(path).resolve().is_relative_to(folder)
            for folder in (Path(get_upload_folder()), EXAMPLES)
        )
        is_here = is_ours and Path(str(path)).is_file()
    except (OSError, ValueError, RuntimeError):  # no path at all: too long, or not of letters
        is_ours = False
    if not is_ours:
        raise QuestionError("This picture did not arrive as a file: upload it once more.")
    if not is_here:  # uploads are deleted after a day; a page may be open for longer
        raise QuestionError("This picture is no longer here: upload it once more.")
    return str(path)
