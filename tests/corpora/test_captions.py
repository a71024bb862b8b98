import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavtext.corpora.captions import (
    CLEANING_RULES,
    DEFAULT_RULES,
    CaptionBuilder,
    choose_rules,
    fill_template,
)
from wavtext.errors import ConfigError


@pytest.mark.parametrize(
    ("title", "description", "caption"),
    [
        ("Crow", "It caws", "Crow. It caws"),
        ("Crow.", "It caws.", "Crow. It caws."),
        ("Crow", "", "Crow."),
        ("", "It caws", "It caws"),
        (" ", "", ""),
    ],
)
def test_the_papers_template_copes_with_empty_columns(
    title: str, description: str, caption: str
) -> None:
    columns = {"title": title, "description": description}
    assert fill_template("{title}. {description}", columns) == caption


@pytest.mark.parametrize("template", ["crow", "{title", "{0:>3}", "{title!r}", "{}"])
def test_a_template_that_is_none_is_an_error(template: str) -> None:
    with pytest.raises(ConfigError, match="template"):
        CaptionBuilder((template,))


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("markup", "Rain &amp; <b>wind</b>", "Rain &  wind"),
        ("urls", "Rain, see https://x.org/a?b=1 now", "Rain, see  now"),
        ("credits", "A horse. Thanks to Thorgal.", "A horse."),
        ("credits", "A horse. Made by Ann.", "A horse."),
        ("credits", "A rip. Made by stretching rubber.", "A rip. Made by stretching rubber."),
        ("requests", "A loud siren. This sound was requested by Alex.", "A loud siren."),
        ("requests", "A tidal wave sound requested by Lincoln", "A tidal wave sound"),
        ("requests", "A guest requests a room.", "A guest requests a room."),
        ("licences", "An ape. The sound is public domain.", "An ape."),
        ("advertising", "Zapping. Great for a movie scene.", "Zapping."),
        ("advertising", "A great dane barks for food.", "A great dane barks for food."),
        ("cross_references", "A rewind. Can synchronize its 0076", "A rewind."),
        ("cross_references", "Like a film of 2001.", "Like a film of 2001."),
        ("emoticons", "Very cute :)", "Very cute"),
        ("whitespace", "a \t b\n", "a b"),
        ("wordless", "12 - ?", ""),
    ],
)
def test_each_cleaning_rule_does_one_thing(rule: str, before: str, after: str) -> None:
    assert CaptionBuilder(rules=(rule,)).clean(before) == after


def test_every_rule_has_an_example_above_and_can_be_turned_off() -> None:
    for rule in CLEANING_RULES:
        assert rule not in choose_rules(["all"], turned_off=[rule])
    assert choose_rules(None) == DEFAULT_RULES
    with pytest.raises(ConfigError, match="Rules: markup"):
        choose_rules(["markdown"])


def test_several_templates_give_several_captions_without_repetition() -> None:
    builder = CaptionBuilder(("{title}", "{tags}", "{title}"))
    assert builder.build({"title": "Crow", "tags": "bird"}) == ("Crow", "bird")
    assert builder.build({"title": "Crow", "tags": "Crow"}) == ("Crow",)


@given(st.text(max_size=60))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    builder = CaptionBuilder(rules=("emoticons", "whitespace", "wordless"))
    assert builder.clean(builder.clean(text)) == builder.clean(text)


def test_on_the_real_wavtext5k_the_rules_remove_credits_and_keep_the_sounds(shared: Path) -> None:
    with (shared / "metadata" / "wavtext5k.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["description"] for row in csv.DictReader(file) if row["description"].strip()]
    builder = CaptionBuilder(rules=tuple(CLEANING_RULES))
    cleaned = [builder.clean(text) for text in texts]
    assert sum(1 for text in texts if "requested by" in text.lower()) > 150
    assert sum(1 for text in cleaned if "requested by" in text.lower()) == 0
    assert sum(1 for text in cleaned if text) > 0.99 * len(texts)
