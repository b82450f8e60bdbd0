"""Training models: for any encoder, any labels and any causal language model, from one YAML file for each run.

config.py       the keys of that file; configfile.py reads and writes it
start.py        the model that a run starts from; published.py: where to get it; recordings.py: its clips
building.py     tagger, connector and language model of a run, in one place; tokens.py: its tokenizer
second.py       a second encoder beside the tagger's
tagging.py      the stages: labels; verbalising.py: facts into words; asking.py, captioning.py: scenes into sentences
described.py    captioning of clips that people described; described_clips.py: these clips as batches
masked.py       the stage without labels: hidden patches; masks.py, crops.py: its examples; autoencoder.py: its decoder
batches.py      examples composed on the fly; augment.py, spectra.py and channel.py change them, loudness.py mixes them
heard.py        what a frozen encoder heard once, for all epochs: scene_features.py, clip_features.py
losses.py       every loss; rates.py: keep rates; optimizer.py: what is trained how fast; precision.py: and in what
loop.py         the one loop; parts.py: pieces of its batches; log.py, environment.py: what it says of itself
resume.py       its checkpoints; kept.py: the best validation's model; stops.py: why it stops before its end
run.py          `sonopsis train CONFIG`
teacher.py      YAMNet, what a network trained on AudioSet hears in a clip
own_labels.py   `sonopsis train --from MODEL FOLDER`: a tagger of a user's own labels; features.py, card.py
"""

from sonopsis.installed import require

require("torch", "training")
