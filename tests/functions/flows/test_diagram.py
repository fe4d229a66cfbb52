"""Diagrams of flows, as their histories say: what came after what, what is one, and what no label breaks."""

from datetime import timedelta
from pathlib import Path

from events.flow import Flow, flow
from functions.flows import steps
from functions.flows.diagram import mermaid
from functions.flows.schema import open_flows
from tests.functions.flows.test_engine import Flows, ParcelRequested


def drawn(flows: Flows) -> list[str]:
    flow = flows.record()
    with flows.database.transaction(writes=False) as transaction:
        return [line.strip() for line in mermaid(flow, steps.all_of(transaction, flow.id)) if "classDef" not in line]


def test_steps_beside_each_other_stand_beside_each_other_and_what_follows_after_both(tmp_path: Path) -> None:
    @flow(ParcelRequested)
    async def shipped(_: ParcelRequested, do: Flow) -> None:
        await do.all(do.call("pack"), do.call("label"))
        await do.call("send")

    flows = Flows(open_flows(f"sqlite:///{tmp_path}/flows.db"), shipped)
    going = flows.begin()
    for step in going:
        flows.now += timedelta(seconds=1)
        sent = flows.answer(step)

    assert drawn(flows) == [
        "flowchart TD",
        'begin(["parcel p-1"])',
        'begin --> s1["call pack"]:::completed',
        'begin --> s2["call label"]:::completed',
        's1 & s2 --> s3["call send"]:::open',
    ]
    flows.now += timedelta(seconds=1)
    flows.engine.refuse(sent[0], "no room")
    assert drawn(flows)[-2:] == ['s1 & s2 --> s3["call send"]:::failed', 's3 --> over(["failed"]):::failed']


def test_a_fan_out_is_one_with_its_counts(tmp_path: Path) -> None:
    flows = Flows(open_flows(f"sqlite:///{tmp_path}/flows.db"))
    [first, _] = flows.begin(pieces=5)
    flows.now += timedelta(seconds=1)
    flows.answer(first)

    assert drawn(flows)[2:] == ['begin --> s1["5 x call pack<br/>1 completed, 4 open"]:::open']


def test_nothing_in_a_label_is_more_than_text(tmp_path: Path) -> None:
    @flow(ParcelRequested)
    async def hostile(_: ParcelRequested, do: Flow) -> None:
        await do.job('x"]; click s1 "javascript:alert(1)', {})

    flows = Flows(open_flows(f"sqlite:///{tmp_path}/flows.db"), hostile)
    flows.begin()

    label = drawn(flows)[2].partition('["')[2].partition('"]')[0]
    assert label == "job x#34;#93;#59; click s1 #34;javascript:alert#40;1#41;"


def test_a_sleep_that_is_over_is_completed_and_a_wait_that_was_too_long_has_failed(tmp_path: Path) -> None:
    @flow(ParcelRequested)
    async def patient(_: ParcelRequested, do: Flow) -> None:
        await do.sleep(hours=1)
        await do.wait("paid", within="1h")

    flows = Flows(open_flows(f"sqlite:///{tmp_path}/flows.db"), patient)
    flows.begin()
    for _ in range(2):
        flows.now += timedelta(hours=1)
        flows.fire()

    assert [line.rpartition(":")[2] for line in drawn(flows)[2:]] == ["completed", "failed", "failed"]
