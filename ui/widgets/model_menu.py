"""The model menu: which model answers, how far one is that was chosen, and a way to call it off."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import gradio as gr

from ui.service.model_pool import ALWAYS, ModelPool, PoolEntry, describe

from .status_line import status_line

SECONDS_BETWEEN_LOOKS = 0.7
# None needs a model; none waits behind those that do.
LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class ModelMenu(NamedTuple):
    """Its components. Two are never seen: they carry a name between events."""

    model: gr.Dropdown  # the model that was chosen
    status: gr.HTML
    stop: gr.Button  # calls a download off, or tries once more what failed
    answered: gr.Textbox  # who answered last
    switched: gr.Textbox  # the model that was chosen last and can answer
    pulse: gr.Timer  # looks after a model that is on its way


def lay_out_model_menu(models: ModelPool) -> gr.Dropdown:
    """The menu itself, which stands in a row with the template's."""
    return gr.Dropdown(
        label="Model",
        choices=[(models.label(name), name) for name in models.names],
        value=models.default,
        elem_id="model",
        scale=2,
        min_width=110,
    )


def lay_out_model_status(model: gr.Dropdown, models: ModelPool) -> ModelMenu:
    """What stands below the menu while a model is on its way."""
    return ModelMenu(
        model=model,
        status=gr.HTML("", elem_id="model-status", elem_classes="bare", visible=False),
        stop=gr.Button("Cancel", size="sm", visible=False, elem_id="stop-download"),
        answered=gr.Textbox("", visible="hidden", elem_id="answered"),
        switched=gr.Textbox(ALWAYS, visible="hidden", elem_id="switched"),
        pulse=gr.Timer(SECONDS_BETWEEN_LOOKS, active=not models.is_ready(models.default)),
    )


def wire_model_menu(menu: ModelMenu, template: gr.Dropdown, models: ModelPool) -> None:
    """Choosing a model brings it; once it can answer, `switched` changes and the template follows.

    Until then another answers; see `ModelPool.answering`.
    """
    looked_at = [menu.status, menu.stop, menu.pulse, menu.switched, template]

    def look(
        name: str, answered: str, switched: str, chosen: str, request: gr.Request
    ) -> tuple[Any, ...]:
        slot = models.entry(name)
        if slot.stage == "absent":  # put out to make room, or called off by the last who waited
            models.request(name, str(request.session_hash))
        if slot.stage == "ready":
            hidden = gr.update(visible=False)
            follow = follow_template(models, name, switched, chosen)
            return hidden, hidden, gr.update(active=False), name, follow or gr.skip()
        failed = slot.stage == "failed"
        return (
            gr.update(value=_say(name, slot, models.answering(name, answered)), visible=True),
            gr.update(
                value="Try again" if failed else "Cancel",
                visible=failed or slot.stage == "downloading",
            ),
            gr.update(active=not failed),
            gr.skip(),
            gr.skip(),
        )

    def choose(
        name: str, answered: str, switched: str, chosen: str, request: gr.Request
    ) -> tuple[Any, ...]:
        models.request(name, str(request.session_hash))
        return look(name, answered, switched, chosen, request)

    def stop(name: str, answered: str, request: gr.Request) -> tuple[Any, ...]:
        """Back to the model that answers, or once more with one that failed."""
        if models.entry(name).stage == "failed":
            models.request(name, str(request.session_hash))
            return gr.skip(), gr.skip(), gr.update(visible=False), gr.update(active=True)
        models.cancel(name, str(request.session_hash))
        said = status_line(f"{name} was called off; what has come is kept for the next time.")
        before = models.answering(name, answered)
        return before, said, gr.update(visible=False), gr.update(active=False)

    inputs = [menu.model, menu.answered, menu.switched, template]
    menu.model.input(choose, inputs, looked_at, **LIGHT)
    menu.pulse.tick(look, inputs, looked_at, **LIGHT)
    menu.stop.click(
        stop,
        [menu.model, menu.answered],
        [menu.model, menu.status, menu.stop, menu.pulse],
        **LIGHT,
    )


def follow_template(models: ModelPool, name: str, switched: str, chosen: str) -> str | None:
    """The template that suits a model, unless the person chose one.

    switched: the model that could answer before. None when it is the same: the answer to a look may
    come late, and must not undo what was chosen meanwhile.
    """
    defaults = {models.default_template(known) for known in models.names}
    return models.default_template(name) if name != switched and chosen in defaults else None


def _say(name: str, slot: PoolEntry, answering: str) -> str:
    if slot.stage == "failed":
        return status_line(
            f"{slot.problem} Until it can be had, {answering} answers.", problem=True
        )
    bar = ""
    if slot.stage == "downloading" and slot.total:
        bar = (
            f'<progress value="{slot.done}" max="{slot.total}" '
            f'aria-label="Download of {escape(name)}"></progress>'
        )
    text = f"{name} {describe(slot) or 'is being loaded'}. Until it is in, {answering} answers."
    return f'<div class="note">{escape(text)}{bar}</div>'
