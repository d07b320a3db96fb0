-- What tables there are, for whoever reads them all: a backup, or the test that the two makes agree.

-- name: columns
SELECT m.name, c.name, c.type, c.pk
FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY m.name, c.cid;

-- name: columns @postgresql
SELECT c.relname, a.attname, format_type(a.atttypid, NULL),
  COALESCE(array_position(CAST(i.indkey AS SMALLINT[]), a.attnum) + 1, 0)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE)
ORDER BY c.relname COLLATE "C", a.attnum;

-- name: references
SELECT m.name, f."table" FROM sqlite_schema AS m JOIN pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table';

-- name: references @postgresql
SELECT c.relname, r.relname
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE)
UNION ALL
-- What a trigger stands for that asks once a statement (schema/postgresql/0011): its arguments are column, table, column, table, ….
SELECT c.relname, s.word
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid,
  unnest(string_to_array(encode(t.tgargs, 'escape'), '\000')) WITH ORDINALITY AS s (word, place)
WHERE t.tgname LIKE '%\_refers' AND s.place % 2 = 0 AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE);

-- name: reference_definitions
-- SQLite looks a reference up in microseconds, while the row is added.
SELECT NULL, NULL, NULL WHERE FALSE;

-- name: reference_definitions @postgresql
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE);

-- name: counted_columns
-- SQLite counts on from the greatest number that is there.
SELECT NULL, NULL WHERE FALSE;

-- name: counted_columns @postgresql
SELECT c.relname, a.attname
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = CAST(current_schema() AS REGNAMESPACE)
  AND pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS NOT NULL;

-- name: schema_number
SELECT COALESCE(MAX(number), 0) FROM migration;
