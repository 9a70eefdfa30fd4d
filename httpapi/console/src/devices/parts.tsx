// Small parts that the views about devices share.
import type { JSX } from 'preact'
import { relative, stamp } from '../time'
import { left, meaning, mood, skew, type Device } from './device'

/** How far a device is seen to follow. */
export function State({ device, now }: { device: Device; now: number }): JSX.Element {
  const since = device.state_time ? `, since ${relative(device.state_time, now)} (${stamp(device.state_time)})` : ''
  return <span class={`state ${mood(device.state)}`} title={meaning(device.state) + since}>{device.state}</span>
}

/** The level that is wanted and what is left of it. It stands out only when it is not the base: that is what is looked for. */
export function Wanted({ device, now }: { device: Device; now: number }): JSX.Element {
  const ends = left(device.expires_at, now)
  if (ends === '' && device.desired === device.base) return <span class="quiet">{device.desired}</span>
  return (
    <span class="wanted" title={device.reason ? `${device.set_by ?? ''}: ${device.reason}` : undefined}>
      <Target level={device.desired} />
      {ends === '' ? <span class="quiet">no end</span> : <span class="countdown">{ends}</span>}
    </span>
  )
}

/** A level that is wanted: how much is to be logged, which is nothing good or bad. */
export function Target({ level }: { level: string }): JSX.Element {
  return <span class="target">{level}</span>
}

/** Lines a minute: whole ones, unless there are few. */
export function PerMinute({ n }: { n: number }): JSX.Element {
  return <span class={n === 0 ? 'quiet' : undefined}>{(n < 10 ? n : Math.round(n)).toLocaleString('en')}</span>
}

/** The clock of a device. */
export function Clock({ ms }: { ms: number | undefined }): JSX.Element {
  const text = skew(ms)
  return <span class={text === '' || text === 'right' ? 'quiet' : 'warn-text'}>{text || '–'}</span>
}

/** A number that is bad unless it is 0. */
export function Bad({ n }: { n: number }): JSX.Element {
  return <span class={n > 0 ? 'wrong' : 'quiet'}>{n.toLocaleString('en')}</span>
}
