"""Models that are fetched and loaded in the background, within a budget."""

from __future__ import annotations

import dataclasses
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import ui.service.model_pool
from clip_core import CLIP, CheckpointError, ZeroShotClassifier
from clip_core.inference import cgroup
from clip_core.model import VisionTransformer
from clip_core.weights import resolve as loading
from clip_core.weights.download import sha256_of
from clip_core.weights.registry import PUBLISHED
from tests.archives import write_archive
from ui.service.errors import QuestionError
from ui.service.memory import default_budget, free_memory, parse_bytes
from ui.service.model_pool import ALWAYS, PUBLISHED_DEFAULT, ModelPool, NotReadyError, describe
from ui.service.question import Question, model_crops, score

SECONDS = 300
TINY_BYTES = 13_700_000  # about what tiny_model takes
NAME = "ViT-B/32"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ready(models: ModelPool, *names: str) -> ModelPool:
    for name in names:
        models.slot(name).settled.wait(SECONDS)
        assert models.is_ready(name), models.slot(name).problem
    return models


def test_menu_bundled_first_then_the_nine_then_what_was_given(tiny_model: Path) -> None:
    models = ready(ModelPool([str(tiny_model)], "cpu"), ALWAYS, "tiny.safetensors")
    assert models.names == [ALWAYS, *PUBLISHED, "tiny.safetensors"]
    assert models.default == "tiny.safetensors"
    assert ready(ModelPool(device="cpu"), ALWAYS).default == ALWAYS
    assert ready(ModelPool(device="cpu", offer_published=False), ALWAYS).names == [ALWAYS]
    assert models.label(ALWAYS) == "bundled · 44 MB · 260 px · comes with the page"
    assert models.label(NAME) == "ViT-B/32 · 353 MB · 224 px · fast, the usual choice"
    assert (
        models.label("tiny.safetensors") == "tiny.safetensors · 14 MB · 64 px · given by the host"
    )


def test_loads_in_the_background_and_once(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    loaded: list[str] = []

    def load(*arguments: Any, **options: Any) -> ZeroShotClassifier:
        assert go_on.wait(SECONDS)
        loaded.append(str(arguments[-1]))
        return ZeroShotClassifier(*arguments, **options)

    monkeypatch.setattr(ui.service.model_pool, "ZeroShotClassifier", load)
    models = ModelPool([str(tiny_model)], "cpu")  # does not wait
    name = "tiny.safetensors"
    assert models.default_template(name) == "a photo of a {}."
    assert not models.is_ready(name)
    assert models.answering(name) == ALWAYS

    def use() -> ZeroShotClassifier:
        with models.use(name) as classifier:
            return classifier

    with ThreadPoolExecutor(8) as askers:
        asked = [askers.submit(use) for _ in range(8)]
        go_on.set()
        answers = [future.result(SECONDS) for future in asked]
    assert models.is_ready(name)
    assert models.answering(name) == name
    assert sorted(loaded) == [ALWAYS, name]
    assert all(answer is answers[0] for answer in answers)
    assert (answers[0].input_resolution, answers[0].name) == (64, name)


def test_template_of_a_file_that_names_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"anything")
    models = ModelPool([str(path)], "cpu")
    assert models.default_template("weights.pt") == PUBLISHED_DEFAULT
    assert models.default_template(NAME) == PUBLISHED_DEFAULT
    assert models.default_template(ALWAYS) == "a photo of a {}."


def test_unknown_name(tiny_model: Path) -> None:
    models = ModelPool([str(tiny_model)], "cpu")
    for ask in (models.is_ready, models.slot, models.request, models.default_template):
        with pytest.raises(ValueError, match=r"^There is no model 'RN49' here: choose one of bun"):
            ask("RN49")
    assert models.answering("RN49", "RN48") == ALWAYS


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        ModelPool([str(tmp_path / "none.pt")])


def test_two_files_of_one_name(tiny_model: Path, tmp_path: Path) -> None:
    again = shutil.copy(tiny_model, tmp_path / tiny_model.name)
    with pytest.raises(ValueError, match="same file name: rename one"):
        ModelPool([str(tiny_model), str(again)])


def test_a_broken_file_reaches_the_page_as_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    """The page starts all the same, the other models answer, and no folder is shown to anyone."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny_model.read_bytes()[:100_000])
    models = ready(ModelPool([str(broken), str(tiny_model)], "cpu"), "tiny.safetensors")
    models.slot("broken.safetensors").settled.wait(SECONDS)
    assert models.slot("broken.safetensors").stage == "failed"
    assert models.answering("broken.safetensors", "tiny.safetensors") == "tiny.safetensors"
    asked = Question("cat.jpg", "cat.jpg", ("a", "b"), "{}", [["a"], ["b"]], "broken.safetensors")
    for question in (
        lambda: score(models, asked),
        lambda: model_crops(models, "broken.safetensors", {"path": __file__}),
    ):
        with pytest.raises(QuestionError) as caught:
            question()
        message = str(caught.value)
        assert message.startswith("The model broken.safetensors could not be loaded. ")
        assert "'broken.safetensors' holds no weights that can be read safely" in message
        assert str(tmp_path) not in message


@pytest.fixture
def four(tiny_model: Path, tmp_path: Path) -> list[str]:
    names = ["a.safetensors", "b.safetensors", "c.safetensors", "d.safetensors"]
    return [str(shutil.copy(tiny_model, tmp_path / name)) for name in names]


def test_least_recently_used_is_put_out(four: list[str]) -> None:
    names = [Path(path).name for path in four]
    a, b, c, d = names
    one = ready(ModelPool(four[:1], "cpu"), a)
    size, bundled = one.slot(a).size, ready(one, ALWAYS).slot(ALWAYS).size
    assert size == pytest.approx(TINY_BYTES, rel=0.1)
    models = ready(ModelPool(four[:2], "cpu", memory=bundled + 3 * size), ALWAYS, a, b)
    models._slots |= {
        n: ui.service.model_pool.PoolEntry(p) for n, p in zip((c, d), four[2:], strict=True)
    }
    models.request(c)
    ready(models, c, ALWAYS)
    with models.use(a):  # a is now the youngest but one
        pass
    models.request(d)
    ready(models, d)
    assert {n for n in names if models.is_ready(n)} == {a, c, d}
    assert models.is_ready(ALWAYS)
    with models.use(b):  # comes back by itself
        assert {n for n in names if models.is_ready(n)} == {a, b, d}


def test_the_one_that_answers_is_not_put_out(four: list[str]) -> None:
    a, b = (Path(path).name for path in four[:2])
    one = ready(ModelPool(four[:1], "cpu"), ALWAYS, a)
    memory = one.slot(ALWAYS).size + one.slot(a).size
    models = ready(ModelPool(four[:1], "cpu", memory=memory), ALWAYS, a)
    models._slots[b] = ui.service.model_pool.PoolEntry(four[1])
    with models.use(a) as classifier:
        models.request(b)
        time.sleep(0.5)
        assert not models.is_ready(b)
        assert models.is_ready(a)
        assert classifier.classify("ui/examples/cat.jpg", ["cat", "dog"]).model == a
    ready(models, b)
    assert not models.is_ready(a)


def test_larger_than_the_budget_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    models = ready(ModelPool(device="cpu", memory=500_000_000), ALWAYS)
    monkeypatch.delattr(ui.service.model_pool, "find_on_disk")
    monkeypatch.delattr(ui.service.model_pool, "find_weights")
    models.request("RN50x64")
    models.slot("RN50x64").settled.wait(SECONDS)
    assert models.slot("RN50x64").problem == (
        "RN50x64 takes 2.5 GB of memory, and models may take 500 MB here: choose a smaller one, "
        "or raise --memory."
    )


def test_what_the_machine_has_no_room_for_now_is_refused_and_puts_nothing_out(
    four: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (Path(path).name for path in four[:2])
    models = ready(ModelPool(four[:1], "cpu"), ALWAYS, a)
    models._slots[b] = ui.service.model_pool.PoolEntry(four[1])
    monkeypatch.setattr(
        ui.service.model_pool, "free_memory", lambda _: 1_000_000 - models.slot(a).size
    )
    models.request(b)
    models.slot(b).settled.wait(SECONDS)
    assert models.slot(b).problem == (
        "b.safetensors takes 14 MB of memory, and 1 MB are free here now. Choose a smaller model, "
        "or try again later."
    )
    assert models.is_ready(a)
    with models.use(a) as classifier:
        assert classifier.classify("ui/examples/cat.jpg", ["cat", "dog"]).model == a
    # what an idle model takes can be had
    monkeypatch.setattr(
        ui.service.model_pool, "free_memory", lambda _: 15_000_000 - models.slot(a).size
    )
    models.request(b)
    ready(models, b)
    assert not models.is_ready(a)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_memory_that_runs_out_while_a_model_loads_is_said(
    error: Exception, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ready(ModelPool(device="cpu", offer_published=False), ALWAYS)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(ui.service.model_pool, "ZeroShotClassifier", fail)
    models._slots["tiny"] = ui.service.model_pool.PoolEntry(str(tiny_model))
    models.request("tiny")
    models.slot("tiny").settled.wait(SECONDS)
    assert models.slot("tiny").problem == (
        "There was too little memory for tiny. Choose a smaller model, or try again later."
    )
    assert models.answering("tiny") == ALWAYS


class Mirror:
    """A loopback server of published files, which can be held up."""

    def __init__(self, root: Path) -> None:
        self.go_on = threading.Event()
        self.requests: list[str] = []
        mirror = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(root))

            def log_message(self, *_: object) -> None:
                pass

            def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
                mirror.requests.append(self.headers.get("Range", ""))
                outputfile.write(source.read(1_000_000))
                outputfile.flush()
                mirror.go_on.wait(SECONDS)
                outputfile.write(source.read())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """ViT-B/32's place holds a small archive in the published format; no other host is there."""
    root, name = tmp_path / "mirror", PUBLISHED[NAME].file
    root.mkdir()
    tower = VisionTransformer(32, 16, 64, 2, 1, 32)
    write_archive(root / name, CLIP(32, tower, 77, 49408, 64, 1, 2).eval())
    digest = sha256_of(root / name)
    (root / digest).mkdir()
    shutil.move(root / name, root / digest / name)
    monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(PUBLISHED[NAME], sha256=digest))
    monkeypatch.setenv("CLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "fetch_file", _no_hub)
    monkeypatch.setattr(loading, "cached_file", lambda *_: None)
    served = Mirror(root)
    yield served
    served.go_on.set()
    served.server.shutdown()
    served.server.server_close()


def _no_hub(*_: object, **__: object) -> Path:
    raise ui.service.model_pool.DownloadError("The Hub is not there.")


def test_bundled_answers_while_another_is_downloaded(mirror: Mirror) -> None:
    models = ready(ModelPool(device="cpu", mirror=mirror.address), ALWAYS)
    models.request(NAME, "me")
    slot = models.slot(NAME)
    until(lambda: slot.done > 0)
    assert (slot.stage, models.answering(NAME)) == ("downloading", ALWAYS)
    assert re.fullmatch(r"is being downloaded: [01] of \d+ MB", describe(slot))
    with pytest.raises(NotReadyError, match="is being downloaded"), models.use(NAME):
        pass  # an API call is told so and holds nobody up
    with models.use(ALWAYS) as classifier:
        assert classifier.classify("ui/examples/cat.jpg", ["cat", "dog"]).model == ALWAYS
    mirror.go_on.set()
    ready(models, NAME)
    assert models.answering(NAME) == NAME
    with models.use(NAME) as classifier:
        assert classifier.input_resolution == 32
    assert describe(slot) == ""


def test_called_off_and_asked_for_again_it_resumes(mirror: Mirror, tmp_path: Path) -> None:
    models = ModelPool(device="cpu", mirror=mirror.address)
    slot = models.slot(NAME)
    for who in ("me", "you"):
        models.request(NAME, who)
    until(lambda: slot.done > 0)
    models.cancel(NAME, "me")
    time.sleep(0.3)
    assert slot.stage == "downloading"  # somebody else still waits
    models.cancel(NAME, "you")
    mirror.go_on.set()
    until(lambda: slot.stage == "absent")
    came = (tmp_path / "cache" / f"{PUBLISHED[NAME].file}.part").stat().st_size
    assert came > 0
    models.request(NAME, "me")
    ready(models, NAME)
    assert mirror.requests[0] == ""
    assert mirror.requests[-1] in ("", f"bytes={came}-")


def test_failed_download_says_why_and_can_be_tried_again(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ModelPool(device="cpu", mirror=f"{mirror.address}/nowhere")
    models.request(NAME)
    models.slot(NAME).settled.wait(SECONDS)
    slot = models.slot(NAME)
    assert slot.stage == "failed"
    assert "127.0.0.1 does not have the file (status 404)" in slot.problem
    assert "The Hub is not there." in slot.problem
    assert models.answering(NAME) == ALWAYS
    models._mirror = mirror.address
    mirror.go_on.set()
    models.request(NAME)
    ready(models, NAME)


@pytest.mark.parametrize(
    ("text", "number"),
    [("8GB", 8_000_000_000), ("800 MB", 800_000_000), ("1.5gb", 1_500_000_000), ("12345", 12345)],
)
def test_amounts_of_memory(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "much", "8 G", "-1", "0", "8GB8"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 8GB"):
        parse_bytes(text)


def test_budget_follows_a_container_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = ui.service.model_pool.torch.device("cpu")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(cgroup, "MEMORY_FILES", ((limit, "memory.current"),))
    whole = default_budget(device)
    limit.write_text("max\n")
    assert default_budget(device) == whole
    limit.write_text("1000000000\n")
    assert default_budget(device) == 500_000_000


@pytest.mark.parametrize(
    ("limit", "used", "cached"),
    [
        ("memory.max", "memory.current", "inactive_file 30000000"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file 30000000"),
    ],
)
def test_free_memory_follows_a_container(
    limit: str, used: str, cached: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = ui.service.model_pool.torch.device("cpu")
    monkeypatch.setattr(cgroup, "MEMORY_FILES", ((tmp_path / limit, used),))
    assert free_memory(device) > 500_000_000
    (tmp_path / limit).write_text("100000000\n")
    (tmp_path / used).write_text("90000000\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\n{cached}\nslab 5\n")
    assert free_memory(device) == 40_000_000
    (tmp_path / limit).write_text("max\n")
    assert free_memory(device) > 500_000_000
