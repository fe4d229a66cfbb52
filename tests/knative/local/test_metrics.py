"""The runner's figures: the series that a monitor gets, by name and label."""

from knative.local.metrics import Metrics


def test_each_count_is_a_series_of_its_trigger_and_nothing_else_is() -> None:
    metrics = Metrics()
    metrics.watch(lambda: {"echo": 3}, lambda: {"ics": 2})
    metrics.accepted()
    metrics.refused(503)
    metrics.delivered("echo", -1, 0.3)
    metrics.retried("echo")
    metrics.dead_lettered("echo")

    lines = [each for each in metrics.render().decode().splitlines() if not each.startswith("#")]

    assert [each for each in lines if "_bucket" not in each] == [
        "errands_events_accepted_total 1.0",
        'errands_events_refused_total{status="503"} 1.0',
        'errands_deliveries_total{code="-1",trigger="echo"} 1.0',
        'errands_retries_total{trigger="echo"} 1.0',
        'errands_dead_letters_total{trigger="echo"} 1.0',
        'errands_delivery_seconds_count{trigger="echo"} 1.0',
        'errands_delivery_seconds_sum{trigger="echo"} 0.3',
        'errands_queue_depth{queue="echo"} 3.0',
        'errands_processes{function="ics"} 2.0',
    ]
    assert 'errands_delivery_seconds_bucket{le="0.25",trigger="echo"} 0.0' in lines
    assert 'errands_delivery_seconds_bucket{le="0.5",trigger="echo"} 1.0' in lines


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    metrics, depths = Metrics(), {"echo": 0}
    metrics.watch(lambda: depths, dict)

    depths["echo"], depths["echo.dlq"] = 5, 1

    assert b'errands_queue_depth{queue="echo"} 5.0' in metrics.render()
    assert b'errands_queue_depth{queue="echo.dlq"} 1.0' in metrics.render()
