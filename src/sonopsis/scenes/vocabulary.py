"""The leaf labels, their broad classes, and the wordings sentences are built from (version 1 of the vocabulary).

Wordings stay true of every clip a label may hold: a bird may chirp or caw, so it "calls"; a vehicle may be a train, so
nothing "drives past".  No wording of one label reads as another label (`scenes.words` is tested on all of them).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One leaf: its broad class and its wordings.

    nouns are noun phrases that sound ("a dog barking"); clauses are sentences in the present tense that end where an
    adverb may follow ("a dog barks"); gerunds are headlines without article ("dog barking"); plurals name the event
    when it occurs more than once ("dog barks"); background names a bed of sound ("falling rain"), for the labels that
    can be one.
    """

    name: str
    broad: str
    nouns: tuple[str, ...]
    clauses: tuple[str, ...]
    gerunds: tuple[str, ...]
    plurals: tuple[str, ...]
    background: tuple[str, ...] = ()


# name: nouns; clauses; gerunds; plurals; background (alternatives are separated by |)
_WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "human": {
        "speech": (
            "a person speaking|a voice speaking|someone talking|spoken words|human speech",
            "a person speaks|someone is talking|a voice says something|someone speaks",
            "person speaking|voice talking|spoken words",
            "spoken phrases|spoken words|short utterances",
        ),
        "shout": (
            "a person shouting|a shout|someone yelling or grunting|a voice crying out|a human cry",
            "a person shouts|someone cries out|someone is yelling|a voice shouts",
            "person shouting|voice crying out|shout",
            "shouts|yells|cries of a person",
        ),
        "laughter": (
            "a person laughing|laughter|someone laughing|a laugh",
            "a person laughs|someone is laughing|someone laughs",
            "person laughing|laughter|someone laughing",
            "laughs|bursts of laughter",
        ),
        "applause": (
            "applause|people clapping|a crowd applauding|an audience clapping",
            "people clap|a crowd applauds|an audience is clapping",
            "people clapping|crowd applauding|applause",
            "bursts of applause|rounds of applause",
            "applause|a clapping audience|an applauding crowd",
        ),
    },
    "animal": {
        "dog": (
            "a dog barking|a dog|the bark of a dog|a barking dog|a dog or wolf",
            "a dog barks|a dog is barking|a dog makes itself heard",
            "dog barking|dog|bark of a dog",
            "dog barks|barks of a dog|sounds of a dog",
        ),
        "cat": (
            "a cat meowing|a cat|the meow of a cat|a meowing cat",
            "a cat meows|a cat is meowing|a cat calls",
            "cat meowing|cat|meow of a cat",
            "meows of a cat|cat meows|cat calls",
        ),
        "cow": (
            "a cow mooing|a cow|the moo of a cow|a mooing cow",
            "a cow moos|a cow is mooing|a cow lows",
            "cow mooing|cow|moo of a cow",
            "moos of a cow|cow moos|cow calls",
        ),
        "horse": (
            "a horse|a horse neighing|the neigh of a horse|a horse making noise",
            "a horse neighs|a horse makes itself heard|a horse is neighing",
            "horse neighing|horse|noise of a horse",
            "sounds of a horse|horse noises|horse neighs",
        ),
        "sheep": (
            "a sheep bleating|a sheep|a bleating goat or sheep|the bleat of a sheep",
            "a sheep bleats|a sheep is bleating|a goat or sheep bleats",
            "sheep bleating|sheep|bleat of a sheep",
            "bleats of a sheep|sheep bleats|sheep calls",
        ),
        "pig": (
            "a pig oinking|a pig|the squeal of a pig|an oinking pig",
            "a pig oinks|a pig is squealing|a pig makes noise",
            "pig oinking|pig|squeal of a pig",
            "oinks of a pig|pig squeals|pig noises",
        ),
        "chicken": (
            "a chicken clucking|a chicken|a clucking hen or rooster|the call of a chicken",
            "a chicken clucks|a chicken is clucking|a hen or rooster calls",
            "chicken clucking|chicken|call of a chicken",
            "clucks of a chicken|chicken calls|chicken clucks",
        ),
        "bird": (
            "a bird calling|a bird|the call of a bird|a bird singing|a calling bird",
            "a bird calls|a bird is calling|a bird sings",
            "bird calling|bird|call of a bird",
            "bird calls|calls of a bird|bird cries",
        ),
        "frog": (
            "a frog croaking|a frog|the croak of a frog|a croaking frog",
            "a frog croaks|a frog is croaking|a frog calls",
            "frog croaking|frog|croak of a frog",
            "croaks of a frog|frog croaks|frog calls",
        ),
        "insect": (
            "an insect buzzing|an insect|the buzz of an insect|a buzzing insect",
            "an insect buzzes|an insect is buzzing|an insect chirps or buzzes",
            "insect buzzing|insect|buzz of an insect",
            "insect buzzes|sounds of an insect|insect noises",
            "buzzing insects|insects|the buzz of insects",
        ),
        "elephant": (
            "an elephant trumpeting|an elephant|the call of an elephant|a trumpeting elephant",
            "an elephant trumpets|an elephant is trumpeting|an elephant calls",
            "elephant trumpeting|elephant|call of an elephant",
            "elephant calls|calls of an elephant",
        ),
        "roar": (
            "a roar|a beast roaring|a growl|a creature growling|the roar of a beast",
            "a beast roars|a creature growls|a monster is roaring",
            "beast roaring|creature growling|roar",
            "roars|growls|roars of a beast",
        ),
    },
    "drums": {
        "kick drum": (
            "a kick drum|a kick drum hit|a bass drum|a beat of the bass drum",
            "a kick drum sounds|a bass drum is struck|a kick drum is hit",
            "kick drum|bass drum hit|kick drum sounding",
            "kick drum hits|kick drum beats|beats of a bass drum",
        ),
        "snare drum": (
            "a snare drum|a snare drum hit|a hit on a snare|a snare",
            "a snare drum sounds|a snare drum is hit|a snare is struck",
            "snare drum|snare hit|snare drum sounding",
            "snare drum hits|snare hits|beats on a snare drum",
        ),
        "hi-hat": (
            "a hi-hat|a hi-hat hit|a tap on a hi-hat|the tick of a hi-hat",
            "a hi-hat sounds|a hi-hat is played|a hi-hat ticks",
            "hi-hat|hi-hat hit|hi-hat sounding",
            "hi-hat hits|hi-hat ticks|taps on a hi-hat",
        ),
        "cymbal": (
            "a cymbal|a cymbal crash|a struck cymbal|a cymbal ringing",
            "a cymbal crashes|a cymbal is struck|a cymbal rings",
            "cymbal ringing|cymbal|cymbal crash",
            "cymbal crashes|cymbal hits|strokes on a cymbal",
        ),
        "tom drum": (
            "a tom drum|a tom-tom|a tom drum hit|a hit on a tom drum",
            "a tom drum sounds|a tom drum is hit|a tom-tom is struck",
            "tom drum|tom drum hit|tom-tom sounding",
            "tom drum hits|tom-tom beats|beats on a tom drum",
        ),
        "hand percussion": (
            "hand percussion|a percussion instrument|a small percussion sound|hand percussion being played",
            "hand percussion sounds|hand percussion is played|a percussion instrument is played",
            "hand percussion|percussion sounding|percussion instrument",
            "hand percussion hits|percussion sounds|percussion beats",
        ),
        "drum loop": (
            "a drum loop|a drum beat|a drum pattern|a rhythm on drums",
            "a drum loop plays|a drum beat is playing|drums play a rhythm",
            "drum loop playing|drum beat|drum pattern",
            "drum loops|drum patterns",
        ),
    },
    "music": {
        "guitar": (
            "a guitar|a guitar playing|a guitar being played|notes on a guitar",
            "a guitar plays|a guitar is played|someone plays a guitar",
            "guitar playing|guitar|guitar sound",
            "guitar notes|guitar sounds",
        ),
        "keyboard instrument": (
            "a keyboard instrument|a piano or synthesizer|a keyboard instrument playing|a musical keyboard",
            "a keyboard instrument plays|a piano or synthesizer is played|a keyboard instrument sounds",
            "keyboard instrument playing|keyboard instrument|piano or synthesizer",
            "keyboard instrument notes|piano or synthesizer notes",
        ),
        "bass": (
            "a bass note|a bass|a bass playing|a low bass sound",
            "a bass plays|a bass note sounds|a bass is played",
            "bass note|bass playing|bass sound",
            "bass notes|bass sounds",
        ),
        "orchestral instrument": (
            "an orchestral instrument|an orchestral instrument playing|an instrument of the orchestra",
            "an orchestral instrument plays|an orchestral instrument sounds|an instrument of the orchestra is played",
            "orchestral instrument|orchestral instrument playing",
            "orchestral instrument notes|notes of an orchestral instrument",
        ),
        "music": (
            "music|music playing|a piece of music|some music",
            "music plays|music is playing|a piece of music plays",
            "music|music playing",
            "pieces of music|snatches of music",
            "music|music playing|some music",
        ),
    },
    "work": {
        "hammering": (
            "hammering|someone hammering|a hammer striking|the blow of a hammer",
            "someone hammers|a hammer strikes|someone is hammering",
            "hammering|hammer striking",
            "hammer blows|blows of a hammer",
        ),
        "chopping wood": (
            "someone chopping wood|wood being chopped|an axe chopping wood|an axe hitting wood",
            "someone chops wood|an axe hits wood|wood is being chopped",
            "chopping wood|axe hitting wood",
            "axe blows|axe strokes on wood",
        ),
        "sawing": (
            "sawing|a saw cutting|someone using a saw|a saw at work",
            "someone is sawing|a saw cuts|a saw is used",
            "sawing|saw cutting",
            "saw strokes|strokes of a saw",
        ),
        "digging": (
            "digging|someone digging|a shovel digging|a shovel at work",
            "someone digs|a shovel digs|someone is digging",
            "digging|shovel digging",
            "shovel strokes|strokes of a shovel",
        ),
    },
    "weapon": {
        "sword": (
            "a sword|a sword striking|the clash of a sword|a sword blow",
            "a sword strikes|a sword is swung|a sword clashes",
            "sword striking|sword blow|clash of a sword",
            "sword blows|sword strokes|clashes of a sword",
        ),
        "arrow": (
            "an arrow|an arrow in flight|an arrow from a bow|an arrow being released",
            "an arrow is released|an arrow flies|an arrow is heard",
            "arrow in flight|arrow|arrow from a bow",
            "arrows|arrows from a bow",
        ),
        "gunshot": (
            "a gunshot|a gun firing|a gun being fired|a shot from a gun",
            "a gun fires|a gun is fired|a gun goes off",
            "gunshot|gun firing|gun being fired",
            "gunshots|shots from a gun",
        ),
        "explosion": (
            "an explosion|something exploding|a blast|a bomb going off",
            "something explodes|an explosion goes off|a bomb explodes",
            "explosion|something exploding|blast",
            "explosions|blasts",
        ),
        "laser": (
            "a laser|a laser firing|a laser weapon|the zap of a laser",
            "a laser fires|a laser weapon is fired|a laser zaps",
            "laser firing|laser weapon|laser zap",
            "laser zaps|zaps of a laser",
        ),
    },
    "nature": {
        "water": (
            "water|water splashing|the splash of water|water flowing or bubbling|moving water",
            "water splashes|water is moving|water flows or bubbles",
            "water splashing|water|splash of water",
            "splashes of water|water splashes",
            "water|moving water|the sound of water",
        ),
        "rain": (
            "rain|rain falling|falling rain|rainfall",
            "rain falls|rain is falling|it rains",
            "rain falling|rain|rainfall",
            "bursts of rain|rain showers",
            "rain|falling rain|rainfall",
        ),
        "wind": (
            "wind|wind blowing|a gust of wind|blowing wind",
            "wind blows|the wind is blowing|a wind blows",
            "wind blowing|wind",
            "gusts of wind|wind gusts",
            "wind|blowing wind|the blowing of wind",
        ),
        "thunder": (
            "thunder|a clap of thunder|thunder rumbling|the rumble of thunder",
            "thunder rumbles|it thunders|thunder is rumbling",
            "thunder|thunder rumbling|clap of thunder",
            "claps of thunder|rolls of thunder",
        ),
        "fire": (
            "a fire|a fire crackling|a burning fire|flames",
            "a fire burns|a fire is crackling|flames crackle",
            "fire crackling|fire|flames burning",
            "bursts of fire|bursts of flame",
            "a crackling fire|a fire|burning flames",
        ),
    },
    "vehicle": {
        "vehicle": (
            "a vehicle|an engine running|a vehicle engine|the engine of a vehicle",
            "a vehicle is heard|an engine runs|an engine is running",
            "vehicle|engine running|vehicle engine",
            "engine sounds|vehicle sounds",
            "a vehicle|a running engine|the engine of a vehicle",
        ),
        "horn": (
            "a horn|a horn or siren|a siren or alarm|a hooter|a warning horn",
            "a horn sounds|a siren or horn sounds|an alarm goes off",
            "horn sounding|horn or siren|alarm sounding",
            "horn blasts|horn signals|alarm signals",
        ),
    },
    "household": {
        "door": (
            "a door|a door opening or closing|a door being moved|a moving door",
            "a door opens or closes|a door is moved|a door moves",
            "door opening or closing|door|door moving",
            "door sounds|sounds of a door",
        ),
        "glass": (
            "glass|glass breaking|breaking glass|the clink of glass",
            "glass breaks|glass is broken|glass shatters",
            "glass breaking|glass|breaking glass",
            "clinks of glass|glass sounds",
        ),
        "footsteps": (
            "footsteps|someone walking|the footsteps of a person|someone taking steps",
            "someone walks|someone is walking|footsteps sound",
            "footsteps|someone walking",
            "footsteps|steps of a person",
        ),
        "rustling": (
            "rustling|something rustling|a rustling sound|a rustle",
            "something rustles|something is rustling|there is rustling",
            "rustling|something rustling",
            "rustling sounds|rustles",
        ),
        "typing": (
            "typing|someone typing|a key being pressed|keys of a computer keyboard",
            "someone types|a key is pressed|someone is typing",
            "typing|someone typing|key press",
            "key presses|keystrokes",
        ),
        "notification": (
            "a notification|a notification sound|a chime or beep|an interface sound",
            "a notification sounds|a beep or chime sounds|an interface sound plays",
            "notification sound|chime or beep|notification",
            "notification sounds|beeps or chimes",
        ),
    },
}


def _label(name: str, broad: str, forms: tuple[str, ...]) -> Label:
    return Label(name, broad, *(tuple(form.split("|")) for form in forms))


LEAVES: dict[str, Label] = {
    name: _label(name, broad, forms) for broad, leaves in _WORDINGS.items() for name, forms in leaves.items()
}
BROAD: tuple[str, ...] = tuple(_WORDINGS)
BEDS: tuple[str, ...] = tuple(name for name, label in LEAVES.items() if label.background)


def broad_of(leaf: str) -> str:
    """The broad class of a leaf label; ValueError for a name that is none."""
    if leaf not in LEAVES:
        raise ValueError(f"{leaf!r} is not a leaf label; the labels are {', '.join(LEAVES)}")
    return LEAVES[leaf].broad
