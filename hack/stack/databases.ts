import { onDatabase, query } from '../services/postgres.ts'
import { destinationDatabase, type StackConfig, sourceDatabase } from './config.ts'
import type { StackServices } from './services.ts'

/** Makes the databases and users of both sides, as far as they are not there. */
export async function prepareDatabases(services: StackServices, config: StackConfig) {
  await Promise.all([
    prepareSource(services.primary.url, config),
    prepareDestination(services.destination.url, config),
  ])
}

async function prepareSource(url: string, { passwords }: StackConfig) {
  await ensureUser(url, 'shop', passwords.shop)
  await ensureUser(url, 'millrace', passwords.millrace, 'replication')
  await ensureDatabase(url, sourceDatabase, 'shop')
  // To publish a table takes its owner's rights, and to wait for writers the sight of other users' sessions.
  await query(url, 'grant shop to millrace')
  await query(url, 'grant pg_monitor to millrace')
  await query(onDatabase(url, sourceDatabase), `grant create on database ${sourceDatabase} to millrace`)
}

async function prepareDestination(url: string, { passwords }: StackConfig) {
  await ensureUser(url, 'loader', passwords.loader)
  await ensureDatabase(url, destinationDatabase, 'loader')
}

async function ensureUser(url: string, name: string, password: string, attributes = '') {
  const known = await query(url, `select 1 from pg_roles where rolname = '${name}'`)
  const verb = known.length === 0 ? 'create' : 'alter'
  await query(url, `${verb} role ${name} login password '${password}' ${attributes}`)
}

async function ensureDatabase(url: string, name: string, owner: string) {
  const known = await query(url, `select 1 from pg_database where datname = '${name}'`)
  if (known.length === 0) await query(url, `create database ${name} owner ${owner}`)
}
