"""Columns of bank data that nothing reads go; keys of merchants that hold more than a known firm's name are hashed.

Those keys get a hash under a key that is thrown away: rows of one merchant stay together, and the next row of it joins
them by its description.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_UP = """
DELETE FROM kordant.transfers WHERE is_rejected;
DROP INDEX kordant.transfers_one_in, kordant.transfers_one_out, kordant.transfers_in_id_idx;
ALTER TABLE kordant.transfers
    DROP CONSTRAINT transfers_out_id_in_id_key, DROP COLUMN is_rejected, DROP COLUMN decided_by;
CREATE UNIQUE INDEX transfers_one_in ON kordant.transfers (in_id);
CREATE UNIQUE INDEX transfers_one_out ON kordant.transfers (out_id);
ALTER TABLE kordant.bank_connections DROP COLUMN told_stale_at;
ALTER TABLE kordant.bank_accounts DROP COLUMN opened_on, DROP COLUMN closed_on;
ALTER TABLE kordant.transactions DROP COLUMN category_confidence, DROP COLUMN note_encrypted;
ALTER TABLE kordant.webhook_events DROP COLUMN handled_at;
UPDATE kordant.account_links l SET rekeyed_at = l.began_at
WHERE l.rekeyed_at IS NULL AND l.is_primary AND NOT EXISTS (
    SELECT FROM kordant.account_links o WHERE o.account_id = l.account_id AND o.began_at < l.began_at);
COMMENT ON COLUMN kordant.transactions.merchant_key IS 'a known firm in clear; any other name as a keyed hash behind ~';
COMMENT ON COLUMN kordant.bank_connections.leased_by IS 'the lease of the read that has it now';
COMMENT ON COLUMN kordant.bank_accounts.identity_index IS 'of bank, branch and number, or of the card';
"""
_HASH = r"""
UPDATE kordant.transactions
SET merchant_key = '~' || encode(sha256(convert_to(:salt || entity_id::text || merchant_key, 'UTF8')), 'hex')
WHERE merchant_key !~ '^~|^[0-9A-Z]{12}[0-9]{2}$' AND (position(' ' IN merchant_key) > 0
   OR merchant_key IN ('CLARO', 'EXTRA', 'LIGHT', 'NET', 'OI', 'PACHECO', 'RAIA', 'SKY', 'TIM'))
"""
_DOWN = """
COMMENT ON COLUMN kordant.bank_accounts.identity_index IS 'of bank, branch, number and holder, or of the card';
COMMENT ON COLUMN kordant.bank_connections.leased_by IS 'the sync run that reads it';
COMMENT ON COLUMN kordant.transactions.merchant_key
    IS 'in clear for firms only; people as a keyed hash, which begins with ~';
ALTER TABLE kordant.webhook_events ADD COLUMN handled_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE kordant.transactions ADD COLUMN category_confidence FLOAT, ADD COLUMN note_encrypted BYTEA;
COMMENT ON COLUMN kordant.transactions.note_encrypted IS 'the user''s';
ALTER TABLE kordant.bank_accounts ADD COLUMN opened_on DATE, ADD COLUMN closed_on DATE;
ALTER TABLE kordant.bank_connections ADD COLUMN told_stale_at TIMESTAMP WITH TIME ZONE;
DROP INDEX kordant.transfers_one_in, kordant.transfers_one_out;
ALTER TABLE kordant.transfers
    ADD COLUMN decided_by TEXT DEFAULT 'rule' NOT NULL, ADD COLUMN is_rejected BOOLEAN DEFAULT false NOT NULL,
    ADD CONSTRAINT transfers_out_id_in_id_key UNIQUE (out_id, in_id);
ALTER TABLE kordant.transfers ALTER COLUMN decided_by DROP DEFAULT;
CREATE INDEX transfers_in_id_idx ON kordant.transfers (in_id);
CREATE UNIQUE INDEX transfers_one_in ON kordant.transfers (in_id) WHERE NOT is_rejected;
CREATE UNIQUE INDEX transfers_one_out ON kordant.transfers (out_id) WHERE NOT is_rejected;
COMMENT ON COLUMN kordant.transfers.decided_by IS 'rule or user';
COMMENT ON COLUMN kordant.transfers.is_rejected IS 'the user said: it is none';
"""


def upgrade() -> None:
    op.execute(_UP)
    op.get_bind().execute(sa.text(_HASH), {"salt": secrets.token_hex()})


def downgrade() -> None:
    op.execute(_DOWN)
