"""UCS, the sound-effects industry's category system.  A file's stem or a CatID -> what it names.

A UCS name is `CatID(-UserCategory)_FX name_creator_source(_user data).wav`, where the CatID stands
for a category and a subcategory of the published list, as in `DOORWood_Kitchen Door_AB_HOME.wav`.
What is not on the list, letter by letter, is not taken for a CatID: the name is a name like others.

Source: the list, version 8.2.1 (data/ucs.tsv says whence), and UCS' file naming convention.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from wavtext.corpora.names import words_of_name

_LEAST_BLOCKS = 4  # of a whole name; less is believed where the CatID is no ordinary word


@dataclass(frozen=True, slots=True)
class UcsName:
    """The parts of a UCS file name."""

    cat_id: str  # "DOORWood"
    category: str  # "doors"
    subcategory: str  # "wood"
    title: str  # the FX name, as words
    creator: str
    source: str


def parse_ucs_name(stem: str) -> UcsName | None:
    """The parts of a UCS name; None when the name is not one."""
    blocks = [block.strip() for block in stem.split("_")]
    cat_id = blocks[0].split("-")[0]
    found = ucs_categories().get(cat_id)
    # RAIN, TEST or MIX begin other names too.
    least = _LEAST_BLOCKS if cat_id.isupper() else 2
    if found is None or len(blocks) < least:
        return None
    return UcsName(
        cat_id=cat_id,
        category=found[0],
        subcategory=found[1],
        title=words_of_name(blocks[1]),
        creator=blocks[2] if len(blocks) > 2 else "",
        source=blocks[3] if len(blocks) > 3 else "",
    )


def category_words(cat_id: str) -> str:
    """What a CatID stands for: "DOORWood" -> "doors wood"; empty when it is not on the list."""
    category, subcategory = ucs_categories().get(cat_id, ("", ""))
    return f"{category} {'' if subcategory in ('misc', 'general') else subcategory}".strip()


@cache
def ucs_categories() -> Mapping[str, tuple[str, str]]:
    """CatID -> category and subcategory, of the published list."""
    text = files("wavtext.corpora").joinpath("data/ucs.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {cat_id: (category, subcategory) for cat_id, category, subcategory in rows}
