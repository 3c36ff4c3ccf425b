import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import type { TortureTable } from '../tables.ts'

/** Where both sides keep what their triggers saw. Nothing of Millrace's. */
export const AUDIT_SCHEMA = 'torture'
/** Slot that tells the order of commits. */
export const auditSlot = (database: string) => `torture_${database}`

/** Makes values the same text on both sides, whoever writes. */
const SAME_TEXT = `SET datestyle = 'ISO' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 3`

/** Hash of the key, or of the row where there is none, and one for each further column. */
function imageOf(table: TortureTable, row: string): string {
  const hash = (names: readonly string[]) =>
    `md5(ROW(${names.map((name) => `${row}.${quoteIdentifier(name)}`)})::text)`
  const values = Object.keys(table.values)
  if (table.keyless) return hash([...table.key, ...values])
  return [hash(table.key), ...values.map((name) => `left(${hash([name])}, 10)`)].join(" || '.' || ")
}

const label = (table: TortureTable) => `${table.schema}.${table.name}`

const quoteLiteral = (text: string) => `'${text.replaceAll("'", "''")}'`

const LOG = `
  CREATE SCHEMA ${AUDIT_SCHEMA};
  CREATE TABLE ${AUDIT_SCHEMA}.log (
    id bigserial PRIMARY KEY, tx bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL, label text NOT NULL, op text, old text, new text, context text);`

const rowFunction = (name: string, table: TortureTable) => `
  CREATE FUNCTION ${AUDIT_SCHEMA}.${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER ${SAME_TEXT} AS $fn$
  BEGIN
    INSERT INTO ${AUDIT_SCHEMA}.log (kind, label, op, old, new) VALUES ('write', ${quoteLiteral(label(table))}, 'row',
      CASE WHEN TG_OP <> 'INSERT' THEN ${imageOf(table, 'OLD')} END,
      CASE WHEN TG_OP <> 'DELETE' THEN ${imageOf(table, 'NEW')} END);
    RETURN NULL;
  END $fn$;`

const TRUNCATED = `
  CREATE FUNCTION ${AUDIT_SCHEMA}.truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $fn$
  BEGIN
    INSERT INTO ${AUDIT_SCHEMA}.log (kind, label, op) VALUES ('write', TG_ARGV[0], 'truncate');
    RETURN NULL;
  END $fn$;`

const watch = (name: string, table: TortureTable) => `
  CREATE TRIGGER torture_row AFTER INSERT OR UPDATE OR DELETE ON ${quoteTable(table)}
    FOR EACH ROW EXECUTE FUNCTION ${AUDIT_SCHEMA}.${name}();
  CREATE TRIGGER torture_truncate AFTER TRUNCATE ON ${quoteTable(table)}
    FOR EACH STATEMENT EXECUTE FUNCTION ${AUDIT_SCHEMA}.truncated(${quoteLiteral(label(table))});`

/** What the source needs before its tables are made; `owner` writes to them. */
export function sourceSetup(owner: string): string {
  return `${LOG}${TRUNCATED}
    CREATE EXTENSION pg_stat_statements SCHEMA ${AUDIT_SCHEMA};
    CREATE SEQUENCE ${AUDIT_SCHEMA}.revision;
    GRANT USAGE ON SCHEMA ${AUDIT_SCHEMA} TO ${quoteIdentifier(owner)};
    GRANT USAGE ON SEQUENCE ${AUDIT_SCHEMA}.revision TO ${quoteIdentifier(owner)};`
}

/** Watches a table of the source, which is there and empty. */
export function watchSource(table: TortureTable, index: number): string {
  return rowFunction(`row_${index}`, table) + watch(`row_${index}`, table)
}

/**
 * Watches the ledger and the tables of a PostgreSQL destination, whenever they are made. Triggers run as whoever has made
 * them, so Millrace needs no further rights.
 */
export function destinationSetup(tables: readonly TortureTable[]): string {
  const cases = tables
    .map(
      (table, index) =>
        `WHEN ${quoteLiteral(quoteTable(table))} THEN $do$${watch(`row_${index}`, table)}$do$`,
    )
    .join('\n')
  return `${LOG}${TRUNCATED}
    ${tables.map((table, index) => rowFunction(`row_${index}`, table)).join('')}
    CREATE FUNCTION ${AUDIT_SCHEMA}.ledger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $fn$
    DECLARE context jsonb;
    BEGIN
      IF TG_TABLE_NAME = 'chunks' AND TG_OP = 'UPDATE' THEN
        EXECUTE format('SELECT to_jsonb(b) FROM %I.backfills b WHERE pipeline = $1 AND uid = $2', TG_TABLE_SCHEMA)
          INTO context USING NEW.pipeline, NEW.uid;
      END IF;
      INSERT INTO ${AUDIT_SCHEMA}.log (kind, label, old, new, context) VALUES ('ledger', TG_TABLE_NAME,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END, context);
      RETURN NULL;
    END $fn$;
    CREATE FUNCTION ${AUDIT_SCHEMA}.made() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $fn$
    DECLARE made record; command text;
    BEGIN
      FOR made IN SELECT c.objid, n.nspname, r.relname, quote_ident(n.nspname) AS s FROM pg_event_trigger_ddl_commands() c
        JOIN pg_class r ON r.oid = c.objid JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE c.classid = 'pg_class'::regclass AND r.relkind = 'r' AND n.nspname !~ '^pg_' LOOP
        IF made.relname IN ('tables', 'backfills', 'chunks') AND made.nspname = 'millrace' THEN
          IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = made.objid AND tgname = 'torture_ledger') THEN
            EXECUTE format('CREATE TRIGGER torture_ledger AFTER INSERT OR UPDATE OR DELETE ON %I.%I
              FOR EACH ROW EXECUTE FUNCTION ${AUDIT_SCHEMA}.ledger()', made.nspname, made.relname);
          END IF;
          CONTINUE;
        END IF;
        command := CASE '"' || replace(made.nspname, '"', '""') || '"."' || replace(made.relname, '"', '""') || '"'
          ${cases} END;
        IF command IS NULL THEN CONTINUE; END IF;
        INSERT INTO ${AUDIT_SCHEMA}.log (kind, label, op) VALUES ('write', made.nspname || '.' || made.relname, 'create');
        EXECUTE command;
      END LOOP;
    END $fn$;
    CREATE FUNCTION ${AUDIT_SCHEMA}.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $fn$
    BEGIN
      INSERT INTO ${AUDIT_SCHEMA}.log (kind, label, op) SELECT 'write', schema_name || '.' || object_name, 'drop'
        FROM pg_event_trigger_dropped_objects() WHERE object_type = 'table' AND NOT is_temporary AND schema_name <> 'millrace';
    END $fn$;
    CREATE EVENT TRIGGER torture_made ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
      EXECUTE FUNCTION ${AUDIT_SCHEMA}.made();
    CREATE EVENT TRIGGER torture_dropped ON sql_drop EXECUTE FUNCTION ${AUDIT_SCHEMA}.dropped();`
}
