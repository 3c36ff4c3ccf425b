import { chownSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { chmod, copyFile, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { unprivilegedUser } from '../../process/user.ts'

/** Folders whose content belongs to the running server alone and must not be copied. */
const emptied = new Set([
  'pg_wal',
  'pg_replslot',
  'pg_dynshmem',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
])

/** True for a path, relative to the data folder, that a copy of a running server leaves out. */
export function isLeftOut(path: string): boolean {
  const [first = ''] = path.split('/')
  const name = path.slice(path.lastIndexOf('/') + 1)
  return (
    (emptied.has(first) &&
      path !== first &&
      path !== 'pg_wal/summaries' &&
      path !== 'pg_wal/archive_status') ||
    path === 'postmaster.pid' ||
    path === 'postmaster.opts' ||
    name.startsWith('pgsql_tmp') ||
    name.startsWith('pg_internal.init')
  )
}

/**
 * Copies the data folder of a running server into an empty folder, by PostgreSQL's low-level backup calls, because
 * the package has no pg_basebackup. A replication slot made before keeps the log that the copy needs to become
 * consistent. Servers with tablespaces are not supported.
 */
export async function baseBackup(url: string, from: string, to: string) {
  const client = new Client({ connectionString: url, application_name: 'millrace-base-backup' })
  await client.connect()
  try {
    // Start and stop belong to one session: it ends the backup if the copy fails.
    await client.query(`select pg_backup_start('millrace', true)`)
    await copyTree(from, to, '')
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)')
    writeFileSync(join(to, 'backup_label'), rows[0]?.labelfile ?? '', { mode: 0o600 })
    giveTo(to)
  } catch (error) {
    for (const name of readdirSync(to)) rmSync(join(to, name), { recursive: true, force: true })
    throw error
  } finally {
    await client.end()
  }
}

async function copyTree(from: string, to: string, path: string): Promise<void> {
  const entries = await readdir(join(from, path), { withFileTypes: true })
  for (const entry of entries) {
    const child = path === '' ? entry.name : `${path}/${entry.name}`
    if (isLeftOut(child)) continue
    if (entry.isDirectory()) {
      await mkdir(join(to, child), { mode: 0o700, recursive: true })
      await copyTree(from, to, child)
    } else if (entry.isFile()) {
      await copyIfThere(join(from, child), join(to, child))
    }
  }
}

/** The running server may remove a file between the listing and the copy; the log brings the copy up to that. */
async function copyIfThere(from: string, to: string) {
  try {
    await copyFile(from, to)
    await chmod(to, 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** Hands a tree to the user that PostgreSQL runs as. */
function giveTo(dir: string) {
  const user = unprivilegedUser()
  if (!user) return
  for (const path of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
    chownSync(join(dir, path), user.uid, user.gid)
  }
}
