"""The readers of other people's formats, on bytes made here."""

from __future__ import annotations

import struct
import zlib

import pytest

from training.heldout import Picture, half, read_rcc
from training.imagenet import ImageNetClass
from training.phrases import article, plural, without_article
from training.pictures import emoji_name, name_of
from training.wordnet import WordNet, parse_counts, parse_senses, parse_synsets

NOUNS = [
    "  1 This software and database is being provided to you, the LICENSEE, by Princeton",
    "00000001 03 n 01 entity 0 000 | that which is perceived",
    "00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living organism; it moves",
    "00000003 05 n 01 dog 0 001 @ 00000002 n 0000 | barks (often)",
    "00000004 05 n 02 Samoyed 0 Samoyede 0 002 @ 00000003 n 0000 ~ 00000009 n 0000 | white dog",
    "00000005 15 n 01 New_York 0 001 @i 00000001 n 0000 | a city",
]
COUNTS = ["dog%1:05:00:: 1 42", "dog%2:38:00:: 1 2", "animal%1:03:00:: 1 30"]


def rcc(files: dict[str, bytes], compress: bool) -> bytes:
    """A resource of one folder that holds `files`, in format 1."""
    names, contents, nodes = b"", b"", b""
    folder_at = 0
    names += struct.pack(">HI", 3, 0) + "art".encode("utf-16-be")
    for name, data in files.items():
        stored = struct.pack(">I", len(data)) + zlib.compress(data) if compress else data
        nodes += struct.pack(">IHHHI", len(names), int(compress), 0, 0, len(contents))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        contents += struct.pack(">I", len(stored)) + stored
    tree = struct.pack(">IHII", 0, 2, 1, 1)  # the root: one child, node 1
    tree += struct.pack(">IHII", folder_at, 2, len(files), 2) + nodes
    head = struct.pack(">4I", 1, 20, 20 + len(tree), 20 + len(tree) + len(contents))
    return b"qres" + head + tree + contents + names


@pytest.mark.parametrize("compress", [False, True])
def test_a_qt_resource_gives_its_files_back(compress: bool) -> None:
    files = {"dog.webp": b"bow" * 50, "cat.webp": b"meow"}
    expected = {f"art/{name}": data for name, data in files.items()}
    assert dict(read_rcc(rcc(files, compress))) == expected


def test_other_files_are_no_qt_resource() -> None:
    with pytest.raises(ValueError, match="qres"):
        list(read_rcc(b"RIFF" + bytes(40)))


def test_wordnet_knows_what_a_samoyed_is() -> None:
    synsets = parse_synsets(NOUNS)
    senses = parse_senses(["  1 licence", "samoyed n 1 1 @ 1 0 00000004"])
    counts = parse_counts(COUNTS)
    wordnet = WordNet(synsets, senses, counts)
    assert synsets["00000004"].words == ("Samoyed", "Samoyede")
    assert synsets["00000002"].gloss == "a living organism"
    assert synsets["00000005"].is_instance
    assert synsets["00000005"].words == ("New York",)
    assert counts == {"dog": 42, "animal": 30}  # verbs don't count
    assert list(wordnet.ancestors("00000004")) == [
        ("00000003", 1),
        ("00000002", 2),
        ("00000001", 3),
    ]
    assert wordnet.kinds_of_word("SAMOYED") == ["dog", "animal"]  # "entity" is too general


def test_only_classes_with_one_basic_word_are_asked_about() -> None:
    from training.basic_words import basic_words  # noqa: PLC0415

    wordnet = WordNet(parse_synsets(NOUNS), {}, parse_counts(COUNTS))
    classes = [ImageNetClass("00000004", ("Samoyed",), ()), ImageNetClass("00000002", ("x",), ())]
    assert basic_words(wordnet, classes) == {0: "dog"}


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\N{DOG FACE}", "dog"),
        ("\N{BLACK HEART SUIT}", "heart suit"),
        ("\N{REGIONAL INDICATOR SYMBOL LETTER A}", ""),
        ("\N{EMOJI MODIFIER FITZPATRICK TYPE-3}", ""),
        ("\ue000", ""),
    ],
)
def test_emoji_are_named_as_people_say(character: str, name: str) -> None:
    assert emoji_name(character) == name


def test_clip_art_loses_its_artist_and_numbers() -> None:
    known = {"fire", "engine", "dog"}
    assert name_of("fire_engine_02_jsmith", known) == "fire engine"
    assert name_of("two-dogs", known) == ""  # half of the words are known
    assert name_of("Dogs", known) == "dogs"


def test_grammar() -> None:
    assert article("a photo of a apple on a table") == "a photo of an apple on a table"
    assert [plural(noun) for noun in ("bus", "berry", "toy", "dog")] == [
        "buses",
        "berries",
        "toys",
        "dogs",
    ]
    assert without_article("an apple") == without_article("apple") == "apple"


def test_pictures_of_one_label_stay_in_one_half(tmp_path) -> None:  # type: ignore[no-untyped-def]
    halves = {label: half(Picture(tmp_path / "1.png", label)) for label in map(str, range(200))}
    assert all(half(Picture(tmp_path / "2.png", label)) == h for label, h in halves.items())
    assert 70 < sum(h == "choose" for h in halves.values()) < 130
