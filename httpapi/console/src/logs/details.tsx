import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { Link } from '../router'
import { duration, stamp, zone } from '../time'
import { Button } from '../ui/button'
import { Level } from '../ui/level'
import { Marked } from './list'
import { filterNames, writeQuery, type FilterName, type Query } from './query'
import { visible, type LogRecord } from './record'

/** The most of a body that is shown; the rest is in the download. */
const mostText = 100_000

/** How the time of a record was found. */
const quality: Record<string, string> = { device: 'as the sender said', shifted: 'moved: the sender’s clock is wrong', received: 'of receipt: the sender said none' }

interface DetailsProps {
  record: LogRecord
  query: Query
  onQuery: (q: Query) => void
  onClose: () => void
  onCopy: (text: string, what: string) => void
}

/** Everything about one line. */
export function Details({ record: r, query, onQuery, onClose, onCopy }: DetailsProps): JSX.Element {
  const box = useRef<HTMLElement>(null)
  useEffect(() => {
    box.current?.scrollTo(0, 0)
  }, [r.seq])
  const fields = Object.entries(r.attributes)
  const off = Date.parse(r.observed_time) - Date.parse(r.time)
  return (
    <aside class="details" ref={box} aria-label="The line in full" tabIndex={-1}>
      <header>
        <Level level={r.level} />
        <b>{stamp(r.time)} <small class="quiet">{zone(r.time)}</small></b>
        <Button class="icon" aria-label="Close the line" onClick={onClose}>✕</Button>
      </header>
      <div class="bar">
        <Link class="button" to={writeQuery(around(r))}>Lines around it</Link>
        <Button onClick={() => onCopy(r.raw, 'The line')}>Copy JSON</Button>
        <Button onClick={() => onCopy(location.origin + writeQuery(around(r)), 'A link to the line')}>Copy link</Button>
      </div>
      {r.body !== '' && <pre class="whole" tabIndex={0}><Marked text={visible(r.body.slice(0, mostText), true)} mark={query.text} /></pre>}
      {r.body.length > mostText && <p class="quiet">Only the first {mostText.toLocaleString('en')} characters are shown; Copy JSON has all of it.</p>}
      {fields.length > 0 && (
        <table class="fields">
          <caption>Fields</caption>
          <tbody>
            {fields.map(([key, value]) => (
              <tr key={key}>
                <th scope="row">{visible(key)}</th>
                <td><Marked text={visible(value.slice(0, mostText), true)} mark={query.text} /></td>
                <td class="narrow">
                  <Button class="mini" aria-label={`Only lines with this ${visible(key)}`} title="Only lines with this value" onClick={() => onQuery({ ...query, fields: [...query.fields.filter(([k]) => k !== key), [key, value]] })}>=</Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <table class="fields">
        <caption>Record</caption>
        <tbody>
          {about(r).map(([name, value, filters]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{visible(value)}</td>
              <td class="narrow">
                {filters && <Button class="mini" aria-label={`Only this ${name}`} title={`Only this ${name}`} onClick={() => onQuery({ ...query, filters: { ...query.filters, ...filters } })}>=</Button>}
              </td>
            </tr>
          ))}
          <tr><th scope="row">time</th><td class="at" colSpan={2}>{r.time}<br /><span class="quiet">{quality[r.time_quality] ?? r.time_quality}</span></td></tr>
          <tr><th scope="row">received</th><td class="at" colSpan={2}>{r.observed_time}{Math.abs(off) >= 1000 && <><br /><span class="quiet">{duration(Math.abs(off))} {off > 0 ? 'later' : 'earlier'}</span></>}</td></tr>
          <tr><th scope="row">position</th><td colSpan={2}>{r.seq}</td></tr>
        </tbody>
      </table>
      {r.product !== undefined && r.device !== undefined && (
        <p><Link to={`/devices/${encodeURIComponent(r.product)}/${encodeURIComponent(r.device)}`}>Device {r.device}</Link></p>
      )}
    </aside>
  )
}

/** What a record is of, with the filters that ask for the same. */
function about(r: LogRecord): [name: string, value: string, filters?: Query['filters']][] {
  const [kind, first = '', second = ''] = r.stream.split('/')
  const names: [FilterName, string][] =
    kind === 'device' ? [['product', first], ['device', second]]
    : kind === 'sls' ? [['project', first], ['logstore', second]]
    : kind === 'cls' ? [['topic', first]]
    : [['stream', r.stream]]
  const known = names.filter(([n]) => filterNames.includes(n))
  return [['source', r.source, { source: r.source }], ...known.map(([name, value]): [string, string, Query['filters']] => [name, value, { [name]: value }])]
}

/** The query that shows what is around a line in its stream. */
export function around(r: LogRecord): Query {
  return { filters: { stream: r.stream }, fields: [], text: '', since: '', until: '', live: false, around: { seq: r.seq, at: r.time } }
}
