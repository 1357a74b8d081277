"""Publication of a function as an endpoint of the page and a tool of its MCP server."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from clip_core.errors import ClipError
from prompts import TemplateError, UnknownNameError
from ui.service.errors import UnexpectedError

# Endpoints that need no model don't wait behind those that do. They are queued all the same: what
# is not, gradio's MCP server answers with the printed form of its own classes.
AT_ONCE: dict[str, Any] = {"concurrency_id": "catalogue", "concurrency_limit": 8}

NO_DOCS: Mapping[str, str] = {}


def publish(
    function: Callable[..., Any],
    inputs: Sequence[Component],
    outputs: Sequence[Component],
    name: str | None = None,
    docs: Mapping[str, str] = NO_DOCS,
    **how: Any,
) -> None:
    """Adds an endpoint to the Blocks in whose context it is called.

    The function's docstring describes it to people and to assistants: a summary, then "Args:" and
    "Returns:". docs: descriptions of parameters that "Args:" leaves out. name: the function's own
    unless given. how: `question.ON_MODEL` or `AT_ONCE`. Images come as uploaded, undecoded.
    """

    @functools.wraps(function)
    def endpoint(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except gr.Error:
            raise
        except Exception as error:
            is_for_people = isinstance(error, ClipError | TemplateError | UnknownNameError)
            shown = error if is_for_people else UnexpectedError.logged(error)
            # Gradio shows an error's text as HTML
            raise gr.Error(escape(str(shown), quote=False), print_exception=False) from error

    # The MCP server takes the tool's name and description from the function
    endpoint.__name__ = name or function.__name__
    endpoint.__doc__ = describe(function, docs)
    gr.Button(visible=False).click(
        endpoint,
        list(inputs),
        list(outputs),
        api_name=endpoint.__name__,
        api_visibility="public",
        preprocess=False,
        **how,
    )


def describe(function: Callable[..., Any], docs: Mapping[str, str]) -> str:
    """The function's docstring with a description of every parameter, each on one line.

    gradio reads no more than one line of each. docs: descriptions of parameters that the docstring
    itself does not describe.
    """
    text = re.sub(r"\n {8,}", " ", inspect.getdoc(function) or "")
    head, returns = text.split("\n\nReturns:\n")
    summary, _, own = head.partition("\n\nArgs:\n")
    described = {**docs, **dict(re.findall(r"^    (\w+): (.*)$", own, re.MULTILINE))}
    names = inspect.signature(function).parameters
    arguments = "".join(f"\n    {name}: {described[name]}" for name in names)
    return "\n\n".join([summary, *([f"Args:{arguments}"] if names else []), f"Returns:\n{returns}"])
