"""The published word table: a caption's words -> the leaf labels it names, in the order in which it says they happen.

Version 1 is fixed: figures computed with one version of the table cannot be compared with those of another.  The table
covers the project's own wordings (`scenes.vocabulary`) and the everyday synonyms a model may come up with.  Where
wordings overlap the longest wins ("bass drum" is no bass, "a voice shouting" no speech).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

WORDS_VERSION = 1

# Leaf -> alternatives, regular expressions over whole words of lower-case text.
WORDS: dict[str, tuple[str, ...]] = {
    "speech": (
        r"speech|speeches|speak(s|ing|ers?)?|spoken|spoke|talk(s|ing|ed)?|say(s|ing)|said|narrat\w+|announc\w+",
        r"convers\w+|utter\w*|chatter\w*|whisper\w*|voices?|words?|phrases?|spoken (words|phrases)",
        r"voices? (is |are )?(speaking|speaks?|talking|talks?|saying|says?)( something)?",
    ),
    "shout": (
        r"shout\w*|scream\w*|yell(s|ing|ed)?|grunt\w*|groan\w*|moan\w*|shriek\w*|exclaim\w*|outcry",
        r"human cr(y|ies)|cr(y|ies|ying|ied)( out)?|cries of (a )?(person|man|woman|voice)",
        r"voices? (is |are )?(shout|yell|scream|grunt|groan)\w*|voices? (is |are )?cr(y|ies|ying)( out)?",
        r"(shout|yell|scream|grunt|groan)\w* (of|from|by) an? (human )?voice",
    ),
    "laughter": (r"laugh\w*|giggl\w*|chuckl\w*|voices? (is |are )?laugh\w*",),
    "applause": (r"applau\w*|clap(s|ping|ped)?|cheer(s|ing)?|ovation|rounds? of applause|clapping hands",),
    "dog": (r"dogs?|bark(s|ing|ed)?|wol(f|ves)|howl(s|ing)?|pupp(y|ies)|hounds?|woof\w*|yap\w*",),
    "cat": (r"cats?|kittens?|meow\w*|miaow\w*|purr\w*",),
    "cow": (r"cows?|moo|moos|mooing|cattle|bulls?|calf|calves",),
    "horse": (r"horses?|pon(y|ies)|neigh\w*|whinn\w*|hoof\w*|hooves|gallop\w*|donkeys?|mules?|bray\w*",),
    "sheep": (r"sheep|goats?|lambs?|rams?|bleat\w*|goats? or sheep",),
    "pig": (r"pigs?|hogs?|boars?|piglets?|oink\w*|squeal\w*",),
    "chicken": (
        r"chickens?|hens?|roosters?|cocks?|cluck\w*|cock-a-doodle-doo|hens? or roosters?",
        r"(rooster|cock|hen|chicken)s? (is |are )?(crow|cackl|cry|cries)\w*",
        r"(crow|crows|crowing|cackl\w+|cry|cries) of (a |the )?(rooster|cock|hen|chicken)s?",
    ),
    "bird": (
        r"birds?|birdsongs?|bird ?songs?|chirp\w*|tweet\w*|ducks?|quack\w*|owls?|hoot(s|ing)?|crows?|crowing",
        r"caw\w*|cuckoos?|(sea)?gulls?|geese|goose|parrots?|pigeons?|warbl\w*|songbirds?|hawks?|eagles?",
        r"songs? of (a |the )?birds?|bird (is )?(cries|cry|crying)",
        r"cr(y|ies) of (a |the )?(\w+ )?(bird|hawk|eagle|gull|crow|owl)s?|(goose|geese) (is |are )?honk\w*",
    ),
    "frog": (r"frogs?|toads?|croak\w*|ribbit\w*",),
    "insect": (
        r"insects?|bees?|crickets?|cicadas?|mosquito(es)?|wasps?|buzz(es|ing|ed)?|a fly|flies buzz\w*|bugs?",
        r"(insect|cricket|cicada)s? (is |are )?chirp\w*( or buzz\w*)?",
        r"chirp\w* (of )?(a |an |the )?(insect|cricket)s?",
    ),
    "elephant": (
        r"elephants?|trumpeting|elephants? (is |are )?trumpet\w*|trumpet\w* (call )?of (an |the )?elephants?",
    ),
    "roar": (
        r"roar\w*|growl\w*|snarl\w*|monsters?|lions?|tigers?|bears?|beasts?|creatures?|dragons?",
        r"(monster|beast|creature|lion)s? (is |are )?(cr(y|ies|ying)|shout\w*|scream\w*|grunt\w*|groan\w*|moan\w*)",
    ),
    "kick drum": (r"kick drums?|kicks?|bass drums?|(kick|bass) drum (beat|hit)s?",),
    "snare drum": (r"snares?|snare drums?|rimshots?|snare drum (beat|hit|roll)s?",),
    "hi-hat": (r"hi-?hats?|hi hats?|high-? ?hats?",),
    "cymbal": (r"cymbals?|(crash|ride|splash) cymbals?|gongs?",),
    "tom drum": (r"toms?|tom drums?|tom-? ?toms?|floor toms?|tom drum (beat|hit)s?",),
    "hand percussion": (
        r"percussion\w*|hand percussion|hand drums?|tablas?|bongos?|congas?|shakers?|tambourines?|maracas?",
        r"cowbells?|claves|woodblocks?|triangles?|djembes?|rattles?|hand ?claps?|wind chimes?",
        r"percussion instruments?",
    ),
    "drum loop": (r"drum (loop|beat|pattern|groove|rhythm)s?|drums|drumming|breakbeats?|drum ?kits?|rhythms?",),
    "guitar": (
        r"guitars?|guitarist|strum\w*|(acoustic|electric) guitars?|guitar (music|melod(y|ies)|tunes?|strings?)",
        r"banjos?",
    ),
    "keyboard instrument": (
        r"keyboard instruments?|keyboards?|musical keyboards?|pianos?|(pipe )?organs?|synths?|synthesi[sz]ers?",
        r"accordions?|harpsichords?|electric pianos?|(piano|organ|keyboard|synth) (music|melod(y|ies)|tunes?)",
        r"keyboard notes?|(piano|keyboard)s? (or|and) (synth|synthesi[sz]er)s?|piano keys?",
    ),
    "bass": (r"bass|basses|bass notes?|bass ?lines?|bass guitars?|(double|synth|upright) bass(es)?",),
    "orchestral instrument": (
        r"orchestra\w*|orchestral instruments?|violins?|violas?|cellos?|trumpets?|trombones?|flutes?|clarinets?",
        r"oboes?|bassoons?|harps?|strings|string instruments?|brass|brass instruments?|woodwinds?",
        r"wind instruments?|saxophones?|tubas?|timpanis?|xylophones?|french horns?|orchestral notes?",
        r"violin (music|melod(y|ies)|tunes?)",
    ),
    "music": (r"music|musical|songs?|tunes?|melod(y|ies)|orchestral music|background music",),
    "hammering": (r"hammer\w*|nails?|anvils?",),
    "chopping wood": (
        r"chop(s|ping|ped)?|axes?|chop(s|ping|ped)? (some )?wood|wood (is |being )*chopped",
        r"axes? (is |are )?(hit|strik|chop)\w* (the )?wood|axe (blow|stroke|hit)s?( on wood)?",
        r"(split|cut)s?(ting)? wood|wood (is |being )*(split|cut)|fell\w* trees?",
    ),
    "sawing": (r"saw|saws|sawing|sawed|(hand ?|chain ?)saws?|saws? (is |are )?cut(s|ting)?( wood)?|saw (is )?used",),
    "digging": (r"dig|digs|digging|shovel\w*|spades?",),
    "sword": (r"swords?|blades?|swordfights?|steel|fencing|(swing|clash)\w* of (a |the )?swords?",),
    "arrow": (
        r"arrows?|archer\w*|bowstrings?|crossbows?|bows? and arrows?|arrows? (in flight )?from a bow",
        r"shot from a bow|arrow (is |being )*(shot|fired)|shot of an arrow|arrow shots?",
    ),
    "gunshot": (
        r"gun ?shots?|guns?|gun ?fire|shots?|shots? (fired|from a gun)|rifles?|pistols?|firearms?|machine ?guns?",
        r"cannons?|(gun|rifle|pistol|cannon|weapon)s? (is |are |being )*fir(e|es|ed|ing)",
    ),
    "explosion": (r"explo\w*|blasts?|booms?|detonat\w*|bombs?|grenades?|fireworks?|bombs? (going|goes|go) off",),
    "laser": (
        r"lasers?|zap\w*|blasters?|ray ?guns?|phasers?|laser (guns?|weapons?|shots?|blasts?|fire)|energy weapons?",
        r"(laser|blaster|phaser|ray gun)s?( weapons?| guns?)? (is |are |being )*fir(e|es|ed|ing)",
    ),
    "water": (
        r"water\w*|splash\w*|streams?|rivers?|pour(s|ing|ed)?|drip\w*|bubbl\w*|waves|ocean|sea|gurgl\w*|brook",
        r"waterfalls?|(running|flowing) water|water (is )?(running|flow\w*)( or bubbl\w*)?",
    ),
    "rain": (
        r"rain|rains|raining|rainy|rainfall|raindrops?|rainwater|drizzl\w*|downpour|rain (is )?pour\w*",
        r"pouring rain",
    ),
    "wind": (
        r"winds?|windy|gusts?|breez\w*|gusts? of wind|wind (is )?(howl|roar|rumbl)\w*|howling winds?",
        r"blasts? of wind|(howl|roar)\w* of (the )?wind",
    ),
    "thunder": (r"thunder\w*|lightning|(clap|roll|rumble|boom|crack|roar)s? of thunder|thunder ?claps?",),
    "fire": (
        r"fires?|flames?|crackl\w*|burn(s|ing)?|campfires?|bonfires?|blazes?|fireplaces?|roaring fire|fire roars",
    ),
    "vehicle": (
        r"vehicles?|cars?|trucks?|engines?|motors?|motorcycles?|motorbikes?|trains?|bus|buses|tractors?",
        r"helicopters?|planes?|airplanes?|aircraft|boats?|ships?|traffic|driv(es|ing)",
        r"engine (is )?(runs|running|roar\w*)|running engine|roar\w* of (an |the )?engines?",
    ),
    "horn": (
        r"horns?|sirens?|hooters?|honk\w*|alarms?|fog ?horns?|bells?|whistles?|toot\w*",
        r"(car|truck|fire|train|ship) alarms?",
        r"(car|truck|bus|train|boat|ship|vehicle|engine|police car)('s)? (horn|siren|bell|whistle)s?",
        r"(horn|siren|bell|whistle|alarm)s? of an? (car|truck|bus|train|boat|ship|vehicle)",
        r"(horn|siren) (blast|blow)\w*|horns? (or|and) sirens?|sirens? (or|and) (horn|alarm)s?",
        r"blasts? (of|from|on) an? (horn|siren)|fire (truck|engine)s?( sirens?)?",
    ),
    "door": (r"doors?|gates?|knock\w*|creak\w*|slam(s|ming|med)?|car doors?|glass doors?",),
    "glass": (r"glass\w*|shatter\w*|clink\w*|bottles?|smash\w*",),
    "footsteps": (r"footsteps?|footfalls?|steps?|walk(s|ing|ed)?|stomp\w*|run|runs|running|tak(es|ing) steps",),
    "rustling": (r"rustl\w*|crumpl\w*|cloth|clothes|clothing|fabric|paper|dry leaves",),
    "typing": (
        r"typ(e|es|ing)|typewriters?|keystrokes?|key ?presses|key press|computer keyboards?",
        r"keys? (is |are |being )*pressed|(keys|typing|types) (of|on) a (computer )?keyboard",
        r"keyboard (clicks?|keys?|typing)|press\w* (a |of a )?keys?",
    ),
    "notification": (
        r"notif\w*|beep\w*|chim(e|es|ing)|bleep\w*|ping|pings|dings?|alerts?|ringtones?|jingles?|doorbells?",
        r"interface\w*|user interface( sounds?)?|interface sounds?|(chime|beep)s? (or|and) (chime|beep)s?",
        r"notification (sound|bell|tone)s?",
    ),
}

# What happens after what: "then" keeps the order of mention, "back" turns it round, "same" is simultaneous.
CONNECTIVES: dict[str, tuple[str, ...]] = {
    "then": (
        r"followed by|and then|then|after (that|this|which|it(?! (rain|thunder)))|afterwards?|later|next(?! to)",
        r"finally|at last|in the end|until|before|precedes|preceding|giv(es?|ing) way to|leads? to|turns? into",
        r"ends? with|succeeded by|comes before",
    ),
    "back": (
        r"after|following|follows|preceded by|(comes?|coming) after|before (that|this|which)|once|as soon as",
        r"succeeds",
    ),
    "same": (r"while|as|at the same time( as)?|together with|along with|during|simultaneously( with)?|over|with",),
    "neutral": (
        r"one after (another|the other)|over and over( again)?|once (again|more)|more than once|at once|all over",
    ),
}

_LEADING_BEFORE_ENDS = r",|there (is|are|comes?)"


@dataclass(frozen=True)
class _Item:
    start: int
    end: int
    kind: str  # "leaf", "break", or a key of CONNECTIVES
    text: str  # the leaf, or the connective's words


def _compile(table: dict[str, tuple[str, ...]]) -> list[tuple[str, re.Pattern[str]]]:
    # Alternatives are compiled one by one: Python's alternation takes the first that fits, and we want the longest.
    return [
        (name, re.compile(rf"(?<![\w-])(?:{alternative})(?![\w])"))
        for name, patterns in table.items()
        for pattern in patterns
        for alternative in _alternatives(pattern)
    ]


def _alternatives(pattern: str) -> list[str]:
    """Split at the `|` outside parentheses."""
    parts, depth, first = [], 0, 0
    for i, character in enumerate(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            parts.append(pattern[first:i])
            first = i + 1
    return [*parts, pattern[first:]]


_LEAF_PATTERNS = _compile(WORDS)
_CONNECTIVE_PATTERNS = _compile(CONNECTIVES)
_BREAK = re.compile(_LEADING_BEFORE_ENDS)


def parse(caption: str) -> list[str]:
    """The leaf labels a caption names, in order of happening; a label named twice in one breath counts once.

    A label named again after "then", "while", "before" and the like counts again: the caption claims another event.
    """
    return list(_parse(caption))


@lru_cache(maxsize=50_000)
def _parse(caption: str) -> tuple[str, ...]:
    text = caption.lower()
    order: list[list[str]] = []  # segments in order of happening
    last = 0  # where the segment written last stands in `order`
    link: str | None = None
    segment: list[str] = []
    pending: list[str] | None = None  # B of a leading "before B, A ..."
    leading_before = False

    def close() -> None:
        nonlocal last, segment
        if segment:
            last = last if link == "back" and order else len(order)
            order.insert(last, segment)
            segment = []

    for item in _items(text):
        if item.kind == "leaf":
            if item.text not in segment:
                segment.append(item.text)
        elif item.kind == "break":
            if leading_before and segment:
                pending, segment, leading_before = segment, [], False
        elif item.kind != "neutral":
            leading_before = not segment and not order and item.text == "before"
            close()
            link = item.kind if order else None
    close()
    if pending:
        order.append(pending)
    return tuple(leaf for segment in order for leaf in segment)


def _items(text: str) -> list[_Item]:
    """Mentions, connectives and breaks that do not overlap, by place; of overlapping ones the longest is kept."""
    found = [
        _Item(match.start(), match.end(), "leaf", leaf)
        for leaf, pattern in _LEAF_PATTERNS
        for match in pattern.finditer(text)
    ]
    found += [
        _Item(match.start(), match.end(), kind, match.group())
        for kind, pattern in _CONNECTIVE_PATTERNS
        for match in pattern.finditer(text)
    ]
    found += [_Item(match.start(), match.end(), "break", match.group()) for match in _BREAK.finditer(text)]
    found.sort(key=lambda item: (item.start - item.end, item.start))
    kept: list[_Item] = []
    for item in found:
        if all(item.end <= other.start or item.start >= other.end for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda item: item.start)
