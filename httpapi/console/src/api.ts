// Everything the console knows and does goes through /api/v1 with the cookie of the session: this is the only file that
// calls fetch.

export const base = '/api/v1'

/** A value of a query parameter; what is undefined or empty is left out, an array is given once for each of its values. */
export type Params = Record<string, string | number | boolean | undefined | readonly string[]>

/** One fault of a request's body or parameters. */
export interface Fault {
  location?: string
  message: string
}

/** An error of the API: problem+json, or a server that cannot be reached (status 0, code "unreachable"). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly faults: readonly Fault[] = [],
  ) {
    super(detail)
  }
}

/** Writes parameters as a query string with its question mark, or nothing. */
export function query(params: Params = {}): string {
  const out = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    const all = Array.isArray(value) ? (value as readonly string[]) : [value as string | number | boolean | undefined]
    for (const v of all) if (v !== undefined && v !== '') out.append(name, String(v))
  }
  const text = out.toString()
  return text === '' ? '' : '?' + text
}

/** What is told when the server no longer accepts the session; the frame shows the sign-in then. */
export const signedOut = new EventTarget()

/** What is told when the server cannot be reached ("away"), and when it answers again ("back"). */
export const reach = new EventTarget()
let reached = true

function tell(answers: boolean): void {
  if (reached === answers) return
  reached = answers
  reach.dispatchEvent(new Event(answers ? 'back' : 'away'))
}

async function request(method: string, path: string, params?: Params, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method, credentials: 'same-origin', cache: 'no-store', redirect: 'error' }
  if (signal) init.signal = signal
  if (body !== undefined) {
    init.body = typeof body === 'string' || body instanceof Blob ? body : JSON.stringify(body)
    init.headers = { 'Content-Type': body instanceof Blob && body.type ? body.type : 'application/json' }
  }
  let res: Response
  try {
    res = await fetch(base + path + query(params), init)
  } catch (e) {
    if (signal?.aborted) throw e
    tell(false)
    throw new ApiError(0, 'unreachable', 'the server cannot be reached')
  }
  tell(true)
  if (res.ok) return res
  const error = await problem(res)
  if (error.status === 401 && path !== '/session') signedOut.dispatchEvent(new Event('401'))
  throw error
}

async function problem(res: Response): Promise<ApiError> {
  try {
    const p = (await res.json()) as { code?: string; detail?: string; title?: string; errors?: Fault[] }
    return new ApiError(res.status, p.code ?? 'internal', p.detail || p.title || res.statusText, p.errors ?? [])
  } catch {
    return new ApiError(res.status, 'internal', res.statusText || 'status ' + String(res.status))
  }
}

async function json<T>(res: Response): Promise<T> {
  return (res.status === 204 ? undefined : await res.json()) as T
}

export async function get<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return json<T>(await request('GET', path, params, undefined, signal))
}

export async function put<T = void>(path: string, body?: unknown, params?: Params): Promise<T> {
  return json<T>(await request('PUT', path, params, body ?? {}))
}

export async function post<T = void>(path: string, body?: unknown, params?: Params): Promise<T> {
  return json<T>(await request('POST', path, params, body ?? {}))
}

export async function patch<T = void>(path: string, body?: unknown, params?: Params): Promise<T> {
  return json<T>(await request('PATCH', path, params, body ?? {}))
}

export async function del<T = void>(path: string, params?: Params, body?: unknown): Promise<T> {
  return json<T>(await request('DELETE', path, params, body))
}

/** How many milliseconds of work with lines go by before the page has its turn: half a frame. */
const mostWork = 8

/** How many lines are given together at most: some milliseconds of work. */
const mostTogether = 250

/**
 * Reads an answer of NDJSON. Each turn gives the text of the lines that came in together, without the empty ones that
 * only say that the stream lives. It ends with the answer; aborting the signal ends it with an AbortError. A body may be
 * given, which is sent by PUT or POST (import).
 */
export async function* lines(path: string, params: Params, signal: AbortSignal, send?: { method: 'PUT' | 'POST'; body: string | Blob }): AsyncGenerator<string[]> {
  const res = await request(send?.method ?? 'GET', path, params, send?.body, signal)
  if (!res.body) return
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let worked = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const parts = (rest + value).split('\n')
      rest = parts.pop() ?? ''
      const full = parts.filter((p) => p !== '')
      // What has come already would be read without a pause, however much it is: the page is drawn, and keys are heard, in between.
      for (let i = 0; i < full.length; i += mostTogether) {
        const begin = performance.now()
        yield full.slice(i, i + mostTogether)
        worked += performance.now() - begin
        if (worked < mostWork) continue
        worked = 0
        await new Promise((done) => setTimeout(done))
      }
    }
    if (rest !== '') yield [rest]
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}

/** Escapes one part of a path. */
export const part = encodeURIComponent

/** The sentence to show for anything that was thrown. */
export function sentence(e: unknown): string {
  return e instanceof Error ? e.message : String(e)
}

/** Reports whether an error only says that nobody waits any more. */
export function isAbort(e: unknown): boolean {
  return e instanceof DOMException && e.name === 'AbortError'
}
