// The access keys of an SLS project or a CLS topic: for backends and SDKs that sign.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { del, get, part, put, sentence } from '../api'
import { useLoad } from '../load'
import { Button } from '../ui/button'
import { CopyBox } from '../ui/copy'
import { Dialog } from '../ui/dialog'
import { Field } from '../ui/field'
import { Table } from '../ui/table'
import { toast } from '../ui/toast'

interface Key {
  id: string
  secret?: string
}

interface KeysProps {
  kind: 'sls' | 'cls'
  /** The project or the topic. */
  owner: string
  operator: boolean
}

export function Keys({ kind, owner, operator }: KeysProps): JSX.Element {
  const path = `/${kind}/${part(owner)}/access-keys`
  const keys = useLoad(async (signal) => (await get<{ access_keys: Key[] }>(path, {}, signal)).access_keys, path)
  const [making, setMaking] = useState(false)
  const remove = async (k: Key): Promise<void> => {
    try {
      await del(`${path}/${part(k.id)}`)
      toast(`Access key ${k.id} is deleted.`)
      keys.again()
    } catch (e) {
      toast(sentence(e), true)
    }
  }
  return (
    <section class="panel">
      <div class="bar">
        <h2 class="grow">Access keys of {kind === 'sls' ? 'the project' : 'the topic'}</h2>
        {operator && <Button onClick={() => setMaking(true)}>New key</Button>}
      </div>
      <p class="quiet">{kind === 'sls' ? 'Backends sign with them. Pages get temporary credentials instead.' : 'SDKs that sign use them. They never belong into a page.'}</p>
      {keys.data?.length === 0 ? <p>There is none.</p> : <Table
        caption="Access keys"
        columns={[
          { title: 'Id', cell: (k) => <code>{k.id}</code> },
          ...(operator ? [{ title: 'Action', kind: 'narrow' as const, cell: (k: Key) => <Button kind="danger" aria-label={`Delete ${k.id}`} onClick={() => void remove(k)}>Delete</Button> }] : []),
        ]}
        rows={keys.data}
        rowKey={(k) => k.id}
        empty=""
        error={keys.error}
        loading={keys.loading && !keys.data}
      />}
      {making && <NewKey path={path} prefix={kind === 'sls' ? 'LTAI' : 'AKID'} onClose={() => setMaking(false)} onMade={keys.again} />}
    </section>
  )
}

function NewKey({ path, prefix, onClose, onMade }: { path: string; prefix: string; onClose: () => void; onMade: () => void }): JSX.Element {
  const [id, setId] = useState(prefix)
  const [made, setMade] = useState<Key | undefined>()
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const make = async (): Promise<void> => {
    setBusy(true)
    try {
      const key = await put<Key>(`${path}/${part(id.trim())}`)
      if (key.secret === undefined) setError('There is a key of this id already; it keeps its secret.')
      else {
        setMade(key)
        onMade()
      }
    } catch (e) {
      setError(sentence(e))
    }
    setBusy(false)
  }
  if (made) {
    return (
      <Dialog title={`Access key ${made.id}`} onClose={onClose} actions={<Button kind="primary" onClick={onClose}>Done</Button>}>
        <p>This is the only time that the secret is shown.</p>
        <CopyBox what="secret" text={made.secret ?? ''} />
      </Dialog>
    )
  }
  return (
    <Dialog title="New access key" onClose={onClose} actions={<>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="primary" type="submit" form="new-key" busy={busy}>Create</Button>
    </>}>
      <form id="new-key" class="form" onSubmit={(e) => { e.preventDefault(); void make() }}>
        <Field label="Id" required autocomplete="off" value={id} onInput={(e) => setId(e.currentTarget.value)} hint="The secret is made by the server." />
        {error && <p class="wrong" role="alert">{error}</p>}
      </form>
    </Dialog>
  )
}
