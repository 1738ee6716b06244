"""A Pocket TTS of 90,000 random weights: the real architecture, code and files, made small. What it says means nothing.

    python tests/pocket_model.py MODEL_CACHE          # with the interpreter of the engine
    python tests/pocket_model.py MODEL_CACHE full     # as large as the real one: to measure

Lays down model, tokenizer, configuration and one voice of the catalogue where the engine looks for those that were fetched.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pocket_tts
import safetensors.torch
import torch
import yaml
from pocket_tts import TTSModel, export_model_state
from tokenizers import Tokenizer, models

SEED = 0
_CHARACTERS = ["<unk>"] + [chr(code) for code in range(32, 127)]


def shrink(config: dict[str, Any]) -> None:
    """Give the configuration of English the smallest dimensions that the code allows."""
    flow, mimi = config["flow_lm"], config["mimi"]
    flow["lookup_table"].update(dim=32)
    flow["flow"].update(dim=32, depth=2)
    flow["transformer"].update(d_model=32, num_heads=2, num_layers=2, hidden_scale=2)
    mimi["seanet"].update(dimension=32, n_filters=2)
    mimi.update(inner_dim=8, outer_dim=32)
    mimi["transformer"].update(
        d_model=32,
        num_heads=2,
        num_layers=1,
        input_dimension=32,
        output_dimensions=[32],
        dim_feedforward=64,
        context=50,
    )
    mimi["quantizer"].update(dimension=8, output_dimension=32)


def make(cache: Path, full: bool = False) -> None:
    """Write everything."""
    folder = cache / "pocket-tts" / "languages" / "english"
    (folder / "embeddings").mkdir(parents=True)
    tokenizer = folder / "tokenizer.json"
    vocabulary = {character: number for number, character in enumerate(_CHARACTERS)}
    Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>")).save(str(tokenizer))
    source = Path(pocket_tts.__file__).parent / "config" / "english.yaml"
    config = yaml.safe_load(source.read_text())
    del config["weights_path"], config["weights_path_without_voice_cloning"]
    config["flow_lm"]["lookup_table"].update(
        tokenizer="tokenizers", tokenizer_path=str(tokenizer), n_bins=len(_CHARACTERS)
    )
    if not full:
        shrink(config)
    bare = folder / "config.yaml"
    bare.write_text(yaml.safe_dump(config))
    torch.manual_seed(SEED)
    model = TTSModel.load_model(config=bare)
    with torch.no_grad():
        model.flow_lm.speaker_proj_weight.normal_()  # made as zeros: voices would not differ
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(weights, str(folder / "model.safetensors"))
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(24_000) / 24_000).astype(np.float32)
    state = model.get_state_for_audio_prompt(torch.from_numpy(tone)[None])
    export_model_state(state, folder / "embeddings" / "alba.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]), full=sys.argv[2:] == ["full"])
