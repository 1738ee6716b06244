"""The fleet contract, run against every backend with the tone engine."""

import asyncio
import dataclasses
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rhapsode.audio.wav import read_wav, wav_bytes
from rhapsode.engines.base import EngineOptions, Utterance
from rhapsode.engines.tone import AMPLITUDE, ToneEngine, expected_samples
from rhapsode.errors import EngineError, EngineUnloaded, NotFound, Unavailable, WorkerDied
from rhapsode.fleet.base import EngineChoice, EngineSetup, Fleet, SynthesisTask
from rhapsode.fleet.layout import LocalFleetOptions
from rhapsode.fleet.local import LocalFleet
from rhapsode.fleet.ray import RayFleet
from rhapsode.fleet.ray_hired import RayFleetOptions
from tests import plugins
from tests.clusters import RayCluster
from tests.fleets import Changes, running

LOCAL = pytest.mark.parametrize("make", ["local"], indirect=True)


class Backend:
    """Makes fleets of one kind, and knows their workers from outside."""

    dies_of = "signal 9"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "voices").mkdir()

    def __call__(self, **changes: Any) -> Fleet:
        options = LocalFleetOptions(
            "tone", self.folder / "voices", self.folder / "models", bulk_slots=2, express_threads=2
        )
        return LocalFleet(dataclasses.replace(options, **changes))

    def workers(self) -> set[int]:
        """Process ids."""
        found: set[int] = set()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "rhapsode.fleet.worker" in child.cmdline():
                    found.add(child.pid)
        return found

    async def until_gone(self, pids: set[int]) -> None:
        """Wait until none of these processes is left; no event tells, because the slots stay as they are."""
        async with asyncio.timeout(20):
            while self.workers() & pids:
                await asyncio.sleep(0.02)


class RayBackend(Backend):
    dies_of = "worker process has died"

    def __init__(self, folder: Path, cluster: RayCluster) -> None:
        super().__init__(folder)
        self._cluster = cluster

    def __call__(
        self, bulk_slots: int = 1, express_threads: int | None = 2, idle_unload_s: float = 60, **changes: Any
    ) -> Fleet:
        options = RayFleetOptions(
            "tone",
            self.folder / "voices",
            self.folder / "models",
            address=self._cluster.address,
            min_workers=bulk_slots,
            max_workers=bulk_slots,
            express=express_threads is not None,
            node_cache=str(self.folder / "node"),
            idle_s=idle_unload_s,
        )
        return RayFleet(dataclasses.replace(options, **changes))

    def workers(self) -> set[int]:
        return self._cluster.workers()


@pytest.fixture(params=["local", "ray"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "ray":
        return RayBackend(tmp_path, request.getfixturevalue("ray_cluster"))
    return Backend(tmp_path)


def task(text: str = "Hello there.", voice: str = "tone-chars", **changes: Any) -> SynthesisTask:
    plain = SynthesisTask("job", 0, "tone", text, voice, 7, {}, "en", 0.2)
    return dataclasses.replace(plain, **changes)


async def under_way() -> None:
    """Let tasks that were just created reach the worker."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_gives_what_the_engine_gives(make: Backend, tmp_path: Path) -> None:
    engine = ToneEngine(EngineOptions(1, tmp_path, tmp_path))
    asked = task("One sentence.\nAnother one.")
    alone = engine.synthesise(Utterance(asked.text, asked.voice, 7, {}, "en", 0.2))
    fleet = make()
    async with running(fleet):
        for slot in fleet.slots():
            rendered = await fleet.synthesise(slot.id, asked)
            assert rendered.data == wav_bytes(alone.samples, alone.rate)
            take = rendered.take
            assert take.digest == hashlib.sha256(rendered.data).hexdigest()
            assert take.samples == expected_samples(asked.text, sentence_pause_s=0.2) == alone.samples.size
            assert (take.rate, take.size, take.words) == (alone.rate, len(rendered.data), alone.words)
            assert take.synth_seconds > 0


async def test_makes_up_for_the_speed_that_the_engine_lacks(make: Backend) -> None:
    fleet = make()
    async with running(fleet):
        rendered = await fleet.synthesise("express", task("Twice as fast as that.", controls={"speed_factor": 2.0}))
        samples, _ = read_wav(rendered.data)
        assert samples.size == rendered.take.samples == round(expected_samples("Twice as fast as that.") / 2)
        assert 0.2 * AMPLITUDE < abs(samples).max() <= 1.0
        assert [w.text for w in rendered.take.words] == ["Twice", "as", "fast", "as", "that."]
        assert rendered.take.words[0].end == round(5 * 441 / 2)
        assert rendered.take.words[-1].end == samples.size


async def test_seed_and_temperature_change_the_sound_and_nothing_else_does(make: Backend) -> None:
    fleet = make()
    async with running(fleet):
        variants = [
            task("Same."),
            task("Same.", seed=8),
            task("Same.", controls={"temperature": 0.1}),
            task("Same.", job_id="other", index=3),
        ]
        digests = [(await fleet.synthesise("express", v)).take.digest for v in variants]
        assert len(set(digests)) == 3
        assert digests[0] == digests[3]


async def test_describes_the_engine_and_reads_the_voices_again_when_asked(make: Backend, tmp_path: Path) -> None:
    fleet = make()
    async with running(fleet):
        before = await fleet.describe()
        assert before.info.name == "tone"
        assert before.info.control("temperature") is not None
        assert [v.id for v in before.voices] == ["tone", "tone-chars", "tone-slow", "tone-24k"]
        (tmp_path / "voices" / "extra.tone").write_text("one more")
        assert await fleet.describe() == before
        after = await fleet.describe(refresh=True)
        assert [v.id for v in after.voices][4:] == ["extra"]
        assert (await fleet.synthesise("express", task(voice="extra"))).take.samples


async def test_all_slots_speak_at_once(make: Backend) -> None:
    fleet = make()
    async with running(fleet):
        slots = fleet.slots()
        assert sum(s.express for s in slots) == 1
        speaking = [asyncio.create_task(fleet.synthesise(s.id, task("x" * 60, "tone-slow"))) for s in slots]
        await asyncio.sleep(0)
        assert fleet.free_slots() == []
        assert fleet.waiting_for() is None
        assert fleet.slots()
        digests = {(await s).take.digest for s in speaking}
        assert len(digests) == 1
        assert len(fleet.free_slots()) == len(slots)


async def test_tells_of_each_slot_that_becomes_free_and_which_voice_it_holds(make: Backend) -> None:
    fleet = make(bulk_slots=2)
    async with running(fleet) as changes:
        seen = changes.count
        await fleet.synthesise("bulk-0", task(voice="tone-24k"))
        assert changes.count == seen + 1
        warm = {s.id: s.warm for s in fleet.free_slots()}
        assert ("tone", "tone-24k") in warm["bulk-0"]
        assert ("tone", "tone-24k") not in warm["bulk-1"]
        assert ("tone", "tone") in warm["bulk-1"], "the default voice is loaded ahead of need"


async def test_a_busy_or_unknown_slot_takes_nothing(make: Backend) -> None:
    fleet = make()
    async with running(fleet):
        first = asyncio.create_task(fleet.synthesise("bulk-0", task("x" * 60, "tone-slow")))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="bulk-0 is not free"):
            await fleet.synthesise("bulk-0", task())
        with pytest.raises(Unavailable, match="elsewhere"):
            await fleet.synthesise("elsewhere", task())
        assert (await first).take.samples


async def tell_of_errors(make: Backend, text: str, message: str) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet):
        before = make.workers()
        with pytest.raises(EngineError, match=message):
            await fleet.synthesise("bulk-0", task(text))
        assert (await fleet.synthesise("bulk-0", task())).take.samples
        assert make.workers() == before


@pytest.mark.parametrize(("text", "message"), [("!raise!", "asked to fail"), ("\ud800", "cannot be sent")])
async def test_engine_errors_are_told_and_the_worker_stays(make: Backend, text: str, message: str) -> None:
    await tell_of_errors(make, text, message)


@LOCAL  # what is checked is one function for all
@pytest.mark.parametrize(
    ("text", "message"), [("!empty!", "no audio"), ("!nan!", "not finite"), ("!long!", "more than")]
)
async def test_unusable_audio_is_told_and_the_worker_stays(make: Backend, text: str, message: str) -> None:
    await tell_of_errors(make, text, message)


async def test_an_unknown_voice_is_an_engine_error_that_names_those_there_are(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet):
        with pytest.raises(EngineError, match=r"nobody.*tone-chars"):
            await fleet.synthesise("bulk-0", task(voice="nobody"))
        assert len(fleet.free_slots()) == 1


async def test_what_libraries_print_does_not_reach_the_protocol(
    make: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    caplog.set_level("INFO")
    async with running(fleet):
        assert (await fleet.synthesise("bulk-0", task("!print!"))).take.samples
        async with asyncio.timeout(20):
            while "printed by the tone engine" not in caplog.text:
                await asyncio.sleep(0.02)


async def test_a_death_is_told_with_its_cause_and_the_slot_returns(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet) as changes:
        with pytest.raises(WorkerDied, match=make.dies_of):
            await fleet.synthesise("bulk-0", task("!crash!"))
        assert fleet.free_slots() == []
        await changes.until(lambda: len(fleet.free_slots()) == 1)
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_counted_words_act_on_the_first_attempts_only(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet) as changes:
        for error in (WorkerDied, WorkerDied):
            with pytest.raises(error):
                await fleet.synthesise("bulk-0", task("!crash-2!"))
            await changes.until(lambda: len(fleet.free_slots()) == 1)
        assert (await fleet.synthesise("bulk-0", task("!crash-2!"))).take.samples


async def test_a_cancelled_caller_leaves_the_slot_busy_until_the_worker_has_answered(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet) as changes:
        before = make.workers()
        speaking = asyncio.create_task(fleet.synthesise("bulk-0", task("x" * 60, "tone-slow")))
        await asyncio.sleep(0)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        assert fleet.free_slots() == []
        await changes.until(lambda: len(fleet.free_slots()) == 1)
        rendered = await fleet.synthesise("bulk-0", task("Next."))
        assert rendered.take.samples == expected_samples("Next.")
        assert make.workers() == before


async def test_unload_gives_back_what_is_in_flight_and_load_brings_workers_back(make: Backend) -> None:
    fleet = make(bulk_slots=1)
    async with running(fleet) as changes:
        hanging = asyncio.create_task(fleet.synthesise("bulk-0", task("!hang!")))
        await under_way()
        await fleet.unload()
        with pytest.raises(EngineUnloaded):
            await hanging
        assert fleet.free_slots() == []
        assert fleet.waiting_for() == "engine unloaded"
        await make.until_gone(make.workers())
        assert (await fleet.describe(refresh=True)).info.name == "tone", "the last answer is still known"
        with pytest.raises(EngineUnloaded):
            await fleet.synthesise("bulk-0", task())
        await fleet.unload()
        await fleet.load()
        assert fleet.waiting_for() is None
        assert fleet.free_slots(), "one has loaded its default voice"
        await changes.until(lambda: len(fleet.free_slots()) == 2)
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_load_replaces_workers_after_the_segment_they_hold(make: Backend) -> None:
    fleet = make(bulk_slots=1)
    async with running(fleet) as changes:
        before = make.workers()
        speaking = [asyncio.create_task(fleet.synthesise(s.id, task("x" * 90, "tone-slow"))) for s in fleet.slots()]
        await fleet.load()
        assert all([(await s).take.samples for s in speaking])
        await changes.until(lambda: len(fleet.free_slots()) == 2)
        for slot in fleet.slots():
            assert (await fleet.synthesise(slot.id, task())).take.samples
        await make.until_gone(before)


async def test_a_failed_load_leaves_the_fleet_as_it_was(make: Backend, tmp_path: Path) -> None:
    nothing = EngineChoice("gone", tmp_path / "voices", tmp_path / "cache")
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet):
        before = make.workers()
        with pytest.raises(EngineError, match="gone"):
            await fleet.load(nothing)
        assert (await fleet.synthesise("bulk-0", task())).take.samples
        assert make.workers() >= before
        await fleet.unload()
        with pytest.raises(EngineError, match="gone"):
            await fleet.load(nothing)
        assert fleet.waiting_for() == "engine unloaded"
        assert (await fleet.describe()).info.name == "tone"
        await fleet.load()
        assert (await fleet.synthesise("bulk-0", task())).take.samples


async def test_a_default_voice_there_is_not_gives_way_to_the_engines_own(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, default_voice="Emily.wav")
    async with running(fleet):
        await fleet.load()
        assert fleet.slots()[0].warm == {("tone", "tone")}


@LOCAL
async def test_idle_workers_end_and_start_again_on_demand(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, idle_unload_s=0.2, heartbeat_s=0.1)
    async with running(fleet):
        await make.until_gone(make.workers())
        assert len(fleet.free_slots()) == 1
        assert fleet.free_slots()[0].warm == frozenset()
        assert fleet.waiting_for() is None
        assert (await fleet.synthesise("bulk-0", task())).take.samples
        await make.until_gone(make.workers())
        assert (await fleet.describe(refresh=True)).voices
        assert make.workers()


async def test_an_engine_that_cannot_be_had_says_so_at_start(make: Backend) -> None:
    fleet = make(engine="nonesuch")
    with pytest.raises(EngineError, match=r"nonesuch.*piper"):
        await fleet.start()
    await fleet.stop(0)
    assert make.workers() == set()


async def test_stop_lets_segments_finish_within_the_grace_and_leaves_no_process(make: Backend) -> None:
    fleet = make()
    async with running(fleet):
        short = asyncio.create_task(fleet.synthesise("express", task("x" * 40, "tone-slow")))
        endless = asyncio.create_task(fleet.synthesise("bulk-0", task("!hang!")))
        await under_way()
        await fleet.stop(1.0)
        assert (await short).take.samples
        with pytest.raises(Unavailable, match="stopping"):
            await endless
        await make.until_gone(make.workers())
        assert fleet.free_slots() == []
        assert fleet.waiting_for() == "server stopping"
        with pytest.raises(Unavailable):
            await fleet.synthesise("express", task())
        assert len(asyncio.all_tasks()) == 1


# -- several engines ----------------------------------------------------------------------------------------------


@pytest.fixture
def chirp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second engine, installed as a plug-in."""
    plugins.install(monkeypatch)


def chirps(**changes: Any) -> SynthesisTask:
    return task(**{"engine": "chirp", "voice": "lark"} | changes)


@LOCAL  # the plug-in is not installed on nodes
@pytest.mark.usefixtures("chirp")
async def test_a_slot_speaks_with_each_engine_that_is_offered(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, others=("chirp",))
    async with running(fleet):
        assert fleet.engines() == ["tone", "chirp"]
        described = await fleet.describe("chirp")
        assert [voice.id for voice in described.voices] == ["lark", "owl"]
        assert fleet.known("chirp") == described
        assert fleet.waiting_for("chirp") is None
        assert fleet.free_slots()[0].engines == {"tone", "chirp"}
        spoken = await fleet.synthesise("bulk-0", chirps())
        assert spoken.take.rate == 16_000
        assert (await fleet.synthesise("bulk-0", task())).take.rate == 22_050
        assert {("tone", "tone-chars"), ("chirp", "lark")} <= fleet.slots()[0].warm


@LOCAL  # the plug-in is not installed on nodes
@pytest.mark.usefixtures("chirp")
async def test_one_slot_speaks_one_segment_whatever_the_engine(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, others=("chirp",))
    async with running(fleet):
        first = asyncio.create_task(fleet.synthesise("bulk-0", task("x" * 60, "tone-slow")))
        await asyncio.sleep(0)
        assert fleet.free_slots() == []
        with pytest.raises(Unavailable, match="bulk-0 is not free"):
            await fleet.synthesise("bulk-0", chirps())
        assert (await first).take.samples


async def test_an_engine_that_is_not_offered_is_named_with_those_that_are(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet):
        with pytest.raises(NotFound, match="no engine 'chirp' here; there are tone"):
            await fleet.describe("chirp")
        assert fleet.waiting_for("chirp") == "engine chirp"
        with pytest.raises(Unavailable):
            await fleet.synthesise("bulk-0", chirps())


async def test_an_engine_that_cannot_be_had_says_why_and_the_others_go_on(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, others=("gone",))
    async with running(fleet):
        with pytest.raises(EngineError, match="'gone' is not one of"):
            await fleet.describe("gone")
        assert fleet.known("gone") is None
        assert "'gone' is not one of" in (fleet.waiting_for("gone") or "")
        assert fleet.waiting_for() is None
        assert (await fleet.synthesise("bulk-0", task())).take.samples


@LOCAL  # the plug-in is not installed on nodes
@pytest.mark.usefixtures("chirp")
async def test_another_engine_can_become_the_active_one(make: Backend, tmp_path: Path) -> None:
    fleet = make(bulk_slots=1, express_threads=None)
    async with running(fleet):
        old = asyncio.create_task(fleet.synthesise("bulk-0", task("x" * 60, "tone-slow")))
        await asyncio.sleep(0)
        await fleet.load(EngineChoice("chirp", tmp_path / "voices", tmp_path / "models", others=("tone",)))
        assert (await old).take.samples, "what was being spoken is spoken to its end"
        assert fleet.engines() == ["chirp", "tone"]
        assert (await fleet.describe()).info.name == "chirp"
        await Changes(fleet).until(lambda: bool(fleet.free_slots()))
        assert (await fleet.synthesise("bulk-0", chirps())).take.samples
        assert (await fleet.synthesise("bulk-0", task())).take.samples, "the old engine is loaded beside"


@LOCAL  # the plug-in is not installed on nodes
@pytest.mark.usefixtures("chirp")
async def test_an_engine_of_few_processes_stays_in_the_first_slots_for_the_mass(make: Backend) -> None:
    setups = {"chirp": EngineSetup(device="cpu", processes=1)}
    fleet = make(bulk_slots=2, express_threads=1, others=("chirp",), setups=setups)
    async with running(fleet):
        assert {slot.id for slot in fleet.slots() if "chirp" in slot.engines} == {"bulk-0"}
        assert all("tone" in slot.engines for slot in fleet.slots())
        assert (await fleet.synthesise("bulk-0", chirps())).take.samples


@LOCAL  # the plug-in is not installed on nodes
@pytest.mark.usefixtures("chirp")
async def test_above_the_memory_budget_idle_engines_end_the_active_one_last(make: Backend) -> None:
    fleet = make(bulk_slots=1, express_threads=None, others=("chirp",), memory_budget_bytes=1, heartbeat_s=0.1)
    await fleet.start()
    try:
        changes = Changes(fleet)
        await changes.until(lambda: bool(fleet.free_slots()))
        assert (await fleet.synthesise("bulk-0", chirps())).take.samples
        await make.until_gone(make.workers())
        assert fleet.slots()[0].warm == frozenset()
        assert (await fleet.synthesise("bulk-0", task())).take.samples, "they come back on demand"
    finally:
        await fleet.stop(0)
