import type { ComponentChildren, InputHTMLAttributes, JSX, PartialInputHTMLAttributes, PartialSelectHTMLAttributes } from 'preact'
import { useId } from 'preact/hooks'

interface Common {
  label: string
  /** A sentence under it. */
  hint?: ComponentChildren
  /** What is wrong with it; takes the hint's place. */
  error?: string | undefined
  /** The label is there for screen readers only: for toolbars. */
  bare?: boolean
}

type Input = Omit<PartialInputHTMLAttributes<HTMLInputElement>, 'label' | 'list' | 'role' | 'type'>

type InputProps = Common & Input & {
  type?: 'text' | 'search' | 'password' | 'number' | 'datetime-local' | 'email' | 'url' | 'file'
  /** Values to offer while typing. */
  offers?: readonly string[]
}

/** A labelled input. */
export function Field({ label, hint, error, bare, offers, ...rest }: InputProps): JSX.Element {
  const id = useId()
  return (
    <Framed id={id} label={label} hint={hint} error={error} bare={bare}>
      {/* The types tell inputs apart by a type that is known here only as one of several. */}
      <input {...({ type: 'text', ...rest, id, list: offers ? id + 'l' : undefined } as InputHTMLAttributes<HTMLInputElement>)} aria-invalid={Boolean(error)} aria-describedby={hint || error ? id + 'h' : undefined} />
      {offers && (
        <datalist id={id + 'l'}>
          {offers.map((o) => <option key={o} value={o} />)}
        </datalist>
      )}
    </Framed>
  )
}

type SelectProps = Common & Omit<PartialSelectHTMLAttributes<HTMLSelectElement>, 'label' | 'role' | 'size'> & {
  /** Values with what is shown for them. */
  options: readonly (readonly [value: string, text: string])[]
}

/** A labelled choice of one of a few values. */
export function Select({ label, hint, error, bare, options, value, ...rest }: SelectProps): JSX.Element {
  const id = useId()
  return (
    <Framed id={id} label={label} hint={hint} error={error} bare={bare}>
      <select {...rest} id={id} value={value} aria-invalid={Boolean(error)} aria-describedby={hint || error ? id + 'h' : undefined}>
        {options.map(([v, text]) => <option key={v} value={v} selected={v === value}>{text}</option>)}
      </select>
    </Framed>
  )
}

type TextProps = Common & Omit<JSX.IntrinsicElements['textarea'], 'label'>

/** A labelled text of several lines. */
export function TextArea({ label, hint, error, bare, ...rest }: TextProps): JSX.Element {
  const id = useId()
  return (
    <Framed id={id} label={label} hint={hint} error={error} bare={bare}>
      <textarea {...rest} id={id} aria-invalid={Boolean(error)} aria-describedby={hint || error ? id + 'h' : undefined} />
    </Framed>
  )
}

type CheckProps = Common & Input

/** A labelled yes or no. */
export function Check({ label, hint, error, bare: _, ...rest }: CheckProps): JSX.Element {
  const id = useId()
  return (
    <div class="field check">
      <label for={id}>
        <input {...rest} type="checkbox" id={id} aria-describedby={hint || error ? id + 'h' : undefined} /> {label}
      </label>
      <Note id={id} hint={hint} error={error} />
    </div>
  )
}

function Framed({ id, label, hint, error, bare, children }: Common & { id: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="field">
      <label for={id} class={bare ? 'unseen' : undefined}>{label}</label>
      {children}
      <Note id={id} hint={hint} error={error} />
    </div>
  )
}

function Note({ id, hint, error }: { id: string; hint: ComponentChildren; error: string | undefined }): JSX.Element | null {
  if (!hint && !error) return null
  return <p id={id + 'h'} class={error ? 'note wrong' : 'note'}>{error || hint}</p>
}
