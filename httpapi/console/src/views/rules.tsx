// Rules: levels for all devices that a selector means, and the devices that have a level of their own.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { sentence } from '../api'
import { endLevel, left, place, productIds, type Device } from '../devices/device'
import { State, Target } from '../devices/parts'
import { changeRule, endRule, getRule, live, words, type Rule } from '../devices/rule'
import { lengths, NewRule, Spread } from '../devices/rule-new'
import { useLoad } from '../load'
import { Link, useParams } from '../router'
import { may, useSession } from '../session'
import { relative, stamp, useNow } from '../time'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Field, Select } from '../ui/field'
import { Table, type Column } from '../ui/table'
import { toast } from '../ui/toast'
import { count } from '../words'

/** How often the list is asked for again. */
const every = 5000

type Doing = { what: 'new' } | { what: 'extend' | 'end'; rule: Rule } | { what: 'return'; device: Device }

export function Rules(): JSX.Element {
  const [params, change] = useParams()
  const session = useSession()
  const now = useNow()
  const [doing, setDoing] = useState<Doing | undefined>()
  const list = useLoad(live, 'live', every)
  const products = useLoad(productIds, 'products')
  const shown = params.get('rule') ?? ''
  const operator = may(session, 'operator')
  const close = (): void => setDoing(undefined)
  const ends = (t: { expires_at?: string }): JSX.Element => <span class="countdown">{left(t.expires_at, now) || 'no end'}</span>
  const rules: Column<Rule>[] = [
    { title: 'Devices', kind: 'wide', cell: (r) => <button type="button" class="link" onClick={() => change({ rule: r.id }, false)}>{words(r.selector)}</button> },
    { title: 'Level', kind: 'narrow', cell: (r) => <Target level={r.level} /> },
    { title: 'Ends in', kind: 'narrow', cell: ends },
    { title: 'Priority', kind: 'num', cell: (r) => r.priority, spare: true },
    { title: 'Reason', kind: 'wide', cell: (r) => r.reason, spare: true },
    { title: 'By', cell: (r) => <span title={stamp(r.changed_at)}>{r.set_by}, {relative(r.changed_at, now)}</span>, spare: 'desk' },
  ]
  const own: Column<Device>[] = [
    { title: 'Device', cell: (d) => <Link class="device-name" to={place(d.product, d.device)}><span class="quiet">{d.product}/</span>{d.device}</Link> },
    { title: 'Level', kind: 'narrow', cell: (d) => <Target level={d.desired} /> },
    { title: 'Ends in', kind: 'narrow', cell: ends },
    { title: 'Observed', kind: 'narrow', cell: (d) => <State device={d} now={now} />, spare: true },
    { title: 'Reason', kind: 'wide', cell: (d) => d.reason, spare: true },
    { title: 'By', cell: (d) => d.set_by, spare: 'desk' },
  ]
  if (operator) {
    rules.push({
      title: 'Change', kind: 'narrow', cell: (r) => (
        <span class="row-actions">
          <Button class="small" aria-label={`Extend rule ${r.id}`} onClick={() => setDoing({ what: 'extend', rule: r })}>Extend …</Button>
          <Button class="small" aria-label={`End rule ${r.id}`} onClick={() => setDoing({ what: 'end', rule: r })}>End …</Button>
        </span>
      ),
    })
    own.push({ title: 'Change', kind: 'narrow', cell: (d) => <Button class="small" aria-label={`Return ${d.product}/${d.device}`} onClick={() => setDoing({ what: 'return', device: d })}>Return …</Button> })
  }
  return (
    <>
      <div class="head">
        <h1>Rules</h1>
        {operator && <Button kind="primary" disabled={!products.data} onClick={() => setDoing({ what: 'new' })}>New rule</Button>}
      </div>
      <section class="part" aria-labelledby="rules">
        <h2 id="rules">For many devices</h2>
        <Table caption="Rules for many devices" columns={rules} rows={list.data?.rules} rowKey={(r) => r.id} rowClass={(r) => (r.id === shown ? 'chosen' : undefined)} empty="No rule is in force." error={list.error} loading={list.loading && !list.data} />
        {shown && <Chosen id={shown} now={now} onClose={() => change({ rule: undefined })} />}
      </section>
      <section class="part" aria-labelledby="own">
        <h2 id="own">Devices with a level of their own</h2>
        <Table caption="Devices with a level of their own" columns={own} rows={list.data?.levels} rowKey={(d) => `${d.product}/${d.device}`} empty="No device has a level of its own." error={list.error} loading={list.loading && !list.data} />
      </section>
      {doing?.what === 'new' && <NewRule products={products.data ?? []} onClose={close} onDone={list.again} />}
      {doing?.what === 'extend' && <Extend rule={doing.rule} onClose={close} onDone={list.again} />}
      {doing?.what === 'end' && <End title={`End rule ${doing.rule.id}`} about={`${doing.rule.level} for ${words(doing.rule.selector)}`} onEnd={(reason) => endRule(doing.rule.id, reason)} onClose={close} onDone={list.again} />}
      {doing?.what === 'return' && <End title={`Return ${doing.device.device}`} about={`${doing.device.desired}, back to ${doing.device.base}`} onEnd={(reason) => endLevel(doing.device, reason)} onClose={close} onDone={list.again} />}
    </>
  )
}

/** One rule, and how far the devices follow it. */
function Chosen({ id, now, onClose }: { id: string; now: number; onClose: () => void }): JSX.Element {
  const { data, error } = useLoad((signal) => getRule(id, signal), id, every)
  const rule = data?.rule
  return (
    <section class="panel" aria-label={`Rule ${id}`}>
      <div class="head"><h2>Rule {id}</h2><Button onClick={onClose}>Close</Button></div>
      {error && <p class="wrong">{error}</p>}
      {data && rule && (
        <>
          <p>
            <Target level={rule.level} /> for {words(rule.selector)}, {rule.expires_at ? `until ${stamp(rule.expires_at)} (${relative(rule.expires_at, now)})` : 'without an end'}. {rule.set_by}: {rule.reason}
          </p>
          <p><b>{count(data.matched, 'device')}</b> matched, <b>{data.connected.toLocaleString('en')}</b> online; it decides the level of <b>{data.decides.toLocaleString('en')}</b>.</p>
          <Spread reach={data} />
        </>
      )}
    </section>
  )
}

interface DoneProps {
  onClose: () => void
  onDone: () => void
}

/** Runs a change; its fault is shown, and its end closes the dialog. */
function useChange({ onClose, onDone }: DoneProps): { fault: string; busy: boolean; run: (work: () => Promise<unknown>, told: string) => void } {
  const [fault, setFault] = useState('')
  const [busy, setBusy] = useState(false)
  const run = (work: () => Promise<unknown>, told: string): void => {
    setBusy(true)
    work().then(
      () => { toast(told); onDone(); onClose() },
      (e: unknown) => { setFault(sentence(e)); setBusy(false) },
    )
  }
  return { fault, busy, run }
}

function Extend({ rule, ...props }: { rule: Rule } & DoneProps): JSX.Element {
  const { fault, busy, run } = useChange(props)
  const [length, setLength] = useState('1h')
  const [percent, setPercent] = useState(String(rule.selector.percent ?? ''))
  const [reason, setReason] = useState('')
  const apply = (): void => run(
    () => changeRule(rule.id, { for: length, ...(percent ? { percent: Number(percent) } : {}), ...(reason.trim() ? { reason: reason.trim() } : {}) }),
    `Rule ${rule.id} lasts ${lengths.find(([v]) => v === length)?.[1] ?? length} from now on`,
  )
  return (
    <Dialog title={`Extend rule ${rule.id}`} onClose={props.onClose} actions={<><Button onClick={props.onClose}>Cancel</Button><Button kind="primary" busy={busy} onClick={apply}>Extend</Button></>}>
      <p>{rule.level} for {words(rule.selector)}</p>
      <Select label="From now on, for" value={length} options={lengths} onChange={(e) => setLength(e.currentTarget.value)} />
      <Field label="Percent" type="number" min="0.01" max="100" step="0.01" placeholder="as it is" value={percent} onInput={(e) => setPercent(e.currentTarget.value)} />
      <Field label="Reason" maxLength={500} placeholder={rule.reason} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
      {fault && <p class="wrong" role="alert">{fault}</p>}
    </Dialog>
  )
}

interface EndProps extends DoneProps {
  title: string
  about: string
  onEnd: (reason: string) => Promise<unknown>
}

function End({ title, about, onEnd, ...props }: EndProps): JSX.Element {
  const { fault, busy, run } = useChange(props)
  const [reason, setReason] = useState('')
  return (
    <Dialog title={title} onClose={props.onClose} actions={<><Button onClick={props.onClose}>Cancel</Button><Button kind="danger" busy={busy} onClick={() => run(() => onEnd(reason.trim()), `${title}: done`)}>End now</Button></>}>
      <p>{about}</p>
      <Field label="Reason" maxLength={500} placeholder="why now; may be left out" value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
      {fault && <p class="wrong" role="alert">{fault}</p>}
    </Dialog>
  )
}
