-- The span that submitted a task, as a W3C traceparent, so that its attempts stand in the same trace; null: none.
ALTER TABLE task ADD COLUMN traceparent TEXT COLLATE "C";
