-- An organization's earliest open delivery is found in one step, whatever it and others owe.
CREATE INDEX delivery_turn ON delivery (organization_id, due_at) WHERE due_at IS NOT NULL;
