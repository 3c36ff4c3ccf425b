import {
  DescribeStatementCommand,
  type DescribeStatementCommandOutput,
  ExecuteStatementCommand,
  type Field,
  GetStatementResultCommand,
  RedshiftDataClient,
  type RedshiftDataClientConfig,
} from '@aws-sdk/client-redshift-data'

/** Where a warehouse is, and whose rights statements have in it. */
export interface WarehouseTarget {
  readonly region: string
  readonly database: string
  readonly clusterIdentifier?: string
  readonly workgroupName?: string
  readonly dbUser?: string
  readonly secretArn?: string
  /** Endpoint of the Data API, where it is not the region's. */
  readonly endpoint?: string
  /** By default the SDK's own chain. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** A person's view of a warehouse: runs statements and reads rows, through the Data API. */
export interface WarehouseClient {
  /** Rows of one query, page by page. Throws what the statement failed with. */
  rows(sql: string): AsyncGenerator<readonly Field[]>
  run(sql: string): Promise<void>
  close(): void
}

export function openWarehouseClient(target: WarehouseTarget): WarehouseClient {
  const config: RedshiftDataClientConfig = { region: target.region, maxAttempts: 5 }
  if (target.endpoint !== undefined) config.endpoint = target.endpoint
  if (target.credentials) config.credentials = target.credentials
  const client = new RedshiftDataClient(config)
  const place = {
    Database: target.database,
    ...(target.clusterIdentifier !== undefined && { ClusterIdentifier: target.clusterIdentifier }),
    ...(target.workgroupName !== undefined && { WorkgroupName: target.workgroupName }),
    ...(target.dbUser !== undefined && { DbUser: target.dbUser }),
    ...(target.secretArn !== undefined && { SecretArn: target.secretArn }),
  }

  async function finished(Sql: string): Promise<string> {
    const { Id } = await client.send(new ExecuteStatementCommand({ ...place, Sql }))
    let state: DescribeStatementCommandOutput
    do {
      state = await client.send(new DescribeStatementCommand({ Id, WaitTimeSeconds: 30 }))
    } while (!['FINISHED', 'FAILED', 'ABORTED'].includes(state.Status ?? ''))
    if (state.Status !== 'FINISHED') throw new Error(`${state.Status}: ${state.Error}: ${Sql.slice(0, 500)}`)
    return Id ?? ''
  }

  return {
    async *rows(sql) {
      const Id = await finished(sql)
      let NextToken: string | undefined
      do {
        const page = await client.send(
          new GetStatementResultCommand({ Id, ...(NextToken !== undefined && { NextToken }) }),
        )
        yield* page.Records ?? []
        NextToken = page.NextToken
      } while (NextToken !== undefined)
    },
    run: async (sql) => void (await finished(sql)),
    close: () => client.destroy(),
  }
}
