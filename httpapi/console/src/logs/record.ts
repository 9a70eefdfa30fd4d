// Lines of GET /logs, and how they are written for people. What comes from a device or a page is never anything but text.

/** A record as the API writes it, with the line that it came in. */
export interface LogRecord {
  seq: string
  time: string
  observed_time: string
  time_quality: string
  source: string
  stream: string
  product?: string
  device?: string
  level: string
  body: string
  attributes: Record<string, string>
  raw: string
}

/** What stands in the list for records that could not be shown. */
export interface Gap {
  /** Where it is, like a record's. */
  seq: string
  dropped: number
}

export type Entry = LogRecord | Gap

export const isGap = (e: Entry): e is Gap => 'dropped' in e

/** Reads one line of an answer: a record, a gap, or the error with which a stream ends. */
export function parseLine(line: string): Entry | { error: string } {
  const v = JSON.parse(line) as Partial<LogRecord> & { dropped?: number; error?: string }
  if (typeof v.error === 'string') return { error: v.error }
  if (typeof v.dropped === 'number') return { dropped: v.dropped, seq: v.seq ?? '0.0' }
  return { ...(v as LogRecord), raw: line }
}

/** Compares two positions: "12.3" is behind "9.10". */
export function compareSeq(a: string, b: string): number {
  const [a1 = '0', a2 = '0'] = a.split('.')
  const [b1 = '0', b2 = '0'] = b.split('.')
  return Number(a1) - Number(b1) || Number(a2) - Number(b2)
}

// What a terminal would obey, and what turns the direction of text or hides: it is shown, as a sign of its own.
const unseen = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** Text with a sign in place of each of them: ⟨1B⟩. Line breaks and tabs stay where several lines are shown. */
export function visible(text: string, lines = false): string {
  return text.replace(unseen, (c) => {
    if (c === '\n') return lines ? c : '⏎'
    if (c === '\t') return lines ? c : ' '
    return `⟨${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}⟩`
  })
}

/** The most of a line that the list shows; all of it is in the details. */
const mostShown = 600

/** What the list shows of a record: its body, or the fields of an event. */
export function summary(r: LogRecord): string {
  if (r.body !== '') return visible(r.body.slice(0, mostShown))
  let text = ''
  for (const [key, value] of Object.entries(r.attributes)) {
    text += (text === '' ? '' : ' ') + key + '=' + (/[\s"=]/.test(value) || value === '' ? JSON.stringify(value) : value)
    if (text.length > mostShown) break
  }
  return visible(text.slice(0, mostShown))
}

/** Where a record comes from, in few words: the device, the logstore, the topic, the service. */
export function origin(r: LogRecord): string {
  if (r.device !== undefined) return r.device
  const parts = r.stream.split('/')
  return parts.slice(parts.length > 2 ? 2 : 1).join('/') || r.stream
}

/** A record as a line of text, for the clipboard. */
export function asText(r: LogRecord): string {
  return [r.time, r.level.toUpperCase(), r.stream, r.body === '' ? JSON.stringify(r.attributes) : r.body].join(' ')
}
