"""T7: the outbox relay in batches against itself one by one, from PostgreSQL to a real mongod."""

import time

from bench.measure import Result, side_by_side
from bench.stack import Stack
from portal.kernel.clock import utc_now
from portal.workers.relay_outbox import Relay

BATCHED, SINGLE = 2_500, 60
# Copies of one invoice's event, each about an invoice of its own, and the mirror's job for each.
_COPY = """
    WITH pattern AS (SELECT * FROM events WHERE type = 'invoice.issued' ORDER BY id LIMIT 1), made AS (
        INSERT INTO events (id, merchant_id, network, aggregate_type, aggregate_id, version, type, payload, occurred_at)
        SELECT gen_random_uuid(), merchant_id, network, aggregate_type, gen_random_uuid(), 1, type, payload, occurred_at
        FROM pattern, generate_series(1, %s) RETURNING id, merchant_id
    )
    INSERT INTO outbox (id, merchant_id, event_id, consumer, next_attempt_at)
    SELECT gen_random_uuid(), merchant_id, id, 'mirror', now() FROM made
"""


def measure_relay(stack: Stack) -> Result:
    batched, single = Relay(consumers=("mirror",)), Relay(consumers=("mirror",), batch=1)

    def rate(relay: Relay, count: int) -> float:
        with stack.superuser() as connection:
            connection.execute("DELETE FROM outbox")
            connection.execute(_COPY, [count])
            # A portal that runs has fresh statistics; the throwaway server has no autovacuum to take them.
            connection.execute("ANALYZE outbox, events")
        with stack.worker_app.app_context():
            began, done = time.perf_counter(), 0
            while done < count:
                moved = relay.run_once(utc_now())
                assert moved, "the relay stopped before the outbox was empty"
                done += moved
            return done / (time.perf_counter() - began)

    found = side_by_side(lambda: rate(batched, BATCHED), lambda: rate(single, SINGLE))
    detail = f"{found.ours:.0f}/s of {found.other:.0f}/s, to mongod"
    return Result("T7", "relay in batches of one by one", 25, found.ratio, "x", "at least", detail)
