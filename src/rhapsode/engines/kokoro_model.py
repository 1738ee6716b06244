"""Kokoro's network: phonemes and a style in, sound and the length of each phoneme out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from kokoro_onnx.config import DEFAULT_VOCAB
from kokoro_onnx.session import embedded_vocab, input_dtypes
from numpy.typing import NDArray

from rhapsode.errors import EngineError

RATE = 24_000
MOST_PHONEMES = 510
"""In one inference; the network has no more places."""
_SPIN_US = "1000"


@dataclass(frozen=True, slots=True)
class Said:
    """One inference."""

    samples: NDArray[np.float32]
    borders: NDArray[np.int64]
    """The sample at which each phoneme begins, and behind them the end of the last; empty when the network does not tell."""


class KokoroModel:
    """A loaded network. Its speed input stays at 1: some exports take whole numbers only, and stretching is as well understood."""

    def __init__(self, session: onnxruntime.InferenceSession, provider: str) -> None:
        self._session = session
        self._types = input_dtypes(session)
        self._tokens = "input_ids" if "input_ids" in self._types else "tokens"
        self.vocabulary: dict[str, int] = embedded_vocab(session) or DEFAULT_VOCAB
        self.provider = provider

    def run(self, phonemes: Sequence[str], style: NDArray[np.float32]) -> Said:
        """Speak.

        Args:
            phonemes: At most :data:`MOST_PHONEMES`, all of the vocabulary.
            style: Shape (256,).
        """
        ids = [0, *(self.vocabulary[p] for p in phonemes), 0]
        given = {
            self._tokens: np.array([ids], self._types[self._tokens]),
            "style": np.asarray(style, self._types["style"]).reshape(1, -1),
            "speed": np.ones(1, self._types["speed"]),
        }
        audio, *lengths = self._session.run(None, given)
        samples = np.asarray(audio, np.float32).ravel()
        frames = np.asarray(lengths[0], np.int64).ravel() if lengths else np.zeros(0, np.int64)
        if frames.size != len(ids) or not frames.sum():
            return Said(samples, np.zeros(0, np.int64))
        ends = np.cumsum(frames) * (samples.size / frames.sum())
        return Said(samples, np.rint(ends[: len(phonemes) + 1]).astype(np.int64))


def load_model(path: Path, threads: int, device: str) -> KokoroModel:
    """Load the network.

    Args:
        path: The ``.onnx`` file.
        threads: That one inference may use.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        EngineError: It cannot be read, or the device is not there.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # one plan of memory per input length
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    provider = provider_of(device)
    try:
        session = onnxruntime.InferenceSession(_with_lengths(path), options, providers=[provider])
    except Exception as error:
        raise EngineError(f"the model {path.name} cannot be loaded: {error}") from error
    return KokoroModel(session, provider[0])


def provider_of(device: str) -> tuple[str, dict[str, str]]:
    """What computes.

    Raises:
        EngineError: It is not here.
    """
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda"):
        if not cuda:
            raise EngineError(
                f"device {device} cannot be had: this onnxruntime has no CUDA; install onnxruntime-gpu in place of onnxruntime"
            )
        return "CUDAExecutionProvider", {"device_id": device.partition(":")[2] or "0"}
    if device == "auto" and cuda:
        return "CUDAExecutionProvider", {}
    return "CPUExecutionProvider", {}


def _with_lengths(path: Path) -> bytes:
    """The model with the lengths of the phonemes, in frames, as a second output, where they can be found."""
    proto = onnx.load(str(path))
    makers = {name: node for node in proto.graph.node for name in node.output}
    found = [
        node.output[0]
        for node in proto.graph.node
        if node.op_type == "Clip" and makers.get(node.input[0]) is not None and makers[node.input[0]].op_type == "Round"
    ]
    if len(found) == 1 and len(proto.graph.output) == 1:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(found[0], onnx.TensorProto.FLOAT, None))
    return bytes(proto.SerializeToString())
