import itertools

import numpy as np
import pytest

from rhapsode.audio.limiter import decibels
from rhapsode.audio.wav import wav_bytes
from rhapsode.deliver.timeline import Placed, Placer, Timeline, TimelineOptions
from rhapsode.errors import BlobError, SampleRateMismatch
from rhapsode.model import Boundary, Joint, Pauses

RATE = 22_050
OPTIONS = TimelineOptions(RATE, Pauses())
JOINTS = [Joint(boundary) for boundary in Boundary]


def take(number: int, seconds: float = 0.3, level: float = 0.1) -> np.ndarray:
    n = round(seconds * RATE) + number
    return (level * np.random.default_rng(number).uniform(-1, 1, n)).astype(np.float32)


def joined(takes: list[tuple[np.ndarray, Joint]], options: TimelineOptions = OPTIONS) -> np.ndarray:
    timeline = Timeline(options)
    return np.concatenate([*(timeline.add(samples, joint)[0] for samples, joint in takes), timeline.finish()])


def test_a_pause_that_the_text_asks_for_stands_in_for_the_one_before_it_to_the_sample() -> None:
    for lead_ms, expected in ((0, 0), (1, 22), (500, 11_025), (10_000, 220_500)):
        timeline = Timeline(OPTIONS)
        one, first = timeline.add(take(1), Joint(Boundary.HEADING))
        two, second = timeline.add(take(2), Joint(Boundary.SENTENCE, lead_ms=lead_ms))
        three, third = timeline.add(take(3), Joint(Boundary.SENTENCE))
        whole = np.concatenate([one, two, three, timeline.finish()])
        assert second.start - first.end == expected
        assert third.start - second.end == round(Pauses().sentence_s * RATE)
        assert not whole[first.end : second.start].any()
        assert whole[second.start : second.end].any()


def test_a_pause_before_the_first_words_is_silence_at_the_start() -> None:
    placed = Timeline(OPTIONS).add(take(1), Joint(Boundary.SENTENCE, lead_ms=250))[1]
    assert placed.start == round(0.25 * RATE)


def test_each_take_has_the_gain_of_its_voice() -> None:
    samples = take(1, level=0.1)
    options = TimelineOptions(RATE, Pauses(sentence_s=0), gain_db=-6.0)
    both = joined([(samples, Joint(Boundary.SENTENCE)), (samples, Joint(Boundary.SENTENCE, gain_db=3.0))], options)
    quiet, loud = both[: samples.size], both[samples.size :]
    np.testing.assert_allclose(loud, quiet * decibels(9.0), rtol=1e-5)


def test_takes_pauses_and_edges_are_where_they_belong() -> None:
    takes = [(take(i), joint) for i, joint in enumerate(JOINTS)]
    timeline = Timeline(OPTIONS)
    pieces, places = zip(*(timeline.add(*item) for item in takes), strict=True)
    whole = np.concatenate([*pieces, timeline.finish()])
    expected_start = 0
    edge = round(OPTIONS.fade_s * RATE)
    for (samples, joint), place in zip(takes, places, strict=True):
        assert place == Placed(expected_start, expected_start + samples.size)
        assert np.array_equal(whole[place.start + edge : place.end - edge], samples[edge:-edge])
        pause = whole[place.end : place.end + round(Pauses().after(joint.boundary) * RATE)]
        assert not pause.any()
        expected_start = place.end + round(Pauses().after(joint.boundary) * RATE)
    assert whole.size == places[-1].end


def test_every_boundary_has_its_own_pause() -> None:
    pauses = Pauses(clause_s=0.1, sentence_s=0.2, paragraph_s=0.3, heading_s=0.4)
    for joint, seconds in zip(JOINTS, [0, 0.1, 0.2, 0.3, 0.4], strict=True):
        timeline = Timeline(TimelineOptions(RATE, pauses))
        _, first = timeline.add(take(1), joint)
        _, second = timeline.add(take(2), Joint(Boundary.SENTENCE))
        assert second.start - first.end == round(seconds * RATE)


def test_the_edges_are_equal_power_fades() -> None:
    whole = joined([(np.full(RATE, 0.5, np.float32), Joint(Boundary.SENTENCE))])
    n = round(OPTIONS.fade_s * RATE)
    assert whole[0] < 0.02
    assert np.all(np.diff(whole[:n]) > 0)
    power = np.square(whole[:n] / 0.5)
    assert power + power[::-1] == pytest.approx(np.ones(n), abs=1e-5)
    assert np.array_equal(whole[-n:], whole[:n][::-1])


def test_the_gain_is_one_constant() -> None:
    samples = take(1)
    louder = joined([(samples, Joint(Boundary.SENTENCE))] * 3, TimelineOptions(RATE, Pauses(), gain_db=6.0))
    plain = joined([(samples, Joint(Boundary.SENTENCE))] * 3)
    assert louder == pytest.approx(plain * decibels(6), abs=1e-7)


def test_the_ceiling_holds_across_takes() -> None:
    options = TimelineOptions(RATE, Pauses(), gain_db=12.0, ceiling_db=-3.0)
    whole = joined([(take(i, level=0.9), Joint(Boundary.NONE)) for i in range(5)], options)
    assert 0.99 * decibels(-3) < np.abs(whole).max() <= np.float32(decibels(-3))


def test_a_take_is_heard_when_it_is_added() -> None:
    timeline = Timeline(OPTIONS)
    emitted = 0
    for i in range(6):
        ready, place = timeline.add(take(i, level=0.5 + 0.2 * i), Joint(Boundary.PARAGRAPH))
        emitted += ready.size
        assert 0 < place.end - emitted <= 0.006 * RATE
    assert emitted + timeline.finish().size == place.end


def test_the_beginning_does_not_depend_on_what_comes_later() -> None:
    takes = [(take(i, level=0.3 * i), Joint(Boundary.CLAUSE)) for i in range(6)]
    long, short = joined(takes), joined(takes[:3])
    same = short.size - round(0.006 * RATE)
    assert np.array_equal(long[:same], short[:same])


def test_short_and_empty_takes_are_joined() -> None:
    sizes = [0, 1, 2, 3, 50, 0, 200]
    timeline = Timeline(OPTIONS)
    places = [timeline.add(np.full(n, 0.2, np.float32), Joint(Boundary.CLAUSE))[1] for n in sizes]
    assert [place.end - place.start for place in places] == sizes
    gaps = [after.start - before.end for before, after in itertools.pairwise(places)]
    assert gaps == [round(0.15 * RATE)] * (len(sizes) - 1)


def test_an_empty_timeline_is_empty() -> None:
    assert joined([]).size == 0


def test_takes_are_left_as_they_are() -> None:
    samples = take(1)
    before = samples.copy()
    joined([(samples, Joint(Boundary.CLAUSE))], TimelineOptions(RATE, Pauses(), gain_db=3))
    assert np.array_equal(samples, before)


def test_places_can_be_had_without_sound() -> None:
    takes = [(take(i, 0.1), JOINTS[i % 5]) for i in range(20)]
    timeline, placer = Timeline(OPTIONS), Placer(RATE, OPTIONS.pauses)
    assert [timeline.add(*item)[1] for item in takes] == [placer.place(t.size, b) for t, b in takes]


def test_a_take_of_another_rate_is_refused() -> None:
    with pytest.raises(SampleRateMismatch, match="24000 Hz where 22050 Hz"):
        Timeline(OPTIONS).add_take(wav_bytes(take(1), 24_000), Joint(Boundary.CLAUSE))


def test_a_damaged_take_is_refused() -> None:
    with pytest.raises(BlobError):
        Timeline(OPTIONS).add_take(wav_bytes(take(1), RATE)[:-2], Joint(Boundary.CLAUSE))
