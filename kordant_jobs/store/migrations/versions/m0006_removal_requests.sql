-- The catalogue of data brokers, removal requests with the table of allowed moves and the triggers that hold it,
-- and notifications about them.

CREATE TABLE kordant.brokers (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    facts JSONB NOT NULL,
    sources TEXT[] NOT NULL,
    handled_by UUID,
    channels TEXT[] NOT NULL,
    has_search BOOLEAN DEFAULT false NOT NULL,
    daily_cap INTEGER DEFAULT '50' NOT NULL,
    cool_down_days INTEGER DEFAULT '25' NOT NULL,
    paused_until TIMESTAMP WITH TIME ZONE,
    retired_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT brokers_pkey PRIMARY KEY (id),
    CONSTRAINT brokers_key_key UNIQUE (key),
    CONSTRAINT brokers_handled_by_fkey FOREIGN KEY(handled_by) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE INDEX brokers_handled_by_idx ON kordant.brokers (handled_by);
COMMENT ON COLUMN kordant.brokers.key IS 'its domain, else its squashed name';
COMMENT ON COLUMN kordant.brokers.channels IS 'the ways in, the preferred first';
COMMENT ON COLUMN kordant.brokers.daily_cap IS 'messages a day, over all processes';
COMMENT ON COLUMN kordant.brokers.cool_down_days IS 'before the same person again';
CREATE TABLE kordant.broker_domains (
    domain TEXT NOT NULL,
    broker_id UUID NOT NULL,
    CONSTRAINT broker_domains_pkey PRIMARY KEY (domain),
    CONSTRAINT broker_domains_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE INDEX broker_domains_broker_id_idx ON kordant.broker_domains (broker_id);
CREATE TABLE kordant.broker_rows (
    source TEXT NOT NULL,
    row_key TEXT NOT NULL,
    broker_id UUID NOT NULL,
    row JSONB NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    gone_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT broker_rows_pkey PRIMARY KEY (source, row_key),
    CONSTRAINT broker_rows_source_check CHECK (source IN ('kordant', 'california_links', 'california', 'eraser', 'duckduckgo', 'justvanish', 'datenanfragen', 'fronts')),
    CONSTRAINT broker_rows_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE INDEX broker_rows_broker_id_idx ON kordant.broker_rows (broker_id);
COMMENT ON TABLE kordant.broker_rows IS 'Every row of every list as it was read last. One that left its list keeps its row, with the moment.';
CREATE TABLE kordant.broker_versions (
    broker_id UUID NOT NULL,
    version INTEGER NOT NULL,
    facts JSONB NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT broker_versions_broker_id_version_key UNIQUE (broker_id, version),
    CONSTRAINT broker_versions_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE TABLE kordant.broker_contact_faults (
    broker_id UUID NOT NULL,
    contact TEXT NOT NULL,
    fault TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT broker_contact_faults_broker_id_contact_key UNIQUE (broker_id, contact),
    CONSTRAINT broker_contact_faults_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.broker_contact_faults.contact IS 'an address or link of the broker that does not work';
CREATE TABLE kordant.drp_businesses (
    id TEXT NOT NULL,
    broker_id UUID,
    document JSONB NOT NULL,
    token_sealed BYTEA,
    token_since TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT drp_businesses_pkey PRIMARY KEY (id),
    CONSTRAINT drp_businesses_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE
);
CREATE INDEX drp_businesses_broker_id_idx ON kordant.drp_businesses (broker_id);
COMMENT ON TABLE kordant.drp_businesses IS 'Businesses of the Data Rights Protocol, as their directory documents say.';
COMMENT ON COLUMN kordant.drp_businesses.token_sealed IS 'our Bearer token there, under the keyring''s own key';
CREATE TABLE kordant.removal_profiles (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    country TEXT NOT NULL,
    state TEXT,
    details_encrypted BYTEA,
    permission_encrypted BYTEA,
    permitted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT removal_profiles_pkey PRIMARY KEY (id),
    CONSTRAINT removal_profiles_subscriber_id_key UNIQUE (subscriber_id),
    CONSTRAINT removal_profiles_subscriber_id_fkey FOREIGN KEY(subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE
);
COMMENT ON COLUMN kordant.removal_profiles.details_encrypted IS 'JSON: what the subscriber gave, by field';
COMMENT ON COLUMN kordant.removal_profiles.permission_encrypted IS 'the signed permission, a PDF in base64';
CREATE TABLE kordant.removal_moves (
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    CONSTRAINT removal_moves_pkey PRIMARY KEY (from_state, to_state)
);
COMMENT ON TABLE kordant.removal_moves IS 'The allowed moves; a trigger on removal_requests refuses any other.';
CREATE TABLE kordant.removal_requests (
    id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    state TEXT DEFAULT 'draft' NOT NULL,
    reason TEXT,
    last_event_id UUID,
    law TEXT NOT NULL,
    ask TEXT DEFAULT 'deletion' NOT NULL,
    language TEXT DEFAULT 'en' NOT NULL,
    channel TEXT,
    address_token TEXT NOT NULL,
    outside_id TEXT,
    attempts INTEGER DEFAULT '0' NOT NULL,
    reminders INTEGER DEFAULT '0' NOT NULL,
    asked_user INTEGER DEFAULT '0' NOT NULL,
    answered BOOLEAN DEFAULT false NOT NULL,
    links_followed INTEGER DEFAULT '0' NOT NULL,
    sent_on DATE,
    confirm_by_on DATE,
    answer_by_on DATE,
    extended_by_on DATE,
    broker_says TEXT,
    check_says TEXT,
    checked_at TIMESTAMP WITH TIME ZONE,
    state_since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT removal_requests_pkey PRIMARY KEY (id),
    CONSTRAINT removal_requests_state_check CHECK (state IN ('draft', 'queued', 'sent', 'acknowledged', 'needs_user_action', 'needs_identity', 'in_progress', 'extended', 'completed', 'no_match', 'denied', 'exempt', 'contact_moved', 'bounced', 'overdue', 'escalated', 'verified_removed', 'relisted', 'cancelled')),
    CONSTRAINT removal_requests_law_check CHECK (law IN ('ccpa', 'gdpr', 'uk_gdpr', 'lgpd', 'tdpsa', 'ocpa', 'vcdpa', 'cpa', 'ctdpa', 'us_state', 'voluntary')),
    CONSTRAINT removal_requests_ask_check CHECK (ask IN ('deletion', 'sale:opt-out')),
    CONSTRAINT removal_requests_channel_check CHECK (channel IN ('drp', 'form_post', 'email', 'web_form', 'drop')),
    CONSTRAINT removal_requests_check_says_check CHECK (check_says IN ('listed', 'not_listed', 'unknown')),
    CONSTRAINT removal_requests_subscriber_id_fkey FOREIGN KEY(subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_subscription_id_fkey FOREIGN KEY(subscription_id) REFERENCES kordant.subscriptions (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_broker_id_fkey FOREIGN KEY(broker_id) REFERENCES kordant.brokers (id) ON DELETE CASCADE,
    CONSTRAINT removal_requests_address_token_key UNIQUE (address_token)
);
CREATE INDEX removal_requests_broker_id_next_at_idx ON kordant.removal_requests (broker_id, next_at) WHERE next_at IS NOT NULL;
CREATE UNIQUE INDEX removal_requests_once ON kordant.removal_requests (subscriber_id, broker_id) WHERE state <> 'cancelled';
CREATE INDEX removal_requests_outside_id_idx ON kordant.removal_requests (outside_id) WHERE outside_id IS NOT NULL;
CREATE INDEX removal_requests_subscription_id_idx ON kordant.removal_requests (subscription_id);
COMMENT ON COLUMN kordant.removal_requests.reason IS 'a code: why it is in this state';
COMMENT ON COLUMN kordant.removal_requests.last_event_id IS 'the event of its last move; a trigger compares the two';
COMMENT ON COLUMN kordant.removal_requests.address_token IS 'replies come to <local part>+<token>@…';
COMMENT ON COLUMN kordant.removal_requests.outside_id IS 'what the broker calls it in the Data Rights Protocol';
COMMENT ON COLUMN kordant.removal_requests.attempts IS 'requests sent';
COMMENT ON COLUMN kordant.removal_requests.reminders IS 'reminders since the last request';
COMMENT ON COLUMN kordant.removal_requests.asked_user IS 'how often the subscriber was told';
COMMENT ON COLUMN kordant.removal_requests.answered IS 'since the last request';
COMMENT ON COLUMN kordant.removal_requests.broker_says IS 'the last answer of the broker, as a reply class';
COMMENT ON COLUMN kordant.removal_requests.check_says IS 'our own last check';
CREATE TABLE kordant.removal_events (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    evidence JSONB DEFAULT '{}' NOT NULL,
    actor TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_events_pkey PRIMARY KEY (id),
    CONSTRAINT removal_events_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
CREATE INDEX removal_events_request_id_at_idx ON kordant.removal_events (request_id, at);
COMMENT ON TABLE kordant.removal_events IS 'One row a move, and one for what happened without a move (the states are then the same).';
COMMENT ON COLUMN kordant.removal_events.reason IS 'a code: the rule that moved it';
COMMENT ON COLUMN kordant.removal_events.evidence IS 'ids, days and codes; never an identifier';
CREATE TABLE kordant.removal_messages (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    contact TEXT NOT NULL,
    status TEXT DEFAULT 'queued' NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    code TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    begun_at TIMESTAMP WITH TIME ZONE,
    lease_id UUID,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT removal_messages_pkey PRIMARY KEY (id),
    CONSTRAINT removal_messages_kind_check CHECK (kind IN ('request', 'reminder')),
    CONSTRAINT removal_messages_channel_check CHECK (channel IN ('drp', 'form_post', 'email', 'web_form', 'drop')),
    CONSTRAINT removal_messages_status_check CHECK (status IN ('queued', 'sending', 'sent', 'failed', 'uncertain', 'withdrawn')),
    CONSTRAINT removal_messages_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
CREATE INDEX removal_messages_broker_id_begun_at_idx ON kordant.removal_messages (broker_id, begun_at) WHERE begun_at IS NOT NULL;
CREATE INDEX removal_messages_broker_id_due_at_idx ON kordant.removal_messages (broker_id, due_at) WHERE status IN ('queued', 'sending');
CREATE INDEX removal_messages_request_id_idx ON kordant.removal_messages (request_id);
COMMENT ON TABLE kordant.removal_messages IS 'Everything that goes to a broker.';
COMMENT ON COLUMN kordant.removal_messages.id IS 'in the Message-ID, and the agent_request_id';
COMMENT ON COLUMN kordant.removal_messages.contact IS 'the broker''s address or link that it goes to';
COMMENT ON COLUMN kordant.removal_messages.lease_id IS 'the engine''s lease under which its sender holds it';
COMMENT ON COLUMN kordant.removal_messages.code IS 'of the last outcome; never a text of the server';
CREATE TABLE kordant.removal_disclosures (
    message_id UUID NOT NULL,
    request_id UUID NOT NULL,
    broker_id UUID NOT NULL,
    fields TEXT[] NOT NULL,
    legal_ground TEXT NOT NULL,
    channel TEXT NOT NULL,
    disclosed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_disclosures_pkey PRIMARY KEY (message_id),
    CONSTRAINT removal_disclosures_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
COMMENT ON TABLE kordant.removal_disclosures IS 'What was disclosed to whom, when and why; written before the message goes out.';
COMMENT ON COLUMN kordant.removal_disclosures.fields IS 'the names of what was disclosed';
CREATE TABLE kordant.removal_replies (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    subscriber_id UUID NOT NULL,
    dedupe_key BYTEA NOT NULL,
    matched_by TEXT NOT NULL,
    sender_domain TEXT DEFAULT '' NOT NULL,
    is_own_domain BOOLEAN NOT NULL,
    class TEXT NOT NULL,
    detail TEXT,
    rule TEXT NOT NULL,
    sentence_encrypted BYTEA,
    text_encrypted BYTEA,
    link_encrypted BYTEA,
    moved BOOLEAN DEFAULT false NOT NULL,
    needs_person BOOLEAN DEFAULT false NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_replies_pkey PRIMARY KEY (id),
    CONSTRAINT removal_replies_class_check CHECK (class IN ('received', 'in_progress', 'extended', 'form_required', 'confirmation_link', 'identity_asked', 'done', 'no_match', 'rejected', 'exempt', 'auto_reply', 'contact_moved', 'bounced', 'unknown')),
    CONSTRAINT removal_replies_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE,
    CONSTRAINT removal_replies_subscriber_id_fkey FOREIGN KEY(subscriber_id) REFERENCES kordant.subscribers (id) ON DELETE CASCADE,
    CONSTRAINT removal_replies_dedupe_key_key UNIQUE (dedupe_key)
);
CREATE INDEX removal_replies_links ON kordant.removal_replies (request_id) WHERE link_encrypted IS NOT NULL;
CREATE INDEX removal_replies_received_at_idx ON kordant.removal_replies (received_at) WHERE needs_person;
CREATE INDEX removal_replies_request_id_received_at_idx ON kordant.removal_replies (request_id, received_at);
CREATE INDEX removal_replies_subscriber_id_idx ON kordant.removal_replies (subscriber_id);
COMMENT ON COLUMN kordant.removal_replies.dedupe_key IS 'keyed hash of the message';
COMMENT ON COLUMN kordant.removal_replies.is_own_domain IS 'whether the sender''s domain is the broker''s';
COMMENT ON COLUMN kordant.removal_replies.sentence_encrypted IS 'the sentence that decided';
COMMENT ON COLUMN kordant.removal_replies.link_encrypted IS 'a confirmation link that waits to be followed';
CREATE TABLE kordant.removal_references (
    reference_index BYTEA NOT NULL,
    request_id UUID NOT NULL,
    CONSTRAINT removal_references_pkey PRIMARY KEY (reference_index),
    CONSTRAINT removal_references_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
CREATE INDEX removal_references_request_id_idx ON kordant.removal_references (request_id);
COMMENT ON COLUMN kordant.removal_references.reference_index IS 'keyed hash of a case number, with its domain';
CREATE TABLE kordant.removal_checks (
    id UUID NOT NULL,
    request_id UUID NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT,
    source TEXT NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT removal_checks_pkey PRIMARY KEY (id),
    CONSTRAINT removal_checks_verdict_check CHECK (verdict IN ('listed', 'not_listed', 'unknown')),
    CONSTRAINT removal_checks_unknown_has_a_reason_check CHECK ((verdict = 'unknown') = (reason IS NOT NULL)),
    CONSTRAINT removal_checks_request_id_fkey FOREIGN KEY(request_id) REFERENCES kordant.removal_requests (id) ON DELETE CASCADE
);
CREATE INDEX removal_checks_request_id_checked_at_idx ON kordant.removal_checks (request_id, checked_at);
ALTER TABLE kordant.notification_outbox ADD COLUMN removal_event_id UUID,
    ADD CONSTRAINT notification_outbox_removal_event_id_fkey FOREIGN KEY (removal_event_id)
        REFERENCES kordant.removal_events (id) ON DELETE CASCADE,
    ADD CONSTRAINT notification_outbox_removal_event_id_channel_address_id_key
        UNIQUE (removal_event_id, channel, address_id),
    DROP CONSTRAINT notification_outbox_about_one_thing_check,
    ADD CONSTRAINT notification_outbox_about_one_thing_check
        CHECK (num_nonnulls(alert_id, report_id, removal_event_id) = 1);
CREATE UNIQUE INDEX notification_outbox_removal_contact_once ON kordant.notification_outbox (removal_event_id, channel) WHERE address_id IS NULL;
INSERT INTO kordant.removal_moves
SELECT m.before, unnest(string_to_array(m.after, ' ')) FROM (VALUES
    ('draft', 'cancelled contact_moved needs_user_action queued'),
    ('queued', 'bounced cancelled contact_moved denied needs_user_action sent'),
    ('sent', 'acknowledged bounced cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('acknowledged', 'cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('needs_user_action', 'acknowledged cancelled completed contact_moved denied exempt extended in_progress needs_identity no_match overdue queued sent verified_removed'),
    ('needs_identity', 'acknowledged cancelled completed contact_moved denied exempt extended in_progress needs_user_action no_match overdue verified_removed'),
    ('in_progress', 'cancelled completed contact_moved denied exempt extended needs_identity needs_user_action no_match overdue verified_removed'),
    ('extended', 'cancelled completed contact_moved denied exempt in_progress needs_identity needs_user_action no_match overdue verified_removed'),
    ('completed', 'cancelled relisted verified_removed'),
    ('no_match', 'cancelled relisted'),
    ('denied', 'cancelled completed escalated no_match queued'),
    ('exempt', 'cancelled completed escalated'),
    ('contact_moved', 'cancelled completed needs_user_action no_match queued'),
    ('bounced', 'cancelled contact_moved needs_user_action queued'),
    ('overdue', 'acknowledged bounced cancelled completed contact_moved denied escalated exempt extended in_progress needs_identity needs_user_action no_match verified_removed'),
    ('escalated', 'acknowledged bounced cancelled completed contact_moved denied exempt extended in_progress needs_identity needs_user_action no_match verified_removed'),
    ('verified_removed', 'cancelled relisted'),
    ('relisted', 'cancelled completed contact_moved escalated needs_user_action queued')
) AS m (before, after);
CREATE FUNCTION kordant.check_removal_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong record;
BEGIN
    -- EXECUTE plans it each time: a plan kept from one row would loop over 100,000 times 100,000 rows.
    EXECUTE $query$
    SELECT o.state AS before, n.state AS after, n.id, m.to_state IS NULL AS forbidden
    FROM new_rows n
    JOIN old_rows o ON o.id = n.id
    LEFT JOIN kordant.removal_moves m ON m.from_state = o.state AND m.to_state = n.state
    LEFT JOIN kordant.removal_events e ON e.id = n.last_event_id AND e.request_id = n.id
         AND e.from_state = o.state AND e.to_state = n.state
    WHERE o.state <> n.state AND (m.to_state IS NULL OR e.id IS NULL)
    LIMIT 1
    $query$ INTO wrong;
    IF wrong.id IS NOT NULL THEN
        IF wrong.forbidden THEN
            RAISE EXCEPTION 'removal request % may not go from % to %', wrong.id, wrong.before, wrong.after
                USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
        END IF;
        RAISE EXCEPTION 'the move of removal request % from % to % has no event', wrong.id, wrong.before, wrong.after
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER removal_moves AFTER UPDATE ON kordant.removal_requests
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.check_removal_moves();
CREATE FUNCTION kordant.check_removal_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM new_rows WHERE state <> 'draft') THEN
        RAISE EXCEPTION 'a removal request begins as a draft'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'removal_moves';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER removal_begins AFTER INSERT ON kordant.removal_requests
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION kordant.check_removal_begins();
