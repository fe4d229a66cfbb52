"""The ledger's tables, for SQLite and PostgreSQL alike, as the migrations that lead to them; a released one never
changes.

A job's request and its end stand apart from its row, so that a list reads narrow rows and a change of state copies no
data. Moments are milliseconds since 1970. `due_ms` is when something is to be done about the job next, whatever that
is: the loop that claims rows asks for nothing else. Every indexed text is short, or cut: an event may hold attributes
longer than PostgreSQL takes into an index.
"""

from typing import Final

from functions.storage.database import Database, Schema, open_database

JOBS: Final = """
CREATE TABLE job (
    id {id},
    key TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT,
    api TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('waiting', 'sent', 'completed', 'failed', 'deadlettered', 'cancelled', 'lost')),
    fingerprint TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    limit_key TEXT,
    unique_key TEXT,
    accepted_ms {integer} NOT NULL,
    not_before_ms {integer},
    due_ms {integer},
    sent_ms {integer},
    retry_ms {integer},
    ended_ms {integer},
    tries INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    progress TEXT
);
CREATE INDEX job_state ON job (state, id) WHERE state <> 'completed';
CREATE INDEX job_due ON job (due_ms) WHERE due_ms IS NOT NULL;
CREATE UNIQUE INDEX job_unique ON job (unique_key) WHERE unique_key IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX job_limit ON job (limit_key, state) WHERE limit_key IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX job_subject ON job (substr(subject, 1, 200), id) WHERE subject IS NOT NULL;
CREATE INDEX job_type ON job (substr(type, 1, 200), id);
CREATE INDEX job_ended ON job (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE job_request (
    job_id {integer} PRIMARY KEY,
    attributes {bytes} NOT NULL,
    data {bytes} NOT NULL
);
CREATE TABLE job_end (
    job_id {integer} PRIMARY KEY,
    attributes {bytes} NOT NULL,
    data {bytes} NOT NULL
);
CREATE TABLE job_note (
    id {id},
    job_id {integer} NOT NULL,
    at_ms {integer} NOT NULL,
    kind TEXT NOT NULL,
    attempt INTEGER,
    actor TEXT,
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX job_note_job ON job_note (job_id, id);
CREATE TABLE outbox (
    id {id},
    event_id TEXT NOT NULL UNIQUE,
    job_id {integer},
    place TEXT NOT NULL,
    attributes {bytes} NOT NULL,
    data {bytes} NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due_ms {integer} NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_ms, id);
CREATE TABLE erasure (
    id {id},
    at_ms {integer} NOT NULL,
    actor TEXT NOT NULL,
    job TEXT NOT NULL
)
"""

NOTED_NEXT: Final = "ALTER TABLE job_note ADD COLUMN next_ms {integer}"

IDS: Final = "CREATE INDEX job_event ON job (substr(event_id, 1, 200), id)"  # people look for a job by its id alone

TURNS: Final = """
ALTER TABLE job ADD COLUMN latest_ms {integer};
CREATE INDEX job_priority ON job (priority, due_ms) WHERE priority <> 0 AND due_ms IS NOT NULL
"""

RULES: Final = """
ALTER TABLE job ADD COLUMN let_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN held_by TEXT;
UPDATE job SET let_in = 1 WHERE ended_ms IS NULL AND not_before_ms IS NULL;
CREATE INDEX job_held ON job (held_by, priority, id) WHERE held_by IS NOT NULL AND ended_ms IS NULL;
CREATE INDEX job_in_flight ON job (substr(type, 1, 200)) WHERE let_in = 1 AND ended_ms IS NULL;
CREATE TABLE rule (
    name TEXT PRIMARY KEY,
    has_limit INTEGER,
    rate TEXT,
    burst INTEGER NOT NULL,
    at_once INTEGER,
    at_ms {integer},
    actor TEXT,
    reason TEXT
);
CREATE TABLE rule_change (
    id {id},
    at_ms {integer} NOT NULL,
    actor TEXT NOT NULL,
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE gate (
    name TEXT PRIMARY KEY,
    tat_us {integer} NOT NULL DEFAULT 0,
    next_ms {integer},
    is_full INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX gate_next ON gate (next_ms) WHERE next_ms IS NOT NULL;
CREATE INDEX gate_full ON gate (name) WHERE is_full = 1
"""

SCHEDULES: Final = """
CREATE TABLE schedule (
    name TEXT PRIMARY KEY,
    api TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    attributes {bytes} NOT NULL,
    data {bytes} NOT NULL,
    jitter_ms {integer} NOT NULL,
    start_ms {integer},
    end_ms {integer},
    missed TEXT NOT NULL,
    overlap TEXT NOT NULL,
    paused_ms {integer},
    next_ms {integer},
    last_ms {integer},
    last_job TEXT
);
CREATE INDEX schedule_next ON schedule (next_ms) WHERE next_ms IS NOT NULL
"""

SCHEMA: Final = Schema("ledger_version", (JOBS, NOTED_NEXT, IDS, TURNS, RULES, SCHEDULES))


def open_ledger(url: str) -> Database:
    """The database of a LEDGER_URL; ValueError for a URL of another kind. Nothing is opened yet."""
    return open_database(url, SCHEMA)
