"""What docs/hosting.md and the Dockerfile say, tried on the real app."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.running_app import free_port

ROOT = Path(__file__).parents[1]
CAT = ROOT / "ui" / "examples" / "cat.jpg"
PAGE = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
NGINX = """{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {snippet}
    }}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
{snippet}
"""


def snippet(language: str) -> str:
    """The page's one block of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


def wait_until(answers: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answers()
        except (OSError, httpx.HTTPError, subprocess.CalledProcessError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{process.args} did not start; its exit status: {process.poll()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def app_below_a_path(start_app: Callable[..., str], tiny_model: Path) -> str:
    return start_app("--model", str(tiny_model), "--root-path", "/clip")


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest,
    app_below_a_path: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The page's address behind a proxy that is set up as the documentation says."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    port = free_port()
    text = snippet(request.param).replace("127.0.0.1:7860", app_below_a_path.split("//")[1])
    settings = folder / "settings"
    if request.param == "nginx":
        # started by root, its workers would be another user, who can't write to the folder
        user = "user root;" if os.geteuid() == 0 else ""
        settings.write_text(NGINX.format(user=user, folder=folder, port=port, snippet=text))
        command = [program, "-p", str(folder), "-e", "stderr", "-c", str(settings)]
    else:
        assert "example.org {" in text
        text = text.replace("example.org {", f"http://127.0.0.1:{port} {{")
        settings.write_text(CADDY.format(snippet=text))
        command = [program, "run", "--adapter", "caddyfile", "--config", str(settings)]
    process = subprocess.Popen(command, env=os.environ | {"HOME": str(folder)})
    address = f"http://127.0.0.1:{port}/clip/"
    try:
        wait_until(lambda: httpx.get(address).raise_for_status(), process)
        yield address
    finally:
        stop(process)


def test_behind_a_proxy_the_page_and_all_it_names_arrive(proxied: str) -> None:
    page = httpx.get(proxied)
    assert f'"root":"{proxied.rstrip("/")}"' in page.text
    named = re.findall(r'(?:src|href)="(\./[^"]+\.(?:js|css))"', page.text)
    assert {path.rpartition(".")[2] for path in named} == {"js", "css"}
    for path in named:
        response = httpx.get(httpx.URL(proxied).join(path))
        assert response.status_code == 200, path
        assert "html" not in response.headers["content-type"], path


def test_behind_a_proxy_the_path_without_its_slash_leads_there(proxied: str) -> None:
    response = httpx.get(proxied.rstrip("/"), follow_redirects=True)
    assert response.status_code == 200
    assert str(response.url) == proxied


def test_behind_a_proxy_a_question_is_answered(proxied: str) -> None:
    client = Client(proxied, verbose=False)
    label, _ = client.predict(image=handle_file(str(CAT)), labels="cat, dog", api_name="/classify")
    assert {entry["label"] for entry in label["confidences"]} == {"cat", "dog"}


@pytest.mark.parametrize(("megabytes", "status"), [(49, 200), (50.5, 413)])
def test_behind_a_proxy_the_page_itself_judges_a_large_upload(
    megabytes: float, status: int, proxied: str
) -> None:
    files = {"files": ("large.bin", bytes(int(megabytes * 2**20)))}
    response = httpx.post(f"{proxied}gradio_api/upload", files=files, timeout=300)
    assert response.status_code == status
    if status == 413:  # the page's own answer, not the proxy's
        assert response.text.startswith("File size exceeded maximum allowed size of 52428800")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    pairs = [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
    return [(name, arguments) for name, arguments in pairs]


def arguments_of(name: str) -> list[str]:
    return [arguments for found, arguments in instructions() if found == name]


def copied() -> list[tuple[list[str], str]]:
    """Each COPY: from where, to where."""
    return [(parts[:-1], parts[-1]) for parts in map(shlex.split, arguments_of("COPY"))]


def test_the_container_gets_each_file_that_it_copies() -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    sources = [source for found, _ in copied() for source in found]
    assert all((ROOT / source).exists() for source in sources)
    assert sorted(sources) == sorted(kept)


def test_the_container_installs_as_a_space_does() -> None:
    install = arguments_of("RUN")[0]
    first, second = install.split("&&")
    assert '--index-url "$TORCH_INDEX" -r pre-requirements.txt' in first
    assert "-r requirements.txt" in second
    assert "index-url" not in second


def test_the_container_does_not_run_as_root() -> None:
    order = [name for name, _ in instructions()]
    (user,) = arguments_of("USER")
    assert any(f"useradd --create-home --uid {user} " in run for run in arguments_of("RUN"))
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "RUN")
    assert order.index("USER") < order.index("CMD")


@pytest.mark.slow
def test_the_container_starts_and_its_health_check_tells(tmp_path: Path) -> None:
    """The files it copies, its variables, its CMD and its HEALTHCHECK, in a folder here."""
    folder, weights = tmp_path / "app", tmp_path / "weights"
    folder.mkdir()
    for sources, target in copied():
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target)
            else:
                shutil.copy(ROOT / source, folder / target)
    (settings,) = arguments_of("ENV")
    variables = dict(entry.split("=", 1) for entry in shlex.split(settings))
    (port,) = arguments_of("EXPOSE")
    assert variables["GRADIO_SERVER_PORT"] == port
    (volume,) = arguments_of("VOLUME")
    assert fnmatch(variables["CLIP_CACHE"], f"{volume}/*")
    assert fnmatch(variables["HF_HOME"], f"{volume}/*")
    inherited = {name: value for name, value in os.environ.items() if name[:5] != "CLIP_"}
    environment = inherited | {
        name: value.replace(volume, str(weights)) for name, value in variables.items()
    }
    environment["GRADIO_SERVER_PORT"] = str(free_port())
    (check,) = arguments_of("HEALTHCHECK")
    python, *check_arguments = json.loads(check.split(" CMD ")[1])
    start_python, *start_arguments = json.loads(arguments_of("CMD")[0])
    assert python == start_python == "python"

    def is_healthy() -> None:
        subprocess.run(
            [sys.executable, *check_arguments], env=environment, check=True, capture_output=True
        )

    with pytest.raises(subprocess.CalledProcessError):
        is_healthy()
    process = subprocess.Popen([sys.executable, *start_arguments], cwd=folder, env=environment)
    try:
        wait_until(is_healthy, process)
        client = Client(f"http://127.0.0.1:{environment['GRADIO_SERVER_PORT']}", verbose=False)
        label, _ = client.predict(
            image=handle_file(str(CAT)), labels="cat, dog", model="bundled", api_name="/classify"
        )
        assert label["label"] == "cat"
    finally:
        stop(process)
    with pytest.raises(subprocess.CalledProcessError):
        is_healthy()
