"""Clips are drawn evenly, and excerpts begin and end where their clips sound."""

import random
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sonopsis.data.clips import Clip
from sonopsis.scenes.pool import Pool, excerpt


def clip(name: str, *active: tuple[float, float], label: str = "Dog", source: str = "p", family: str = "f") -> Clip:
    """A clip that sounds in these stretches."""
    return Clip(name, 0.0, active[-1][1], (label,), (), source, family, "CC0", "train", name, active)


@st.composite
def stretches(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Stretches of 0.1 s and more, with pauses that divide a clip and pauses that do not."""
    at, found = 0.0, []
    for _ in range(draw(st.integers(1, 6))):
        start = at + draw(st.sampled_from([0.3, 0.9, 1.5, 4.0]))
        at = start + draw(st.floats(0.1, 6.0))
        found.append((start, at))
    return found


@given(stretches(), st.floats(0.05, 8.0), st.integers(0, 2**32))
def test_an_excerpt_is_of_one_passage_begins_with_sound_and_is_not_too_long(
    active: list[tuple[float, float]], longest: float, seed: int
) -> None:
    start, end = excerpt(clip("a", *active), random.Random(seed), longest)
    assert 0 < end - start <= longest + 0.002
    assert any(a - 0.001 <= start <= b for a, b in active)
    assert end <= active[-1][1]
    inside = [(a, b) for a, b in active if b > start and a < end]
    pauses = [after[0] - before[1] for before, after in pairwise(inside)]
    assert all(pause <= 1.0 for pause in pauses)


@given(st.integers(0, 2**32))
def test_only_the_first_half_minute_of_a_clip_is_used(seed: int) -> None:
    start, end = excerpt(clip("a", (2.0, 100.0), (120.0, 130.0)), random.Random(seed), 40.0)
    assert (start, end) == (2.0, 30.0)


def test_packages_and_families_are_drawn_evenly_however_many_clips_they_have() -> None:
    many = [clip(f"many-{i}", (0.0, 1.0), source="many", family=f"f{i % 2}") for i in range(40)]
    pool = Pool([*many, clip("one", (0.0, 1.0), source="one")], "train")
    rng = random.Random(0)
    drawn = Counter(pool.draw(rng, "Dog").source for _ in range(1000))
    assert 400 < drawn["one"] < 600


def test_clips_of_another_split_of_several_labels_or_too_short_are_not_in_the_pool() -> None:
    double = Clip("a", 0.0, 1.0, ("Dog", "Rain"), (), "p", "f", "CC0", "train", "a", ((0.0, 1.0),))
    short = clip("b", (0.0, 0.005), label="Cat")
    unknown = clip("c", (0.0, 1.0), label="unicorn")
    late = clip("d", (31.0, 32.0), label="Cattle, bovinae")
    rain = [clip("e", (0.0, 0.5), label="Rain"), clip("f", (0.0, 3.0), label="Wind")]
    pool = Pool([double, short, unknown, late, *rain], "train")
    assert pool.leaves == ["Rain", "Wind"] and pool.beds == ["Wind"]
    assert Pool(rain, "test").leaves == []
