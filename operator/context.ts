import type { Pipeline } from '../crds/pipeline.ts'
import type { TableBackfill } from '../crds/table-backfill.ts'
import type { KubeObject } from '../lib/kube/api.ts'
import type { Logger } from '../lib/log.ts'
import type { OperatorConfig } from './config.ts'
import type { OperatorApi } from './kube/api.ts'
import type { Deployment, Job, Pod } from './kube/resources.ts'
import { BACKFILL_UID, PIPELINE_UID } from './labels.ts'
import type { EventRecorder } from './runtime/events.ts'
import { createStore, type Store } from './runtime/store.ts'

/** What every part of the operator works with; made once, passed down. */
export interface OperatorContext {
  readonly config: OperatorConfig
  readonly kube: OperatorApi
  readonly stores: Stores
  readonly events: EventRecorder
  readonly log: Logger
  readonly now: () => Date
}

export interface Stores {
  readonly pipelines: Store<Pipeline>
  readonly backfills: Store<TableBackfill>
  readonly deployments: Store<Deployment>
  readonly jobs: Store<Job>
  readonly pods: Store<Pod>
  readonly accounts: Store<KubeObject>
  readonly bindings: Store<KubeObject>
}

const label = (name: string) => (object: KubeObject) => object.metadata.labels?.[name]

export function createStores(): Stores {
  return {
    pipelines: createStore(),
    backfills: createStore({ pipeline: pipelineKeyOf, uid: (object) => object.metadata.uid }),
    deployments: createStore<Deployment>({ pipelineUid: label(PIPELINE_UID) }),
    jobs: createStore<Job>({ pipelineUid: label(PIPELINE_UID) }),
    pods: createStore<Pod>({ pipelineUid: label(PIPELINE_UID), backfillUid: label(BACKFILL_UID) }),
    accounts: createStore({ pipelineUid: label(PIPELINE_UID) }),
    bindings: createStore({ pipelineUid: label(PIPELINE_UID) }),
  }
}

/** Key of the Pipeline that a TableBackfill refers to, whether it exists or not. */
export function pipelineKeyOf(backfill: TableBackfill): string {
  return `${backfill.metadata.namespace}/${backfill.spec.pipelineRef.name}`
}

/** `schema.name` as text that no other table has. */
export function tableKey(table: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([table.schema, table.name])
}

/** For messages. */
export function tableText(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}.${table.name}`
}
