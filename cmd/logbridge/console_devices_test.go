package main

import (
	"fmt"
	"strings"
	"testing"
)

// rows is an expression: how many rows the first table has.
const rows = `document.querySelectorAll('tbody th[scope=row]').length`

// TestConsoleDevices finds devices in a list of many by its filters, raises one from there, and sees it follow.
func TestConsoleDevices(t *testing.T) {
	_, s, _ := simulate(t, 12)
	var file strings.Builder
	for i := range 250 {
		_, _ = fmt.Fprintf(&file, "{\"product\":\"ABCDE12345\",\"device\":\"off-%03d\",\"tags\":{\"site\":\"yard\"}}\n", i)
	}
	if summary, err := importAll(t.Context(), s.operator(), strings.NewReader(file.String())); err != nil || !strings.Contains(summary, `"created":250`) {
		t.Fatal(summary, err)
	}
	c := openConsole(t, s, "/devices")
	c.until(rows + ` === 100`)
	c.has("dev_00")
	c.press("Next →")
	c.until(`location.search.includes('cursor=') && document.body.innerText.includes('off-100')`)
	c.press("Next →")
	c.until(rows + ` === 62`)
	c.press("← Previous")
	c.until(rows + ` === 100 && document.body.innerText.includes('off-100')`)

	c.until(`[...document.querySelectorAll('option')].some((o) => o.value === 'ABCDE12345')`)
	c.fill("Product", "ABCDE12345")
	c.until(`location.search.includes('product=ABCDE12345')`)
	c.fill("Tag", "site:lab") // begins with the first page again
	c.until(rows + ` === 6 && !location.search.includes('cursor')`)
	c.fill("Name", "dev_0")
	c.until(rows + ` === 5 && location.search.includes('q=dev_0')`)
	c.fill("Connection", "true")
	c.until(rows + ` === 5 && [...document.querySelectorAll('tbody tr')].every((r) => Number(r.cells[6].textContent) > 0)`)
	c.press("Lines/min") // the same as the order below
	c.until(`location.search.includes('sort=lines') && document.querySelector('th[aria-sort=descending]')?.innerText.startsWith('Lines/min')`)
	c.until(rows + ` === 5`)

	c.click(`[aria-label="Level of ABCDE12345/dev_03"]`)
	c.press("DEBUG for 15 minutes")
	c.has("Say why")
	c.fill("Reason", "ticket 7")
	c.accessible("the dialog of a level")
	c.shot("dialog")
	c.press("DEBUG for 15 minutes")
	c.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.innerText.includes('dev_03') && r.innerText.includes('debug') && /14m \d+s/.test(r.innerText) && r.innerText.includes('seen'))`)
	c.fill("Connection", "")
	c.fill("Name", "")
	c.fill("Order", "")
	c.fill("Tag", "")
	c.fill("Level", "debug")
	c.until(rows + ` === 1`)
	c.fill("Level", "")
	c.until(rows + ` === 100`)
	c.looks("devices")
	c.phone()
	c.until(`(() => { const box = document.querySelector('.table-box'); return box.scrollWidth <= box.clientWidth })()`)
	c.desk()
	c.open("/devices?q=no-such-device") // a link says all
	c.has("No device is like that.")
}

// TestConsoleDevice raises a device for a quarter of an hour with one click and a reason, watches its debug lines come, finds what
// became of its level, and returns it.
func TestConsoleDevice(t *testing.T) {
	_, s, fleet := simulate(t, 2)
	c := openConsole(t, s, "/devices/ABCDE12345/dev_01")
	c.has("online")
	c.press("DEBUG for 15 minutes")
	c.has("Say why")
	c.fill("Reason", "ticket 8")
	c.press("DEBUG for 15 minutes")
	c.until(`document.querySelector('.countdown')?.textContent.startsWith('14m')`)
	c.until(`document.querySelector('.facts .state').textContent === 'seen'`)
	c.until(`[...document.querySelectorAll('td .level')].filter((l) => l.textContent === 'debug').length > 2`)
	c.has("log level set to debug for 15m0s by admin: ticket 8")
	c.until(`document.querySelector('.strip-other')`)
	if wrote := fleet.wrote(); len(wrote) != 1 || wrote[0] != "dev_01" {
		t.Errorf("%v wrote debug lines", wrote)
	}
	c.looks("device")
	c.fill("Reason", "found it")
	c.press("Return to error now")
	c.has("log level back to error by admin: found it")
	c.until(`!document.querySelector('.facts .countdown')`)
	c.press("Its lines in Logs")
	c.until(`location.pathname === '/logs' && location.search.includes('device=dev_01') && document.querySelector('.line')`)
	c.open("/devices/ABCDE12345/none")
	c.has("there is no device ABCDE12345/none")

	viewer := openTab(t, s)
	viewer.open("/devices/ABCDE12345/dev_01")
	viewer.signIn(s.makeToken("looks", "viewer").Token)
	viewer.has("Its level over time")
	if eval[bool](viewer, `[...document.querySelectorAll('button')].some((b) => b.textContent.includes('DEBUG'))`) {
		t.Error("a viewer is offered to change a level")
	}
}

// TestConsoleRules makes a rule after a look at what it would mean, extends it and ends it.
func TestConsoleRules(t *testing.T) {
	_, s, _ := simulate(t, 10)
	c := openConsole(t, s, "/rules")
	c.has("No rule is in force.")
	c.press("New rule")
	c.fill("Product", "ABCDE12345")
	c.fill("Tags", "site:lab")
	c.press("Preview")
	c.has("needs a reason")
	c.fill("Reason", "rollout 3")
	c.press("Preview")
	c.has("Apply to 5 devices")
	c.has("ABCDE12345/dev_01, ABCDE12345/dev_03")
	c.looks("preview")
	c.fill("Tags", "site:lab site:hall") // the preview is of what it was made for
	c.until(`[...document.querySelectorAll('dialog button')].find((b) => b.textContent === 'Apply').disabled`)
	c.fill("Tags", "site:lab")
	c.press("Apply to 5 devices")
	c.has("ABCDE12345, with site:lab")
	s.all("the lab is raised", func(d deviceState) bool { return (d.Desired == "debug") == (d.Tags["site"] == "lab") })

	c.press("ABCDE12345, with site:lab")
	c.until(`/seen [1-5]/.test(document.querySelector('.panel .facts').innerText)`)
	c.looks("rules")
	c.click(`[aria-label^="Extend rule"]`)
	c.fill("From now on, for", "4h")
	c.press("Extend")
	c.until(`/^3h 59m|^4h/.test(document.querySelector('td .countdown').textContent)`)
	c.click(`[aria-label^="End rule"]`)
	c.fill("Reason", "done")
	c.press("End now")
	c.has("No rule is in force.")
	s.all("everyone is back", func(d deviceState) bool { return d.Desired == "error" })

	s.run("level", "set", "ABCDE12345/dev_00", "info", "--for", "10m", "--reason", "by hand")
	c.click(`[aria-label="Return ABCDE12345/dev_00"]`)
	c.press("End now")
	c.has("No device has a level of its own.")
}
