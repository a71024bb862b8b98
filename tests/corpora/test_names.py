from pathlib import PurePath

import pytest

from wavtext.corpora.names import family_of_name, words_of_folders, words_of_name
from wavtext.corpora.ucs import UcsName, category_words, parse_ucs_name, ucs_categories


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DoorSlam_Heavy-03", "door slam heavy"),
        ("01 - crow.call (2)", "crow call"),
        ("HTTPServer", "http server"),
        ("rain2wind", "rain wind"),
        ("sfx_snd_owl_44k", "owl"),
        ("Käuzchen-Ruf", "käuzchen ruf"),
        ("003", ""),
        ("a_b_c", "a"),
    ],
)
def test_file_names_become_words(name: str, words: str) -> None:
    assert words_of_name(name) == words


def test_abbreviations_are_spelt_out_or_dropped() -> None:
    assert words_of_name("bd_fat", {"bd": "bass drum"}) == "bass drum fat"
    assert words_of_name("mods_fire", {"mods": ""}) == "fire"


def test_generic_folders_say_nothing() -> None:
    assert words_of_folders(["usr", "share", "games", "Animals", "birds"]) == "animals, birds"


def test_takes_of_one_sound_are_one_family() -> None:
    names = ["x/crow_01.wav", "x/crow_02.wav", "x/crow 3.wav", "x/Crow.wav"]
    assert len({family_of_name(PurePath(name)) for name in names}) == 1
    assert family_of_name(PurePath("x/1.wav")) != family_of_name(PurePath("x/2.wav"))


@pytest.mark.parametrize(
    ("stem", "category", "subcategory", "title"),
    [
        ("DOORWood_Kitchen Door Slam_AB_HOME", "doors", "wood", "kitchen door slam"),
        ("AMBForst_Morning Birds_JD_FIELD", "ambience", "forest", "morning birds"),
        ("UIClick_Soft Button_X", "user interface", "click", "soft button"),
        ("GUNAuto-EXT_Uzi-Short Bursts_TN_X_MKH8040", "guns", "automatic", "uzi short bursts"),
        ("RAIN_Tin Roof_AB_HOME", "rain", "general", "tin roof"),
    ],
)
def test_ucs_names_are_taken_apart(stem: str, category: str, subcategory: str, title: str) -> None:
    found = parse_ucs_name(stem)
    assert isinstance(found, UcsName)
    assert (found.category, found.subcategory, found.title) == (category, subcategory, title)


@pytest.mark.parametrize(
    "stem",
    [
        "door_slam",
        "DOORWood",
        "DOORWoox_Slam_AB_HOME",  # not on the list
        "GunAuto_Uzi_TN_X",  # the list's letters, in another case
        "RAIN_tin_roof",  # an ordinary word
        "Door_Slam_01",
        "CD_1",
    ],
)
def test_other_names_are_not_taken_for_ucs(stem: str) -> None:
    assert parse_ucs_name(stem) is None


def test_the_whole_published_list_is_known() -> None:
    assert len(ucs_categories()) == 754  # 753 of version 8.2.1; WOODHndl is also spelt WOODHandl
    assert len({category for category, _ in ucs_categories().values()}) == 82
    assert category_words("AEROHeli") == "aircraft helicopter"
    assert category_words("AIRMisc") == "air"
    assert category_words("AEROFoo") == ""
