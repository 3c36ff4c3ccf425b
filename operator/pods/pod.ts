import type { V1EnvVar, V1PodSpec, V1ResourceRequirements } from '@kubernetes/client-node'
import type { Pipeline, PodTemplate } from '../../crds/pipeline.ts'
import type { WorkerPodConfig } from '../config.ts'
import { childLabels, type Process } from '../labels.ts'
import { childName } from '../names.ts'
import { secretMounts } from './secret-mounts.ts'

const SECRETS_DIR = '/var/run/millrace/secrets'
const PORT = 8080
/** User and group of the image. */
const NONROOT = 65532
/** Seconds from SIGTERM to SIGKILL; the worker gives itself a little less. */
const GRACE_SECONDS = 30
const SHUTDOWN_SECONDS = 25

/** Without a limit of CPU: throttling makes heartbeats and feedback late. */
const RESOURCES: Readonly<Record<Process, V1ResourceRequirements>> = {
  capture: { requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '256Mi' } },
  apply: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
  backfill: { requests: { cpu: '100m', memory: '96Mi' }, limits: { memory: '256Mi' } },
  cleanup: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
}

export interface PodTemplateSpec {
  metadata: { labels: Record<string, string>; annotations?: Record<string, string> }
  spec: V1PodSpec
}

/**
 * The pod of a worker. It follows from connections and pod settings only, not from the list of tables: a table that comes or
 * goes must restart nothing.
 */
export function workerPod(
  pipeline: Pipeline,
  process: Process,
  config: WorkerPodConfig,
  extra: { env?: readonly V1EnvVar[]; labels?: Record<string, string> } = {},
): PodTemplateSpec {
  const template = pipeline.spec.podTemplate
  const mounts = secretMounts(pipeline.spec, process)
  const chosen = process === 'cleanup' ? undefined : template.resources?.[process]
  const pullSecrets = [
    ...new Set([...config.imagePullSecrets, ...(template.imagePullSecrets ?? []).map(({ name }) => name)]),
  ]
  return {
    metadata: {
      labels: { ...template.labels, ...childLabels(pipeline, process), ...extra.labels },
      ...(template.annotations && { annotations: template.annotations }),
    },
    spec: {
      serviceAccountName: template.serviceAccountName ?? serviceAccountName(pipeline),
      ...(process === 'backfill' || process === 'cleanup' ? { restartPolicy: 'Never' } : {}),
      terminationGracePeriodSeconds: GRACE_SECONDS,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: NONROOT,
        runAsGroup: NONROOT,
        fsGroup: NONROOT,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: process,
          image: config.image,
          imagePullPolicy: config.imagePullPolicy,
          args: [`workers/${process}/main.ts`],
          env: [
            { name: 'POD_NAMESPACE', value: pipeline.metadata.namespace },
            { name: 'MILLRACE_PIPELINE', value: pipeline.metadata.name },
            { name: 'MILLRACE_PIPELINE_UID', value: pipeline.metadata.uid },
            { name: 'MILLRACE_SECRETS_DIR', value: SECRETS_DIR },
            { name: 'MILLRACE_PORT', value: String(PORT) },
            { name: 'MILLRACE_LOG_LEVEL', value: config.logLevel },
            { name: 'MILLRACE_SHUTDOWN_SECONDS', value: String(SHUTDOWN_SECONDS) },
            ...(extra.env ?? []),
          ],
          ports: [{ name: 'http', containerPort: PORT, protocol: 'TCP' }],
          ...probes(process),
          resources: resources(process, chosen),
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            { name: 'tmp', mountPath: '/tmp' },
            ...mounts.map(({ mount }) => ({
              name: mount,
              mountPath: `${SECRETS_DIR}/${mount}`,
              readOnly: true,
            })),
          ],
        },
      ],
      volumes: [
        { name: 'tmp', emptyDir: {} },
        ...mounts.map(({ mount, secretName, items }) => ({
          name: mount,
          // Optional, so that a missing Secret is told by the worker instead of a pod that hangs in its creation.
          secret: { secretName, optional: true, defaultMode: 0o440, items: [...items] },
        })),
      ],
      ...(template.nodeSelector && { nodeSelector: template.nodeSelector }),
      ...(template.tolerations && {
        tolerations: template.tolerations as NonNullable<V1PodSpec['tolerations']>,
      }),
      ...(template.priorityClassName && { priorityClassName: template.priorityClassName }),
      ...(pullSecrets.length > 0 && { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
    },
  }
}

export function serviceAccountName(pipeline: Pipeline): string {
  return childName(pipeline.metadata.name, 'worker')
}

type Quantities = Record<string, string>

function resources(
  process: Process,
  chosen: NonNullable<PodTemplate['resources']>[keyof NonNullable<PodTemplate['resources']>],
): V1ResourceRequirements {
  const limits = (chosen?.limits ?? {}) as Quantities
  const requests = (chosen?.requests ?? {}) as Quantities
  // Where only a limit is chosen, Kubernetes takes it as the request too; ours might be above it.
  const ours = Object.entries(RESOURCES[process].requests ?? {}).filter(
    ([name]) => limits[name] === undefined,
  )
  return {
    requests: { ...Object.fromEntries(ours), ...requests },
    limits: { ...RESOURCES[process].limits, ...limits },
  }
}

function probes(process: Process) {
  const http = (path: string) => ({ path, port: 'http' })
  if (process === 'cleanup') return {}
  const alive = {
    startupProbe: {
      httpGet: http('/healthz'),
      initialDelaySeconds: 1,
      periodSeconds: 1,
      failureThreshold: 60,
    },
    livenessProbe: { httpGet: http('/healthz'), periodSeconds: 15, timeoutSeconds: 5, failureThreshold: 4 },
  }
  if (process === 'backfill') return alive
  return { ...alive, readinessProbe: { httpGet: http('/readyz'), periodSeconds: 5, timeoutSeconds: 3 } }
}
