"""Writes what follows from exposures: judgements, 'not me', alerts with their notifications. Set-based, in the
transaction in which `scans.choose` selected the subscriptions."""

from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.choices import Category
from kordant_jobs.postgres.bulk import read_frame, write_frame
from kordant_jobs.store.notifications import outbox

_FLAGS = ("is_sensitive", "is_fabricated", "is_retired", "is_spam_list", "is_malware", "is_stealer_log")
KIND = ("breach_name", "verified", "held_by_us", "not_me")
"""The columns that define a kind of exposures, which are judged alike."""

_NEW_JUDGEMENT = """
FROM scope
JOIN kordant.watchlist_items i USING (subscription_id)
JOIN kordant.exposures e ON e.item_id = i.id
JOIN kordant.breaches b ON b.name = e.breach_name
WHERE e.judgement IS NULL AND i.removed_at IS NULL
"""
_AWAITING_JUDGEMENT = _NEW_JUDGEMENT.replace(
    "e.judgement IS NULL", "(e.judgement IS NULL OR e.judgement IN ('withheld_sensitive', 'withheld_unverified'))"
)

_KIND_COLUMNS = """
e.breach_name, i.verified_at IS NOT NULL AS verified,
EXISTS (SELECT 1 FROM kordant.exposure_evidence v WHERE v.exposure_id = e.id) AS held_by_us,
EXISTS (SELECT 1 FROM kordant.dismissals s WHERE s.subscription_id = i.subscription_id
        AND s.blind_index = i.blind_index AND s.breach_name = e.breach_name) AS not_me
"""


def unjudged(connection: Connection, *, again: bool = True) -> pl.DataFrame:
    """The kinds of the chosen subscriptions' exposures that need a judgement, one row for each kind. Columns: those of
    `KIND`, and the flags of the breach. With `again`, withheld ones are included, since their item or the breach may
    have been verified since."""
    query = sa.text(
        f"SELECT DISTINCT {_KIND_COLUMNS}, NOT b.is_verified AND b.source <> 'dump', "
        + ", ".join(f"b.{flag}" for flag in _FLAGS)
        + (_AWAITING_JUDGEMENT if again else _NEW_JUDGEMENT)
    )
    flags = (*KIND[1:], "is_unverified", *_FLAGS)
    return read_frame(connection, query, {"breach_name": pl.String, **dict.fromkeys(flags, pl.Boolean)})


def save_judgements(connection: Connection, judged: pl.DataFrame, *, again: bool = True) -> None:
    """Write judgements (`KIND`, judgement, judgement_reason) on the exposures of `unjudged`. Rows are locked in the
    order in which `scans.save_hits` writes, so that concurrent scans cannot deadlock."""
    connection.execute(
        sa.text(
            "CREATE TEMP TABLE judged (breach_name text, verified boolean, held_by_us boolean, not_me boolean, "
            "judgement text, judgement_reason text) ON COMMIT DROP"
        )
    )
    write_frame(connection, judged, "judged", [*KIND, "judgement", "judgement_reason"])
    alike = " AND ".join(f"j.{column} = a.{column}" for column in KIND)
    connection.execute(
        sa.text(
            f"WITH a AS MATERIALIZED (SELECT e.id, {_KIND_COLUMNS} "  # noqa: S608 - constants
            f"{_AWAITING_JUDGEMENT if again else _NEW_JUDGEMENT} "
            "ORDER BY e.item_id, e.breach_name FOR UPDATE OF e) "
            "UPDATE kordant.exposures x SET judgement = j.judgement, judgement_reason = j.judgement_reason, "
            "dismissed_at = CASE WHEN j.judgement = 'not_me' THEN coalesce(x.dismissed_at, now()) "
            "ELSE x.dismissed_at END "
            "FROM judged j, a "
            f"WHERE x.id = a.id AND {alike} "
            "AND (x.judgement, x.judgement_reason) IS DISTINCT FROM (j.judgement, j.judgement_reason)"
        )
    )


_NEW_ALERT = """
FROM scope
JOIN kordant.watchlist_items i USING (subscription_id)
JOIN kordant.exposures e ON e.item_id = i.id
JOIN kordant.breaches b ON b.name = e.breach_name
WHERE e.judgement = 'alert' AND e.dismissed_at IS NULL AND i.removed_at IS NULL AND i.blind_index IS NOT NULL
  AND ({settling} NOT EXISTS (SELECT 1 FROM kordant.alerted a WHERE a.subscription_id = i.subscription_id
                              AND a.blind_index = i.blind_index AND a.breach_name = e.breach_name))
"""
_AWAITING_ALERT = _NEW_ALERT.format(
    settling="EXISTS (SELECT 1 FROM kordant.alerts a WHERE a.exposure_id = e.id AND a.provisional) OR"
)
_NEW_ALERT = _NEW_ALERT.format(settling="")

_REUSED = """
EXISTS (SELECT 1 FROM kordant.exposures o JOIN kordant.breaches p ON p.name = o.breach_name
        WHERE o.item_id = e.item_id AND o.id <> e.id AND o.judgement = 'alert'
          AND (o.secret IN ('hashed', 'clear') OR p.data_classes && array['Passwords', 'Historical passwords']))
"""


_FROM_A_DEVICE = """(b.is_malware OR b.is_stealer_log OR EXISTS (
    SELECT 1 FROM kordant.exposure_evidence v WHERE v.exposure_id = e.id AND v.sites <> '{}'))"""


def unalerted(connection: Connection, *, again: bool = True) -> pl.DataFrame:
    """The kinds of exposures that need an alert and have none, or (with `again`) only a provisional one: breach_name,
    data_classes (list), secret, breached_on, from_a_device, reused."""
    query = sa.text(
        "SELECT DISTINCT e.breach_name, array_to_string(b.data_classes, E'\\x1f'), e.secret, b.breached_on::text, "
        f"{_FROM_A_DEVICE}, {_REUSED} {_AWAITING_ALERT if again else _NEW_ALERT}"
    )
    schema = {
        "breach_name": pl.String,
        "data_classes": pl.String,
        "secret": pl.String,
        "breached_on": pl.String,
        "from_a_device": pl.Boolean,
        "reused": pl.Boolean,
    }
    return read_frame(connection, query, schema).with_columns(
        pl.col("data_classes").fill_null("").str.split("\x1f"), pl.col("breached_on").str.to_date("%Y-%m-%d")
    )


def save_alerts(connection: Connection, severities: pl.DataFrame, *, provisional: bool = False) -> int:
    """Write an alert, with its reasons and notifications, for each exposure of `unalerted`. Returns the number of new
    or completed alerts. `severities`: breach_name, secret, reused, from_a_device, severity.

    There is one alert for an identifier and a breach, whichever scan finds it and however often the item is added. A
    `provisional` alert is sent now, without the number of occurrences, and is completed by a later scan.
    """
    connection.execute(
        sa.text(
            "CREATE TEMP TABLE severities (breach_name text, secret text, reused boolean, from_a_device boolean, "
            "severity text) ON COMMIT DROP"
        )
    )
    write_frame(connection, severities, "severities", ["breach_name", "secret", "reused", "from_a_device", "severity"])
    statement = _SAVE_ALERTS.format(awaiting=_NEW_ALERT if provisional else _AWAITING_ALERT)
    made = list(connection.execute(sa.text(statement), {"provisional": provisional}).scalars())
    outbox.queue(connection, made, Category.BREACH)
    return len(made)


_SAVE_ALERTS = f"""
WITH alerting AS (
    SELECT i.subscription_id, i.blind_index, i.kind, i.verified_at, e.id AS exposure_id, e.item_id, e.breach_name,
           e.secret, e.judgement_reason, {_REUSED} AS reused, {_FROM_A_DEVICE.replace("{", "{{").replace("}", "}}")}
           AS from_a_device
    {{awaiting}}
), mine AS (
    INSERT INTO kordant.alerted (subscription_id, blind_index, breach_name)
    SELECT DISTINCT subscription_id, blind_index, breach_name FROM alerting ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING RETURNING subscription_id, blind_index, breach_name
), made AS (
    INSERT INTO kordant.alerts AS a (id, subscription_id, exposure_id, severity, provisional, why)
    SELECT gen_random_uuid(), t.subscription_id, t.exposure_id, s.severity, :provisional,
           coalesce(in_dump.why, '[]'::jsonb) || coalesce(by_source.why, '[]'::jsonb)
           || CASE WHEN t.secret IN ('hashed', 'clear')
                   THEN jsonb_build_array(jsonb_build_object('code', 'secret_in_dump', 'secret', t.secret))
                   ELSE '[]'::jsonb END
           || CASE WHEN t.reused THEN jsonb_build_array(jsonb_build_object('code', 'password_in_other_breaches'))
                   ELSE '[]'::jsonb END
           || jsonb_build_array(jsonb_build_object('code', 'breach_known', 'breach_name', t.breach_name,
                                                   'rule', t.judgement_reason))
    FROM alerting t
    LEFT JOIN mine USING (subscription_id, blind_index, breach_name)
    LEFT JOIN kordant.alerts before ON before.exposure_id = t.exposure_id
    JOIN severities s USING (breach_name, secret, reused, from_a_device)
    LEFT JOIN LATERAL (
        SELECT jsonb_build_array(jsonb_build_object(
                   'code', 'identifier_in_dump', 'item_id', t.item_id, 'kind', t.kind,
                   'verified', t.verified_at IS NOT NULL, 'dump_id', v.dump_id, 'line', v.line,
                   'occurrences', CASE WHEN NOT :provisional THEN v.occurrences END, 'sites', v.sites)) AS why
        FROM kordant.exposure_evidence v JOIN kordant.breach_dumps d ON d.id = v.dump_id
        WHERE v.exposure_id = t.exposure_id ORDER BY d.known_at, d.id LIMIT 1
    ) in_dump ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
                   'code', 'identifier_at_source', 'item_id', t.item_id, 'kind', t.kind,
                   'verified', t.verified_at IS NOT NULL, 'source', v.source) ORDER BY v.source) AS why
        FROM (SELECT DISTINCT source FROM kordant.source_evidence WHERE exposure_id = t.exposure_id) v
    ) by_source ON true
    WHERE mine.subscription_id IS NOT NULL OR before.provisional
    ORDER BY t.exposure_id
    ON CONFLICT (exposure_id) DO UPDATE
        SET severity = excluded.severity, why = excluded.why, provisional = excluded.provisional WHERE a.provisional
    RETURNING id
)
SELECT id FROM made
"""  # noqa: S608 - put together from constants


def not_me(connection: Connection, exposure_id: UUID, *, said_by: str) -> bool:
    """Record that an exposure is not the subscriber's: it raises no more alerts, even when it is found again or the
    identifier is added again, and a pending notification is not sent. False when there is no such exposure."""
    done = connection.execute(
        sa.text("""
        WITH meant AS (
            SELECT e.id, i.subscription_id, i.blind_index, e.breach_name
            FROM kordant.exposures e JOIN kordant.watchlist_items i ON i.id = e.item_id WHERE e.id = :id
        ), kept AS (
            INSERT INTO kordant.dismissals (subscription_id, blind_index, breach_name, said_by)
            SELECT subscription_id, blind_index, breach_name, :said_by FROM meant WHERE blind_index IS NOT NULL
            ON CONFLICT DO NOTHING
        )
        UPDATE kordant.exposures e SET judgement = 'not_me', judgement_reason = 'not_me',
               dismissed_at = coalesce(e.dismissed_at, now())
        FROM meant, kordant.watchlist_items i
        WHERE i.id = e.item_id AND i.subscription_id = meant.subscription_id AND e.breach_name = meant.breach_name
          AND (e.id = meant.id OR i.blind_index = meant.blind_index)
        """),
        {"id": exposure_id, "said_by": said_by},
    )
    return done.rowcount > 0
