// Device: what is wanted of one device and what was seen, how that came about, its lines, and one click for more of them.
import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { get, lines } from '../api'
import { getDevice, meaning, mood, place, skew, type Device as State } from '../devices/device'
import { Bad, PerMinute, Wanted } from '../devices/parts'
import { History } from '../devices/history'
import { LevelForm } from '../devices/raise'
import { bars, levelColor, levelOrder, type Histogram } from '../histogram'
import { useLoad } from '../load'
import { visible, type LogRecord } from '../logs/record'
import { Link, navigate, type ViewProps } from '../router'
import { may, useSession } from '../session'
import { clock, relative, stamp, useNow } from '../time'
import { Button } from '../ui/button'
import { Chart } from '../ui/chart'
import { copyText } from '../ui/copy'
import { Level } from '../ui/level'
import { Table } from '../ui/table'
import { count } from '../words'

/** How often the device is asked for, and its lines; the chart costs the server more. */
const every = 3000
const chartEvery = 15_000

/** How many of its newest lines are shown. */
const newest = 25

export function Device({ names }: ViewProps): JSX.Element {
  const product = names.product ?? '', name = names.device ?? ''
  const session = useSession()
  const now = useNow()
  const [after, setAfter] = useState<State | undefined>()
  const loaded = useLoad((signal) => getDevice(product, name, signal).then((d) => { setAfter(undefined); return d }), `${product}/${name}`, every)
  const device = after ?? loaded.data
  const logs = `/logs?product=${encodeURIComponent(product)}&device=${encodeURIComponent(name)}`
  if (!device) return <p class={loaded.error ? 'instead wrong' : 'instead'}>{loaded.error ? <>{loaded.error}<br /><Link to={`/devices?product=${encodeURIComponent(product)}`}>Devices of {product}</Link></> : 'loading …'}</p>
  return (
    <>
      <div class="head">
        <h1><Link to={`/devices?product=${encodeURIComponent(product)}`} class="quiet">{product}</Link> / {name}</h1>
        <span class={`state ${device.online ? 'good' : ''}`}>{device.online ? 'online' : 'offline'}</span>
        <span class="bar">
          <Button onClick={() => void copyText(location.origin + place(product, name), 'The link')}>Copy link</Button>
          <Link class="button" to={logs}>Its lines in Logs</Link>
        </span>
      </div>
      {loaded.error && <p class="wrong" role="alert">{loaded.error}</p>}
      <div class="sides device">
        <div class="detail">
          {may(session, 'operator') && (
            <section class="panel" aria-labelledby="more">
              <h2 id="more">Log more, for a time</h2>
              <LevelForm device={device} onDone={setAfter} />
            </section>
          )}
          <Facts device={device} now={now} />
        </div>
        <div class="detail">
          <section class="panel" aria-labelledby="history">
            <h2 id="history">Its level over time</h2>
            <History device={device} now={now} />
          </section>
          <Lines product={product} device={name} more={logs} now={now} />
        </div>
      </div>
    </>
  )
}

function Facts({ device: d, now }: { device: State; now: number }): JSX.Element {
  const ago = (time: string | undefined): string => (time ? `${relative(time, now)} (${stamp(time)})` : 'never')
  const rows: [string, JSX.Element | string | undefined][] = [
    ['Wanted', <Wanted device={d} now={now} />],
    ['Base', d.base],
    ['Observed', <span class={`state ${mood(d.state)}`}>{d.state}</span>],
    ['', `${meaning(d.state)}; since ${d.state_time ? relative(d.state_time, now) : 'the beginning'}`],
    ['By rule', d.rule && <Link to={`/rules?rule=${encodeURIComponent(d.rule)}`}>{d.rule}</Link>],
    ['Set by', d.set_by], ['Reason', d.reason], ['Since', d.changed_at && ago(d.changed_at)], ['Ends', d.expires_at && ago(d.expires_at)],
    ['Last seen', ago(d.last_seen)], ['Last line', ago(d.last_line)], ['Lines/min', <PerMinute n={d.lines_per_minute} />],
    ['Stored', count(d.stored, 'line')], ['Dropped', <Bad n={d.dropped} />], ['Refused', <Bad n={d.refused} />],
    ['Clock', skew(d.clock_skew_ms) || 'not known'],
    ['Login', [d.has_psk && 'key', d.certificate && 'certificate', d.certificate_subject && `certificates of ${d.certificate_subject}`].filter(Boolean).join(', ')],
    ['Tags', Object.keys(d.tags).length > 0 ? <>{Object.entries(d.tags).map(([k, v]) => <span key={k} class="chip tag">{k}:{v}</span>)}</> : undefined],
  ]
  return (
    <section class="panel" aria-labelledby="facts">
      <h2 id="facts">State</h2>
      <dl class="facts" aria-live="off">{rows.map(([k, v]) => v ? <div key={k}><dt>{k}</dt><dd>{v}</dd></div> : null)}</dl>
    </section>
  )
}

interface LinesProps {
  product: string
  device: string
  /** Where all of them are. */
  more: string
  now: number
}

function Lines({ product, device, more, now }: LinesProps): JSX.Element {
  const of = { product, device, since: '1h' }
  const recent = useLoad((signal) => read({ ...of, limit: newest }, signal), `${product}/${device}`, every)
  const chart = useLoad((signal) => get<Histogram>('/logs/histogram', { ...of, by: 'level' }, signal), `${product}/${device}`, chartEvery)
  const counted = useMemo(() => bars(chart.data, levelOrder, levelColor), [chart.data])
  const zoom = (from: number, to: number): void => navigate(`${more}&since=${new Date(from).toISOString()}&until=${new Date(to).toISOString()}`)
  return (
    <section class="panel" aria-labelledby="lines">
      <h2 id="lines">Its lines of the last hour</h2>
      <Chart label="Lines of the last hour by level" times={counted.times} step={counted.step} series={counted.series} height={110} onZoom={zoom} />
      {chart.error && <p class="wrong">{chart.error}</p>}
      <Table
        caption="Its newest lines"
        columns={[
          { title: 'Time', kind: 'narrow', cell: (r) => <span class="mono">{clock(r.time, now)}</span> },
          { title: 'Level', kind: 'narrow', cell: (r) => <Level level={r.level} /> },
          { title: 'Line', kind: 'wide', cell: (r) => <span class="mono">{visible(r.body)}</span> },
        ]}
        rows={recent.data}
        rowKey={(r) => r.seq}
        empty="It has said nothing in the last hour."
        error={recent.error}
        loading={recent.loading && !recent.data}
      />
      <p><Link to={more}>All of its lines, live</Link></p>
    </section>
  )
}

async function read(params: Record<string, string | number>, signal: AbortSignal): Promise<LogRecord[]> {
  const out: LogRecord[] = []
  for await (const some of lines('/logs', params, signal)) {
    for (const line of some) {
      const r = JSON.parse(line) as LogRecord & { error?: string }
      if (r.error) throw new Error(r.error)
      out.push(r)
    }
  }
  return out
}
