// Stores: SLS projects with their logstores, and CLS topics: who may write to them, and what a page needs to do so.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { del, get, part, put, sentence } from '../api'
import { useLoad } from '../load'
import { Link, useParams } from '../router'
import { may, useSession } from '../session'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Field, TextArea } from '../ui/field'
import { Table } from '../ui/table'
import { toast } from '../ui/toast'
import { Keys } from './stores-keys'
import { Rules, summary, type Store } from './stores-rules'
import { Snippets } from './stores-snippet'

interface Project {
  project: string
  hosts: string[]
}

interface All {
  projects: Project[]
  stores: Store[]
}

async function load(signal: AbortSignal): Promise<All> {
  const [sls, cls] = await Promise.all([
    get<{ projects: Project[] }>('/sls', {}, signal),
    get<{ topics: (Omit<Store, 'kind' | 'name' | 'anonymous'> & { topic: string; anonymous_write: boolean })[] }>('/cls', {}, signal),
  ])
  const lists = await Promise.all(sls.projects.map(async ({ project }) => {
    const answer = await get<{ logstores: (Omit<Store, 'kind' | 'name' | 'anonymous'> & { logstore: string; web_tracking: boolean })[] }>(`/sls/${part(project)}/logstores`, {}, signal)
    return answer.logstores.map((l): Store => ({ ...l, kind: 'sls', project, name: l.logstore, anonymous: l.web_tracking }))
  }))
  const topics = cls.topics.map((t): Store => ({ ...t, kind: 'cls', name: t.topic, anonymous: t.anonymous_write }))
  return { projects: sls.projects, stores: [...lists.flat(), ...topics] }
}

/** The stream of a store, which is also its name in the query string. */
const streamOf = (s: Store): string => (s.kind === 'sls' ? `sls/${s.project}/${s.name}` : `cls/${s.name}`)

/** The API's path of a store. */
export const pathOf = (s: Store): string => (s.kind === 'sls' ? `/sls/${part(s.project ?? '')}/logstores/${part(s.name)}` : `/cls/${part(s.name)}`)

/** Names in the order that people expect: shop-2 before shop-10. */
const byName = new Intl.Collator('en', { numeric: true })

type Doing = 'project' | 'logstore' | 'topic' | 'rules' | 'delete' | Project

export function Stores(): JSX.Element {
  const session = useSession()
  const [params, change] = useParams()
  const all = useLoad(load, 'stores')
  const [doing, setDoing] = useState<Doing | undefined>()
  const text = params.get('q') ?? ''
  const chosen = all.data?.stores.find((s) => streamOf(s) === params.get('store'))
  const project = all.data?.projects.find((p) => 'sls/' + p.project === params.get('store'))
  const operator = may(session, 'operator')
  const done = (store?: string): void => {
    setDoing(undefined)
    all.again()
    if (store !== undefined) change({ store: store || undefined })
  }
  const close = (): void => setDoing(undefined)
  const empty = all.data?.projects.filter((p) => !all.data?.stores.some((s) => s.project === p.project)) ?? []
  const rows = all.data && [...all.data.stores, ...empty.map((p): Store => ({ kind: 'sls', project: p.project, name: '', anonymous: false, origins: [] }))]
    .filter((s) => streamOf(s).includes(text)).sort((a, b) => byName.compare(streamOf(a), streamOf(b)))
  return (
    <>
      <div class="head">
        <h1>Stores</h1>
        <div class="bar">
          <Field label="Store" bare type="search" data-search placeholder="part of a name" value={text} onInput={(e) => change({ q: e.currentTarget.value })} />
          {operator && <>
            <Button onClick={() => setDoing('project')}>New project</Button>
            <Button onClick={() => setDoing('logstore')}>New logstore</Button>
            <Button onClick={() => setDoing('topic')}>New topic</Button>
          </>}
        </div>
      </div>
      <div class={chosen || project ? 'sides' : undefined}>
        <Table
          caption="Stores"
          columns={[
            { title: 'Store', kind: 'wide', cell: (s) => s.name
              ? <Link to={`/stores?store=${encodeURIComponent(streamOf(s))}`} aria-current={s === chosen ? 'true' : undefined}>{streamOf(s)}</Link>
              : <Link to={`/stores?store=${encodeURIComponent('sls/' + (s.project ?? ''))}`}>sls/{s.project}</Link> },
            { title: 'Writes', cell: (s) => s.name ? <Writes store={s} /> : <span class="quiet">no logstore yet</span> },
            ...(chosen || project ? [] : [{ title: 'Origins', kind: 'wide' as const, spare: true, cell: (s: Store) => (s.name ? s.origins.join(' ') || '*' : '') }]),
          ]}
          rows={rows}
          rowKey={streamOf}
          rowClass={(s) => (s === chosen ? 'chosen' : undefined)}
          empty={text ? 'No store is like that.' : operator ? 'There is no store yet. Make an SLS project with a logstore, or a CLS topic.' : 'There is no store yet.'}
          error={all.error}
          loading={all.loading && !all.data}
        />
        {(chosen || project) && <p class="only-narrow"><Link to="/stores">← All stores</Link></p>}
        {chosen && <Detail key={streamOf(chosen)} store={chosen} operator={operator} onDo={setDoing} project={all.data?.projects.find((p) => p.project === chosen.project)} />}
        {project && <ProjectPanel project={project} operator={operator} onDo={setDoing} onGone={() => done('')} />}
      </div>
      {doing === 'project' && <ProjectForm onClose={close} onDone={(name) => done('sls/' + name)} />}
      {typeof doing === 'object' && <ProjectForm project={doing} onClose={close} onDone={() => done()} />}
      {(doing === 'logstore' || doing === 'topic') && (
        <Rules kind={doing === 'topic' ? 'cls' : 'sls'} projects={all.data?.projects.map((p) => p.project) ?? []} project={chosen?.project ?? project?.project} onClose={close} onDone={(s) => done(streamOf(s))} />
      )}
      {doing === 'rules' && chosen && <Rules kind={chosen.kind} store={chosen} projects={[]} onClose={close} onDone={() => done()} />}
      {doing === 'delete' && chosen && <Delete store={chosen} onClose={close} onDone={() => done('')} />}
    </>
  )
}

function Writes({ store }: { store: Store }): JSX.Element {
  if (!store.anonymous) return <span class="state good">signed</span>
  const token = (store.write_token_count ?? 0) > 0
  const anyone = !token && (store.origins.length === 0 || store.origins.includes('*'))
  return <span class={anyone ? 'state warn' : 'state'}>{token ? 'anonymous with a write token' : 'anonymous'}</span>
}

interface DetailProps {
  store: Store
  project: Project | undefined
  operator: boolean
  onDo: (d: Doing) => void
}

/** All about one store. */
function Detail({ store, project, operator, onDo }: DetailProps): JSX.Element {
  return (
    <div class="detail">
      <section class="panel">
        <div class="bar">
          <h2 class="grow">{streamOf(store)}</h2>
          <Link class="button" to={`/logs?stream=${encodeURIComponent(streamOf(store))}`}>Its lines</Link>
          {operator && <Button onClick={() => onDo('rules')}>Change</Button>}
          {operator && <Button kind="danger" onClick={() => onDo('delete')}>Delete</Button>}
        </div>
        <dl class="facts">
          <div><dt>Writes</dt><dd><Writes store={store} /></dd></div>
          <div><dt>Origins</dt><dd>{store.origins.length > 0 ? store.origins.map((o) => <code key={o} class="chip">{o}</code>) : 'any'}</dd></div>
          {summary(store).map(([what, text]) => <div key={what}><dt>{what}</dt><dd>{text}</dd></div>)}
          {project && <div><dt>Hosts</dt><dd>{project.project}.<i>anything</i> {project.hosts.map((h) => <code key={h} class="chip">{h}</code>)} {operator && <Button class="small" onClick={() => onDo(project)}>Change hosts</Button>}</dd></div>}
        </dl>
      </section>
      <Snippets store={store} />
      <Keys kind={store.kind} owner={store.kind === 'sls' ? store.project ?? '' : store.name} operator={operator} />
    </div>
  )
}

interface ProjectPanelProps {
  project: Project
  operator: boolean
  onDo: (d: Doing) => void
  onGone: () => void
}

/** A project without a logstore. */
function ProjectPanel({ project, operator, onDo, onGone }: ProjectPanelProps): JSX.Element {
  const remove = async (): Promise<void> => {
    try {
      await del(`/sls/${part(project.project)}`)
      toast(`Project ${project.project} is deleted.`)
      onGone()
    } catch (e) {
      toast(sentence(e), true)
    }
  }
  return (
    <div class="detail">
      <section class="panel">
        <div class="bar">
          <h2 class="grow">sls/{project.project}</h2>
          {operator && <Button onClick={() => onDo(project)}>Change hosts</Button>}
          {operator && <Button kind="danger" onClick={() => void remove()}>Delete</Button>}
        </div>
        <p class="quiet">A project without a logstore takes nothing.</p>
        {operator && <Button kind="primary" onClick={() => onDo('logstore')}>New logstore</Button>}
      </section>
      <Keys kind="sls" owner={project.project} operator={operator} />
    </div>
  )
}

/** Makes a project, or changes its hosts. */
function ProjectForm({ project, onClose, onDone }: { project?: Project; onClose: () => void; onDone: (name: string) => void }): JSX.Element {
  const [name, setName] = useState(project?.project ?? '')
  const [hosts, setHosts] = useState(project?.hosts.join('\n') ?? '')
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const save = async (): Promise<void> => {
    setBusy(true)
    try {
      await put(`/sls/${part(name.trim())}`, { hosts: words(hosts) })
      onDone(name.trim())
    } catch (e) {
      setError(sentence(e))
      setBusy(false)
    }
  }
  return (
    <Dialog title={project ? `Project ${project.project}` : 'New SLS project'} onClose={onClose} actions={<>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="primary" type="submit" form="project" busy={busy}>{project ? 'Save' : 'Create'}</Button>
    </>}>
      <form id="project" class="form" onSubmit={(e) => { e.preventDefault(); void save() }}>
        {!project && <Field label="Project" required autocomplete="off" value={name} onInput={(e) => setName(e.currentTarget.value)} hint="Pages reach it by the path /sls/PROJECT, or by the host PROJECT.anything." />}
        <TextArea label="Hosts" value={hosts} spellcheck={false} onInput={(e) => setHosts(e.currentTarget.value)} hint="Further host names that mean this project, without port, one a line." />
        {error && <p class="wrong" role="alert">{error}</p>}
      </form>
    </Dialog>
  )
}

/** The words of a text, one a line or apart by spaces. */
export const words = (text: string): string[] => text.split(/\s+/).filter((w) => w !== '')

function Delete({ store, onClose, onDone }: { store: Store; onClose: () => void; onDone: () => void }): JSX.Element {
  const [error, setError] = useState('')
  const [busy, setBusy] = useState(false)
  const remove = async (): Promise<void> => {
    setBusy(true)
    try {
      await del(pathOf(store))
      toast(`${streamOf(store)} is deleted.`)
      onDone()
    } catch (e) {
      setError(sentence(e))
      setBusy(false)
    }
  }
  return (
    <Dialog title={`Delete ${streamOf(store)}?`} onClose={onClose} actions={<>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="danger" busy={busy} onClick={() => void remove()}>Delete now</Button>
    </>}>
      <p>Pages that write to it are refused from this moment on. What it has stored stays until the retention removes it.</p>
      {error && <p class="wrong" role="alert">{error}</p>}
    </Dialog>
  )
}
