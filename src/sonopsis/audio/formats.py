"""Which files are recordings, by their suffix and by their first bytes, and who reads them."""

from sonopsis.installed import installed

# What libsndfile opens, with the raw GSM of sound packages; elsewhere than in folders the suffix does not matter.
SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".gsm", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd")
) | {".w64", ".wav"}

# What needs PyAV (extra `media`): other codecs, and the audio of videos.
MEDIA_SUFFIXES = frozenset(
    (".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dts", ".eac3", ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka")
) | {".mkv", ".mov", ".mp2", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".tta", ".webm", ".wma", ".wmv", ".wv"}

NEEDS_MEDIA = "needs PyAV: pip install 'sonopsis[media]'"

_ASF = bytes.fromhex("3026b2758e66cf11")
_BEGINNINGS = (b"\x1aE\xdf\xa3", _ASF, b"#!AMR", b"\x0bw", b"FLV\x01", b"MAC ", b"wvpk", b"TTA1", b"\x00\x00\x01\xba")


def reads_media() -> bool:
    """Whether PyAV is installed."""
    return installed("av")


def begins_like_media(head: bytes) -> bool:
    """Whether a file's first 16 bytes are those of a container or codec that PyAV reads and libsndfile does not."""
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return adts or head[4:8] == b"ftyp" or head[8:12] == b"AVI " or head.startswith(_BEGINNINGS)
