"""Chatterbox with random weights: its released code, whole, with networks of the real architecture, made small for tests.

Only depths and widths differ (the real ones have 1.1 GB at least), and the weights, whose sound means nothing. Where the released code
takes no sizes, its classes are made with others than it names. Run in the interpreter of Pocket TTS, which has torch; Chatterbox and
the libraries that it needs besides lie in ``.venv-engines/sources`` (see ``scripts/setup.py``).

``python tests/chatterbox_model.py MODEL_CACHE turbo|original|multilingual`` writes one in its full size: it takes as long as the real one.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

SOURCES = Path(__file__).resolve().parents[1] / ".venv-engines" / "sources"
sys.path[:0] = [str(SOURCES), str(SOURCES.parents[1] / "src")]

import numpy as np  # noqa: E402
import s3tokenizer.model_v2  # noqa: E402
import safetensors.torch  # noqa: E402
from chatterbox.models.s3gen import S3Gen, s3gen  # noqa: E402
from chatterbox.models.t3 import T3  # noqa: E402
from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS  # noqa: E402
from chatterbox.models.t3.modules import cond_enc  # noqa: E402
from chatterbox.models.t3.modules.t3_config import T3Config  # noqa: E402
from chatterbox.models.voice_encoder import VoiceEncoder  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from rhapsode.audio.clip import RATE, make_clip  # noqa: E402
from rhapsode.engines.base import EngineOptions  # noqa: E402
from rhapsode.engines.chatterbox import MultilingualEngine, OriginalEngine, TurboEngine  # noqa: E402

WIDTH = 64
_CODES = 6561
"""Tokens of speech; those behind them mean something else."""
_TWICE = 4
"""The one that is said over and over in the end."""
_SPECIAL = {"[STOP]": 0, "[UNK]": 1, "[SPACE]": 2, "[START]": 255}


def shrink(layers: int) -> None:
    """Make every network as small as the code lets it be; the larger language model has this many layers."""
    LLAMA_CONFIGS["Llama_520M"].update(
        hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=layers, head_dim=WIDTH // 16
    )
    LLAMA_CONFIGS["GPT2_medium"].update(hidden_size=WIDTH, n_embd=WIDTH, n_head=4, n_layer=2)
    cond_enc.Perceiver = partial(cond_enc.Perceiver, pre_attention_query_size=WIDTH, embedding_dim=WIDTH)
    (tokenizer,) = s3tokenizer.model_v2.S3TokenizerV2.__init__.__defaults__
    tokenizer.n_audio_state, tokenizer.n_audio_head, tokenizer.n_audio_layer = WIDTH, 1, 1
    sizes: dict[str, dict[str, Any]] = {
        "UpsampleConformerEncoder": {"num_blocks": 1, "linear_units": WIDTH},
        "ConditionalDecoder": {"channels": [WIDTH], "n_blocks": 1, "num_mid_blocks": 1, "num_heads": 1},
        "CAMPPlus": {"growth_rate": 4},
        "HiFTGenerator": {"base_channels": 32},
        "ConvRNNF0Predictor": {"cond_channels": 32},
    }
    for name, changes in sizes.items():
        setattr(s3gen, name, _smaller(getattr(s3gen, name), changes))


def _smaller(network: Any, changes: dict[str, Any]) -> Any:
    return lambda **given: network(**given | changes)


def _end_soon(t3: Any) -> None:
    """Choose weights with which speech comes to an end, after about a second: by chance alone it would take the longest there is."""
    scale = 0.15 * (WIDTH / t3.dim) ** 0.5
    for name, weights in t3.named_parameters():
        if weights.dim() > 1:
            weights.data.normal_(0, 2 * scale if "head" in name or "emotion" in name else scale)
    stop = t3.hp.stop_speech_token
    if t3.is_gpt:  # an end as likely at each step
        t3.speech_head.bias.data.zero_()
        t3.speech_head.bias.data[stop] = 6.0
        return
    clock, one = 0, 1  # channels that no layer changes: the time that was spoken, and 1 while speaking
    for layer in t3.tfmr.layers:
        layer.self_attn.o_proj.weight.data[:2] = 0
        layer.mlp.down_proj.weight.data[:2] = 0
    time, ends = t3.speech_pos_emb.emb.weight.data, t3.speech_head.weight.data
    t3.speech_emb.weight.data[:, :2] = 0
    time[:, clock] = 0.3 * torch.arange(len(time))
    time[:, one] = 3
    ends[:, :2] = 0
    ends[_CODES:, one] = -30
    ends[stop] = 0
    ends[stop, clock] = 3
    if t3.hp.is_multilingual:
        # Its guard allows no end before the attention has gone through the text, but ends what is said twice.
        ends[_TWICE, clock] = 8


def _tokenizer() -> Tokenizer:
    """A token is a character."""
    characters = {chr(code): len(_SPECIAL) + code for code in range(33, 127)}
    unused = {
        f"<{number}>": number for number in range(256) if number not in {*_SPECIAL.values(), *characters.values()}
    }
    found = Tokenizer(models.BPE(vocab=_SPECIAL | characters | unused, merges=[], unk_token="[UNK]"))
    found.add_special_tokens(list(_SPECIAL))
    return found


def _turbo_config() -> Any:
    """As ``ChatterboxTurboTTS.from_local`` has it."""
    config = T3Config(text_tokens_dict_size=50_276)
    config.llama_config_name = "GPT2_medium"
    config.speech_tokens_dict_size = 6563
    config.input_pos_emb = None
    config.speech_cond_prompt_len = 375
    config.use_perceiver_resampler = False
    config.emotion_adv = False
    return config


def _weights(network: Any) -> dict[str, torch.Tensor]:
    if isinstance(network, T3):
        _end_soon(network)
    weights: dict[str, torch.Tensor] = network.eval().state_dict()
    return weights


def _write(name: str, folder: Path) -> None:
    """The files that the variant is loaded from."""
    torch.manual_seed(0)
    voices = _weights(VoiceEncoder())
    match name:
        case "turbo":
            safetensors.torch.save_file(voices, folder / "ve.safetensors")
            safetensors.torch.save_file(_weights(T3(_turbo_config())), folder / "t3_turbo_v1.safetensors")
            safetensors.torch.save_file(_weights(S3Gen(meanflow=True)), folder / "s3gen_meanflow.safetensors")
            PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), eos_token="[STOP]").save_pretrained(folder)
        case "original":
            safetensors.torch.save_file(voices, folder / "ve.safetensors")
            safetensors.torch.save_file(_weights(T3()), folder / "t3_cfg.safetensors")
            safetensors.torch.save_file(_weights(S3Gen()), folder / "s3gen.safetensors")
            _tokenizer().save(str(folder / "tokenizer.json"))
        case _:
            torch.save(voices, folder / "ve.pt")
            safetensors.torch.save_file(_weights(T3(T3Config.multilingual())), folder / "t3_mtl23ls_v2.safetensors")
            torch.save(_weights(S3Gen()), folder / "s3gen.pt")
            _tokenizer().save(str(folder / "grapheme_mtl_merged_expanded_v1.json"))


def _hum(seconds: float) -> bytes:
    """A clip."""
    time = np.arange(round(seconds * RATE), dtype=np.float32) / RATE
    return make_clip(np.asarray(sum(0.1 * np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 6)), np.float32))


ENGINES = {"turbo": TurboEngine, "original": OriginalEngine, "multilingual": MultilingualEngine}


def make(name: str, options: EngineOptions) -> None:
    """Write what the engine loads into its folder in the model cache; what it speaks with by itself is a hum."""
    engine = ENGINES[name]
    folder = engine.variant.folder(options.model_cache)
    folder.mkdir(parents=True)
    _write(name, folder)
    first = engine(options)
    first._load_model()
    first._prepare(_hum(max(1.0, engine.variant.min_clip_s + 0.1)), folder / "conds.pt")


def _small(name: str, options: EngineOptions) -> Any:
    """The engine, once the files that it loads are there."""
    if not ENGINES[name].variant.folder(options.model_cache).exists():
        shrink(14 if name == "multilingual" else 2)  # it watches the heads of some layers, the last of them the 14th
        make(name, options)
    return ENGINES[name](options)


turbo, original, multilingual = (partial(_small, name) for name in ENGINES)


if __name__ == "__main__":
    models_folder = Path(sys.argv[1])
    make(sys.argv[2], EngineOptions(1, models_folder / "voices", models_folder))
