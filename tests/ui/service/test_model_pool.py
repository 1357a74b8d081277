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

import ui.service.memory
import ui.service.model_pool
from clip_core import CLIP, CheckpointError, DownloadError, ZeroShotClassifier
from clip_core.files import sha256_of
from clip_core.inference import cgroup
from clip_core.model import VisionTransformer
from clip_core.weights import resolve as loading
from clip_core.weights.registry import PUBLISHED
from clip_core.weights.resolve import find_on_disk
from tests.archives import write_archive
from ui.service.errors import QuestionError
from ui.service.examples import EXAMPLES
from ui.service.inference import Inference
from ui.service.memory import default_budget, free_memory, parse_bytes
from ui.service.model_pool import (
    ALWAYS,
    PUBLISHED_DEFAULT,
    ModelPool,
    NotReadyError,
    PoolEntry,
    describe,
)
from ui.service.question import Question

SECONDS = 300
TINY_BYTES = 13_700_000  # about what tiny_model takes
NAME = "ViT-B/32"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settle(models: ModelPool, name: str) -> PoolEntry:
    """Waits until a model is ready or has failed."""
    until(lambda: models.entry(name).stage in ("ready", "failed"))
    return models.entry(name)


def ready(models: ModelPool, *names: str) -> ModelPool:
    for name in names:
        settle(models, name)
        assert models.is_ready(name), models.entry(name).problem
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
    for ask in (models.is_ready, models.entry, models.request, models.default_template):
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
    settle(models, "broken.safetensors")
    assert models.entry("broken.safetensors").stage == "failed"
    assert models.answering("broken.safetensors", "tiny.safetensors") == "tiny.safetensors"
    asked = Question("cat.jpg", "cat.jpg", ("a", "b"), "{}", [["a"], ["b"]], "broken.safetensors")
    inference = Inference(models)
    for question in (
        lambda: inference.score(asked),
        lambda: inference.crops("broken.safetensors", {"path": str(EXAMPLES / "cat.jpg")}),
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


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Makes files models to choose, by name, that nobody has asked for yet."""

    def offer(files: dict[str, str]) -> None:
        known = dataclasses.replace(PUBLISHED[NAME], parameters=TINY_BYTES // 4)
        monkeypatch.setattr(ui.service.model_pool, "PUBLISHED", dict.fromkeys(files, known))
        monkeypatch.setattr(
            ui.service.model_pool,
            "find_on_disk",
            lambda source: (Path(files[source]), None) if source in files else find_on_disk(source),
        )

    return offer


def test_least_recently_used_is_put_out(
    four: list[str], offer: Callable[[dict[str, str]], None]
) -> None:
    names = [Path(path).name for path in four]
    a, b, c, d = names
    one = ready(ModelPool(four[:1], "cpu"), a)
    size, bundled = one.entry(a).size, ready(one, ALWAYS).entry(ALWAYS).size
    assert size == pytest.approx(TINY_BYTES, rel=0.1)
    offer({c: four[2], d: four[3]})
    models = ready(ModelPool(four[:2], "cpu", memory=bundled + 3 * size), ALWAYS, a, b)
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


def test_the_one_that_answers_is_not_put_out(
    four: list[str], offer: Callable[[dict[str, str]], None]
) -> None:
    a, b = (Path(path).name for path in four[:2])
    one = ready(ModelPool(four[:1], "cpu"), ALWAYS, a)
    memory = one.entry(ALWAYS).size + one.entry(a).size
    offer({b: four[1]})
    models = ready(ModelPool(four[:1], "cpu", memory=memory), ALWAYS, a)
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
    settle(models, "RN50x64")
    assert models.entry("RN50x64").problem == (
        "RN50x64 takes 2.5 GB of memory, and models may take 500 MB here: choose a smaller one, "
        "or raise --memory."
    )


def test_what_the_machine_has_no_room_for_now_is_refused_and_puts_nothing_out(
    four: list[str],
    offer: Callable[[dict[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = (Path(path).name for path in four[:2])
    offer({b: four[1]})
    models = ready(ModelPool(four[:1], "cpu"), ALWAYS, a)
    monkeypatch.setattr(
        ui.service.memory, "free_memory", lambda _: 1_000_000 - models.entry(a).size
    )
    models.request(b)
    settle(models, b)
    assert models.entry(b).problem == (
        "b.safetensors takes 14 MB of memory, and 1 MB are free here now. Choose a smaller model, "
        "or try again later."
    )
    assert models.is_ready(a)
    with models.use(a) as classifier:
        assert classifier.classify("ui/examples/cat.jpg", ["cat", "dog"]).model == a
    # what an idle model takes can be had
    monkeypatch.setattr(
        ui.service.memory, "free_memory", lambda _: 15_000_000 - models.entry(a).size
    )
    models.request(b)
    ready(models, b)
    assert not models.is_ready(a)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_memory_that_runs_out_while_a_model_loads_is_said(
    error: Exception,
    tiny_model: Path,
    offer: Callable[[dict[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer({"tiny": str(tiny_model)})
    models = ready(ModelPool(device="cpu"), ALWAYS)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(ui.service.model_pool, "ZeroShotClassifier", fail)
    models.request("tiny")
    settle(models, "tiny")
    assert models.entry("tiny").problem == (
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
    raise DownloadError("The Hub is not there.")


def test_bundled_answers_while_another_is_downloaded(mirror: Mirror) -> None:
    models = ready(ModelPool(device="cpu", mirror=mirror.address), ALWAYS)
    models.request(NAME, "me")
    entry = models.entry(NAME)
    until(lambda: entry.done > 0)
    assert (entry.stage, models.answering(NAME)) == ("downloading", ALWAYS)
    assert re.fullmatch(r"is being downloaded: [01] of \d+ MB", describe(entry))
    with pytest.raises(NotReadyError, match="is being downloaded"), models.use(NAME):
        pass  # an API call is told so and holds nobody up
    with models.use(ALWAYS) as classifier:
        assert classifier.classify("ui/examples/cat.jpg", ["cat", "dog"]).model == ALWAYS
    mirror.go_on.set()
    ready(models, NAME)
    assert models.answering(NAME) == NAME
    with models.use(NAME) as classifier:
        assert classifier.input_resolution == 32
    assert describe(entry) == ""


def test_called_off_and_asked_for_again_it_resumes(mirror: Mirror, tmp_path: Path) -> None:
    models = ModelPool(device="cpu", mirror=mirror.address)
    entry = models.entry(NAME)
    for who in ("me", "you"):
        models.request(NAME, who)
    until(lambda: entry.done > 0)
    models.cancel(NAME, "me")
    time.sleep(0.3)
    assert entry.stage == "downloading"  # somebody else still waits
    models.cancel(NAME, "you")
    mirror.go_on.set()
    until(lambda: entry.stage == "absent")
    came = (tmp_path / "cache" / f"{PUBLISHED[NAME].file}.part").stat().st_size
    assert came > 0
    models.request(NAME, "me")
    ready(models, NAME)
    assert mirror.requests[0] == ""
    assert mirror.requests[-1] in ("", f"bytes={came}-")


def test_failed_download_says_why_and_can_be_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    models = ModelPool(device="cpu", mirror=f"{mirror.address}/nowhere")
    models.request(NAME)
    settle(models, NAME)
    entry = models.entry(NAME)
    assert entry.stage == "failed"
    assert "127.0.0.1 does not have the file (status 404)" in entry.problem
    assert "The Hub is not there." in entry.problem
    assert models.answering(NAME) == ALWAYS
    shutil.copytree(tmp_path / "mirror", tmp_path / "whole")
    shutil.move(tmp_path / "whole", tmp_path / "mirror" / "nowhere")  # now it has the file
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
