"""The facts of a scene in sentences: five families of wording for training, and one held out for testing.

Sentences state only what can be heard and was composed: which sounds, in which order, together or not, once or
repeatedly, in front of which background.  Lower case, plain ASCII, no full stop at the end.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from sonopsis.data.splits import Split
from sonopsis.scenes.scene import Facts
from sonopsis.scenes.vocabulary import LEAVES

T = TypeVar("T")

CAPTIONS = 5  # per scene
HELD_OUT = "held_out"  # the family that only test scenes are described with

# Placeholders: n noun phrase, c clause, g headline, p plural, b background; the digit is the place in `Facts.labels`.
# Keys are the scene type and the number of labels; "repeat3" adds what is true of three and more occurrences.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "plain": {
        "single1": ("{n0}", "the sound of {n0}", "{n0} on its own"),
        "sequence2": ("{n0} followed by {n1}", "{n0} and then {n1}", "{n1} after {n0}", "{n0} before {n1}"),
        "sequence3": ("{n0} followed by {n1} and then {n2}", "{n0}, then {n1}, then {n2}"),
        "sequence4": ("{n0} followed by {n1}, then {n2} and then {n3}", "{n0}, then {n1}, then {n2}, then {n3}"),
        "overlap2": ("{n0} and {n1} at the same time", "{n0} together with {n1}", "{n0} and {n1} sounding together"),
        "repeat1": ("{n0} again and again", "repeated {p0}", "a series of {p0}", "{p0} one after another"),
        "repeat3": ("several {p0}",),
        "bed2": ("{n0} with {b1} in the background", "{n0} over {b1}", "{n0} against a background of {b1}"),
        "bed3": ("{n0} followed by {n1} with {b2} in the background", "{n0} and then {n1} over {b2}"),
    },
    "clause": {
        "single1": ("{c0}", "{c0}, by itself", "{c0} and nothing else"),
        "sequence2": ("{c0} and then {c1}", "{c0} before {c1}", "{c1} after {c0}", "after {c0}, {c1}"),
        "sequence3": (
            "{c0}, then {c1} and then {c2}",
            "{c0} before {c1} and then {c2}",
            "after {c0}, {c1} and then {c2}",
        ),
        "sequence4": ("{c0}, then {c1}, then {c2} and then {c3}", "{c0} before {c1}, then {c2} and then {c3}"),
        "overlap2": ("{c0} while {c1}", "{c1} while {c0}", "while {c0}, {c1}", "{c0} and {c1} at the same time"),
        "repeat1": ("{c0} repeatedly", "{c0} again and again", "{c0} more than once"),
        "repeat3": ("{c0} several times", "{c0} over and over"),
        "bed2": ("{c0} while {c1} in the background", "{c0} with {b1} in the background"),
        "bed3": ("{c0} and then {c1} while {c2} in the background", "{c0} and then {c1} over {b2}"),
    },
    "narrative": {
        "single1": ("we hear {n0}", "we hear the sound of {n0}"),
        "sequence2": ("first {c0}, then {c1}", "at first {c0}, and afterwards {c1}", "we hear {n0}, and later {n1}"),
        "sequence3": ("first {c0}, then {c1}, and finally {c2}", "we hear {n0}, then {n1}, and at last {n2}"),
        "sequence4": (
            "first {c0}, then {c1}, next {c2}, and finally {c3}",
            "we hear {n0}, then {n1}, then {n2}, and at last {n3}",
        ),
        "overlap2": ("as {c0}, {c1}", "we hear {n0}, and {n1} at the same time", "{c1} just as {c0}"),
        "repeat1": ("we hear {n0}, again and again", "there are repeated {p0}", "first {c0}, and it keeps coming back"),
        "repeat3": ("there are several {p0}", "{c0}, over and over again"),
        "bed2": ("we hear {b1} in the background, and {c0}", "as {c1} in the background, {c0}"),
        "bed3": ("over {b2}, first {c0}, then {c1}", "we hear {b2} in the background while {c0} and then {c1}"),
    },
    "listener": {
        "single1": ("{n0} can be heard", "one can hear {n0}", "only {n0} can be heard"),
        "sequence2": (
            "{n0} can be heard, followed by {n1}",
            "one can hear {n0} and then {n1}",
            "{n1} can be heard after {n0}",
        ),
        "sequence3": (
            "{n0} can be heard, followed by {n1} and then {n2}",
            "one can hear {n0}, then {n1} and finally {n2}",
        ),
        "sequence4": (
            "{n0} can be heard, followed by {n1}, then {n2} and then {n3}",
            "one can hear {n0}, then {n1}, then {n2} and finally {n3}",
        ),
        "overlap2": (
            "{n0} and {n1} can be heard together",
            "one can hear {n0} while {c1}",
            "{n0} can be heard as {c1}",
        ),
        "repeat1": ("{p0} can be heard", "one can hear {n0} again and again", "{n0} can be heard more than once"),
        "repeat3": ("{n0} can be heard several times", "one can hear several {p0}"),
        "bed2": ("{n0} can be heard over {b1}", "{b1} can be heard in the background while {c0}"),
        "bed3": (
            "{n0} and then {n1} can be heard over {b2}",
            "{b2} can be heard in the background while {c0} and then {c1}",
        ),
    },
    "terse": {
        "single1": ("{g0}", "{g0}, on its own", "{g0}, alone"),
        "sequence2": ("{g0}, then {g1}", "{g0}, followed by {g1}", "{g0} before {g1}"),
        "sequence3": ("{g0}, then {g1}, then {g2}", "{g0}, followed by {g1}, followed by {g2}"),
        "sequence4": ("{g0}, then {g1}, then {g2}, then {g3}", "{g0}, followed by {g1}, then {g2}, then {g3}"),
        "overlap2": ("{g0} while {g1}", "{g0} and {g1}, simultaneously", "{g0} with {g1}"),
        "repeat1": ("{g0}, repeated", "{p0}", "repeated {p0}"),
        "repeat3": ("{g0}, several times", "several {p0}"),
        "bed2": ("{g0}, {b1} in the background", "{b1} and {g0}", "{g0} with {b1} behind it"),
        "bed3": ("{g0}, then {g1}, with {b2} in the background", "{b2}; {g0}, then {g1}"),
    },
    HELD_OUT: {
        "single1": ("this is {n0}", "what sounds here is {n0}", "a recording of {n0}"),
        "sequence2": (
            "{n1} coming after {n0}",
            "{n0} preceding {n1}",
            "{n1}, preceded by {n0}",
            "{n0} giving way to {n1}",
            "once {c0}, {c1}",
        ),
        "sequence3": ("{n0} giving way to {n1}, and after that {c2}", "once {c0}, {c1}, and in the end {c2}"),
        "sequence4": (
            "{n0} giving way to {n1}, after that {c2}, and in the end {c3}",
            "once {c0}, {c1}; later {c2}, and at last {c3}",
        ),
        "overlap2": (
            "{n0} coinciding with {n1}",
            "{c0}, and simultaneously {c1}",
            "during {n0}, {c1}",
            "{n0} mixed with {n1}",
        ),
        "repeat1": ("{n0}, recurring", "a succession of {p0}", "{c0}, and once more"),
        "repeat3": ("{n0}, three times or more", "a whole succession of {p0}"),
        "bed2": ("in front of {b1}, {c0}", "a background of {b1} accompanies {n0}"),
        "bed3": (
            "in front of {b2}, {n0} giving way to {n1}",
            "a background of {b2} accompanies {n0}, and after that {n1}",
        ),
    },
}

_PLACEHOLDER = re.compile(r"\{([ncgpb])(\d)\}")


class Sentence(NamedTuple):
    """A caption and the family that worded it."""

    family: str
    text: str


def captions(facts: Facts, rng: random.Random, split: Split) -> list[Sentence]:
    """Five different captions, each of another family; for the test split one of them is of the held-out family."""
    families = [name for name in FAMILIES if name != HELD_OUT]
    if split == "test":
        families[pick(rng, range(len(families)))] = HELD_OUT
    sentences: list[Sentence] = []
    while len(sentences) < CAPTIONS:
        family = families[len(sentences)]
        text = phrase(facts, family, rng)
        if all(text != other.text for other in sentences):
            sentences.append(Sentence(family, text))
    return sentences


def phrase(facts: Facts, family: str, rng: random.Random) -> str:
    """One caption of a family."""
    templates = FAMILIES[family][f"{facts.type}{len(facts.labels)}"]
    if facts.type == "repeat" and facts.count >= 3:
        templates += FAMILIES[family]["repeat3"]

    def wording(match: re.Match[str]) -> str:
        label = LEAVES[facts.labels[int(match[2])]]
        forms = {"n": label.nouns, "c": label.clauses, "g": label.gerunds, "p": label.plurals, "b": label.background}
        return pick(rng, forms[match[1]])

    return _PLACEHOLDER.sub(wording, pick(rng, templates))


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """One of the options; drawn from `rng.random()` alone, whose stream is the same in every version of Python."""
    return options[int(rng.random() * len(options))]
