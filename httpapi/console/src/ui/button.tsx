import type { ComponentChildren, JSX } from 'preact'

type ButtonProps = JSX.IntrinsicElements['button'] & {
  /** plain is for toolbars and rows; danger for what cannot be taken back. */
  kind?: 'plain' | 'primary' | 'danger'
  /** While an action runs: the button stays as wide and cannot be pressed again. */
  busy?: boolean
  children?: ComponentChildren
}

export function Button({ kind = 'plain', busy = false, children, disabled, ...rest }: ButtonProps): JSX.Element {
  return (
    <button type="button" {...rest} class={`button ${kind} ${String(rest.class ?? '')}`} disabled={Boolean(disabled) || busy} aria-busy={busy}>
      {children}
    </button>
  )
}
