"""Questions about a scene whose answers its facts decide: is it there, how often, what comes first, what lies behind.

Lower case, plain ASCII; a question ends with a question mark, and an answer without a full stop, as captions do.
"""

import random
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from sonopsis.scenes.compose import HOLDS
from sonopsis.scenes.phrasing import pick
from sonopsis.scenes.scene import Facts
from sonopsis.scenes.vocabulary import LEAVES
from sonopsis.scenes.words import parse

Kind = Literal["presence", "count", "sounds", "order", "first", "last", "next", "together", "background", "content"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NUMBERS = ("none", "one", "two", "three", "four")
TIMES = ("never", "once", "twice", "three times", "four times")
NOTHING = "nothing"  # lies in the background

# Placeholders: a and b are noun phrases of labels.
WORDINGS: dict[Kind, tuple[str, ...]] = {
    "presence": ("is there {a}?", "can you hear {a}?", "do you hear {a}?", "can {a} be heard?", "does it contain {a}?"),
    "count": ("how often is {a} heard?", "how many times can {a} be heard?", "how often does one hear {a}?"),
    "sounds": ("how many different sounds are there?", "how many sounds can be heard?", "how many kinds of sound?"),
    "order": ("does {a} come before {b}?", "is {a} heard before {b}?", "do you hear {a} before {b}?"),
    "first": ("what comes first?", "what is heard first?", "which sound is the first?", "what happens first?"),
    "last": ("what comes last?", "what is heard last?", "which sound is the last?", "what happens last?"),
    "next": ("what comes after {a}?", "what is heard after {a}?", "what follows {a}?"),
    "together": (
        "do {a} and {b} sound at the same time?",
        "is {a} heard together with {b}?",
        "do {a} and {b} overlap?",
    ),
    "background": ("what is in the background?", "what sounds in the background?", "which sound lies behind?"),
    "content": ("what can be heard?", "what is this?", "what do you hear?", "which sounds are there?", "what sounds?"),
}


class Question(NamedTuple):
    """A question, and the answer that is true of the scene."""

    kind: Kind
    text: str
    answer: str

    def answered_by(self, text: str) -> bool:
        """Whether an answer says the same: it names the same labels in that order, or, where none is asked for, it
        begins with the same words."""
        named = parse(self.answer)
        return parse(text) == named if named else f"{text.strip(' .')} ".startswith(f"{self.answer} ")


def ask(facts: Facts, rng: random.Random) -> Question:
    """One question about a scene; every kind that can be asked of it is equally probable."""
    return ask_kind(facts, pick(rng, [kind for kind in KINDS if askable(facts, kind)]), rng)


def askable(facts: Facts, kind: Kind) -> bool:
    """Whether the facts decide the answer to questions of a kind."""
    return _ASKABLE[kind](facts)


def ask_kind(facts: Facts, kind: Kind, rng: random.Random) -> Question:
    """One question of a kind about a scene; ValueError when scenes of this type leave the answer open."""
    if not askable(facts, kind):
        raise ValueError(f"a scene of type {facts.type} with {len(facts.labels)} labels answers no question of {kind}")
    labels, answer = _ANSWERS[kind](facts, rng)
    nouns = dict(zip("ab", (pick(rng, LEAVES[label].nouns) for label in labels), strict=False))
    return Question(kind, pick(rng, WORDINGS[kind]).format(**nouns), answer)


def _in_turn(facts: Facts) -> bool:
    """Whether two sounds or more follow one another."""
    return facts.type == "sequence" or (facts.type == "bed" and len(facts.labels) == 3)


def _events(facts: Facts) -> tuple[str, ...]:
    """The labels of what happens in front of the background."""
    return facts.labels[:-1] if facts.type == "bed" else facts.labels


_ASKABLE: dict[Kind, Callable[[Facts], bool]] = {
    "presence": lambda facts: True,
    "count": lambda facts: True,
    "sounds": lambda facts: True,
    "order": _in_turn,
    "first": _in_turn,
    "last": _in_turn,
    "next": _in_turn,
    "together": lambda facts: facts.type in ("sequence", "overlap"),
    "background": lambda facts: True,
    "content": lambda facts: True,
}


def noun(label: str) -> str:
    """How answers name a label."""
    return LEAVES[label].nouns[0]


# Each of the following gives the labels that the question names, and the answer.

_Answer = tuple[tuple[str, ...], str]


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _absent(facts: Facts) -> list[str]:
    """The labels that certainly do not sound: music, say, may hold drums."""
    perhaps = {inner for label in facts.labels for inner in HOLDS.get(label, ())}
    return [label for label in LEAVES if label not in facts.labels and label not in perhaps]


def _presence(facts: Facts, rng: random.Random) -> _Answer:
    there = rng.random() < 0.5
    return (pick(rng, facts.labels if there else _absent(facts)),), _yes(there)


def _count(facts: Facts, rng: random.Random) -> _Answer:
    if rng.random() < 0.25:
        return (pick(rng, _absent(facts)),), TIMES[0]
    times = facts.count if facts.type == "repeat" else 1
    return (pick(rng, _events(facts)),), TIMES[times]


def _order(facts: Facts, rng: random.Random) -> _Answer:
    events = list(_events(facts))
    first, second = sorted((pick(rng, range(len(events))), pick(rng, range(len(events)))))
    if first == second:
        first, second = (first, first + 1) if first + 1 < len(events) else (first - 1, first)
    if rng.random() < 0.5:
        return (events[first], events[second]), _yes(True)
    return (events[second], events[first]), _yes(False)


def _next(facts: Facts, rng: random.Random) -> _Answer:
    events = _events(facts)
    place = pick(rng, range(len(events) - 1))
    return (events[place],), noun(events[place + 1])


def _together(facts: Facts, rng: random.Random) -> _Answer:
    first = pick(rng, range(len(facts.labels) - 1))
    pair = (facts.labels[first], facts.labels[first + 1])
    return (pair if rng.random() < 0.5 else pair[::-1]), _yes(facts.type == "overlap")


def _content(facts: Facts, rng: random.Random) -> _Answer:
    nouns = [noun(label) for label in facts.labels]
    return (), nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"


_ANSWERS: dict[Kind, Callable[[Facts, random.Random], _Answer]] = {
    "presence": _presence,
    "count": _count,
    "sounds": lambda facts, rng: ((), NUMBERS[len(facts.labels)]),
    "order": _order,
    "first": lambda facts, rng: ((), noun(_events(facts)[0])),
    "last": lambda facts, rng: ((), noun(_events(facts)[-1])),
    "next": _next,
    "together": _together,
    "background": lambda facts, rng: ((), noun(facts.labels[-1]) if facts.type == "bed" else NOTHING),
    "content": _content,
}
