"""Chatterbox's released code with the networks taken out: too large for the checks, and pinned to libraries that clash with ours.

What the package itself does (loading from a folder, preparing and keeping the conditionals of a voice, ``generate``) is the released
code, read from ``.venv-engines/sources``; the networks below it, their tokenizers and the libraries for sound are stand-ins, as small as
can be: what comes out depends on text, voice, controls and torch's generator as that of the real ones does, and means nothing.
Run in the interpreter of Pocket TTS, which has torch.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import safetensors.torch
import torch

from rhapsode.audio.wav import read_wav

SOURCES = Path(__file__).resolve().parents[1] / ".venv-engines" / "sources"
RATE = 24_000
TOKENS_PER_CHARACTER = 2
_SAMPLES_PER_TOKEN = 960
_SHIFT = torch.linspace(0, 2 * torch.pi, _SAMPLES_PER_TOKEN + 1)[:-1]


class Network(torch.nn.Module):  # type: ignore[misc] # torch is not in this environment
    """Has a weight to load, and the settings that the package asks for."""

    def __init__(self, hp: Any = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.hp = hp or T3Config()


class T3Config(SimpleNamespace):
    def __init__(self, **changes: object) -> None:
        super().__init__(speech_cond_prompt_len=8, emotion_adv=True, start_text_token=1, stop_text_token=2, **changes)

    @classmethod
    def multilingual(cls) -> "T3Config":
        return cls()


class T3Cond(SimpleNamespace):
    def to(self, device: object = None) -> "T3Cond":
        return self


class T3(Network):
    """Text to tokens: so many per character, with chance in them as the temperature says."""

    def __init__(self, hp: Any = None) -> None:
        super().__init__(hp)
        self.tfmr = SimpleNamespace(wte=None)

    def inference_turbo(
        self, *, t3_cond: T3Cond, text_tokens: torch.Tensor, temperature: float, **_: object
    ) -> torch.Tensor:
        said = text_tokens[0].repeat_interleave(TOKENS_PER_CHARACTER).float()
        feeling = 37 * float(t3_cond.emotion_adv.mean()) if self.hp.emotion_adv else 0.0
        chance = 50 * temperature * torch.rand(said.shape)
        return (said + chance + feeling + float(t3_cond.speaker_emb.mean())).long() % 6561

    def inference(self, *, cfg_weight: float, **arguments: Any) -> torch.Tensor:
        return (self.inference_turbo(**arguments) + int(37 * cfg_weight))[None] % 6561


class S3Gen(Network):
    """Tokens to sound: a tone for each."""

    def __init__(self, meanflow: bool = False) -> None:
        super().__init__()
        self.tokenizer = SimpleNamespace(forward=lambda wavs, max_len: (torch.ones(1, max_len).long(), None))

    def embed_ref(self, wav: np.ndarray, rate: int, device: str) -> dict[str, torch.Tensor]:
        assert rate == RATE
        return {"embedding": torch.from_numpy(np.asarray([np.abs(np.fft.rfft(wav)).argmax()], np.float32))}

    def inference(
        self, *, speech_tokens: torch.Tensor, ref_dict: dict[str, torch.Tensor], n_cfm_timesteps: int = 10
    ) -> tuple[torch.Tensor, None]:
        cycles = 4 + (speech_tokens.float() + ref_dict["embedding"]) % 200
        return 0.3 * torch.sin(cycles[:, None].round() * _SHIFT).reshape(1, -1), None


class VoiceEncoder(Network):
    def embeds_from_wavs(self, wavs: list[np.ndarray], sample_rate: int) -> np.ndarray:
        return np.stack([np.full(4, np.abs(wav).mean(), np.float32) for wav in wavs])


class Tokenizer:
    """A token is a character."""

    pad_token = None
    eos_token = "."

    def __init__(self, path: str = "") -> None:
        pass

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Tokenizer":
        return cls()

    def __len__(self) -> int:
        return 50_276

    def __call__(self, text: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=self.text_to_tokens(text))

    def text_to_tokens(self, text: str, language_id: str = "") -> torch.Tensor:
        return torch.tensor([[ord(character) % 6561 for character in text + language_id]])


def _load(file: Any, sr: int) -> tuple[np.ndarray, int]:
    samples, rate = read_wav(file.read())
    assert rate == sr, "clips have the rate of the models"
    return samples, rate


def _every_third_of_two(wav: np.ndarray, orig_sr: int, target_sr: int) -> np.ndarray:
    return wav[: wav.size // 3 * 3].reshape(-1, 3)[:, :2].reshape(-1)


def _watermark(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    return wav


_STAND_INS: dict[str, dict[str, object]] = {
    "librosa": {"load": _load, "resample": _every_third_of_two},
    "perth": {"PerthImplicitWatermarker": lambda: SimpleNamespace(apply_watermark=_watermark)},
    "pyloudnorm": {"Meter": lambda rate: SimpleNamespace(integrated_loudness=lambda wav: -27.0)},
    "transformers": {"AutoTokenizer": Tokenizer},
    "chatterbox.models": {},
    "chatterbox.models.t3": {"T3": T3},
    "chatterbox.models.t3.modules": {},
    "chatterbox.models.t3.modules.cond_enc": {"T3Cond": T3Cond},
    "chatterbox.models.t3.modules.t3_config": {"T3Config": T3Config},
    "chatterbox.models.s3tokenizer": {"S3_SR": 16_000, "drop_invalid_tokens": lambda tokens: tokens},
    "chatterbox.models.s3gen": {"S3GEN_SR": RATE, "S3Gen": S3Gen},
    "chatterbox.models.s3gen.const": {"S3GEN_SIL": 4299},
    "chatterbox.models.tokenizers": {"EnTokenizer": Tokenizer, "MTLTokenizer": Tokenizer},
    "chatterbox.models.voice_encoder": {"VoiceEncoder": VoiceEncoder},
}


def _put_in_place() -> None:
    for name, members in _STAND_INS.items():
        module = ModuleType(name)
        module.__dict__.update(members, __path__=[])
        sys.modules[name] = module
    sys.path.insert(0, str(SOURCES))


_put_in_place()

from rhapsode.engines.chatterbox import MultilingualEngine, OriginalEngine, TurboEngine  # noqa: E402

ENGINES = {"turbo": TurboEngine, "original": OriginalEngine, "multilingual": MultilingualEngine}


def _with_files(name: str) -> Any:
    """The engine, once the files that it loads lie in the model cache."""
    engine = ENGINES[name]

    def make(options: Any) -> Any:
        folder = engine.variant.folder(options.model_cache)
        folder.mkdir(parents=True, exist_ok=True)
        for file in engine.variant.needed:
            if file.endswith(".safetensors"):
                safetensors.torch.save_file({"weight": torch.zeros(1)}, folder / file)
            else:
                torch.save({"weight": torch.zeros(1)}, folder / file)
        built_in = {
            "t3": {"speaker_emb": torch.ones(1, 4), "emotion_adv": 0.5 * torch.ones(1, 1, 1)}
            | {"cond_prompt_speech_tokens": torch.ones(1, 8).long()},
            "gen": {"embedding": torch.tensor([40.0])},
        }
        torch.save(built_in, folder / "conds.pt")
        return engine(options)

    return make


turbo, original, multilingual = map(_with_files, ENGINES)
