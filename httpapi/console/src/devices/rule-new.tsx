// A new rule: what it would mean is shown before it can be made.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { sentence } from '../api'
import { Button } from '../ui/button'
import { Dialog } from '../ui/dialog'
import { Field, Select } from '../ui/field'
import { levels } from '../ui/level'
import { toast } from '../ui/toast'
import { count } from '../words'
import { Target } from './parts'
import { addRule, readTags, tryRule, words, type Reach, type RuleWish } from './rule'

interface NewRuleProps {
  products: readonly string[]
  onClose: () => void
  onDone: () => void
}

const choices = [...[...levels].reverse(), 'off'].map((l): [string, string] => [l, l])

/** The times that a rule lasts; the last must be said, and needs an administrator. */
export const lengths: [string, string][] = [['15m', '15 minutes'], ['30m', '30 minutes'], ['1h', '1 hour'], ['4h', '4 hours'], ['24h', '24 hours'], ['permanent', 'without an end']]

export function NewRule({ products, onClose, onDone }: NewRuleProps): JSX.Element {
  const [form, setForm] = useState({ product: products.length === 1 ? products[0] ?? '' : '', glob: '', tags: '', percent: '', priority: '0', level: 'debug', length: '30m', reason: '' })
  const [tried, setTried] = useState<{ reach: Reach; wish: string } | undefined>()
  const [fault, setFault] = useState('')
  const [busy, setBusy] = useState(false)
  const tags = readTags(form.tags)
  const wish: RuleWish = {
    selector: {
      ...(form.product ? { product: form.product } : {}), ...(form.glob.trim() ? { device_glob: form.glob.trim() } : {}),
      ...(tags && Object.keys(tags).length > 0 ? { tags } : {}), ...(form.percent ? { percent: Number(form.percent) } : {}),
    },
    priority: Number(form.priority) || 0, level: form.level, for: form.length, reason: form.reason.trim(),
  }
  const current = tried?.wish === JSON.stringify(wish) ? tried.reach : undefined
  const set = (name: keyof typeof form) => (e: { currentTarget: HTMLInputElement | HTMLSelectElement }): void => setForm({ ...form, [name]: e.currentTarget.value })
  const run = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true)
    setFault('')
    try {
      await work()
    } catch (e) {
      setFault(sentence(e))
    }
    setBusy(false)
  }
  const preview = (): void => {
    if (!tags) return setFault('A tag is written as key:value.')
    void run(async () => setTried({ reach: await tryRule(wish), wish: JSON.stringify(wish) }))
  }
  const apply = (): void => void run(async () => {
    const made = await addRule(wish)
    toast(`Rule ${made.rule?.id ?? ''}: ${wish.level} for ${words(wish.selector)}`)
    onDone()
    onClose()
  })
  return (
    <Dialog
      title="New rule" wide onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={current ? 'plain' : 'primary'} busy={busy} onClick={preview}>Preview</Button>
          <Button kind={current ? 'primary' : 'plain'} busy={busy} disabled={!current} onClick={apply}>{current ? `Apply to ${count(current.matched, 'device')}` : 'Apply'}</Button>
        </>
      }
    >
      <form class="grid" onSubmit={(e) => { e.preventDefault(); preview() }}>
        <Select label="Product" value={form.product} options={[['', 'Every product'], ...products.map((p): [string, string] => [p, p])]} onChange={set('product')} />
        <Field label="Name pattern" placeholder="dev-0*" value={form.glob} onInput={set('glob')} />
        <Field label="Tags" placeholder="site:lab" value={form.tags} onInput={set('tags')} />
        <Field label="Percent" type="number" min="0.01" max="100" step="0.01" placeholder="100" hint="Those of 1 % are among those of 10 %." value={form.percent} onInput={set('percent')} />
        <Select label="Level" value={form.level} options={choices} onChange={set('level')} />
        <Select label="For" value={form.length} options={lengths} onChange={set('length')} />
        <Field label="Priority" type="number" step="1" hint="The higher decides, of equal ones the newer." value={form.priority} onInput={set('priority')} />
        <Field label="Reason" maxLength={500} placeholder="ticket, or what you are looking for" value={form.reason} onInput={set('reason')} />
        <button type="submit" class="unseen" tabIndex={-1} aria-hidden="true">Preview</button>
      </form>
      <div aria-live="polite" class="preview">
        {fault && <p class="wrong" role="alert">{fault}</p>}
        {current ? <Reached reach={current} about={words(wish.selector)} level={wish.level} /> : <p class="quiet">Preview shows how many devices it means, and which, before anything is changed.</p>}
      </div>
    </Dialog>
  )
}

function Reached({ reach, about, level }: { reach: Reach; about: string; level: string }): JSX.Element {
  return (
    <>
      <p><b>{count(reach.matched, 'device')}</b> {reach.matched === 1 ? 'is' : 'are'} meant by {about}; <b>{reach.connected.toLocaleString('en')}</b> of them {reach.connected === 1 ? 'is' : 'are'} online, and the level of <b>{reach.decides.toLocaleString('en')}</b> becomes <Target level={level} />.</p>
      <Spread reach={reach} />
    </>
  )
}

/** How the matched devices are now, and some of them by name. */
export function Spread({ reach }: { reach: Reach }): JSX.Element {
  const list = (counts: Record<string, number>): string => Object.entries(counts).map(([k, n]) => `${k} ${n.toLocaleString('en')}`).join(', ') || 'none'
  return (
    <dl class="facts">
      <div><dt>Levels now</dt><dd>{list(reach.levels)}</dd></div>
      <div><dt>Observed</dt><dd>{list(reach.states)}</dd></div>
      <div><dt>Such as</dt><dd class="mono">{reach.sample.join(', ') || 'no device'}</dd></div>
    </dl>
  )
}
