// What was wanted of a device over time, from the marker lines in its stream.
import type { JSX } from 'preact'
import { lines } from '../api'
import { useLoad } from '../load'
import { clock, stamp } from '../time'
import { Table } from '../ui/table'
import { place, type Device } from './device'
import { Target } from './parts'

/** A change of what is wanted of a device. */
export interface Mark {
  seq: string
  time: string
  body: string
  attributes: Record<string, string>
}

const most = 200

/** Fetches the marker lines of a device since then, the newest first. */
export async function marks(product: string, device: string, since: string, signal: AbortSignal): Promise<Mark[]> {
  const out: Mark[] = []
  for await (const some of lines('/logs', { source: 'audit', product, device, since, limit: most }, signal)) {
    for (const line of some) {
      const m = JSON.parse(line) as Mark & { error?: string }
      if (m.error) throw new Error(m.error)
      out.push(m)
    }
  }
  return out
}

const levelNames = ['off', 'error', 'warn', 'info', 'debug']

/** The strip: its width and height in its own units, and the hours that it may show: the fewest that have all changes. */
const width = 1000, height = 40
const spans = [1, 6, 24, 168] as const

function span(list: readonly Mark[], now: number): number {
  const oldest = list.at(-1)
  return oldest ? spans.find((hours) => Date.parse(oldest.time) > now - hours * 3_500_000) ?? 168 : 24
}

interface Stretch {
  from: number
  to: number
  level: string
}

/** The levels between begin and end, by the marks, the newest first. */
export function stretches(list: readonly Mark[], now: string, begin: number, end: number): Stretch[] {
  const out: Stretch[] = []
  let to = end
  let level = now
  for (const m of list) {
    const after = m.attributes.after ?? '', before = m.attributes.before ?? ''
    if (!levelNames.includes(after) || !levelNames.includes(before)) continue
    const at = Date.parse(m.time)
    if (at <= begin) break
    out.unshift({ from: at, to, level })
    to = at
    level = before
  }
  out.unshift({ from: begin, to, level })
  return out.filter((s) => s.to > s.from)
}

/** The strip of the last hours, and the changes of the last week. */
export function History({ device, now }: { device: Device; now: number }): JSX.Element {
  const { data, error, loading } = useLoad((signal) => marks(device.product, device.device, '168h', signal), `${place(device.product, device.device)} ${device.changed_at ?? ''} ${device.desired} ${device.expires_at ?? ''}`, 15_000)
  const hours = span(data ?? [], now)
  const begin = now - hours * 3_600_000
  const strip = stretches(data ?? [], device.desired, begin, now)
  const x = (time: number): number => ((time - begin) / (now - begin)) * width
  const text = strip.map((s) => `${s.level} from ${stamp(s.from)}`).join(', ')
  return (
    <>
      <svg class="strip" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`Level over the last ${hours} hours: ${text}`}>
        {strip.map((s) => {
          const tall = (Math.max(levelNames.indexOf(s.level), 0) + 1) * (height / levelNames.length)
          return (
            <rect key={s.from} class={s.level === device.base ? 'strip-base' : 'strip-other'} x={x(s.from)} width={Math.max(x(s.to) - x(s.from), 1.5)} y={height - tall} height={tall}>
              <title>{s.level}, {stamp(s.from)} to {stamp(s.to)}</title>
            </rect>
          )
        })}
      </svg>
      <p class="strip-ends quiet"><span>{stamp(begin)}</span><span>now: {device.desired}</span></p>
      <Table
        caption="Changes of its level, newest first"
        columns={[
          { title: 'Time', kind: 'narrow', cell: (m) => clock(m.time, now, false) },
          { title: 'From', kind: 'narrow', cell: (m) => m.attributes.before ? <Target level={m.attributes.before} /> : '–', spare: true },
          { title: 'To', kind: 'narrow', cell: (m) => m.attributes.after ? <Target level={m.attributes.after} /> : '–' },
          { title: 'What', kind: 'wide', cell: (m) => m.body },
        ]}
        rows={data}
        rowKey={(m) => m.seq}
        empty="Its level was not changed in the last week."
        error={error}
        loading={loading}
      />
    </>
  )
}
