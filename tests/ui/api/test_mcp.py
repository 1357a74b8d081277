"""The page's tools as an assistant sees and uses them, with the protocol's own client."""

from __future__ import annotations

import ast
import base64
import io
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from tests.own_loop import run
from tests.running_app import RunningApp

ROOT = Path(__file__).parents[3]
CAT = ROOT / "ui/examples/cat.jpg"
PHOTO = "data:image/jpeg;base64," + base64.b64encode(CAT.read_bytes()).decode()
TOOLS = {
    *("classify", "none_of_these", "heat_map", "by_template", "hints", "similarity"),
    *("prompts", "tokens", "models", "templates", "label_sets"),
}


@pytest.fixture(scope="module")
def address(shared_app: RunningApp) -> str:
    return shared_app.address


def talk(address: str, ask: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    async def session() -> Any:
        async with (
            streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await ask(client)

    return run(session())


def call(address: str, tool: str, /, **arguments: Any) -> tuple[Any, bool]:
    """What a tool said, read if it is Python's, and whether it is an error."""
    result = talk(address, lambda client: client.call_tool(tool, arguments))
    text = "".join(part.text for part in result.content if part.type == "text")
    try:
        return ast.literal_eval(text), result.isError
    except (ValueError, SyntaxError):
        return text, result.isError


def test_these_tools_and_no_other(address: str) -> None:
    tools = talk(address, lambda client: client.list_tools()).tools
    assert {tool.name for tool in tools} == TOOLS
    for tool in tools:
        assert len(tool.description or "") > 40
        for name, parameter in tool.inputSchema["properties"].items():
            assert parameter["type"] in ("string", "number"), (tool.name, name)
            assert len(parameter.get("description", "")) > 10, (tool.name, name)


def test_the_right_label_wins(address: str) -> None:
    (shares, table), failed = call(address, "classify", image=PHOTO, labels="dog, cat")
    assert not failed
    assert shares["label"] == "cat"
    assert [row[1] for row in table["data"]] == ["cat", "dog"]


def test_none_of_them_fits(address: str) -> None:
    answer, failed = call(address, "none_of_these", image=PHOTO, labels="violin, tractor")
    assert not failed
    assert answer["is_none"] is True
    assert answer["chance"] > 0.9


def test_a_heat_map_comes_as_an_address(address: str) -> None:
    (drawn, numbers), failed = call(address, "heat_map", image=PHOTO, label="cat", others="dog")
    assert not failed
    assert httpx.get(drawn["url"]).content.startswith(b"\x89PNG")
    assert len(numbers["grid"]) == numbers["height"] == 15


def test_a_heat_map_comes_as_a_picture_where_progress_is_asked_for(address: str) -> None:
    async def hear(*_: Any) -> None:
        pass

    arguments = {"image": PHOTO, "label": "cat", "others": "dog"}
    result = talk(
        address,
        lambda client: client.call_tool("heat_map", arguments, progress_callback=hear),
    )
    (picture,) = [part for part in result.content if part.type == "image"]
    with Image.open(io.BytesIO(base64.b64decode(picture.data))) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width == drawn.height > 100


@pytest.mark.parametrize("image", [str(CAT), "file:///etc/hostname", CAT.name])
def test_files_of_the_server_are_no_pictures(image: str, address: str) -> None:
    answer, failed = call(address, "classify", image=image, labels="cat, dog")
    assert failed
    assert answer.startswith("Invalid file data format")


def test_addresses_in_the_server_s_own_network_are_not_fetched(address: str) -> None:
    with CAT.open("rb") as file:
        (path,) = httpx.post(f"{address}/gradio_api/upload", files={"files": file}).json()
    there = f"{address}/gradio_api/file={path}"
    assert httpx.get(there).content == CAT.read_bytes()
    _, failed = call(address, "classify", image=there, labels="cat, dog")
    assert failed


def test_tools_without_a_model(address: str) -> None:
    found, failed = call(address, "prompts", labels="cat, owl", template="a sketch of {a} {}.")
    assert not failed
    assert found[1] == {"label": "owl", "prompts": ["a sketch of an owl."]}
    models, failed = call(address, "models")
    assert not failed
    assert models[0]["name"] == "bundled"
    assert models[0]["default_framing"] == "pad"
    sets, failed = call(address, "label_sets", name="weather")
    assert not failed
    assert "rain" in " ".join(sets[0]["labels"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labels": ""}, "Type at least two labels"),
        ({"labels": "cat, dog", "template": "no place"}, "The template has no {}"),
        ({"labels": "cat, dog", "model": "none such"}, "There is no model 'none such' here"),
        ({"labels": "cat, dog", "framing": "round"}, "There is no square 'round'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    address: str, arguments: dict[str, str], said: str
) -> None:
    answer, failed = call(address, "classify", image=PHOTO, **arguments)
    assert failed
    assert said in answer


def test_no_tools_without_the_flag(start_app: Callable[..., str], tiny_model: Path) -> None:
    address = start_app("--model", str(tiny_model))
    assert httpx.get(f"{address}/gradio_api/mcp/").status_code == 404


@pytest.mark.slow
def test_without_its_package_the_flag_says_what_to_install(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['mcp'] = None; import app; app.main(['--mcp'])"
    done = subprocess.run(
        [sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'gradio[mcp]'" in done.stderr
