import { once } from 'node:events'
import { createServer, connect as dial, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Network, startNetwork } from './network.ts'

const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.pipe(socket)
})
let network: Network

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  network = await startNetwork('127.0.0.1', address.port)
})

afterAll(async () => {
  await network.close()
  server.close()
})

async function connect(): Promise<Socket> {
  const socket = dial({ host: '127.0.0.1', port: network.port })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Those that the server has. */
const connections = () =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))

const answer = async (socket: Socket, text: string) => {
  socket.write(text)
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return bytes.toString()
}

describe('a network', () => {
  it('passes on what comes', async () => {
    const socket = await connect()
    expect(await answer(socket, 'a')).toBe('a')
    socket.destroy()
  })

  it('ends every connection when it is cut, and takes new ones', async () => {
    const socket = await connect()
    await answer(socket, 'a')
    const closed = once(socket, 'close')
    network.cut()
    await closed
    const next = await connect()
    expect(await answer(next, 'b')).toBe('b')
    next.destroy()
  })

  it('holds back what comes while it stalls, and loses nothing', async () => {
    const socket = await connect()
    await answer(socket, 'a')
    const goOn = network.stall()
    const late = answer(socket, 'b')
    const next = await connect()
    const alsoLate = answer(next, 'c')
    expect(
      await Promise.race([late, alsoLate, new Promise((resolve) => setTimeout(resolve, 50, 'none'))]),
    ).toBe('none')
    goOn()
    expect(await Promise.all([late, alsoLate])).toEqual(['b', 'c'])
    socket.destroy()
    next.destroy()
  })

  it('says nothing any more to connections that are half open; new ones work', async () => {
    const socket = await connect()
    await answer(socket, 'a')
    network.silence()
    let said = ''
    socket.on('data', () => {
      said += 'data'
    })
    socket.on('close', () => {
      said += 'close'
    })
    socket.write('b')
    const next = await connect()
    expect(await answer(next, 'c')).toBe('c')
    expect(said).toBe('')
    next.destroy()
    socket.destroy()
  })

  it('ends for who has dialled, and not for the other side', async () => {
    const socket = await connect()
    await answer(socket, 'a')
    const open = await connections()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    const end = network.abandon()
    await closed
    const next = await connect()
    expect(await answer(next, 'c')).toBe('c')
    expect(await connections()).toBe(open + 1)
    end()
    next.destroy()
  })
})
