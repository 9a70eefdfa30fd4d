// Small parts that the views about devices share.
import type { JSX } from 'preact'
import { relative, stamp } from '../time'
import { Level } from '../ui/level'
import { left, meaning, mood, skew, type Device } from './device'

/** How far a device is seen to follow. */
export function State({ device, now }: { device: Device; now: number }): JSX.Element {
  const since = device.state_time ? `, since ${relative(device.state_time, now)} (${stamp(device.state_time)})` : ''
  return <span class={`state ${mood(device.state)}`} title={meaning(device.state) + since}>{device.state}</span>
}

/** The level that is wanted, marked when it is not the base, and what is left of it. */
export function Wanted({ device, now }: { device: Device; now: number }): JSX.Element {
  const ends = left(device.expires_at, now)
  return (
    <span class="wanted" title={device.reason ? `${device.set_by ?? ''}: ${device.reason}` : undefined}>
      <Level level={device.desired} />
      {ends !== '' && <span class="countdown">{ends}</span>}
      {ends === '' && device.desired !== device.base && <span class="quiet">no end</span>}
    </span>
  )
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
