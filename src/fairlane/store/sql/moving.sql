-- The tables to move, read from the schema.

-- name: find_columns [sqlite]
-- Find (table, column) of every table, in order.
SELECT t.name AS table_name, c.name AS column_name
FROM pragma_table_list AS t
JOIN pragma_table_info(t.name) AS c
WHERE t.schema = 'main'
  AND t.type = 'table'
  AND substr(t.name, 1, 7) <> 'sqlite_'
ORDER BY t.name, c.cid;

-- name: find_columns [postgres]
-- The same, from PostgreSQL's catalog.
SELECT c.relname::text AS table_name, a.attname::text AS column_name
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p')
  AND c.relnamespace = current_schema()::regnamespace
ORDER BY 1, a.attnum;

-- name: find_references [postgres]
-- Find (table, referenced table): the latter must be filled first.
SELECT DISTINCT c.relname::text AS table_name, r.relname::text AS referred
FROM pg_constraint AS f
JOIN pg_class AS c ON c.oid = f.conrelid
JOIN pg_class AS r ON r.oid = f.confrelid
WHERE f.contype = 'f'
  AND f.connamespace = current_schema()::regnamespace;
