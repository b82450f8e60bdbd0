"""YAMNet as a teacher: what a network trained on AudioSet hears in a clip, as probabilities of its 521 classes.

    samples (S,) -> frames (T, 400) -> magnitudes (T, 257) -> log-Mel (T, 64) -> patches (n, 96, 64) -> (n, 521)

The front end is YAMNet's own (https://github.com/tensorflow/models/tree/master/research/audioset/yamnet), in NumPy.
The network is the file with 8-bit weights that `make pretrained` fetches. It is run in float32: the integer kernels of
ONNX Runtime saturate on processors without VNNI, which changes the order of the classes, and the 8-bit outputs are
steps of 0.76 in the logits.
"""

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonopsis.audio import SAMPLE_RATE
from sonopsis.data.fetch import default_root
from sonopsis.files import ModelError
from sonopsis.installed import onnx_runtime
from sonopsis.mel import FFT, FRAME, LOUDEST, SHIFT

MODEL, WEIGHTS, CLASSES = "model.onnx", "model.data", "yamnet_class_map.csv"
MELS = 64
LOWEST, HIGHEST = 125.0, 7500.0  # Hz, the outer edges of the Mel bands
OFFSET = 0.001  # added to the Mel magnitudes before the logarithm
PATCH, PATCH_SHIFT = 96, 48  # frames
SHORTEST = FRAME + (PATCH - 1) * SHIFT  # samples of one patch
BLOCK = 16  # patches the network reads at once, which bounds its memory


class Teacher:
    """YAMNet from a folder of `make pretrained`; it can be pickled, and each process opens the network for itself.

    `names` and `ids` are the classes in order: AudioSet's display names and its ids ("/m/09x0r").
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        """Read the table of classes; the folder is by default where `make pretrained` puts YAMNet.

        Raises ModelError when a file is missing.
        """
        self.folder = Path(folder) if folder is not None else default_root() / "pretrained" / "yamnet"
        missing = [name for name in (MODEL, WEIGHTS, CLASSES) if not (self.folder / name).is_file()]
        if missing:
            raise ModelError(f"{self.folder} has no {', '.join(missing)}; fetch YAMNet with: make pretrained")
        with open(self.folder / CLASSES, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.names = [row["display_name"] for row in rows]
        self.ids = [row["mid"] for row in rows]
        self._session: Any = None

    def scores(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """Samples (S,) in [-1, 1] at 16 kHz -> the clip's probability of each class (521,), the mean over its patches.

        Raises as `patches` does.
        """
        return self.patches(samples).mean(axis=0)

    def patches(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """Samples (S,) in [-1, 1] at 16 kHz -> probabilities (n, 521); patch i covers 0.48 i to 0.48 i + 0.975 seconds.

        The classes do not exclude each other. Raises ValueError for samples that are not a non-empty vector of finite
        numbers and when onnx is not installed, ModelError when the network does not fit the table of classes.
        """
        inputs = log_mel_patches(samples)[:, None]  # (n, 1, 96, 64)
        if self._session is None:
            self._session = self._open()
        blocks = [inputs[first : first + BLOCK] for first in range(0, len(inputs), BLOCK)]
        logits = np.concatenate([self._session.run(None, {"audio": block})[0] for block in blocks])  # (n, 521)
        return np.exp(-np.logaddexp(0, -logits))  # the sigmoid; logits under -88 occur, whose exp(-x) is infinite

    def _open(self) -> Any:
        """A session of ONNX Runtime on one thread."""
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # data workers share the processor
        options.log_severity_level = 3  # it would warn of the scales and zero points, which nothing uses any more
        graph = _float_graph(self.folder / MODEL)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        if (classes := session.get_outputs()[0].shape[-1]) != len(self.names):
            raise ModelError(
                f"{self.folder}: the network has {classes} classes and {CLASSES} {len(self.names)}; "
                "delete the folder and fetch it again with: make pretrained"
            )
        return session

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a session cannot be pickled


def log_mel_patches(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """Samples (S,) in [-1, 1] at 16 kHz -> YAMNet's input (n, 96, 64), n = 1 + ceil((S - 15600) / 7680), at least 1.

    Zeros are appended until the last patch is full. Bands are sums of magnitudes, not of energies. Raises ValueError
    for samples that are not a non-empty vector of finite numbers.
    """
    signal = np.asarray(samples, np.float64)  # (S,)
    if signal.ndim != 1 or not signal.size:
        raise ValueError(f"the teacher takes a non-empty vector of samples, not shape {signal.shape}")
    if not np.abs(signal).max() <= LOUDEST:  # also where it is NaN
        raise ValueError("the teacher takes samples in [-1, 1]; among these are NaN, infinity or enormous numbers")
    shift = PATCH_SHIFT * SHIFT
    further = max(0, -(-(len(signal) - SHORTEST) // shift))  # patches after the first
    signal = np.pad(signal, (0, SHORTEST + further * shift - len(signal)))
    window = np.hanning(FRAME + 1)[:-1]  # periodic
    frames = sliding_window_view(signal, FRAME)[::SHIFT] * window  # (T, 400)
    logmel = np.log(np.abs(np.fft.rfft(frames, FFT)) @ _filters() + OFFSET).astype(np.float32)  # (T, 64)
    return np.stack([logmel[first : first + PATCH] for first in range(0, (further + 1) * PATCH_SHIFT, PATCH_SHIFT)])


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float64]:
    """The filters (257, 64): triangles of height 1 on the Mel scale of HTK, as TensorFlow makes them."""
    low, high = (1127.0 * np.log1p(hertz / 700.0) for hertz in (LOWEST, HIGHEST))
    edges = np.linspace(low, high, MELS + 2)  # (66,)
    bins = 1127.0 * np.log1p(np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE) / 700.0)[:, None]  # (257, 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))


def _float_graph(file: Path) -> bytes:
    """The network without its nodes that quantise: float32 patches (n, 1, 96, 64) -> logits (n, 521).

    Its weights stay those of 8 bits, which the file holds as float32.
    """
    try:
        import onnx
    except ImportError as error:
        raise ValueError('the teacher needs onnx: pip install "sonopsis[export]"') from error
    model = onnx.load(file)
    graph = model.graph
    source: dict[str, str] = {}  # of a quantised tensor: the one it was made from
    kept = []
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            source[node.output[0]] = source.get(node.input[0], node.input[0])
            continue
        for place, name in enumerate(node.input):
            node.input[place] = source.get(name, name)
        if node.op_type == "Reshape":  # to (1, -1), which holds for one patch alone
            node.op_type = "Flatten"
            del node.input[1], node.attribute[:]
        kept.append(node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.output[0].name = source[graph.output[0].name]
    for end in (graph.input[0], graph.output[0]):
        end.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        end.type.tensor_type.shape.dim[0].dim_param = "patches"
    content: bytes = model.SerializeToString()
    return content
