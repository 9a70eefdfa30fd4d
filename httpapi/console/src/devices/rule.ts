// Rules: levels for all devices that a selector means.
import { del, get, part, patch, post } from '../api'
import type { Device } from './device'

export interface Selector {
  product?: string
  device_glob?: string
  tags?: Record<string, string>
  percent?: number
}

export interface Rule {
  id: string
  selector: Selector
  priority: number
  level: string
  expires_at?: string
  reason: string
  set_by: string
  created_at?: string
  changed_at?: string
}

/** What a rule is about; of a dry run without the rule. */
export interface Reach {
  rule?: Rule
  matched: number
  connected: number
  decides: number
  sample: string[]
  levels: Record<string, number>
  states: Record<string, number>
}

export interface Live {
  levels: Device[]
  rules: Rule[]
}

export interface RuleWish {
  selector: Selector
  priority: number
  level: string
  for: string
  reason: string
}

export const live = (signal: AbortSignal): Promise<Live> => get<Live>('/levels', {}, signal)
export const getRule = (id: string, signal: AbortSignal): Promise<Reach> => get<Reach>('/levels/' + part(id), {}, signal)
export const tryRule = (wish: RuleWish): Promise<Reach> => post<Reach>('/levels', { ...wish, dry_run: true })
export const addRule = (wish: RuleWish): Promise<Reach> => post<Reach>('/levels', wish)
export const changeRule = (id: string, change: { for?: string; percent?: number; reason?: string }): Promise<Reach> => patch<Reach>('/levels/' + part(id), change)
export const endRule = (id: string, reason: string): Promise<void> => del('/levels/' + part(id), { reason })

/** A selector in words: "10 % of ABCDE12345, named dev-0*, with site:lab". */
export function words(s: Selector): string {
  let text = s.product ? s.product : 'every product'
  if (s.percent !== undefined && s.percent < 100) text = `${s.percent} % of ${text}`
  if (s.device_glob) text += `, named ${s.device_glob}`
  for (const [k, v] of Object.entries(s.tags ?? {})) text += `, with ${k}:${v}`
  return text
}

/** Tags as they are typed: key:value, separated by spaces or commas; undefined if one of them is none. */
export function readTags(text: string): Record<string, string> | undefined {
  const tags: Record<string, string> = {}
  for (const one of text.split(/[\s,]+/).filter((t) => t !== '')) {
    const i = one.indexOf(':')
    if (i < 1) return undefined
    tags[one.slice(0, i)] = one.slice(i + 1)
  }
  return tags
}
