import { openWarehouseClient, type WarehouseClient } from '../../hack/demo/warehouse.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import { type AwsSettings, requireAwsSettings } from './settings.ts'

/** A person's client of the warehouse under test. */
export function openAwsClient({ destination }: AwsSettings = requireAwsSettings()): WarehouseClient {
  const { region, database, clusterIdentifier, workgroupName, dbUser, secretArn, endpoints } = destination
  return openWarehouseClient({
    region,
    database,
    ...(clusterIdentifier !== undefined && { clusterIdentifier }),
    ...(workgroupName !== undefined && { workgroupName }),
    ...(dbUser !== undefined && { dbUser }),
    ...(secretArn !== undefined && { secretArn }),
    ...(endpoints?.redshiftData !== undefined && { endpoint: endpoints.redshiftData }),
  })
}

/** Schema and name of the tables that tests would make or find in the way. */
export async function tablesInTheWay(client: WarehouseClient): Promise<string[]> {
  const found: string[] = []
  const sql = `SELECT schema_name, table_name FROM svv_redshift_tables WHERE database_name = CURRENT_DATABASE() AND schema_name IN ('public', 'millrace')`
  for await (const [schema, name] of client.rows(sql)) {
    found.push(`${quoteIdentifier(schema?.stringValue ?? '')}.${quoteIdentifier(name?.stringValue ?? '')}`)
  }
  return found
}

/** Removes everything that tests have made; only ever called on a database that was empty before. */
export async function emptyWarehouse(client: WarehouseClient): Promise<void> {
  for (const table of await tablesInTheWay(client)) await client.run(`DROP TABLE ${table} CASCADE`)
  await client.run('DROP SCHEMA IF EXISTS millrace CASCADE')
}
