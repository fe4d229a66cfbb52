"""The tables, for SQLite and PostgreSQL alike, as the migrations that lead to them; a released one never changes."""

from typing import Final

from functions.storage.database import Database, Schema, open_database

FLOWS: Final = """
CREATE TABLE flow (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    job_id TEXT NOT NULL,
    subject TEXT,
    parent TEXT,
    depth INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'held', 'completed', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    request {bytes} NOT NULL,
    data {bytes} NOT NULL,
    accepted_at TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    ending {bytes},
    first INTEGER NOT NULL DEFAULT 1,
    news INTEGER NOT NULL DEFAULT 0,
    waits TEXT NOT NULL DEFAULT '',
    needed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER,
    percent DOUBLE PRECISION,
    progress TEXT NOT NULL DEFAULT '',
    locked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX flow_state ON flow (state, accepted_at);
CREATE INDEX flow_job ON flow (job_id);
CREATE INDEX flow_ended ON flow (ended_at);
CREATE TABLE flow_step (
    flow_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    what TEXT NOT NULL,
    type TEXT,
    data {bytes},
    lane INTEGER,
    on_dead_letter TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'asked', 'ended')),
    dead_letter TEXT,
    asked_at TEXT NOT NULL,
    position INTEGER,
    kind TEXT,
    ended_at TEXT,
    answer {bytes},
    PRIMARY KEY (flow_id, number)
);
CREATE INDEX flow_step_lane ON flow_step (flow_id, lane, number) WHERE state = 'queued';
CREATE INDEX flow_step_dead ON flow_step (flow_id, number) WHERE dead_letter IS NOT NULL;
CREATE TABLE flow_signal (
    flow_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    at TEXT NOT NULL,
    name TEXT NOT NULL,
    data {bytes} NOT NULL,
    PRIMARY KEY (flow_id, position)
);
CREATE TABLE flow_timer (
    flow_id TEXT NOT NULL,
    step INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    PRIMARY KEY (flow_id, step)
);
CREATE INDEX flow_timer_due ON flow_timer (due_at);
CREATE TABLE flow_outbox (
    event_id TEXT PRIMARY KEY,
    event {bytes} NOT NULL,
    due_at TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX flow_outbox_due ON flow_outbox (due_at)
"""

EARLY: Final = """
CREATE TABLE flow_early (
    flow_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event {bytes} NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (flow_id, event_id)
);
CREATE INDEX flow_early_at ON flow_early (at)
"""

SCHEMA: Final = Schema("flow_version", (FLOWS, EARLY))


def open_flows(url: str) -> Database:
    """The database of a FLOWS_URL; ValueError for a URL of another kind. Nothing is opened yet."""
    return open_database(url, SCHEMA)
