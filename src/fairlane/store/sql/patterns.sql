-- Statements about a table that is not known before: the adapter puts names out of the schema itself, quoted, in place of
-- what stands in braces. Whole tables are moved with them; nothing else uses them.

-- pattern: read_table
SELECT {columns}
FROM {table};

-- pattern: count_table
SELECT count(*)
FROM {table};

-- pattern: empty_table
DELETE FROM {table};
