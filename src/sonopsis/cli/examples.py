"""What `--help` shows at the end of each verb: command lines to begin with. A test parses every one of them."""

# The verb, as it is written after `sonopsis` -> command lines.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "tag": (
        "sonopsis tag street.wav",
        "sonopsis tag recordings/ --keep-rate 0.5 -f csv -o results/",
        "sonopsis tag week/ --events --clock -f raven -o results/ --resume",
    ),
    "caption": (
        "sonopsis caption street.wav",
        "sonopsis caption film.wav -f srt -f vtt -o subtitles/",
        "sonopsis caption recordings/ -f jsonl --quiet",
    ),
    "ask": ('sonopsis ask street.wav "Is a dog barking?"',),
    "sweep": ("sonopsis sweep CONFIG", "sonopsis sweep CONFIG --table"),
    "info": ("sonopsis info", "sonopsis info MODEL --json"),
    "eval": ("sonopsis eval default manifest.jsonl --split validation",),
    "export": (
        "sonopsis export ast.pth --to onnx -o ast/",
        "sonopsis export MODEL --to int8 -o small/",
    ),
    "serve": ("sonopsis serve", "sonopsis serve --port 8080 --queue 8 --keep-rate 0.7"),
    "train": (
        "sonopsis train --from default birds/ -o birds-model/",
        "sonopsis train --from default birds/ -o birds-model/ --minutes 5",
        "sonopsis train configs/ear-tagger.yaml steps=100",
    ),
    "data list": ("sonopsis data list",),
    "data fetch": ("sonopsis data fetch --profile small",),
    "data manifest": ("sonopsis data manifest -o manifest.jsonl",),
    "data import": ("sonopsis data import esc50 ESC-50/ --fold 1 -o esc50.jsonl",),
    "data compose": ("sonopsis data compose --count 20 --audio scenes/ -o scenes.jsonl.gz",),
    "bench encoder": ("sonopsis bench encoder --peers --rounds 7", "sonopsis bench encoder --model default --json"),
    "bench pipeline": ("sonopsis bench pipeline --clips 50 --model default",),
    "bench lm": ("sonopsis bench lm",),
    "bench start": ("sonopsis bench start", "sonopsis bench start --clip street.wav"),
    "study pruning": ("sonopsis study pruning default recordings/ -o pruning.html",),
    "study importance": ("sonopsis study importance default recordings/ --keep-rate 0.5 -o importance.html",),
    "study tokens": ("sonopsis study tokens default recordings/ --against MODEL -o tokens.html",),
}


def epilog(verb: str) -> str | None:
    """The examples of a verb as click shows them: the mark keeps it from filling the lines as one paragraph."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[verb]) if verb in EXAMPLES else None
