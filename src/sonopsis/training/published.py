"""Published weights that the files of configs/ name: where to get those that are not here."""

from pathlib import Path

from sonopsis.data.fetch import default_root

HUB = (  # repositories of the Hugging Face hub, whose names the folders have
    "worstchan/EAT-base_epoch30_pretrain",
    "worstchan/EAT-base_epoch30_finetune_AS2M",
    "worstchan/EAT-large_epoch20_pretrain",
    "worstchan/EAT-large_epoch20_finetune_AS2M",
    "state-spaces/mamba2-130m",
    "state-spaces/mamba2-370m",
    "state-spaces/mamba2-780m",
    "state-spaces/mamba2-1.3b",
    "state-spaces/mamba2-2.7b",
)
TOKENIZERS = {"state-spaces": "EleutherAI/gpt-neox-20b"}  # by the owner of models that come without one
PAGES = {
    "audioset_16_16_0.4422.pth": 'the README of YuanGongND/ast, "Pretrained Models", has its address',
    "pretrained.pth": "the README of facebookresearch/AudioMAE has the address of its pretrained checkpoint",
}


def check_weights(key: str, place: str) -> None:
    """Raise ValueError, naming the key of the configuration, when published weights are not at a path; the message says
    where to get them. A hub id, a path with files and an unknown name are left alone."""
    path = Path(place)
    if path.exists():
        return
    if found := next((name for name in HUB if name.split("/")[1] == path.name and name != place), None):
        more = ""
        if tokenizer := TOKENIZERS.get(found.split("/")[0]):
            more = f", and `hf download {tokenizer} tokenizer.json --local-dir {place}`"
        raise ValueError(f"{key}: {place} is not here; get it with `hf download {found} --local-dir {place}`{more}")
    if path.name in PAGES:
        raise ValueError(f"{key}: {place} is not here; {PAGES[path.name]}")


def place_of(model: str) -> str:
    """Where a model is: `pretrained/NAME`, unless it is a path here, is what `make pretrained` puts beside the
    recordings; other names stay as they are. Raises ValueError when it is not there."""
    if not model.startswith("pretrained/") or Path(model).exists():
        return model
    folder = default_root() / model
    if not folder.exists():
        how = "SmolLM2 with `make smollm2`" if folder.name == "smollm2" else "Whisper's encoders with `make pretrained`"
        raise ValueError(f"{folder}: no such model; fetch {how}")
    return str(folder)
