-- Statements on a table chosen at run time: the adapter replaces the braces by quoted names from the schema. Used
-- only to move whole tables.

-- pattern: read_table
-- Read every row of a table.
SELECT {columns}
FROM {table};

-- pattern: count_table
-- Count the rows of a table.
SELECT count(*)
FROM {table};

-- pattern: empty_table
-- Delete every row of a table.
DELETE FROM {table};

-- pattern: analyze_table
-- Update the planner's statistics of a table. Without a name ANALYZE would lock catalogs that all databases of the
-- PostgreSQL server share, until the transaction ends.
ANALYZE {table};
