// What to paste into a page, or into a shell, so that something arrives.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { useParams } from '../router'
import { CopyBox } from '../ui/copy'
import { Field } from '../ui/field'
import type { Store } from './stores-rules'

type Form = 'sdk' | 'img' | 'curl'

/** The snippets of a store. Which one is shown, and for which address, is in the query string. */
export function Snippets({ store }: { store: Store }): JSX.Element {
  const [params, change] = useParams()
  const [host, setHost] = useState(params.get('host') ?? location.origin)
  const [token, setToken] = useState('')
  const asks = store.anonymous && (store.write_token_count ?? 0) > 0
  const forms: [Form, string][] = [['sdk', store.kind === 'sls' ? 'SLS SDK' : 'CLS SDK'], ...(store.anonymous ? [['img', 'Image'], ['curl', 'curl']] as [Form, string][] : [])]
  const wanted = params.get('snippet') as Form | null
  const form = forms.find(([f]) => f === wanted)?.[0] ?? 'sdk'
  return (
    <section class="panel">
      <h2>For a page</h2>
      <Field label="Address that pages reach" type="url" value={host} onInput={(e) => { setHost(e.currentTarget.value); change({ host: e.currentTarget.value === location.origin ? undefined : e.currentTarget.value }) }} />
      {asks && <Field label="Write token" value={token} autocomplete="off" spellcheck={false} onInput={(e) => setToken(e.currentTarget.value)} hint="One of the store's, which are not shown again. It goes into the page." />}
      <div class="bar tabs" role="group" aria-label="Form of the snippet">
        {forms.map(([f, name]) => <button key={f} type="button" class="button" aria-pressed={f === form} onClick={() => change({ snippet: f === 'sdk' ? undefined : f })}>{name}</button>)}
      </div>
      <CopyBox what="snippet" text={snippet(store, form, host.replace(/\/+$/, '') + (asks ? `/w/${token || 'WRITE_TOKEN'}` : ''))} block />
      {!store.anonymous && <p class="quiet">Anonymous writes are off, so the page signs, with credentials that its own backend gets for it.</p>}
    </section>
  )
}

/** A text as JavaScript's, and as a word of a POSIX shell. */
const js = (s: string): string => `'${s.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
const shell = (s: string): string => `'${s.replaceAll("'", "'\\''")}'`

function snippet(s: Store, form: Form, host: string): string {
  switch (form) {
    case 'img': return image(s, host)
    case 'curl': return curl(s, host)
  }
  if (s.kind === 'cls') return s.anonymous ? clsPage(s, host) : clsSigned(s, host)
  return s.anonymous ? slsPage(s, host) : slsSigned(s, host)
}

const base = (s: Store, host: string): string => (s.kind === 'sls' ? `${host}/sls/${s.project ?? ''}` : `${host}/cls`)

function image(s: Store, host: string): string {
  const where = s.kind === 'sls' ? `${base(s, host)}/logstores/${s.name}/track_ua.gif?APIVersion=0.6.0` : `${base(s, host)}/track.gif?topic_id=${s.name}`
  return `<img src="${where.replaceAll('&', '&amp;')}&amp;event=view&amp;page=home" alt="" width="1" height="1">`
}

function curl(s: Store, host: string): string {
  const origin = s.origins.find((o) => o !== '*')
  const from = origin && !s.origins.includes('*') ? ` \\\n  -H ${shell('Origin: ' + origin)}` : ''
  if (s.kind === 'sls') return `curl -i ${shell(`${base(s, host)}/logstores/${s.name}/track?APIVersion=0.6.0`)}${from} \\\n  -d ${shell('{"__logs__":[{"event":"hello"}]}')}`
  return `curl -i ${shell(`${base(s, host)}/tracklog?topic_id=${s.name}`)}${from} \\\n  -H 'Content-Type: application/json' \\\n  -d '{"logs":[{"contents":{"event":"hello"},"time":'$(date +%s)'}]}'`
}

function slsTracker(s: Store, host: string): string {
  return `const tracker = new SlsTracker({
  host: ${js(base(s, host))},
  project: ${js(s.project ?? '')},
  logstore: ${js(s.name)},
  time: 10, // seconds, and
  count: 10, // events, after which a batch is sent
})`
}

const slsUse = `tracker.send({ event: 'view', page: location.pathname })`

function slsPage(s: Store, host: string): string {
  return `// npm install @aliyun-sls/web-track-browser
import SlsTracker from '@aliyun-sls/web-track-browser'

${slsTracker(s, host)}

${slsUse}`
}

function slsSigned(s: Store, host: string): string {
  return `// npm install @aliyun-sls/web-track-browser @aliyun-sls/web-sts-plugin
import SlsTracker from '@aliyun-sls/web-track-browser'
import createStsPlugin from '@aliyun-sls/web-sts-plugin'

${slsTracker(s, host)}

// The page's own backend answers this with what it gets from
//   POST /api/v1/sts  {"project": "${s.project ?? ''}", "logstore": "${s.name}", "for": "15m"}
// (or logbridge sts ${s.project ?? ''}/${s.name} --for 15m) by a token of role operator.
const sts = {
  accessKeyId: '', accessKeySecret: '', securityToken: '',
  refreshSTSToken: async () => {
    const k = await (await fetch('/get_sts_token')).json()
    sts.accessKeyId = k.AccessKeyId
    sts.accessKeySecret = k.AccessKeySecret
    sts.securityToken = k.SecurityToken
  },
}
tracker.useStsPlugin(createStsPlugin(sts))

${slsUse}`
}

function clsPage(s: Store, host: string): string {
  return `// npm install tencentcloud-cls-sdk-js-web
import { AsyncClient, Log, LogGroup, PutLogsRequest } from 'tencentcloud-cls-sdk-js-web'

const client = new AsyncClient({ endpoint: ${js(host)}, retry_times: 3 })

const group = new LogGroup()
const log = new Log(Date.now())
log.addContent('event', 'view')
log.addContent('page', location.pathname)
group.addLog(log)
await client.PutLogs(new PutLogsRequest(${js(s.name)}, group))`
}

function clsSigned(s: Store, host: string): string {
  return `// npm install tencentcloud-cls-sdk-js
// In a backend: a key that stands in a page belongs to everyone.
const { AsyncClient, Content, LogGroup, LogItem, PutLogsRequest } = require('tencentcloud-cls-sdk-js')

const client = new AsyncClient({
  endpoint: ${js(new URL(host, location.origin).host)},
  secretId: process.env.CLS_SECRET_ID, // an access key of the topic
  secretKey: process.env.CLS_SECRET_KEY,
  sourceIp: '127.0.0.1',
  retry_times: 3,
})

const item = new LogItem()
item.pushBack(new Content('event', 'view'))
item.setTime(Math.floor(Date.now() / 1000))
const group = new LogGroup()
group.addLogs(item)
await client.PutLogs(new PutLogsRequest(${js(s.name)}, group))`
}
