"""The tables of the ledger. Each rule for a row is also a constraint, so that the database enforces it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from eventmill import text
from eventmill.core.access_tokens import Role
from eventmill.core.records import DesiredState
from eventmill.core.states import State

VERSION = 6
"""Increased with every incompatible change of the tables; older ledgers are upgraded (`ledger/migrations`)."""

FIRST_VERSION = 2
"""The oldest ledger that can be upgraded."""

metadata = sa.MetaData()


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC datetimes; as sortable ISO 8601 text where the database has no such type."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """`TIMESTAMPTZ` on PostgreSQL, text of fixed width on SQLite."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(32))
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        """From the database."""
        if value is None or isinstance(value, datetime):
            return value
        return datetime.fromisoformat(value)


class Words(TypeDecorator[str]):
    """Text for people, made safe with `text.told`, so that no verb fails because of it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """To the database."""
        return None if value is None else text.told(value)


class Reason(Words):
    """The same for a reason, which is shorter, because it is stored in many rows."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """To the database."""
        return None if value is None else text.told(value, most_bytes=text.LINE_BYTES)


class Name(TypeDecorator[str]):
    """A name that identifies something: unchanged if possible, else as `text.name` makes it."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """To the database, also in comparisons."""
        return None if value is None else text.name(value)


def _one_of(column: str, values: type[State] | type[DesiredState] | type[Role]) -> sa.CheckConstraint:
    names = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({names})", name=f"{column}_is_known")


BigId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

about = sa.Table(
    "about",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True),
)

alembic_version = sa.Table(  # the same for Alembic, which upgrades a ledger (`ledger/migrations`)
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

counter = sa.Table(  # one ledger-wide increasing sequence of attempts
    "counter",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

code = sa.Table(
    "code",
    metadata,
    sa.Column("digest", Name, primary_key=True),
    sa.Column("callable", Name, nullable=False),
    sa.Column("entry", Name, nullable=False),
    sa.Column("bundle", sa.LargeBinary),
)

campaign = sa.Table(
    "campaign",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("name", Name, nullable=False, unique=True),
    # In all ledgers: its store bears it, too. (A column that is added to rows needs a default.)
    sa.Column("uid", sa.String(32), nullable=False, server_default=""),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("rules", sa.JSON, nullable=False),
    sa.Column("payload", sa.ForeignKey("code.digest"), nullable=False),
    sa.Column("reader", sa.ForeignKey("code.digest")),  # NULL where Eventmill's own sources read the inputs
    sa.Column("store_url", Name, nullable=False),
    sa.Column("schema_bytes", sa.LargeBinary),
    sa.Column("wanted", sa.String, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("looked_at", UtcTime, nullable=False),  # when leases were last watched
    sa.Column("closed_at", UtcTime),
    sa.Column("close_reason", Reason),
    sa.Column("leader", Name),
    sa.Column("leader_attempt", sa.BigInteger),
    sa.Column("leader_expires_at", UtcTime),
    _one_of("wanted", DesiredState),
    sa.Index("campaign_by_uid", "uid", unique=True),
    sqlite_autoincrement=True,  # a number never comes back: who works for a forgotten campaign works for no other
)

layout = sa.Table(  # columns of inputs, as many rows as there are different ones: inputs are many and alike
    "layout",
    metadata,
    sa.Column("fingerprint", sa.String, primary_key=True),
    sa.Column("columns", sa.JSON, nullable=False),
)

input_ = sa.Table(
    "input",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("url", Name, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("identity", Name, nullable=False),
    sa.Column("boundaries", sa.JSON, nullable=False),
    sa.Column("layout", sa.ForeignKey("layout.fingerprint")),  # NULL where a format does not say it
    sa.Column("label", Words),
    sa.Column("parameters", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("find", sa.JSON(none_as_null=True)),  # what a format needs to find events ("index" is a word of SQL)
    sa.UniqueConstraint("campaign_id", "ordinal"),
    sa.UniqueConstraint("campaign_id", "url"),
    sa.CheckConstraint("events >= 0 AND first >= 0"),
    sqlite_autoincrement=True,
)

block = sa.Table(  # lives while some of its events are LEASED
    "block",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False, index=True),
    sa.Column("input_id", sa.ForeignKey("input.id"), nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("range_events", sa.BigInteger, nullable=False),
    sa.Column("aligned", sa.Boolean, nullable=False),
    sa.Column("reserved_at", UtcTime, nullable=False),
    sa.Column("leader_attempt", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, unique=True),
    sa.Column("holder", Name),
    sa.Column("claimed_at", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.Column("nonce", Name),  # of the last claim: the same claim again is answered, and is no loss
    sa.Column("begun", sa.BigInteger),  # how far the holder has begun, as it said last
    sa.Column("copy_of", sa.ForeignKey("block.id"), unique=True),  # a second claim on that block's events
    sa.Column("offered", sa.Boolean, nullable=False, server_default=sa.false()),  # for any pilot that asks
    sa.CheckConstraint("start >= 0 AND start < stop AND range_events >= 1"),
    sa.CheckConstraint("(attempt IS NULL) = (holder IS NULL) AND (attempt IS NULL) = (expires_at IS NULL)"),
    sqlite_autoincrement=True,  # a block's number never comes back, so a late claim finds nothing
)

holder = sa.Table(  # who works for a campaign, or did
    "holder",
    metadata,
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), primary_key=True),
    sa.Column("name", Name, primary_key=True),
    sa.Column("seen_at", UtcTime),  # NULL once it is known to be gone
    sa.Column("quarantined_at", UtcTime),
)

token = sa.Table(  # who may use the event service, and for what
    "token",
    metadata,
    sa.Column("id", Name, primary_key=True),  # the public part
    sa.Column("sha256", sa.String(64), nullable=False),  # of the secret part, which is random and long
    sa.Column("role", Name, nullable=False),
    sa.Column("campaigns", sa.JSON(none_as_null=True)),  # their names; NULL for all
    sa.Column("label", Words, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    _one_of("role", Role),
)

session = sa.Table(  # a pilot, from its first call until it leaves or is silent
    "session",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("token_id", sa.ForeignKey("token.id"), nullable=False),
    sa.Column("name", Name, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("offers", sa.JSON, nullable=False),  # what it has: host, site, cores, memory, software
    sa.Column("campaigns", sa.JSON(none_as_null=True)),  # the names of those that it works for; NULL for all
    sa.Column("began_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("end_reason", Reason),
    sa.CheckConstraint("slots >= 1", name="a_session_has_slots"),
    sa.Index("session_by_seen", "ended_at", "seen_at"),
)

output = sa.Table(
    "output",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False),
    sa.Column("input_id", sa.ForeignKey("input.id"), nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("key", Name, nullable=False, unique=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("holder", Name),  # who made it; not known of outputs of before version 6
    sa.Column("committed_at", UtcTime, nullable=False),
    sa.Column("dropped_at", UtcTime),  # not needed any more; the row goes when the object is gone
    sa.CheckConstraint("start < stop AND bytes >= 0 AND rows >= 0"),
    sa.Index("output_dropped", "campaign_id", "dropped_at"),
    sqlite_autoincrement=True,
)

merge = sa.Table(
    "merge",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False),
    sa.Column("key", Name, nullable=False),
    sa.Column("begun_at", UtcTime, nullable=False),
    sa.Column("attempt", sa.BigInteger, unique=True),
    sa.Column("holder", Name),
    sa.Column("expires_at", UtcTime),
    sa.Column("nonce", Name),  # as of a block
    sa.Column("completed_at", UtcTime),
    sa.Column("published_at", UtcTime),
    sa.Column("staged", Name),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("sha256", sa.String(64)),
    sa.Column("rows", sa.BigInteger),
    sa.Column("events", sa.BigInteger),
    sa.Column("spans", sa.JSON),
    sa.UniqueConstraint("campaign_id", "key"),
    sa.CheckConstraint("(completed_at IS NULL) = (sha256 IS NULL)"),
    sa.CheckConstraint("published_at IS NULL OR completed_at IS NOT NULL"),
    sqlite_autoincrement=True,
)

span = sa.Table(
    "span",
    metadata,
    sa.Column("input_id", sa.ForeignKey("input.id"), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("block_id", sa.ForeignKey("block.id")),
    sa.Column("output_id", sa.ForeignKey("output.id")),
    sa.Column("merge_id", sa.ForeignKey("merge.id")),
    sa.Column("payload", Name),  # digest of the code that computed these events
    sa.Column("reason", Reason),
    sa.Column("failed_on", Name),  # the holder that it is kept from
    sa.Column("rests_until", UtcTime),  # not handed out before
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("input_id", "stop"),
    sa.UniqueConstraint("output_id"),
    sa.CheckConstraint("start >= 0 AND start < stop", name="a_span_holds_events"),
    sa.CheckConstraint("failures >= 0 AND losses >= 0"),
    _one_of("state", State),
    sa.CheckConstraint("(state = 'leased') = (block_id IS NOT NULL)", name="leased_by_a_block"),
    sa.CheckConstraint("(state = 'committed') = (output_id IS NOT NULL)", name="committed_with_an_output"),
    sa.CheckConstraint("state <> 'merged' OR merge_id IS NOT NULL", name="merged_in_a_file"),
    sa.CheckConstraint("merge_id IS NULL OR state IN ('committed', 'merged')"),
    sa.CheckConstraint("(state = 'abandoned') = (reason IS NOT NULL)", name="abandoned_for_a_reason"),
    sa.Index("span_by_state", "campaign_id", "state", "input_id", "start"),
    sa.Index("span_by_block", "block_id"),
    sa.Index("span_by_merge", "merge_id"),
)

usage = sa.Table(  # CPU spent, by what became of it
    "usage",
    metadata,
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), primary_key=True),
    sa.Column("cause", Name, primary_key=True),
    sa.Column("occurrences", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("cpu_seconds", sa.Float, nullable=False),
    sa.Column("wall_seconds", sa.Float, nullable=False),
    sa.Column("overhead_seconds", sa.Float, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),  # when something was last added
)

sample = (
    sa.Table(  # how a campaign went, seen now and then by its coordinator; ever coarser, so that it stays small
        "sample",
        metadata,
        sa.Column("campaign_id", sa.ForeignKey("campaign.id"), primary_key=True),
        sa.Column("at", UtcTime, primary_key=True),
        sa.Column("lead", sa.BigInteger, nullable=False),  # the coordinator's attempt
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("ready", sa.BigInteger, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("busy", sa.Integer, nullable=False),
        sa.Column("losses", sa.BigInteger, nullable=False),
        sa.Column("range_events", sa.BigInteger),
        sa.Column("range_seconds", sa.Float),
    )
)

journal = sa.Table(  # append-only
    "journal",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaign.id"), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", Name, nullable=False),
    sa.Column("input_id", sa.ForeignKey("input.id")),
    sa.Column("start", sa.BigInteger),
    sa.Column("stop", sa.BigInteger),
    sa.Column("attempt", sa.BigInteger),
    sa.Column("holder", Name),
    sa.Column("reason", Reason, nullable=False),
    sa.Column("detail", Words, nullable=False),
    sa.Column("cpu_seconds", sa.Float, nullable=False),
    sa.Column("report_id", Name),  # of a failure, so that it is charged once however often it is told
    sa.Index("journal_by_kind", "campaign_id", "kind", "id"),
    sa.Index("journal_by_report", "report_id", unique=True),
)
