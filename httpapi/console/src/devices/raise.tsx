// How much a device is to log, for a time, and why.
import type { JSX } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { sentence } from '../api'
import { relative, stamp } from '../time'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Field, Select } from '../ui/field'
import { levels } from '../ui/level'
import { toast } from '../ui/toast'
import { endLevel, setLevel, until, type Device } from './device'

interface LevelFormProps {
  device: Device
  /** Told what the device is then. */
  onDone: (device: Device) => void
}

const choices = [...levels].reverse().map((l): [string, string] => [l, l])

/** A reason, and then one click: a quarter of an hour, an hour, until some time, or back now. */
export function LevelForm({ device, onDone }: LevelFormProps): JSX.Element {
  const [reason, setReason] = useState('')
  const [level, setTo] = useState('debug')
  const [end, setEnd] = useState('')
  const [fault, setFault] = useState('')
  const [busy, setBusy] = useState(false)
  const box = useRef<HTMLFormElement>(null)
  const run = async (change: () => Promise<Device>, needsReason = true): Promise<void> => {
    if (needsReason && reason.trim() === '') {
      setFault('Say why: it goes into the audit stream.')
      box.current?.querySelector('input')?.focus()
      return
    }
    setBusy(true)
    setFault('')
    try {
      const d = await change()
      toast(`${d.device}: ${d.desired}` + (d.expires_at ? `, back ${relative(d.expires_at, Date.now())}` : ''))
      onDone(d)
    } catch (e) {
      setFault(sentence(e))
    }
    setBusy(false)
  }
  const raise = (length: string): void => void run(() => setLevel(device, { level, for: length, reason: reason.trim() }))
  const untilThen = (): void => {
    const length = until(end, Date.now())
    if (length === '') setFault('Choose a time that is still to come.')
    else raise(length)
  }
  const own = !device.rule && device.desired !== device.base
  const name = level.toUpperCase()
  return (
    <form class="form level-form" ref={box} onSubmit={(e) => { e.preventDefault(); raise('15m') }}>
      <Field label="Reason" placeholder="ticket, or what you are looking for" maxLength={500} value={reason} error={fault} onInput={(e) => setReason(e.currentTarget.value)} />
      <div class="bar">
        <Select label="Level" bare value={level} options={choices} onChange={(e) => setTo(e.currentTarget.value)} />
        <Button kind="primary" type="submit" disabled={busy}>{name} for 15 minutes</Button>
        <Button disabled={busy} onClick={() => raise('1h')}>{name} for an hour</Button>
      </div>
      <div class="bar">
        <Field label="Until" bare type="datetime-local" value={end} onInput={(e) => setEnd(e.currentTarget.value)} />
        <Button disabled={busy || end === ''} onClick={untilThen}>{name} until then</Button>
        {own && <Button kind="danger" disabled={busy} onClick={() => void run(() => endLevel(device, reason.trim()), false)}>Return to {device.base} now</Button>}
      </div>
      {device.expires_at && <p class="quiet">Now {device.desired} until {stamp(device.expires_at)}, by {device.rule ? `rule ${device.rule}` : device.set_by}: {device.reason}</p>}
    </form>
  )
}

/** LevelForm as a dialog. */
export function Raise({ device, onClose, onDone }: { device: Device; onClose: () => void; onDone: () => void }): JSX.Element {
  const done = (): void => {
    onDone()
    onClose()
  }
  return (
    <Dialog title={`Level of ${device.device}`} onClose={onClose}>
      <LevelForm device={device} onDone={done} />
    </Dialog>
  )
}
