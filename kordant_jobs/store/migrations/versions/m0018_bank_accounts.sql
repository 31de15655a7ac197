CREATE TABLE kordant.entities (
    id UUID NOT NULL,
    subscription_id UUID,
    kind TEXT NOT NULL,
    name_encrypted BYTEA,
    holder_index BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT entities_pkey PRIMARY KEY (id),
    CONSTRAINT entities_kind_check CHECK (kind IN ('household', 'firm')),
    CONSTRAINT entities_subscription_id_fkey FOREIGN KEY(subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE
);
CREATE INDEX entities_subscription_id_idx ON kordant.entities (subscription_id) WHERE subscription_id IS NOT NULL;
COMMENT ON TABLE kordant.entities IS 'Households and firms; the subscription is the one that is told of them.';
COMMENT ON COLUMN kordant.entities.holder_index IS 'blind index of the CPF or CNPJ; null: not given';
CREATE TABLE kordant.entity_keys (
    entity_id UUID NOT NULL,
    wrapped_key BYTEA NOT NULL,
    master_key_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT entity_keys_pkey PRIMARY KEY (entity_id),
    CONSTRAINT entity_keys_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.entity_keys IS 'Deleting a row here makes everything encrypted for that entity unreadable.';
CREATE TABLE kordant.entity_versions (
    entity_id UUID NOT NULL,
    data_version BIGINT DEFAULT '0' NOT NULL,
    refreshed_version BIGINT DEFAULT '0' NOT NULL,
    inputs JSONB DEFAULT '{}' NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    refreshed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT entity_versions_pkey PRIMARY KEY (entity_id),
    CONSTRAINT entity_versions_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
CREATE INDEX entity_versions_changed_at_idx ON kordant.entity_versions (changed_at) WHERE data_version > refreshed_version;
COMMENT ON TABLE kordant.entity_versions IS 'An entity''s insights are stale while data_version > refreshed_version.';
COMMENT ON COLUMN kordant.entity_versions.inputs IS 'by kind of input: the version it changed in';
CREATE TABLE kordant.bank_connections (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    provider TEXT NOT NULL,
    institution TEXT NOT NULL,
    item_encrypted BYTEA,
    item_index BYTEA NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    status_reason TEXT,
    cursor_encrypted BYTEA,
    next_due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_reason TEXT DEFAULT 'new' NOT NULL,
    last_attempt_at TIMESTAMP WITH TIME ZONE,
    last_complete_at TIMESTAMP WITH TIME ZONE,
    provider_data_as_of TIMESTAMP WITH TIME ZONE,
    consecutive_failures INTEGER DEFAULT '0' NOT NULL,
    leased_by UUID,
    leased_until TIMESTAMP WITH TIME ZONE,
    told_stale_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT bank_connections_pkey PRIMARY KEY (id),
    CONSTRAINT bank_connections_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file')),
    CONSTRAINT bank_connections_status_check CHECK (status IN ('active', 'needs_user', 'paused', 'ended')),
    CONSTRAINT bank_connections_ended_has_a_moment_check CHECK ((status = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT bank_connections_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
CREATE INDEX bank_connections_ended_at_idx ON kordant.bank_connections (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX bank_connections_entity_id_idx ON kordant.bank_connections (entity_id);
CREATE INDEX bank_connections_next_due_at_idx ON kordant.bank_connections (next_due_at) WHERE status = 'active';
CREATE UNIQUE INDEX bank_connections_once ON kordant.bank_connections (provider, item_index) WHERE status <> 'ended';
COMMENT ON COLUMN kordant.bank_connections.institution IS 'the provider''s id of the bank, or its CNPJ';
COMMENT ON COLUMN kordant.bank_connections.item_encrypted IS 'the provider''s id: item, link, or the bank''s consent';
COMMENT ON COLUMN kordant.bank_connections.status_reason IS 'a code';
COMMENT ON COLUMN kordant.bank_connections.cursor_encrypted IS 'JSON: where the last committed read ended';
COMMENT ON COLUMN kordant.bank_connections.due_reason IS 'a code: why it is due when it is';
COMMENT ON COLUMN kordant.bank_connections.leased_by IS 'the sync run that reads it';
CREATE TABLE kordant.bank_consents (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID,
    consent_encrypted BYTEA,
    status TEXT NOT NULL,
    permissions TEXT[] DEFAULT '{}' NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason TEXT,
    told_days SMALLINT,
    CONSTRAINT bank_consents_pkey PRIMARY KEY (id),
    CONSTRAINT bank_consents_status_check CHECK (status IN ('awaiting_authorisation', 'authorised', 'rejected')),
    CONSTRAINT bank_consents_end_reason_check CHECK (end_reason IN ('consent_expired', 'customer_manually_rejected', 'customer_manually_revoked', 'consent_max_date_reached', 'consent_technical_issue', 'internal_security_reason', 'other')),
    CONSTRAINT bank_consents_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT bank_consents_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE SET NULL
);
CREATE INDEX bank_consents_connection_id_idx ON kordant.bank_consents (connection_id);
CREATE INDEX bank_consents_entity_id_idx ON kordant.bank_consents (entity_id);
CREATE INDEX bank_consents_expires_at_idx ON kordant.bank_consents (expires_at) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX bank_consents_one_open ON kordant.bank_consents (connection_id) WHERE ended_at IS NULL;
COMMENT ON TABLE kordant.bank_consents IS 'What its owner agreed to; without expires_at it holds until revoked. Kept after its end as proof.';
COMMENT ON COLUMN kordant.bank_consents.consent_encrypted IS 'the provider''s id';
COMMENT ON COLUMN kordant.bank_consents.told_days IS 'of the warnings before it expires, the last one given: 30, 7, 1';
CREATE TABLE kordant.bank_accounts (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    institution TEXT NOT NULL,
    identity_index BYTEA NOT NULL,
    number_encrypted BYTEA,
    name_encrypted BYTEA,
    holder_index BYTEA,
    credit_group_id UUID,
    opened_on DATE,
    closed_on DATE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT bank_accounts_pkey PRIMARY KEY (id),
    CONSTRAINT bank_accounts_kind_check CHECK (kind IN ('checking', 'savings', 'prepaid', 'card', 'investment', 'loan')),
    CONSTRAINT bank_accounts_entity_id_identity_index_key UNIQUE (entity_id, identity_index),
    CONSTRAINT bank_accounts_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.bank_accounts.identity_index IS 'of bank, branch, number and holder, or of the card';
COMMENT ON COLUMN kordant.bank_accounts.credit_group_id IS 'cards that share one limit and one balance';
CREATE TABLE kordant.account_links (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    account_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    provider_account_encrypted BYTEA NOT NULL,
    provider_account_index BYTEA NOT NULL,
    is_primary BOOLEAN NOT NULL,
    resource_status TEXT DEFAULT 'available' NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    rekeyed_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT account_links_pkey PRIMARY KEY (id),
    CONSTRAINT account_links_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT account_links_account_id_fkey FOREIGN KEY(account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT account_links_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
CREATE INDEX account_links_account_id_idx ON kordant.account_links (account_id);
CREATE INDEX account_links_connection_id_idx ON kordant.account_links (connection_id);
CREATE INDEX account_links_entity_id_idx ON kordant.account_links (entity_id);
CREATE UNIQUE INDEX account_links_once ON kordant.account_links (connection_id, provider_account_index) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX account_links_one_primary ON kordant.account_links (account_id) WHERE ended_at IS NULL AND is_primary;
COMMENT ON TABLE kordant.account_links IS 'Over which connection an account is read; after a reconnect the same account has another link.';
COMMENT ON COLUMN kordant.account_links.is_primary IS 'others only cross-check: nothing is counted twice';
COMMENT ON COLUMN kordant.account_links.resource_status IS 'as the provider says';
CREATE TABLE kordant.bank_balances (
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    as_of_at TIMESTAMP WITH TIME ZONE NOT NULL,
    amount NUMERIC(19, 4) NOT NULL,
    currency TEXT NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT bank_balances_pkey PRIMARY KEY (account_id, kind, as_of_at),
    CONSTRAINT bank_balances_kind_check CHECK (kind IN ('current', 'available', 'blocked', 'auto_invested', 'reserved', 'limit', 'used')),
    CONSTRAINT bank_balances_account_id_fkey FOREIGN KEY(account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.bank_balances IS 'What the bank said; debt of a card is negative.';
CREATE TABLE kordant.card_bills (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    account_id UUID NOT NULL,
    bill_index BYTEA NOT NULL,
    due_on DATE NOT NULL,
    closed_on DATE,
    total NUMERIC(19, 4),
    minimum NUMERIC(19, 4),
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    charges JSONB DEFAULT '[]' NOT NULL,
    payments JSONB DEFAULT '[]' NOT NULL,
    unexplained NUMERIC(19, 4),
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT card_bills_pkey PRIMARY KEY (id),
    CONSTRAINT card_bills_state_check CHECK (state IN ('open', 'closed', 'partly_paid', 'paid', 'overdue', 'instalmented')),
    CONSTRAINT card_bills_account_id_bill_index_key UNIQUE (account_id, bill_index),
    CONSTRAINT card_bills_account_id_fkey FOREIGN KEY(account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE
);
CREATE INDEX card_bills_account_id_due_on_idx ON kordant.card_bills (account_id, due_on);
COMMENT ON TABLE kordant.card_bills IS 'total is what is owed, so positive; unexplained is total less rows, charges and reversals.';
COMMENT ON COLUMN kordant.card_bills.bill_index IS 'of the provider''s id';
COMMENT ON COLUMN kordant.card_bills.closed_on IS 'as the bank says; null: it does not';
COMMENT ON COLUMN kordant.card_bills.charges IS 'kind and amount, as text';
COMMENT ON COLUMN kordant.card_bills.payments IS 'day, amount, kind';
CREATE TABLE kordant.transactions (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    entity_id UUID NOT NULL,
    alias BYTEA NOT NULL,
    state TEXT NOT NULL,
    booked_on DATE NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE,
    authorised_on DATE,
    amount NUMERIC(19, 4) NOT NULL,
    currency TEXT NOT NULL,
    original_amount NUMERIC(19, 4),
    original_currency TEXT,
    type TEXT NOT NULL,
    type_raw TEXT,
    mcc TEXT,
    counterparty_encrypted BYTEA,
    counterparty_index BYTEA,
    transfer_index BYTEA,
    description_encrypted BYTEA,
    merchant_key TEXT,
    category_id TEXT,
    category_source TEXT,
    category_confidence FLOAT,
    bill_id UUID,
    instalment_no SMALLINT,
    instalment_of SMALLINT,
    purchase_on DATE,
    plan_id UUID,
    transfer_id UUID,
    transfer_status TEXT,
    iof_of UUID,
    refund_of UUID,
    provider_id_encrypted BYTEA,
    note_encrypted BYTEA,
    content_hash BYTEA NOT NULL,
    extra_hash BYTEA NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    missing_since_at TIMESTAMP WITH TIME ZONE,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    removed_by TEXT,
    removed_reason TEXT,
    CONSTRAINT transactions_pkey PRIMARY KEY (id),
    CONSTRAINT transactions_state_check CHECK (state IN ('scheduled', 'pending', 'posted', 'expired', 'removed')),
    CONSTRAINT transactions_type_check CHECK (type IN ('pix', 'ted', 'doc', 'internal_transfer', 'boleto', 'collection', 'package_fee', 'single_fee', 'payroll', 'salary_portability', 'deposit', 'withdrawal', 'card', 'overdraft_interest', 'yield', 'redemption', 'credit_operation', 'reserved_balance', 'purchase', 'bill_payment', 'reversal', 'interest', 'tax', 'annual_fee', 'other')),
    CONSTRAINT transactions_category_source_check CHECK (category_source IN ('user', 'rule', 'provider', 'mcc', 'dictionary', 'model')),
    CONSTRAINT transactions_transfer_status_check CHECK (transfer_status IN ('own', 'one_leg', 'candidate')),
    CONSTRAINT transactions_account_id_alias_key UNIQUE (account_id, alias),
    CONSTRAINT transactions_account_id_fkey FOREIGN KEY(account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT transactions_bill_id_fkey FOREIGN KEY(bill_id) REFERENCES kordant.card_bills (id) ON DELETE SET NULL
);
CREATE INDEX transactions_account_id_booked_on_idx ON kordant.transactions (account_id, booked_on);
CREATE INDEX transactions_bill_id_idx ON kordant.transactions (bill_id) WHERE bill_id IS NOT NULL;
CREATE INDEX transactions_provisional ON kordant.transactions (account_id) WHERE state IN ('scheduled', 'pending');
COMMENT ON TABLE kordant.transactions IS 'Our id never changes, nor its account; what the bank says of it may.';
COMMENT ON COLUMN kordant.transactions.entity_id IS 'of the account: repeated here for set-based work';
COMMENT ON COLUMN kordant.transactions.alias IS 'of the provider''s present id, or of the row''s fingerprint';
COMMENT ON COLUMN kordant.transactions.authorised_on IS 'the day on which it was first pending';
COMMENT ON COLUMN kordant.transactions.type_raw IS 'the source''s word, where ours is `other`';
COMMENT ON COLUMN kordant.transactions.counterparty_index IS 'of a CPF or CNPJ';
COMMENT ON COLUMN kordant.transactions.transfer_index IS 'of the id that both legs of a payment carry';
COMMENT ON COLUMN kordant.transactions.merchant_key IS 'in clear for firms only; people as a keyed hash, which begins with ~';
COMMENT ON COLUMN kordant.transactions.plan_id IS 'the same for all instalments of one purchase';
COMMENT ON COLUMN kordant.transactions.transfer_id IS 'the row of transfers that this is a leg of';
COMMENT ON COLUMN kordant.transactions.iof_of IS 'the foreign purchase that this tax is of';
COMMENT ON COLUMN kordant.transactions.refund_of IS 'the transaction that this one reverses, whole or in part';
COMMENT ON COLUMN kordant.transactions.provider_id_encrypted IS 'while provisional: to ask for it by its id';
COMMENT ON COLUMN kordant.transactions.note_encrypted IS 'the user''s';
COMMENT ON COLUMN kordant.transactions.content_hash IS 'keyed, over what decides and shows it';
COMMENT ON COLUMN kordant.transactions.extra_hash IS 'keyed, over what arrives late: category, bill, merchant';
COMMENT ON COLUMN kordant.transactions.removed_by IS 'bank, user';
CREATE TABLE kordant.transfers (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    out_id UUID NOT NULL,
    in_id UUID NOT NULL,
    confidence FLOAT NOT NULL,
    decided_by TEXT NOT NULL,
    is_rejected BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transfers_pkey PRIMARY KEY (id),
    CONSTRAINT transfers_out_id_in_id_key UNIQUE (out_id, in_id),
    CONSTRAINT transfers_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT transfers_out_id_fkey FOREIGN KEY(out_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE,
    CONSTRAINT transfers_in_id_fkey FOREIGN KEY(in_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
CREATE INDEX transfers_entity_id_idx ON kordant.transfers (entity_id);
CREATE INDEX transfers_in_id_idx ON kordant.transfers (in_id);
CREATE UNIQUE INDEX transfers_one_in ON kordant.transfers (in_id) WHERE NOT is_rejected;
CREATE UNIQUE INDEX transfers_one_out ON kordant.transfers (out_id) WHERE NOT is_rejected;
COMMENT ON COLUMN kordant.transfers.decided_by IS 'rule or user';
COMMENT ON COLUMN kordant.transfers.is_rejected IS 'the user said: it is none';
CREATE TABLE kordant.transaction_aliases (
    account_id UUID NOT NULL,
    alias BYTEA NOT NULL,
    transaction_id UUID NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transaction_aliases_pkey PRIMARY KEY (account_id, alias),
    CONSTRAINT transaction_aliases_account_id_fkey FOREIGN KEY(account_id) REFERENCES kordant.bank_accounts (id) ON DELETE CASCADE,
    CONSTRAINT transaction_aliases_transaction_id_fkey FOREIGN KEY(transaction_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
CREATE INDEX transaction_aliases_transaction_id_idx ON kordant.transaction_aliases (transaction_id);
COMMENT ON TABLE kordant.transaction_aliases IS 'Former ids of a transaction; its present one is in its row.';
CREATE TABLE kordant.transaction_versions (
    transaction_id UUID NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    booked_on DATE NOT NULL,
    amount NUMERIC(19, 4) NOT NULL,
    type TEXT NOT NULL,
    reason TEXT NOT NULL,
    sync_run_id UUID,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT transaction_versions_pkey PRIMARY KEY (transaction_id, version),
    CONSTRAINT transaction_versions_reason_check CHECK (reason IN ('posted', 'restated', 'rekeyed', 'removed', 'revived', 'expired', 'user')),
    CONSTRAINT transaction_versions_transaction_id_fkey FOREIGN KEY(transaction_id) REFERENCES kordant.transactions (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.transaction_versions IS 'What a transaction was before it changed, and why it did; append-only.';
CREATE TABLE kordant.sync_runs (
    id UUID NOT NULL,
    planned INTEGER NOT NULL,
    active INTEGER NOT NULL,
    deferred JSONB DEFAULT '{}' NOT NULL,
    successful INTEGER,
    failed INTEGER,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sync_runs_pkey PRIMARY KEY (id)
);
CREATE INDEX sync_runs_started_at_idx ON kordant.sync_runs (started_at);
COMMENT ON COLUMN kordant.sync_runs.deferred IS 'by reason';
CREATE TABLE kordant.sync_results (
    sync_run_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    outcome TEXT NOT NULL,
    error_class TEXT,
    error_code TEXT,
    counts JSONB DEFAULT '{}' NOT NULL,
    data_as_of TIMESTAMP WITH TIME ZONE,
    duration_ms INTEGER NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT sync_results_pkey PRIMARY KEY (sync_run_id, connection_id),
    CONSTRAINT sync_results_outcome_check CHECK (outcome IN ('complete', 'partial', 'failed')),
    CONSTRAINT sync_results_sync_run_id_fkey FOREIGN KEY(sync_run_id) REFERENCES kordant.sync_runs (id) ON DELETE CASCADE,
    CONSTRAINT sync_results_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
CREATE INDEX sync_results_connection_id_idx ON kordant.sync_results (connection_id);
CREATE INDEX sync_results_ended_at_idx ON kordant.sync_results (ended_at);
COMMENT ON COLUMN kordant.sync_results.error_class IS 'transient, user, permanent, ours; null: none';
CREATE TABLE kordant.provider_budgets (
    provider TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    subject_index BYTEA NOT NULL,
    month_on DATE NOT NULL,
    used INTEGER DEFAULT '0' NOT NULL,
    reserved INTEGER DEFAULT '0' NOT NULL,
    call_limit INTEGER NOT NULL,
    CONSTRAINT provider_budgets_pkey PRIMARY KEY (provider, endpoint, subject_index, month_on),
    CONSTRAINT provider_budgets_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file'))
);
COMMENT ON TABLE kordant.provider_budgets IS 'Operational limits of a month; only calls that succeeded count.';
COMMENT ON COLUMN kordant.provider_budgets.endpoint IS 'the class of calls that share a limit';
COMMENT ON COLUMN kordant.provider_budgets.subject_index IS 'whose calls are counted';
COMMENT ON COLUMN kordant.provider_budgets.month_on IS 'its first day, in Sao Paulo';
COMMENT ON COLUMN kordant.provider_budgets.used IS 'calls that succeeded';
COMMENT ON COLUMN kordant.provider_budgets.reserved IS 'calls whose end is not known yet';
CREATE TABLE kordant.webhook_events (
    id UUID NOT NULL,
    provider TEXT NOT NULL,
    event_key BYTEA NOT NULL,
    event TEXT NOT NULL,
    connection_id UUID,
    removed_aliases BYTEA[] DEFAULT '{}' NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    handled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_provider_check CHECK (provider IN ('pluggy', 'ofb', 'belvo', 'file')),
    CONSTRAINT webhook_events_provider_event_key_key UNIQUE (provider, event_key),
    CONSTRAINT webhook_events_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
CREATE INDEX webhook_events_connection_id_idx ON kordant.webhook_events (connection_id);
CREATE INDEX webhook_events_received_at_idx ON kordant.webhook_events (received_at);
COMMENT ON TABLE kordant.webhook_events IS 'Hints that something is new; the body is not kept.';
COMMENT ON COLUMN kordant.webhook_events.event_key IS 'of the provider''s id of the event';
COMMENT ON COLUMN kordant.webhook_events.removed_aliases IS 'of deleted rows';
CREATE TABLE kordant.quarantined_rows (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID NOT NULL,
    row_index BYTEA NOT NULL,
    reason TEXT NOT NULL,
    raw_encrypted BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT quarantined_rows_pkey PRIMARY KEY (id),
    CONSTRAINT quarantined_rows_connection_id_row_index_key UNIQUE (connection_id, row_index),
    CONSTRAINT quarantined_rows_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT quarantined_rows_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
CREATE INDEX quarantined_rows_created_at_idx ON kordant.quarantined_rows (created_at);
CREATE INDEX quarantined_rows_entity_id_idx ON kordant.quarantined_rows (entity_id);
COMMENT ON TABLE kordant.quarantined_rows IS 'Rows of a bank that could not be understood.';
COMMENT ON COLUMN kordant.quarantined_rows.row_index IS 'of its content: the same row is kept once';
CREATE TABLE kordant.finance_notices (
    id UUID NOT NULL,
    entity_id UUID NOT NULL,
    connection_id UUID,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    severity TEXT NOT NULL,
    facts JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT finance_notices_pkey PRIMARY KEY (id),
    CONSTRAINT finance_notices_kind_check CHECK (kind IN ('needs_user', 'consent_expiring', 'consent_ended', 'stale', 'quarantine', 'insight')),
    CONSTRAINT finance_notices_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT finance_notices_entity_id_dedup_key_key UNIQUE (entity_id, dedup_key),
    CONSTRAINT finance_notices_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE,
    CONSTRAINT finance_notices_connection_id_fkey FOREIGN KEY(connection_id) REFERENCES kordant.bank_connections (id) ON DELETE CASCADE
);
CREATE INDEX finance_notices_connection_id_idx ON kordant.finance_notices (connection_id) WHERE connection_id IS NOT NULL;
COMMENT ON TABLE kordant.finance_notices IS 'What the owner of bank data is told: through the outbox, when a subscription is.';
COMMENT ON COLUMN kordant.finance_notices.dedup_key IS 'told once';
COMMENT ON COLUMN kordant.finance_notices.facts IS 'codes, days and ids; never a name or text';
ALTER TABLE kordant.notification_outbox ADD COLUMN finance_notice_id UUID,
    ADD CONSTRAINT notification_outbox_finance_notice_id_fkey FOREIGN KEY (finance_notice_id)
        REFERENCES kordant.finance_notices (id) ON DELETE CASCADE,
    ADD CONSTRAINT notification_outbox_finance_notice_id_channel_address_id_key
        UNIQUE (finance_notice_id, channel, address_id),
    DROP CONSTRAINT notification_outbox_about_one_thing_check,
    ADD CONSTRAINT notification_outbox_about_one_thing_check
        CHECK (num_nonnulls(alert_id, report_id, removal_event_id, finance_notice_id) = 1),
    DROP CONSTRAINT notification_outbox_category_check,
    ADD CONSTRAINT notification_outbox_category_check
        CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report', 'finance'));
CREATE UNIQUE INDEX notification_outbox_finance_contact_once ON kordant.notification_outbox (finance_notice_id, channel) WHERE address_id IS NULL;
ALTER TABLE kordant.notification_preferences
    DROP CONSTRAINT notification_preferences_category_check,
    ADD CONSTRAINT notification_preferences_category_check
        CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report', 'finance'));
