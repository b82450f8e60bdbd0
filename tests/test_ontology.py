"""The table of labels: what stands in it, and the ways up and down."""

import json
import re
from pathlib import Path

from sonopsis.folder import DEFAULT_MODEL, describe
from sonopsis.ontology import current, current_labels, entries, former, id_of, parents_of, tree
from sonopsis.scenes.vocabulary import LEAVES

OLD = {
    "speech": "Speech",
    "dog": "Dog",
    "cow": "Cattle, bovinae",
    "chicken": "Chicken, rooster",
    "kick drum": "Bass drum",
    "horn": "Alarm",
    "footsteps": "Walk, footsteps",
}


def test_the_table_is_a_forest_of_one_name_and_one_id_each() -> None:
    table = entries()
    assert len(table) > 550
    seen: set[str] = set()
    for entry in table.values():
        assert entry.parent is None or entry.parent in seen, entry  # so there are no circles
        seen.add(entry.name)
    ids = [entry.id for entry in table.values() if entry.id is not None]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"/[mgt]/[0-9a-z_]+", found) for found in ids)
    assert {name for name, entry in table.items() if entry.parent is None} == {
        "Human sounds",
        "Animal",
        "Music",
        "Natural sounds",
        "Sounds of things",
        "Source-ambiguous sounds",
        "Channel, environment and background",
    }


def test_only_labels_of_ours_lack_an_id() -> None:
    ours = {entry.name for entry in entries().values() if entry.id is None}
    assert ours <= set(LEAVES) <= set(entries())
    assert ours == {
        "Elephant",
        "Tom drum",
        "Hand percussion",
        "Orchestral instrument",
        "Digging",
        "Sword",
        "Notification",
        "Laser",
    }


def test_known_classes() -> None:
    assert id_of("Dog") == "/m/0bt9lr"
    assert parents_of("Dog") == ("Animal", "Domestic animals, pets")
    assert parents_of("Chicken, rooster") == ("Animal", "Livestock, farm animals, working animals", "Fowl")
    assert (id_of("Music"), parents_of("Music")) == ("/m/04rlf", ())
    assert (id_of("Sword"), parents_of("Sword")) == (None, ("Sounds of things", "Miscellaneous sources"))
    assert (id_of("robin"), parents_of("robin")) == (None, ())


def test_old_names_lead_to_new_ones_and_back() -> None:
    for old, new in OLD.items():
        assert (current(old), current(new), former(new), former(old)) == (new, new, old, old)
    old = [entry.was for entry in entries().values() if entry.was is not None]
    assert len(set(old)) == len(old) == 50
    assert not set(old) & set(entries())  # a name is old or new, never both
    assert current("robin") == former("robin") == "robin"


def test_labels_of_a_model_are_renamed_if_they_are_all_the_old_ones() -> None:
    old = [entry.was for entry in entries().values() if entry.was is not None]
    assert current_labels([*old, "robin"]) == [*map(current, old), "robin"]
    assert current_labels(["dog", "horn"]) == ["dog", "horn"]  # of somebody else


def test_the_tree_shows_labels_below_what_is_above_them() -> None:
    assert list(tree(["Dog", "robin", "Rain", "Water"])) == [
        (0, "Animal", False),
        (1, "Domestic animals, pets", False),
        (2, "Dog", True),
        (0, "Natural sounds", False),
        (1, "Water", True),
        (2, "Rain", True),
        (0, "robin", True),
    ]
    assert sum(is_label for _, _, is_label in tree(list(LEAVES))) == len(LEAVES)


def test_a_model_with_the_older_names_has_todays(tmp_path: Path) -> None:
    for file in DEFAULT_MODEL.iterdir():
        if file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    fields = json.loads((DEFAULT_MODEL / "config.json").read_text(encoding="utf-8"))
    # Folders of that time had neither labels of a teacher nor thresholds.
    older = fields | {"labels": list(map(former, fields["labels"])), "distilled_labels": [], "thresholds": {}}
    (tmp_path / "config.json").write_text(json.dumps(older))
    assert "cow" in older["labels"] and "Cattle, bovinae" not in older["labels"]
    labels = describe(tmp_path).config.labels
    assert labels == list(map(current, older["labels"])) == fields["labels"]
    assert set(labels) - set(fields["distilled_labels"]) <= set(LEAVES)
