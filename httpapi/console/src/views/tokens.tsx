// Tokens: who may call the API. For administrators.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { del, get, part, post, sentence } from '../api'
import { useLoad } from '../load'
import { relative, stamp, useNow } from '../time'
import { Button } from '../ui/button'
import { CopyBox } from '../ui/copy'
import { Dialog } from '../ui/dialog'
import { Field, Select, TextArea } from '../ui/field'
import { Table } from '../ui/table'
import { toast } from '../ui/toast'

interface Token {
  id: string
  name: string
  role: string
  scope?: string[]
  created_at?: string
  expires_at?: string
  token?: string
}

const roles: [string, string][] = [
  ['viewer', 'viewer: reads'],
  ['operator', 'operator: reads, changes levels and stores'],
  ['admin', 'admin: everything'],
  ['ingest', 'ingest: writes logs of services, reads nothing'],
]

const lives: [string, string][] = [['24h', 'a day'], ['720h', '30 days'], ['2160h', '90 days'], ['8760h', 'a year'], ['', 'no end']]

export function Tokens(): JSX.Element {
  const tokens = useLoad(async (signal) => (await get<{ tokens: Token[] }>('/tokens', {}, signal)).tokens, 'tokens')
  const [making, setMaking] = useState(false)
  const [revoking, setRevoking] = useState<Token | undefined>()
  const now = useNow(30_000)
  return (
    <>
      <div class="head">
        <h1>Tokens</h1>
        <Button kind="primary" onClick={() => setMaking(true)}>New token</Button>
      </div>
      <Table
        caption="Tokens"
        columns={[
          { title: 'Name', cell: (t) => <>{t.name}<small class="only-phone quiet">{t.role}</small></> },
          { title: 'Role', cell: (t) => t.role, spare: true },
          { title: 'Good for', kind: 'wide', cell: (t) => t.scope && t.scope.length > 0 ? t.scope.map((s) => <code key={s} class="chip">{s}</code>) : <span class="quiet">everything</span> },
          { title: 'Created', spare: true, cell: (t) => <span title={stamp(t.created_at)}>{relative(t.created_at, Math.max(now, Date.parse(t.created_at ?? '')))}</span> },
          { title: 'Ends', cell: (t) => <Ends token={t} now={now} /> },
          { title: 'Action', kind: 'narrow', cell: (t) => <Button kind="danger" aria-label={`Revoke ${t.name}`} onClick={() => setRevoking(t)}>Revoke</Button> },
        ]}
        rows={tokens.data}
        rowKey={(t) => t.id}
        empty="No token was made yet. The administrator's own, which the server made at its first start, is not listed."
        error={tokens.error}
        loading={tokens.loading}
      />
      {making && <NewToken onClose={() => setMaking(false)} onMade={tokens.again} />}
      {revoking && <Revoke token={revoking} onClose={() => setRevoking(undefined)} onDone={tokens.again} />}
    </>
  )
}

function Ends({ token, now }: { token: Token; now: number }): JSX.Element {
  if (!token.expires_at) return <span class="quiet">never</span>
  const over = Date.parse(token.expires_at) <= now
  return <span class={over ? 'wrong' : undefined} title={stamp(token.expires_at)}>{over ? 'over' : relative(token.expires_at, now)}</span>
}

function NewToken({ onClose, onMade }: { onClose: () => void; onMade: () => void }): JSX.Element {
  const [name, setName] = useState('')
  const [role, setRole] = useState('viewer')
  const [scope, setScope] = useState('')
  const [life, setLife] = useState('2160h')
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const [made, setMade] = useState<Token | undefined>()
  const make = async (): Promise<void> => {
    setBusy(true)
    try {
      const entries = scope.split(/\s+/).filter((s) => s !== '')
      setMade(await post<Token>('/tokens', { name: name.trim(), role, ...(life && { for: life }), ...(entries.length > 0 && { scope: entries }) }))
      setError('')
      onMade()
    } catch (e) {
      setError(sentence(e))
    }
    setBusy(false)
  }
  if (made) {
    return (
      <Dialog title={`Token ${made.name}`} onClose={onClose} actions={<Button kind="primary" onClick={onClose}>Done</Button>}>
        <p>This is the only time that it is shown. Put it where it is used now; the server keeps a hash of it.</p>
        <CopyBox what="token" text={made.token ?? ''} />
      </Dialog>
    )
  }
  const form = 'new-token'
  return (
    <Dialog title="New token" onClose={onClose} actions={<>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="primary" type="submit" form={form} busy={busy}>Create</Button>
    </>}>
      <form id={form} class="form" onSubmit={(e) => { e.preventDefault(); void make() }}>
        <Field label="Name" required maxLength={100} autocomplete="off" value={name} onInput={(e) => setName(e.currentTarget.value)} hint="Who or what uses it: it is written into the audit log with each change." />
        <Select label="Role" value={role} options={roles} onChange={(e) => setRole(e.currentTarget.value)} />
        <TextArea label="Good for" value={scope} spellcheck={false} placeholder={'device/ABCDE12345\nsls/shop/web'} onInput={(e) => setScope(e.currentTarget.value)}
          hint="Empty is everything. Else one a line: device/PRODUCT, sls/PROJECT, sls/PROJECT/LOGSTORE, cls/TOPIC, otlp/NAMESPACE." />
        <Select label="Ends after" value={life} options={lives} onChange={(e) => setLife(e.currentTarget.value)} />
        {error && <p class="wrong" role="alert">{error}</p>}
      </form>
    </Dialog>
  )
}

function Revoke({ token, onClose, onDone }: { token: Token; onClose: () => void; onDone: () => void }): JSX.Element {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState('')
  const revoke = async (): Promise<void> => {
    setBusy(true)
    try {
      await del(`/tokens/${part(token.id)}`)
      toast(`Token ${token.name} is revoked.`)
      onDone()
      onClose()
    } catch (e) {
      setError(sentence(e))
      setBusy(false)
    }
  }
  return (
    <Dialog title={`Revoke ${token.name}?`} onClose={onClose} actions={<>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="danger" busy={busy} onClick={() => void revoke()}>Revoke now</Button>
    </>}>
      <p>Whoever uses it is refused from this moment on, on every node, sessions of the console too. It cannot be taken back.</p>
      {error && <p class="wrong" role="alert">{error}</p>}
    </Dialog>
  )
}
