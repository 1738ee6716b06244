"""Who is served next."""

from collections import Counter
from collections.abc import Collection

from rhapsode.jobs.order import FairOrder
from rhapsode.model import Priority

ALL = (Priority.INTERACTIVE, Priority.NORMAL, Priority.BATCH)


def serve(order: FairOrder, chars: int = 100, now: float = 0.0, engines: Collection[str] = ("",)) -> str:
    job_id = order.pick(ALL, now, engines)
    assert job_id is not None
    order.charge(job_id, chars)
    return job_id


def test_empty_order_has_nobody():
    assert FairOrder().pick(ALL, 0.0) is None


def test_short_jobs_of_one_owner_run_to_their_end_in_submit_order():
    order = FairOrder(head_chars=1000)
    for name in "abc":
        order.add(name, "me", Priority.NORMAL, 0.0)
    assert [serve(order) for _ in range(3)] == ["a", "a", "a"]
    order.remove("a")
    assert serve(order) == "b"


def test_long_jobs_of_one_owner_share_equally_behind_their_head():
    order = FairOrder(head_chars=300)
    order.add("a", "me", Priority.NORMAL, 0.0)
    order.add("b", "me", Priority.NORMAL, 0.0)
    served = Counter(serve(order) for _ in range(200))
    assert abs(served["a"] - served["b"]) <= 3


def test_new_short_job_goes_ahead_of_a_book_that_runs():
    order = FairOrder()
    order.add("book", "me", Priority.NORMAL, 0.0)
    for _ in range(50):
        serve(order)
    order.add("short", "me", Priority.NORMAL, 1.0)
    assert [serve(order) for _ in range(5)] == ["short"] * 5


def test_owners_share_equally_whatever_the_number_of_their_jobs():
    order = FairOrder()
    order.add("one", "ann", Priority.NORMAL, 0.0)
    for i in range(20):
        order.add(f"many{i}", "bob", Priority.NORMAL, 0.0)
    served = Counter("ann" if serve(order) == "one" else "bob" for _ in range(100))
    assert served["ann"] == served["bob"]


def test_owner_who_was_away_saves_nothing_up():
    order = FairOrder()
    order.add("a", "ann", Priority.NORMAL, 0.0)
    order.add("b", "bob", Priority.NORMAL, 0.0)
    serve(order)
    serve(order)
    order.set_eligible("b", False)
    for _ in range(50):
        assert serve(order) == "a"
    order.set_eligible("b", True)
    served = Counter(serve(order) for _ in range(40))
    assert abs(served["a"] - served["b"]) <= 2


def test_classes_are_strict():
    order = FairOrder()
    order.add("batch", "me", Priority.BATCH, 0.0)
    order.add("normal", "me", Priority.NORMAL, 0.0)
    order.add("interactive", "me", Priority.INTERACTIVE, 0.0)
    assert serve(order) == "interactive"
    order.remove("interactive")
    assert serve(order) == "normal"
    order.remove("normal")
    assert serve(order) == "batch"


def test_interactive_counts_as_normal_behind_its_first_characters():
    order = FairOrder(interactive_chars=300)
    order.add("talk", "ann", Priority.INTERACTIVE, 0.0)
    order.add("book", "bob", Priority.NORMAL, 0.0)
    assert [serve(order) for _ in range(3)] == ["talk"] * 3
    assert Counter(serve(order) for _ in range(10)) == {"talk": 5, "book": 5}


def test_batch_counts_as_normal_when_its_deadline_has_passed():
    order = FairOrder(batch_delay_s=100.0)
    order.add("batch", "ann", Priority.BATCH, 0.0)
    order.add("normal", "bob", Priority.NORMAL, 50.0)
    assert {serve(order, now=99.0) for _ in range(5)} == {"normal"}
    assert {serve(order, now=101.0) for _ in range(4)} == {"normal", "batch"}


def test_normal_that_nobody_served_counts_as_interactive_when_its_deadline_has_passed():
    order = FairOrder(normal_delay_s=100.0, interactive_chars=200)
    order.add("normal", "ann", Priority.NORMAL, 0.0)
    order.add("talk", "bob", Priority.INTERACTIVE, 0.0)
    order.pick(ALL, 101.0)
    assert {serve(order, now=101.0), serve(order, now=101.0)} == {"normal", "talk"}


def test_listener_makes_a_job_urgent():
    order = FairOrder()
    order.add("batch", "me", Priority.BATCH, 0.0)
    order.add("normal", "me", Priority.NORMAL, 0.0)
    order.set_urgent("batch", True)
    assert serve(order) == "batch"
    order.set_urgent("batch", False)
    assert serve(order) == "normal"


def test_only_the_lanes_asked_for_are_tried():
    order = FairOrder()
    order.add("normal", "me", Priority.NORMAL, 0.0)
    assert order.pick((Priority.INTERACTIVE,), 0.0) is None
    assert order.pick((Priority.NORMAL,), 0.0) == "normal"


def test_picks_stay_quick_with_a_hundred_thousand_jobs():
    order = FairOrder()
    for i in range(100_000):
        order.add(str(i), f"owner{i % 100}", Priority.NORMAL, float(i))
    seen = [serve(order) for _ in range(1000)]
    assert Counter(int(job) % 100 for job in seen) == dict.fromkeys(range(100), 10)


def test_jobs_that_are_gone_leave_nothing_behind():
    order = FairOrder()
    for i in range(10_000):
        order.add(str(i), "me", Priority.NORMAL, float(i))
        assert order.pick(ALL, float(i)) == str(i)
        order.remove(str(i))
    assert len(order._deadlines) < 2_000


def test_rank_says_whose_turn_is_furthest_away():
    order = FairOrder(head_chars=100)
    order.add("book", "me", Priority.NORMAL, 0.0)
    order.add("batch", "me", Priority.BATCH, 0.0)
    for _ in range(3):
        assert serve(order) == "book"
    order.add("short", "me", Priority.NORMAL, 1.0)
    order.add("talk", "me", Priority.INTERACTIVE, 2.0)
    assert sorted(["book", "batch", "short", "talk"], key=order.rank) == ["talk", "short", "book", "batch"]


def test_a_new_priority_moves_a_job_at_once_and_keeps_its_deadline():
    order = FairOrder(normal_delay_s=100, batch_delay_s=1000)
    order.add("a", "me", Priority.NORMAL, 0.0)
    order.add("b", "me", Priority.BATCH, 0.0)
    assert order.pick(ALL, 0.0) == "a"
    order.set_priority("b", Priority.INTERACTIVE)
    assert order.pick(ALL, 0.0) == "b"
    order.set_priority("b", Priority.BATCH)
    assert order.pick([Priority.INTERACTIVE], 0.0) is None
    assert order.pick([Priority.BATCH], 0.0) == "b"
    order.remove("a")
    assert order.pick([Priority.NORMAL], 999.0) is None
    assert order.pick([Priority.NORMAL], 1000.0) == "b"  # submit time + class delay
    order.set_priority("b", Priority.NORMAL)
    assert order.pick([Priority.INTERACTIVE], 1000.0) == "b"
    order.set_priority("gone", Priority.BATCH)


def test_many_changes_of_priority_leave_few_deadlines():
    order = FairOrder()
    order.add("a", "me", Priority.NORMAL, 0.0)
    for _ in range(100):
        order.set_priority("a", Priority.BATCH)
        order.set_priority("a", Priority.NORMAL)
    assert len(order._deadlines) == 2


def test_jobs_whose_engine_cannot_speak_now_keep_their_turn():
    order = FairOrder()
    order.add("a", "ann", Priority.NORMAL, 0.0, engine="piper")
    order.add("b", "bob", Priority.NORMAL, 0.0, engine="kokoro")
    assert order.pick(ALL, 0.0, {"kokoro"}) == "b"
    assert order.pick(ALL, 0.0, {"piper"}) == "a"
    assert order.pick(ALL, 0.0, {"other"}) is None
    served: Counter[str] = Counter()
    for _ in range(40):
        job_id = serve(order, engines={"piper", "kokoro"})
        served[job_id] += 1
    assert served["a"] == served["b"]


def test_an_owner_has_one_account_over_all_engines():
    order = FairOrder()
    order.add("a1", "ann", Priority.NORMAL, 0.0, engine="piper")
    order.add("a2", "ann", Priority.NORMAL, 0.0, engine="kokoro")
    order.add("b", "bob", Priority.NORMAL, 0.0, engine="piper")
    served: Counter[str] = Counter()
    for _ in range(120):
        job_id = serve(order, engines={"piper", "kokoro"})
        served[job_id[0]] += 1
    assert abs(served["a"] - served["b"]) <= 1


def test_jobs_of_an_engine_that_is_gone_are_set_aside_and_save_nothing_up():
    order = FairOrder()
    order.add("gone", "ann", Priority.NORMAL, 0.0, engine="old")
    order.add("a", "ann", Priority.NORMAL, 0.0, engine="new")
    order.add("b", "bob", Priority.NORMAL, 0.0, engine="new")
    order.set_engines(frozenset({"new"}))
    order.set_eligible("a", False)
    for _ in range(50):
        assert serve(order, engines={"old", "new"}) == "b"
    order.set_engines(frozenset({"old", "new"}))
    served: Counter[str] = Counter()
    for _ in range(40):
        job_id = serve(order, engines={"old", "new"})
        served[job_id] += 1
    assert abs(served["gone"] - served["b"]) <= 2


def test_engines_that_jobs_are_here_of_are_known():
    order = FairOrder()
    order.set_engines(frozenset())
    order.add("a", "ann", Priority.NORMAL, 0.0, engine="piper")
    order.add("a", "ann", Priority.NORMAL, 0.0, engine="piper")  # queued again
    assert order.has_jobs_of("piper")
    assert not order.has_jobs_of("kokoro")
    order.remove("a")
    order.remove("a")
    assert not order.has_jobs_of("piper")
