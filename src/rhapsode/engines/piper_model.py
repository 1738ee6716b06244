"""Piper's ONNX graph, changed so that one seed is one waveform and the pace is exact.

A Piper voice (VITS) draws random numbers inside its graph, where no seed reaches them, and rounds every duration up, so that
its own ``length_scale`` is not linear in the length. The patch

- replaces both ``RandomNormalLike`` nodes by graph inputs (``noise_dur`` for durations, ``noise_z`` for the sound),
- caps each duration at :data:`MAX_FRAMES_PER_ID`: strong noise must not ask for minutes of one sound,
- puts the input ``pace`` behind the rounding: sound ``i`` ends at frame ``round(pace · end_i)``, ``end_i`` being its end at pace 1,
- gives the frames of every phoneme id as the output ``frames`` (word timings).

At pace 1 and with the same noise the sound is that of the unpatched graph. The patched file is kept in the model cache.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rhapsode.errors import EngineError

PATCH_VERSION = 1
MAX_FRAMES_PER_ID = 128
"""One and a half seconds at the usual 256 samples per frame and 22,050 Hz; real speech stays far below."""
_FRAMES_PER_ID_GUESS = 4.0
"""Noise drawn ahead per phoneme id; more than is needed in nearly all sentences, and a second run mends the others."""
_SPIN_US = 1000
"""How long threads wait awake for the next operator of one inference, never between inferences: a tenth faster per sentence."""
_FOLDER = "piper-patched"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Noise:
    """Where the randomness of one inference comes from, and how much of it the voice uses."""

    seed: int
    sentence: int
    """Index within the utterance: every sentence has noise of its own."""
    sound: float
    """Piper's ``noise_scale``."""
    duration: float
    """Piper's ``noise_w``."""
    piece: int = 0
    """Which part of a sentence too long for one inference."""


class SeededModel:
    """A loaded, patched voice model."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session = session
        inputs = {i.name: i.shape for i in session.get_inputs()}
        self._channels = int(inputs["noise_z"][1])
        self._has_speakers = "sid" in inputs
        self._output = session.get_outputs()[0].name

    def run(
        self, ids: Sequence[int], noise: Noise, length_scale: float, pace: float, speaker: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Speak phoneme ids.

        Args:
            ids: Phoneme ids with their start, pad and end ids, shape (n,).
            noise: What is random about it.
            length_scale: The voice's own, before durations are rounded up.
            pace: Length in parts of what it would be: 2 is twice as long.
            speaker: Ignored by models of one speaker.

        Returns:
            The model's raw samples, and the frames that each id takes, shape (n,); samples = hop length · their sum.
        """
        drawn = int(len(ids) * max(1.0, pace) * _FRAMES_PER_ID_GUESS) + 1
        feed = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([noise.sound, length_scale, noise.duration], np.float32),
            "pace": np.array([pace], np.float32),
            "noise_dur": self._draw(noise, 0, (len(ids), 2)),
            "noise_z": self._draw(noise, 1, (drawn, self._channels)),
        }
        if self._has_speakers:
            feed["sid"] = np.array([speaker], np.int64)
        samples, frames = self.session.run([self._output, "frames"], feed)
        needed = int(frames.sum())
        if (
            needed > drawn
        ):  # the graph went on without noise; the same draw, taken further, begins with the same numbers
            feed["noise_z"] = self._draw(noise, 1, (needed, self._channels))
            samples, frames = self.session.run([self._output, "frames"], feed)
        return samples.reshape(-1), frames.reshape(-1).astype(np.int64)

    @staticmethod
    def _draw(noise: Noise, stream: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Standard normal numbers, shape (1, channels, time), drawn in the order of time."""
        source = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence((noise.seed, noise.sentence, noise.piece, stream)))
        )
        return np.ascontiguousarray(source.standard_normal(shape, np.float32).T[None])


def load_model(model: Path, digest: str, model_cache: Path, threads: int) -> SeededModel:
    """Load a voice model, patched; the patched file is made when the cache lacks it or cannot be read.

    Args:
        model: The voice's own ONNX file.
        digest: SHA-256 of that file, hex.
        model_cache: Folder of the cache; written atomically, so that workers may share it.
        threads: Threads of one inference.

    Raises:
        EngineError: The file is no Piper voice, or onnxruntime refuses it.
    """
    cached = model_cache / _FOLDER / f"{digest}-{PATCH_VERSION}.onnx"
    if cached.is_file():
        try:
            return SeededModel(_session(str(cached), threads))
        except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions have no common, public base
            _log.warning("%s cannot be read (%s) and is made again", cached, error)
    data = patched(model)
    try:
        write_atomically(cached, data)
    except OSError as error:
        _log.warning("%s cannot be kept (%s): the next start is slower", cached, error)
    try:
        return SeededModel(_session(data, threads))
    except Exception as error:
        raise EngineError(f"{model.name} cannot be loaded: {error}") from error


def _session(model: str | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # one plan of memory per input length: a third more memory, and no faster
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def patched(model: Path) -> bytes:
    """The model with the changes that this module's docstring names.

    Raises:
        EngineError: The file cannot be read, or its graph is not that of a Piper voice.
    """
    try:
        proto = onnx.load(str(model))
        shapes = onnx.shape_inference.infer_shapes(proto).graph.value_info
    except Exception as error:
        raise EngineError(f"{model.name} is not a readable ONNX model: {error}") from error
    graph = proto.graph
    ceils = [n for n in graph.node if n.op_type == "Ceil"]
    random = [n for n in graph.node if n.op_type == "RandomNormalLike"]
    if len(ceils) != 1 or len(random) != 2:
        raise EngineError(
            f"{model.name} is not a Piper voice: {len(ceils)} Ceil and {len(random)} random nodes, not 1 and 2"
        )
    before_ceil = _ancestors(graph, ceils[0].input[0])
    random.sort(key=lambda node: node.output[0] not in before_ceil)
    durations, sound = random
    channels = next(
        (s.type.tensor_type.shape.dim[1].dim_value for s in shapes if s.name == sound.output[0]),
        0,
    )
    if durations.output[0] not in before_ceil or sound.output[0] in before_ceil or not channels:
        raise EngineError(f"{model.name} is not a Piper voice: its random nodes are not where Piper has them")
    replacements = {
        id(durations): [helper.make_node("Identity", ["noise_dur"], [durations.output[0]])],
        id(sound): _sound_noise(sound),
        id(ceils[0]): _paced_frames(ceils[0]),
    }
    nodes = [new for node in graph.node for new in replacements.get(id(node), [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    inputs: list[tuple[str, list[str | int | None]]] = [
        ("pace", [1]),
        ("noise_dur", [1, 2, "ids"]),
        ("noise_z", [1, channels, "drawn"]),
    ]
    for name, shape in inputs:
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    for name, values in (("rh_zero", [0]), ("rh_two", [2]), ("rh_three", [3])):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], values))
    graph.initializer.append(helper.make_tensor("rh_most", TensorProto.FLOAT, [1], [MAX_FRAMES_PER_ID]))
    graph.output.append(helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, 1, "ids"]))
    return bytes(proto.SerializeToString())


def _ancestors(graph: onnx.GraphProto, tensor: str) -> set[str]:
    """Names of all tensors that ``tensor`` is computed from, itself included."""
    producer = {output: node for node in graph.node for output in node.output}
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += producer[name].input if name in producer else []
    return seen


def _sound_noise(random: onnx.NodeProto) -> list[onnx.NodeProto]:
    """``noise_z``, followed by zeros so that it is never too short, cut to the length of what the node was to be like."""
    return [
        helper.make_node("Shape", [random.input[0]], ["rh_z_shape"]),
        helper.make_node("Slice", ["rh_z_shape", "rh_two", "rh_three"], ["rh_z_frames"]),
        helper.make_node("ConstantOfShape", ["rh_z_shape"], ["rh_z_zeros"]),
        helper.make_node("Concat", ["noise_z", "rh_z_zeros"], ["rh_z_long"], axis=2),
        helper.make_node("Slice", ["rh_z_long", "rh_zero", "rh_z_frames", "rh_two"], [random.output[0]]),
    ]


def _paced_frames(ceil: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Frames per id at the pace asked for, under the name that the rest of the graph reads."""
    return [
        helper.make_node("Ceil", [ceil.input[0]], ["rh_ceil"]),
        helper.make_node("Min", ["rh_ceil", "rh_most"], ["rh_natural"]),
        helper.make_node("Squeeze", ["rh_two"], ["rh_time_axis"]),
        helper.make_node("CumSum", ["rh_natural", "rh_time_axis"], ["rh_ends"]),
        helper.make_node("CumSum", ["rh_natural", "rh_time_axis"], ["rh_starts"], exclusive=1),
        helper.make_node("Mul", ["rh_ends", "pace"], ["rh_paced_ends"]),
        helper.make_node("Mul", ["rh_starts", "pace"], ["rh_paced_starts"]),
        helper.make_node("Round", ["rh_paced_ends"], ["rh_whole_ends"]),
        helper.make_node("Round", ["rh_paced_starts"], ["rh_whole_starts"]),
        helper.make_node("Sub", ["rh_whole_ends", "rh_whole_starts"], ["frames"]),
        helper.make_node("Identity", ["frames"], [ceil.output[0]]),
    ]


def file_digest(path: Path, model_cache: Path) -> str:
    """SHA-256 of a file, hex. Remembered in the cache by path, size and time of change: a voice has 63 MB.

    Raises:
        OSError: The file cannot be read.
    """
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    note = model_cache / _FOLDER / f"{key.hexdigest()[:32]}.sha256"
    try:
        known = note.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        known = ""
    if len(known) == 64:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        write_atomically(note, digest.encode("ascii"))
    except OSError as error:
        _log.debug("%s cannot be kept: %s", note, error)
    return digest


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whoever else writes it at the same time.

    Raises:
        OSError: The disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
