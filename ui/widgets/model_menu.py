"""Model menu: which model answers, the progress of one that was chosen, and a way to cancel it."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from ui.service.model_pool import ALWAYS, ModelPool, PoolEntry, describe

from .events import INSTANT
from .status_line import ProgressBar, status_line

SECONDS_BETWEEN_LOOKS = 0.7


class ModelMenu(NamedTuple):
    """Components of the model menu. Two are never shown: they carry a name between events."""

    model: gr.Dropdown  # the model that was chosen
    status: gr.HTML
    stop: gr.Button  # cancels a download, or retries after a failure
    answered: gr.Textbox  # the model that answered last
    switched: gr.Textbox  # the model that was chosen last and can answer
    pulse: gr.Timer  # polls a model that is on its way


def lay_out_model_menu(models: ModelPool) -> gr.Dropdown:
    """The menu itself, which is in a row with the template's."""
    return gr.Dropdown(
        label="Model",
        choices=[(models.label(name), name) for name in models.names],
        value=models.default,
        elem_id="model",
        scale=2,
        min_width=110,
    )


def lay_out_model_status(model: gr.Dropdown, models: ModelPool) -> ModelMenu:
    """What is shown below the menu while a model is on its way."""
    return ModelMenu(
        model=model,
        status=gr.HTML("", elem_id="model-status", elem_classes="bare", visible=False),
        stop=gr.Button("Cancel", size="sm", visible=False, elem_id="stop-download"),
        answered=gr.Textbox("", visible="hidden", elem_id="answered"),
        switched=gr.Textbox(ALWAYS, visible="hidden", elem_id="switched"),
        pulse=gr.Timer(SECONDS_BETWEEN_LOOKS, active=not models.is_ready(models.default)),
    )


def wire_model_menu(menu: ModelMenu, template: gr.Dropdown, models: ModelPool) -> None:
    """Loads a model that is chosen; once it can answer, `switched` and the template change.

    Until then another model answers; see `ModelPool.answering`.
    """

    def look(
        name: str, answered: str, switched: str, chosen: str, request: gr.Request
    ) -> dict[Any, Any]:
        entry = models.entry(name)
        if entry.stage == "absent":  # evicted, or cancelled by the last visitor who waited for it
            models.request(name, str(request.session_hash))
        if entry.stage == "ready":
            return {
                menu.status: gr.update(visible=False),
                menu.stop: gr.update(visible=False),
                menu.pulse: gr.update(active=False),
                menu.switched: name,
                template: follow_template(models, name, switched, chosen) or gr.skip(),
            }
        failed = entry.stage == "failed"
        said = _draw_status(name, entry, models.answering(name, answered))
        return {
            menu.status: gr.update(value=said, visible=True),
            menu.stop: gr.update(
                value="Try again" if failed else "Cancel",
                visible=failed or entry.stage == "downloading",
            ),
            menu.pulse: gr.update(active=not failed),
        }

    def choose(
        name: str, answered: str, switched: str, chosen: str, request: gr.Request
    ) -> dict[Any, Any]:
        models.request(name, str(request.session_hash))
        return look(name, answered, switched, chosen, request)

    def stop(name: str, answered: str, request: gr.Request) -> dict[Any, Any]:
        """Goes back to the model that answers, or retries one that failed."""
        if models.entry(name).stage == "failed":
            models.request(name, str(request.session_hash))
            return {menu.stop: gr.update(visible=False), menu.pulse: gr.update(active=True)}
        models.cancel(name, str(request.session_hash))
        said = status_line(f"{name} was called off; what has come is kept for the next time.")
        return {
            menu.model: models.answering(name, answered),
            menu.status: said,
            menu.stop: gr.update(visible=False),
            menu.pulse: gr.update(active=False),
        }

    inputs = [menu.model, menu.answered, menu.switched, template]
    outputs = [menu.status, menu.stop, menu.pulse, menu.switched, template]
    menu.model.input(choose, inputs, outputs, **INSTANT)
    menu.pulse.tick(look, inputs, outputs, **INSTANT)
    menu.stop.click(
        stop,
        [menu.model, menu.answered],
        [menu.model, menu.status, menu.stop, menu.pulse],
        **INSTANT,
    )


def follow_template(models: ModelPool, name: str, switched: str, chosen: str) -> str | None:
    """The template that suits a model, unless the visitor chose one.

    switched: the model that could answer before. None if it is the same: the answer to a look may
    come late, and must not undo what was chosen meanwhile.
    """
    defaults = {models.default_template(known) for known in models.names}
    return models.default_template(name) if name != switched and chosen in defaults else None


def _draw_status(name: str, entry: PoolEntry, answering: str) -> str:
    if entry.stage == "failed":
        return status_line(
            f"{entry.problem} Until it can be had, {answering} answers.", problem=True
        )
    progress = None
    if entry.stage == "downloading" and entry.total:
        progress = ProgressBar(entry.done, entry.total, f"Download of {name}")
    text = f"{name} {describe(entry) or 'is being loaded'}. Until it is in, {answering} answers."
    return status_line(text, progress=progress, is_live=False)
