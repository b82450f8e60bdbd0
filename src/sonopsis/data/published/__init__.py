"""Public data sets as they are published -> our manifest.

clip_folder.py     where the clips and the lists of a folder are
lists.py           lines and tables, with errors that name the file and the line
item.py            one entry of a data set: its clip, labels, captions, questions, group and source
json_array.py      the elements of a large JSON file, one after the other
youtube.py         AudioSet and VGGSound
freesound.py       ESC-50 and FSD50K
speech.py          Speech Commands v2 and VoxCeleb1
captions.py        AudioCaps, Clotho, SLAM-LLM's JSON Lines, plain tables
questions.py       OpenAQA and ReasonAQA
datafiles.py       the JSON files of AST and the TSV files of EAT
label_tracks.py    recordings labelled in Audacity and in Raven
layouts.py         the layouts by name, and rows of a manifest from their entries
"""
