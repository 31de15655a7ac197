CREATE TABLE kordant.insights (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    entity_id UUID NOT NULL,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    status TEXT DEFAULT 'new' NOT NULL,
    facts JSONB NOT NULL,
    evidence UUID[] DEFAULT '{}' NOT NULL,
    confidence FLOAT NOT NULL,
    unknown_reason TEXT,
    about_on DATE,
    data_version INTEGER NOT NULL,
    data_as_of DATE NOT NULL,
    algorithm_version INTEGER NOT NULL,
    material_hash BYTEA NOT NULL,
    first_computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    resolved_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT insights_pkey PRIMARY KEY (id),
    CONSTRAINT insights_kind_check CHECK (kind IN ('cash_flow', 'income', 'recurring', 'price_rise', 'duplicate', 'unusual', 'fees', 'forecast', 'runway', 'card_use')),
    CONSTRAINT insights_status_check CHECK (status IN ('new', 'seen', 'dismissed', 'resolved')),
    CONSTRAINT insights_unknown_reason_check CHECK (unknown_reason IN ('short_history', 'no_balance', 'old_balance', 'no_limit')),
    CONSTRAINT insights_resolved_has_a_moment_check CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT insights_confidence_check CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT insights_entity_id_fkey FOREIGN KEY(entity_id) REFERENCES kordant.entities (id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX insights_one_open ON kordant.insights (entity_id, kind, dedup_key) WHERE status <> 'resolved';

CREATE INDEX insights_entity_id_idx ON kordant.insights (entity_id);

CREATE INDEX insights_resolved_at_idx ON kordant.insights (resolved_at) WHERE resolved_at IS NOT NULL;

COMMENT ON TABLE kordant.insights IS 'What accounts say, with what it rests on. An open one is unique by entity, kind and key.';

COMMENT ON COLUMN kordant.insights.dedup_key IS 'the same from night to night';

COMMENT ON COLUMN kordant.insights.facts IS 'amounts and days as text; no name';

COMMENT ON COLUMN kordant.insights.evidence IS 'ids of transactions';

COMMENT ON COLUMN kordant.insights.unknown_reason IS 'why it cannot be said; null: it can';

COMMENT ON COLUMN kordant.insights.about_on IS 'the day that it is about; null: none';

COMMENT ON COLUMN kordant.insights.data_version IS 'of the data that it rests on';

COMMENT ON COLUMN kordant.insights.data_as_of IS 'the day as of which it was computed';

COMMENT ON COLUMN kordant.insights.material_hash IS 'of its facts in coarse steps: another one is news';

CREATE TABLE kordant.forecast_corrections (
    class TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    quantile FLOAT NOT NULL,
    score FLOAT NOT NULL,
    pairs INTEGER NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT forecast_corrections_pkey PRIMARY KEY (class, horizon, quantile)
);

COMMENT ON TABLE kordant.forecast_corrections IS 'Quantiles of past errors of forecasts: what makes intervals hold as often as they say.';

COMMENT ON COLUMN kordant.forecast_corrections.class IS 'of entities: by how regular their income is';

COMMENT ON COLUMN kordant.forecast_corrections.horizon IS 'days';

COMMENT ON COLUMN kordant.forecast_corrections.score IS 'error in units of the scale that the forecast has';

COMMENT ON COLUMN kordant.forecast_corrections.pairs IS 'past forecasts that it is taken from';
