import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'

interface DialogProps {
  title: string
  /** Called when it is closed by Escape, the cross, or a click beside it. */
  onClose: () => void
  children: ComponentChildren
  /** The buttons at the end. */
  actions?: ComponentChildren
  wide?: boolean
}

/** A modal dialog. It is open as long as it is rendered; focus goes into it, and back to where it was. */
export function Dialog({ title, onClose, children, actions, wide = false }: DialogProps): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  const beside = (e: MouseEvent): void => {
    if (e.target === ref.current) onClose()
  }
  return (
    <dialog
      ref={ref}
      class={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault()
        onClose()
      }}
      onMouseDown={beside}
    >
      <div class="dialog-box">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="button plain icon" aria-label="Close" onClick={onClose}>✕</button>
        </header>
        <div class="dialog-body">{children}</div>
        {actions && <footer>{actions}</footer>}
      </div>
    </dialog>
  )
}
