"""The tables, for SQLite and PostgreSQL alike, as the migrations that lead to them; a released one never changes.

What a dead letter shares with others of its kind (type, code, Trigger, destination, the pattern of its error) stands
once, in its group; its body stands apart, so that a list reads narrow rows. Every indexed text is short or a hash: an
event may hold attributes longer than PostgreSQL takes into an index.
"""

from typing import Final

from functions.storage.database import Database, Schema, open_database

DEAD_LETTERS: Final = """
CREATE TABLE dead_group (
    id {id},
    fingerprint TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    job TEXT NOT NULL,
    code INTEGER NOT NULL,
    trigger_name TEXT NOT NULL,
    destination TEXT NOT NULL,
    pattern TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'resolved')),
    note TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT '',
    first_seen TEXT NOT NULL,
    came_back_at TEXT,
    alerted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE dead_letter (
    id {id},
    key TEXT NOT NULL UNIQUE,
    job_key TEXT NOT NULL,
    replay_key TEXT,
    group_id {integer} NOT NULL,
    state TEXT NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'quarantined', 'replayed', 'completed', 'failed', 'discarded')),
    event_id TEXT NOT NULL,
    event_source TEXT NOT NULL,
    subject TEXT,
    error TEXT NOT NULL,
    attempts INTEGER,
    size_bytes {integer} NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    closed_at TEXT,
    times INTEGER NOT NULL DEFAULT 1,
    replays INTEGER NOT NULL DEFAULT 0,
    setbacks INTEGER NOT NULL DEFAULT 0,
    edited INTEGER NOT NULL DEFAULT 0,
    is_request INTEGER NOT NULL
);
CREATE INDEX dead_letter_job ON dead_letter (job_key);
CREATE INDEX dead_letter_replay ON dead_letter (replay_key);
CREATE INDEX dead_letter_state ON dead_letter (state, id);
CREATE INDEX dead_letter_group ON dead_letter (group_id, state, id, first_seen, last_seen);
CREATE INDEX dead_letter_closed ON dead_letter (closed_at);
CREATE TABLE dead_body (
    letter_id {integer} PRIMARY KEY,
    attributes {bytes} NOT NULL,
    data {bytes} NOT NULL,
    edited_attributes {bytes},
    edited_data {bytes},
    evidence {bytes}
);
CREATE TABLE dead_action (
    id {id},
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    verb TEXT NOT NULL,
    letter_id {integer},
    group_id {integer},
    replay_id {integer},
    detail TEXT NOT NULL
);
CREATE INDEX dead_action_letter ON dead_action (letter_id, id);
CREATE INDEX dead_action_group ON dead_action (group_id, id);
CREATE INDEX dead_action_verb ON dead_action (verb, id);
CREATE TABLE dead_notice (
    id {id},
    event_id TEXT NOT NULL UNIQUE,
    letter_id {integer},
    event {bytes} NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at TEXT NOT NULL
);
CREATE INDEX dead_notice_due ON dead_notice (due_at, id);
CREATE TABLE dead_replay (
    id {id},
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'cancelled', 'stopped', 'done')),
    reason TEXT NOT NULL DEFAULT '',
    as_new INTEGER NOT NULL,
    trigger_only INTEGER NOT NULL,
    rate_per_s DOUBLE PRECISION NOT NULL,
    stop_after INTEGER NOT NULL,
    total INTEGER NOT NULL,
    worker TEXT NOT NULL DEFAULT '',
    alive_until TEXT NOT NULL DEFAULT ''
);
CREATE TABLE dead_replay_item (
    replay_id {integer} NOT NULL,
    letter_id {integer} NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'refused', 'passed')),
    detail TEXT NOT NULL DEFAULT '',
    sent_at TEXT,
    PRIMARY KEY (replay_id, letter_id)
);
CREATE INDEX dead_replay_item_state ON dead_replay_item (replay_id, state, letter_id)
"""

ENDED_SESSIONS: Final = """
CREATE TABLE dead_session (
    id TEXT PRIMARY KEY,
    ends_at {integer} NOT NULL
)
"""

# An item knows its dead letter as it was chosen; what nobody tells the end of is not waited for.
CHOSEN: Final = """
ALTER TABLE dead_replay_item ADD COLUMN chosen_as TEXT;
UPDATE dead_letter SET replay_key = NULL WHERE is_request = 0;
UPDATE dead_letter SET state = 'completed' WHERE is_request = 0 AND state = 'replayed'
"""

# What was done to many dead letters at once is a line of the audit trail, and one of each dead letter's history.
OF_MANY: Final = """
ALTER TABLE dead_action ADD COLUMN of_many INTEGER NOT NULL DEFAULT 0;
UPDATE dead_action SET of_many = 1 WHERE replay_id IS NOT NULL AND letter_id IS NOT NULL
"""

SCHEMA: Final = Schema("dead_version", (DEAD_LETTERS, ENDED_SESSIONS, CHOSEN, OF_MANY))


def open_dead_letters(url: str) -> Database:
    """The database of a DEADLETTERS_URL; ValueError for a URL of another kind. Nothing is opened yet."""
    return open_database(url, SCHEMA)
