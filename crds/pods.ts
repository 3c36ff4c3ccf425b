/** What may be said about the pods of the workers. */

import {
  type Infer,
  integer,
  list,
  listMap,
  map,
  object,
  oneOf,
  optional,
  quantity,
  string,
} from './schema.ts'

const quantities = (description: string) => optional(map(quantity(), { description, maxProperties: 16 }))

const resources = (description: string) =>
  optional(
    object(
      {
        requests: quantities('What the pod is promised.'),
        limits: quantities('What it may use at most.'),
      },
      { description },
    ),
  )

const strings = (description: string) =>
  optional(map(string({ minLength: 0, maxLength: 4096 }), { description, maxProperties: 64 }))

const text = (description: string) => optional(string({ description, minLength: 0, maxLength: 253 }))

const toleration = object(
  {
    key: text('Taint that is tolerated; without it, every one.'),
    operator: optional(oneOf(['Exists', 'Equal'], { description: 'How the value is compared.' })),
    value: text('Value of the taint, with Equal.'),
    effect: optional(
      oneOf(['NoSchedule', 'PreferNoSchedule', 'NoExecute'], { description: 'Effect that is tolerated.' }),
    ),
    tolerationSeconds: optional(integer({ description: 'How long NoExecute is tolerated.' })),
  },
  {},
)

export const podTemplate = object(
  {
    labels: strings('Further labels of the pods.'),
    annotations: strings('Further annotations of the pods.'),
    nodeSelector: strings('Labels that a node must have.'),
    tolerations: optional(list(toleration, { description: 'Taints that the pods tolerate.', maxItems: 64 })),
    resources: optional(
      object(
        {
          capture: resources('Of the capture Deployment.'),
          apply: resources('Of the apply Deployment.'),
          backfill: resources('Of each backfill Job.'),
        },
        { description: 'CPU and memory, by process.' },
      ),
    ),
    imagePullSecrets: optional(
      listMap(
        object({ name: string({ description: 'Name of the Secret.', maxLength: 253 }) }, {}),
        ['name'],
        { description: 'Secrets for pulling the image.', maxItems: 16 },
      ),
    ),
    priorityClassName: optional(string({ description: 'Priority of the pods.', maxLength: 253 })),
    serviceAccountName: optional(
      string({
        description:
          'Service account of the pods, with the Role that the chart describes for workers. By default one that the operator makes.',
        maxLength: 253,
      }),
    ),
  },
  { description: 'Settings of the pods of capture, apply and backfill.', default: {} },
)

export type PodTemplate = Infer<typeof podTemplate>
