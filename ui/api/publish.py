"""How a function becomes a public endpoint of the page, and a tool of its MCP server."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from prompts import TemplateError, UnknownNameError
from ui.service.errors import QuestionError
from ui.service.labels import LabelsError

# These wait behind none that need a model. Queued all the same: what is not, gradio's MCP server
# answers with the printed form of its own classes, and its errors in quotes.
AT_ONCE: dict[str, Any] = {"concurrency_id": "catalogue", "concurrency_limit": 8}


def publish(
    function: Callable[..., Any],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    name: str | None = None,
    **how: Any,
) -> None:
    """Adds an endpoint to the Blocks in whose context it is called.

    Its docstring describes it to people and to assistants: what it does, then "Args:" and
    "Returns:". name: the function's own unless given. how: `question.ON_MODEL` or `AT_ONCE`.
    Pictures come as uploaded, undecoded.
    """

    @functools.wraps(function)
    def say_what_is_wrong(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (QuestionError, LabelsError, TemplateError, UnknownNameError) as error:
            # Gradio shows an error's text as HTML
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error

    # The MCP server takes the tool's name and description from the function
    say_what_is_wrong.__name__ = name or function.__name__
    say_what_is_wrong.__doc__ = _one_line_each(function)
    gr.Button(visible=False).click(
        say_what_is_wrong,
        list(inputs),
        list(outputs),
        api_name=say_what_is_wrong.__name__,
        api_visibility="public",
        preprocess=False,
        **how,
    )


def _one_line_each(function: Callable[..., Any]) -> str:
    """A docstring in which what is said of a parameter stands on one line, all gradio reads."""
    return re.sub(r"\n {8,}", " ", inspect.getdoc(function) or "")
