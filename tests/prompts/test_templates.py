from __future__ import annotations

import hashlib

import pytest

import prompts
from prompts import TemplateError, UnknownNameError, fill, fill_all, validate

# openai/CLIP, data/prompts.md: data set, number of templates, the last of them.
DATA_SETS = [
    ("birdsnap", 1, "a photo of a {}, a type of bird."),
    ("caltech101", 34, "a doodle of the {}."),
    ("cifar10", 18, "a photo of the big {}."),
    ("cifar100", 18, "a photo of the big {}."),
    ("clevr-counts", 1, "a photo of {} objects."),
    ("country211", 5, "a photo showing the country of {}."),
    ("dtd", 8, "a photo of the {} object."),
    ("eurosat", 3, "a centered satellite photo of the {}."),
    ("fer2013", 6, "look at how {} they are."),
    ("fgvc-aircraft", 2, "a photo of the {}, a type of aircraft."),
    ("flowers102", 1, "a photo of a {}, a type of flower."),
    ("food101", 1, "a photo of {}, a type of food."),
    ("gtsrb", 3, 'a close up photo of a "{}" traffic sign.'),
    ("hateful-memes", 1, "a {}."),
    ("kinetics700", 28, "a demonstration of a person practicing {}."),
    ("kitti", 1, "{}"),
    ("mnist", 1, 'a photo of the number: "{}".'),
    ("oxford-pets", 1, "a photo of a {}, a type of pet."),
    ("patch-camelyon", 1, "this is a photo of {}"),
    ("rendered-sst2", 1, "a {} review of a movie."),
    ("resisc45", 18, "aerial view of the {}."),
    ("stanford-cars", 8, "a photo of my old {}."),
    ("stl10", 2, "a photo of the {}."),
    ("sun397", 2, "a photo of the {}."),
    ("ucf101", 48, "a demonstration of the person practicing {}."),
    ("voc2007", 1, "a photo of a {}."),
]
# imagenet-7, imagenet-80, then the data sets in the order above; one template a line.
PUBLISHED_SHA256 = "0a582410e819a3037e30707c1028a89c5e479bc83361888964ecf4ad573504c3"


def test_menu_order() -> None:
    names = list(prompts.template_sets())
    first_published = names.index("imagenet-7")
    assert names[:2] == ["{}", "a photo of a {}."]
    assert "a sketch of a {}." in names[:first_published]
    assert names[first_published:] == [
        "imagenet-7",
        "imagenet-80",
        *(name for name, _, _ in DATA_SETS),
    ]
    for name in names[:first_published]:
        single = prompts.find_template_set(name)
        assert (single.name, single.title, single.templates) == (name, name, (name,))


def test_imagenet_templates() -> None:
    eighty = prompts.find_template_set("imagenet-80").templates
    assert len(eighty) == len(set(eighty)) == 80
    assert eighty[0] == "a bad photo of a {}."
    assert eighty[39] == "a photo of a {}."
    assert eighty[-1] == "a tattoo of the {}."
    assert prompts.find_template_set("imagenet-7").templates == (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    )


@pytest.mark.parametrize(("name", "count", "last"), DATA_SETS)
def test_data_set_templates(name: str, count: int, last: str) -> None:
    template_set = prompts.find_template_set(name)
    assert len(template_set.templates) == len(set(template_set.templates)) == count
    assert template_set.templates[-1] == last
    assert template_set.title.endswith(f": {count} template{'s' if count > 1 else ''}")
    assert template_set.source.startswith("openai/CLIP, data/prompts.md, section ")
    assert template_set.licence.startswith("MIT")


def test_published_templates_are_unaltered() -> None:
    names = ["imagenet-7", "imagenet-80", *(name for name, _, _ in DATA_SETS)]
    lines = [line for name in names for line in prompts.find_template_set(name).templates]
    assert len(lines) == 301
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED_SHA256


def test_changing_the_returned_dict_changes_nothing_else() -> None:
    prompts.template_sets().clear()
    assert prompts.template_sets()


def test_unknown_name_lists_near_matches() -> None:
    with pytest.raises(UnknownNameError, match='"Food-101"; did you mean "food101"'):
        prompts.find_template_set("Food-101")
    with pytest.raises(UnknownNameError, match=r'the names are: "\{\}", .*"voc2007"'):
        prompts.find_template_set("zzzzzz")


@pytest.mark.parametrize(
    "template",
    [
        "{}",
        "a photo of {a} {}.",
        "{a} {}",
        "{a} small {}, seen from the side",
        '{a} "{}"',
        "фото: {}",
        "a" * 298 + "{}",
    ],
)
def test_valid(template: str) -> None:
    validate(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", r"has no \{\}; write"),
        ("a photo of a dog", r"has no \{\}; write"),
        ("a photo of {a} dog", r"has no \{\}; write"),
        ("{} and {}", r"has \{\} 2 times; keep"),
        ("{0}", r'holds "\{0\}"'),
        ("a {name}", r'holds "\{name\}"'),
        ("{} {0.__class__}", r'holds "\{0.__class__\}"'),
        ("{!r}", r'holds "\{!r\}"'),
        ("{ }", r'holds "\{ \}"'),
        ("{A} {}", r'holds "\{A\}"'),
        ("{{}}", "doubled braces"),
        ("{} {{x}}", "doubled braces"),
        ("{} {", "brace without its partner"),
        ("} {}", "brace without its partner"),
        ("{a} {} on {a} table", r"has \{a\} 2 times"),
        ("{} on {a} table", r"has \{a\} after \{\}"),
        ("{a}{}", r"joins \{a\}"),
        ("banan{a} {}", r"joins \{a\}"),
        ("{a}-{}", r"joins \{a\}"),
        ("{}\n", r"control character \(U\+000A, at place 3\)"),
        ("{}\x00", r"U\+0000"),
        ("a\tphoto of {}", r"U\+0009, at place 2"),
        ("{}\u2028", r"U\+2028"),
        ("\x9b{}", r"U\+009B"),
        ("{}\ud800", r"U\+D800"),
        ("a" * 299 + "{}", "has 301 characters; shorten it to 300"),
    ],
)
def test_invalid(template: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        validate(template)
    with pytest.raises(TemplateError, match=message):
        fill(template, "dog")
    with pytest.raises(TemplateError, match=message):
        fill_all([template], ["dog"])


@pytest.mark.parametrize(
    "label",
    [
        "dog",
        "{}",
        "{a}",
        "{0.__class__}",
        "{",
        "}}",
        "%s %(x)s $x",
        r"\1 \g<0>",
        "",
        "  spaced  ",
        "two\nlines\x00",
        "<script>alert(1)</script>",
        "\ud800",
    ],
)
def test_labels_are_literal(label: str) -> None:
    assert fill("a photo of a {}.", label) == "a photo of a " + label + "."
    assert fill("a photo of {a} big {}.", label) == "a photo of a big " + label + "."


@pytest.mark.parametrize(
    ("template", "label", "prompt"),
    [
        ("a photo of {a} {}.", "elephant", "a photo of an elephant."),
        ("a photo of {a} {}.", "dog", "a photo of a dog."),
        ("a photo of {a} {}.", "unicorn", "a photo of a unicorn."),
        ("a photo of {a} {}.", "{a} {}", "a photo of an {a} {}."),
        ("{a} small {}", "elephant", "a small elephant"),
        ("{a} orange {}", "cat", "an orange cat"),
        ('{a} "{}" sign', "exit", 'an "exit" sign'),
        ("{a} {}-ray", "X", "an X-ray"),
        ("a photo of a {}.", "elephant", "a photo of a elephant."),
    ],
)
def test_articles(template: str, label: str, prompt: str) -> None:
    assert fill(template, label) == prompt


def test_fill_all() -> None:
    assert fill_all(["a {}.", "{a} {}"], ["dog", "owl", "{}"]) == [
        ["a dog.", "a dog"],
        ["a owl.", "an owl"],
        ["a {}.", "a {}"],
    ]
    assert fill_all(["{}"], []) == []


def test_fill_all_names_the_bad_template() -> None:
    with pytest.raises(TemplateError, match=r"^Template 2: The template has no \{\}"):
        fill_all(["{}", "dog"], ["cat"])


def test_fill_all_refuses_a_bare_string() -> None:
    with pytest.raises(TypeError, match="in a list"):
        fill_all("{}", ["dog"])
    with pytest.raises(TypeError, match="in a list"):
        fill_all(["{}"], "dog")
