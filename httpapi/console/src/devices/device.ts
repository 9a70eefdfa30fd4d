// A device as the API shows it, and what the views about devices share.
import { del, get, part, put } from '../api'
import { duration } from '../time'

export interface Device {
  product: string
  device: string
  tags: Record<string, string>
  has_psk: boolean
  certificate: boolean
  certificate_subject?: string
  desired: string
  base: string
  rule?: string
  expires_at?: string
  set_by?: string
  reason?: string
  changed_at?: string
  state: string
  state_time?: string
  online: boolean
  last_seen?: string
  last_line?: string
  lines_per_minute: number
  clock_skew_ms?: number
  stored: number
  dropped: number
  refused: number
}

/** Where a device is in the API. */
const path = (product: string, device: string): string => `/products/${part(product)}/devices/${part(device)}`

/** Where the console shows it. */
export const place = (product: string, device: string): string => `/devices/${part(product)}/${part(device)}`

export const getDevice = (product: string, device: string, signal: AbortSignal): Promise<Device> => get<Device>(path(product, device), {}, signal)

/** A level for a time: a duration of the API such as 15m, or "permanent". */
export interface Wish {
  level: string
  for: string
  reason: string
}

export const setLevel = (d: Device, wish: Wish): Promise<Device> => put<Device>(path(d.product, d.device) + '/level', wish)

/** Ends the level that a device has of its own. */
export const endLevel = (d: Device, reason: string): Promise<Device> => del<Device>(path(d.product, d.device) + '/level', { reason })

/** The observed states, from the least to the furthest, and those that say that a device does not follow. */
export const states = ['offline', 'sent', 'acknowledged', 'asked', 'seen', 'contradicted', 'unsupported'] as const

const meanings: Record<string, string> = {
  offline: 'stored; it will be told when it asks',
  sent: 'pushed to it',
  acknowledged: 'it has acknowledged the push',
  asked: 'it has asked, and was answered',
  seen: 'a line at that level has come, or its own word',
  contradicted: 'lines above the level, well after it was told',
  unsupported: 'told, and its newer lines are never at that level',
}

/** What a state means, in a sentence. */
export const meaning = (state: string): string => meanings[state] ?? ''

/** The class of a state's dot. */
export function mood(state: string): string {
  if (state === 'seen' || state === 'asked') return 'good'
  if (state === 'contradicted' || state === 'unsupported') return 'wrong'
  return state === 'offline' ? '' : 'warn'
}

/** A clock that is off by less is right: a line waits some seconds to be sent. */
const rightClock = 60_000

/** How far the clock of a device is off: "right", "3h slow", "2m fast"; empty when nothing is known. */
export function skew(ms: number | undefined): string {
  if (ms === undefined) return ''
  if (Math.abs(ms) < rightClock) return 'right'
  return `${duration(Math.abs(ms))} ${ms > 0 ? 'slow' : 'fast'}`
}

/** The time that is left of a level: "29m 58s"; empty when nothing is to end. */
export function left(expires: string | undefined, now: number): string {
  return expires ? duration(Date.parse(expires) - now) : ''
}

/** A duration from now to a local date and time as an input gives it, as the API takes it; empty if that is not ahead. */
export function until(local: string, now: number): string {
  const seconds = Math.round((Date.parse(local) - now) / 1000)
  return seconds >= 1 ? `${seconds}s` : ''
}

/** The ids of the products that may be seen. */
export async function productIds(signal: AbortSignal): Promise<string[]> {
  const answer = await get<{ products: { id: string }[] }>('/products', {}, signal)
  return answer.products.map((p) => p.id)
}
