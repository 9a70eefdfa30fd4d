// What a store asks of those who write to it, and what it keeps of them: the form, and its summary.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { put, sentence } from '../api'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Check, Field, Select, TextArea } from '../ui/field'
import { pathOf, words } from './stores'

/** A logstore or a topic. */
export interface Store {
  kind: 'sls' | 'cls'
  project?: string
  name: string
  anonymous: boolean
  origins: string[]
  write_token_count?: number
  limits?: Record<string, number>
  privacy?: Privacy
}

interface Privacy {
  address?: string
  opt_out?: string
  redact?: string[] | null
  patterns?: string[] | null
}

/** The limits by their names in the API: what is asked, and whether -1 is no bound. */
const limits: [name: string, text: string, rate: boolean][] = [
  ['address_events', 'Events a second of each address', true],
  ['address_bytes', 'Bytes a second of each address', true],
  ['store_events', 'Events a second of all', true],
  ['store_bytes', 'Bytes a second of all', true],
  ['request_bytes', 'Bytes of a request', false],
  ['query_bytes', 'Bytes of a query', false],
  ['events', 'Events of a request', false],
  ['fields', 'Fields of an event', false],
  ['key_bytes', 'Bytes of a name', false],
  ['value_bytes', 'Bytes of a value', false],
]

const addresses: [string, string][] = [['', "the server's setting"], ['none', 'nothing'], ['masked', 'the network: /24, or /48 of IPv6'], ['hashed', 'a hash, another every day'], ['full', 'the address']]
const optOuts: [string, string][] = [['', "the server's setting"], ['ignore', 'keep everything'], ['address', 'keep no address and no browser'], ['event', 'keep nothing']]
const redactions: [string, string][] = [['email', 'e-mail addresses'], ['phone', 'telephone numbers'], ['token', 'tokens and keys']]

const shown = (options: [string, string][], value: string | undefined): string => options.find(([v]) => v === (value ?? ''))?.[1] ?? value ?? ''

/** What is set of limits and privacy, for people. */
export function summary(s: Store): [string, string][] {
  const set = limits.filter(([name]) => s.limits?.[name]).map(([name, text]) => `${text.toLowerCase()} ${s.limits?.[name] === -1 ? 'without bound' : (s.limits?.[name] ?? 0).toLocaleString('en')}`)
  const p = s.privacy ?? {}
  const redacted = [...(p.redact ?? []).map((r) => shown(redactions, r)), ...(p.patterns ?? []).map((r) => `/${r}/`)]
  const out: [string, string][] = [['Limits', set.join(', ') || "the server's"]]
  out.push(['Address kept', shown(addresses, p.address)])
  if (p.opt_out) out.push(['Do Not Track', shown(optOuts, p.opt_out)])
  if (redacted.length > 0) out.push(['Redacted', redacted.join(', ')])
  return out
}

interface RulesProps {
  kind: 'sls' | 'cls'
  /** The store to change; a new one without it. */
  store?: Store
  /** Projects that a new logstore may be in, and the one that is offered first. */
  projects: string[]
  project?: string | undefined
  onClose: () => void
  onDone: (s: Store) => void
}

/** Makes a store, or changes one. */
export function Rules({ kind, store, projects, project, onClose, onDone }: RulesProps): JSX.Element {
  const [of, setOf] = useState(store?.project ?? project ?? projects[0] ?? '')
  const [name, setName] = useState(store?.name ?? '')
  const [anonymous, setAnonymous] = useState(store?.anonymous ?? true)
  const [origins, setOrigins] = useState(store?.origins.join('\n') ?? '')
  const [tokens, setTokens] = useState<string | undefined>()
  const [bounds, setBounds] = useState<Record<string, number>>(store?.limits ?? {})
  const [privacy, setPrivacy] = useState<Privacy>(store?.privacy ?? {})
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const what = kind === 'sls' ? 'logstore' : 'topic'
  const save = async (): Promise<void> => {
    setBusy(true)
    const saved: Store = { kind, ...(kind === 'sls' && { project: of }), name: name.trim(), anonymous, origins: words(origins) }
    const body = {
      [kind === 'sls' ? 'web_tracking' : 'anonymous_write']: anonymous, origins: saved.origins, limits: bounds, privacy,
      ...(tokens !== undefined && { write_tokens: words(tokens) }),
    }
    try {
      await put(pathOf(saved), body)
      onDone(saved)
    } catch (e) {
      setError(sentence(e))
      setBusy(false)
    }
  }
  return (
    <Dialog title={store ? `Change ${what} ${store.name}` : `New ${kind === 'sls' ? 'logstore' : 'CLS topic'}`} wide onClose={onClose} actions={<>
      {error && <p class="wrong grow" role="alert">{error}</p>}
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="primary" type="submit" form="rules" busy={busy}>{store ? 'Save' : 'Create'}</Button>
    </>}>
      <form id="rules" class="form two" onSubmit={(e) => { e.preventDefault(); void save() }}>
        {!store && kind === 'sls' && <Select label="Project" required value={of} options={projects.map((p) => [p, p] as const)} onChange={(e) => setOf(e.currentTarget.value)} hint={projects.length === 0 ? 'There is none: make a project first.' : undefined} />}
        {!store && <Field label={kind === 'sls' ? 'Logstore' : 'Topic'} required autocomplete="off" value={name} onInput={(e) => setName(e.currentTarget.value)} />}
        <Check label="Anonymous writes" checked={anonymous} onChange={(e) => setAnonymous(e.currentTarget.checked)} hint="Pages write without a signature. Otherwise they need temporary credentials or a key." />
        <TextArea label="Origins" value={origins} spellcheck={false} placeholder="https://shop.example.com" onInput={(e) => setOrigins(e.currentTarget.value)} hint="The sites whose pages may write, one a line. Empty is any." />
        <WriteTokens count={store?.write_token_count ?? 0} value={tokens} onChange={setTokens} />
        <details class="whole">
          <summary>Limits</summary>
          <div class="grid">
            {limits.map(([key, text, rate]) => (
              <Field key={key} label={text} type="number" min={rate ? -1 : 0} placeholder="the server's" value={bounds[key] ? String(bounds[key]) : ''}
                onInput={(e) => setBounds({ ...bounds, [key]: Number(e.currentTarget.value) })} />
            ))}
          </div>
          <p class="quiet">Empty is the server's setting; -1 is no bound where it is a rate.</p>
        </details>
        <details class="whole">
          <summary>Privacy</summary>
          <div class="grid">
            <Select label="Of an address is kept" value={privacy.address ?? ''} options={addresses} onChange={(e) => setPrivacy({ ...privacy, address: e.currentTarget.value })} />
            <Select label="Of those who ask not to be tracked" value={privacy.opt_out ?? ''} options={optOuts} onChange={(e) => setPrivacy({ ...privacy, opt_out: e.currentTarget.value })} />
            <fieldset>
              <legend>Replaced before anything is stored</legend>
              {redactions.map(([r, text]) => <Check key={r} label={text} checked={privacy.redact?.includes(r) ?? false}
                onChange={(e) => setPrivacy({ ...privacy, redact: [...(privacy.redact ?? []).filter((x) => x !== r), ...(e.currentTarget.checked ? [r] : [])] })} />)}
            </fieldset>
            <TextArea label="Own patterns" value={privacy.patterns?.join('\n') ?? ''} spellcheck={false} onInput={(e) => setPrivacy({ ...privacy, patterns: e.currentTarget.value.split('\n').filter((l) => l !== '') })} hint="Regular expressions (RE2), one a line." />
          </div>
        </details>
      </form>
    </Dialog>
  )
}

/** Write tokens are never shown again, so they are only set anew as a whole. */
function WriteTokens({ count, value, onChange }: { count: number; value: string | undefined; onChange: (v: string | undefined) => void }): JSX.Element {
  const make = (): void => {
    const bytes = crypto.getRandomValues(new Uint8Array(18))
    onChange([...words(value ?? ''), btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_')].join('\n'))
  }
  if (value === undefined) {
    return (
      <div class="field">
        <span class="label">Write tokens</span>
        <div class="bar"><span>{count === 0 ? 'none: everyone may write' : `${count}, never shown again`}</span><Button onClick={() => (count === 0 ? make() : onChange(''))}>{count === 0 ? 'Make one' : 'Replace'}</Button></div>
        <p class="note">With one, an anonymous write must bring it. It stands in the page: it lets one page be shut out, it is no secret.</p>
      </div>
    )
  }
  return (
    <div class="field">
      <TextArea label="Write tokens" value={value} spellcheck={false} onInput={(e) => onChange(e.currentTarget.value)} hint="One a line, four at most. These replace the former ones; empty is no such demand. Copy them now, they are not shown again." />
      <div class="bar"><Button onClick={make}>Make another</Button><Button onClick={() => onChange(undefined)}>Leave as it was</Button></div>
    </div>
  )
}
