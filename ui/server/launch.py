"""Start of the page: flags, models, Blocks and the web server, in that order."""

from __future__ import annotations

import gc

gc.disable()  # imports make no garbage, and looking for some all the while takes a sixth of them

import ui.service.zerogpu  # isort: skip  (before torch: see there)

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from clip_core.errors import InputError
from clip_core.extras import check_extra
from ui.server import PROGRAM

try:
    check_extra("app")
except InputError as error:
    sys.exit(f"{PROGRAM}: {error}")

from clip_core import CheckpointError, DownloadError
from clip_core.inference.malloc import keep_freed_memory
from clip_core.inference.threads import choose_threads
from ui.page import build_page
from ui.server.lifecycle import Server
from ui.server.settings import parse_arguments
from ui.server.translation import translation_script
from ui.server.uploads import RESERVE, choose_folder, has_room, spare, start_sweeping
from ui.server.url_fetch import limit_fetches
from ui.service.limits import LIMITS
from ui.service.model_pool import ModelPool
from ui.service.telemetry import write_logs
from ui.widgets.theme import CSS, THEME

if TYPE_CHECKING:
    from ui.server.metrics import Metrics

gc.freeze()  # nor is it looked for later among what was imported
gc.enable()

# On ZeroGPU the processes with a GPU are copies of this one: what is here when the page starts can
# answer, and nothing else. Its stand-in for CUDA works in the main thread alone, and removes the
# files that models came from, so that none may be put out of memory and come back.
ZEROGPU: dict[str, Any] = {
    "memory": sys.maxsize,
    "offer_published": False,
    "in_background": False,
}


def main(arguments: list[str] | None = None) -> None:
    """Loads the models in the background and serves the page until it is stopped."""
    options = parse_arguments(arguments)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        sys.exit(f"{PROGRAM}: --mcp needs a package that is not here: pip install 'gradio[mcp]'")
    if options.metrics and importlib.util.find_spec("prometheus_client") is None:
        sys.exit(
            f"{PROGRAM}: --metrics needs a package that is not here: pip install prometheus-client"
        )
    LIMITS.file_mb, LIMITS.labels = options.file_size, options.labels
    LIMITS.pictures = options.pictures
    write_logs(options.log)
    metrics = serve_metrics(*options.metrics) if options.metrics else None
    uploads = choose_folder()
    limit_fetches()
    # Both before any thread has computed
    keep_freed_memory()
    threads, reason = choose_threads(options.threads)
    try:
        models = ModelPool(
            options.model,
            options.device,
            options.dtype,
            mirror=options.mirror,
            onnx=options.onnx,
            **(ZEROGPU if ui.service.zerogpu.ON_ZEROGPU else {"memory": options.memory}),
        )
    except (CheckpointError, DownloadError, ValueError) as error:
        sys.exit(f"{PROGRAM}: {error}")
    if models.device.type == "cpu":
        print(f"* Models run on {threads} thread{'s' if threads > 1 else ''}: {reason}.")
    page = build_page(models, options.queue_size)
    spare(page)
    start_sweeping(uploads)
    if not has_room(uploads, 0):
        print(
            f"* The disk has too little room for uploads: they need {RESERVE / 1e6:.0f} MB free in "
            f"{uploads} (GRADIO_TEMP_DIR)."
        )
    server = Server(page, models)
    if options.share and not options.auth:
        print(
            "* Anyone who has the public link can use the page: CLIP_AUTH=user:password locks it."
        )
    if metrics is not None:
        metrics.watch_queue(lambda: server.waiting, lambda: server.running)
    try:
        page.launch(
            server_name=options.host,
            server_port=options.port,
            share=options.share,
            root_path=options.root_path,
            auth=options.auth,
            theme=THEME,
            css=CSS,
            head=translation_script(),
            max_file_size=f"{LIMITS.file_mb}mb",
            state_session_capacity=options.sessions,
            footer_links=["api", "gradio"],
            run_history=False,  # it would keep each visitor's pictures in their browser
            ssr_mode=False,
            mcp_server=options.mcp,
            app_kwargs=server.app_arguments(options.rate, uploads),
            prevent_thread_lock=True,
        )
    except OSError as error:
        sys.exit(
            f"{PROGRAM}: The page can't listen there: choose another --port or --host. {error}"
        )
    server.wait_for_the_end()


def serve_metrics(host: str, port: int) -> Metrics:
    """Starts counting, and answering at a port of its own; leaves when it can't listen there."""
    from ui.server.metrics import Metrics  # noqa: PLC0415  (its package is there for those who ask for it)

    metrics = Metrics()
    try:
        metrics.serve(host, port)
    except OSError as error:
        sys.exit(f"{PROGRAM}: The figures can't be served there: choose another --metrics. {error}")
    return metrics
