"""Parses every statement of a JSON Lines file as sqlglot understands Redshift, and says which it does not.

Beside the grammar it checks the Data API's limits: 100 KB a statement, 40 statements a batch.
"""

import json
import logging
import re
import sys

import sqlglot
from sqlglot import exp

MAX_BYTES = 100_000
MAX_BATCH = 40
SHOWN = 200


def problem(sql: str) -> str | None:
    size = len(sql.encode())
    if size > MAX_BYTES:
        return f"{size} bytes, of which the Data API takes {MAX_BYTES}"
    try:
        parsed = sqlglot.parse(sql, dialect="redshift")
    except sqlglot.errors.SqlglotError as error:
        return str(error).split("\n", 1)[0]
    if len(parsed) != 1 or parsed[0] is None:
        return f"{len(parsed)} statements in one"
    # What sqlglot does not know it keeps as the text of a command, which proves nothing.
    if isinstance(parsed[0], exp.Command) and not LOCK.fullmatch(sql):
        return f"sqlglot does not know {parsed[0].this}"
    return None


# sqlglot has no grammar for LOCK in any dialect. Redshift's: LOCK [ TABLE ] table_name [, ...]
NAME = r'"(?:[^"]|"")+"'
LOCK = re.compile(rf"LOCK (?:TABLE )?{NAME}\.{NAME}(?:, {NAME}\.{NAME})*")


TYPES = [
    "BOOLEAN",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "REAL",
    "DOUBLE PRECISION",
    "NUMERIC(",
    "CHAR(",
    "VARCHAR(",
    "VARBYTE(",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "SUPER",
]

# What the product sends, by sort: a run of all tests has each of them, so that none goes unparsed.
SORTS = {
    **{f"a column of type {type}": rf'^CREATE TABLE .*" {re.escape(type)}(?![A-Z])' for type in TYPES},
    "a distribution key": r"^CREATE TABLE .*DISTKEY",
    "a sort key": r"^CREATE TABLE .*SORTKEY",
    "COPY into the table": r'^COPY "(?!millrace)',
    "COPY into a staging table": r'^COPY "millrace_rows"',
    "rows deleted by their key": r"^DELETE FROM .* USING",
    "rows of a table without a key, removed": r"^CREATE TEMP TABLE \"millrace_kept\" AS .*ROW_NUMBER\(\)",
    "rows of a table without a key, put back": r"^INSERT INTO .* FROM \"millrace_kept\"",
    "TRUNCATE": r"^TRUNCATE",
    "DROP TABLE": r"^DROP TABLE",
    "ADD COLUMN": r"^ALTER TABLE .* ADD COLUMN",
    "a VARCHAR made longer": r"^ALTER TABLE .* ALTER COLUMN .* TYPE VARCHAR",
    "a column renamed": r"^ALTER TABLE .* RENAME COLUMN",
    "LOCK": r"^LOCK",
    "digests of ranges": r"^SELECT .*MD5\(",
}


def main(path: str, everything: bool) -> int:
    seen: set[str] = set()
    batches: dict[str, int] = {}
    failed = 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            sql = record["sql"]
            batch = record.get("batch")
            if batch is not None:
                batches[str(batch)] = batches.get(str(batch), 0) + 1
            if sql in seen:
                continue
            seen.add(sql)
            why = problem(sql)
            if why is not None:
                failed += 1
                print(f"{why}\n  {sql[:SHOWN]}", file=sys.stderr)
    too_many = [count for count in batches.values() if count > MAX_BATCH]
    failed += len(too_many)
    for count in too_many:
        print(f"a batch of {count} statements, of which the Data API takes {MAX_BATCH}", file=sys.stderr)
    missing = [sort for sort, pattern in SORTS.items() if not any(re.search(pattern, sql, re.S) for sql in seen)]
    if missing:
        print(f"not among them: {'; '.join(missing)}", file=sys.stderr)
    print(f"redshift-grammar: statements={len(seen)} sorts={len(SORTS) - len(missing)}/{len(SORTS)} failed={failed}")
    return 1 if failed or not seen or (everything and missing) else 0


# It warns of each statement that it keeps as text.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
sys.exit(main(sys.argv[1], "--all" in sys.argv[2:]))
