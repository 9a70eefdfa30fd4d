import type { JSX } from 'preact'
import { get } from '../api'
import { useLoad } from '../load'
import { useParams } from '../router'
import { Select } from '../ui/field'
import { Table } from '../ui/table'

interface Counts {
  received: number
  stored: number
  duplicate: number
  refused: Record<string, number>
  dropped: Record<string, number>
}

interface Ledger {
  total: Counts
  sources: Record<string, Counts>
}

/** An example of a view for now: its state is in the query string, what it shows comes by useLoad. */
export function Overview(): JSX.Element {
  const [params, change] = useParams()
  const since = params.get('since') ?? '1h'
  const ledger = useLoad((signal) => get<Ledger>('/ledger', {}, signal), 'ledger', 5000)
  return (
    <>
      <div class="head">
        <h1>Overview</h1>
        <Select label="Time" bare value={since} options={[['15m', 'Last 15 minutes'], ['1h', 'Last hour'], ['24h', 'Last day']]} onChange={(e) => change({ since: e.currentTarget.value })} />
      </div>
      <Table
        caption="Lines by source"
        columns={[
          { title: 'Source', cell: ([name]) => name },
          { title: 'Received', kind: 'num', cell: ([, c]) => c.received },
          { title: 'Stored', kind: 'num', cell: ([, c]) => c.stored },
        ]}
        rows={ledger.data && Object.entries(ledger.data.sources)}
        rowKey={([name]) => name}
        empty="Nothing has come in yet."
        error={ledger.error}
      />
    </>
  )
}
