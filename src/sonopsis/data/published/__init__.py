"""Public data sets as they are published -> our manifest.

clip_folder.py     where the clips and the lists of a folder are
lists.py           lines and tables, with errors that name the file and the line
item.py            one entry of a data set: its clip, labels, group and source
youtube.py         AudioSet and VGGSound
freesound.py       ESC-50 and FSD50K
speech.py          Speech Commands v2 and VoxCeleb1
datafiles.py       the JSON files of AST and the TSV files of EAT
layouts.py         the layouts by name, and rows of a manifest from their entries
"""
