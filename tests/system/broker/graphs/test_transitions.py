"""The scripts do what the pure model does, for whatever graph, order of ends and decisions."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor_worker.broker import Consumer, Link
from executor_worker.broker.graphs.source import RUNS
from executor_worker.broker.queue.document import DOCUMENTS
from executor_worker.broker.queue.source import Sources
from tests.system.broker.graphs.play import Client, Made, Play

EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "60"))


@settings(
    max_examples=EXAMPLES,
    derandomize="PROTOCOL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, 2**40))
def test_scripts_and_model_agree_on_every_step(
    db: Client, link: Link, consumer: Callable[..., Consumer], seed: int
) -> None:
    """Three workers take and settle in any order, one between another's two tries; sometimes the run is cancelled."""
    db.flushall()
    chance = random.Random(seed)
    made = Made.by(chance)
    workers = [consumer(f"w.{at}", sources=Sources(RUNS, DOCUMENTS)) for at in range(3)]
    play = Play(made, db, link, workers, window=chance.choice([1, 2, 500]))
    play.compare()
    while not play.over():
        worker = chance.choice(workers)
        if chance.random() < 0.02:
            play.cancel()
        elif worker in play.hands:
            play.settle(worker)
        else:
            play.take(worker)
        play.compare()
