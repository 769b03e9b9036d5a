// An open invoice's page shows itself anew when money has arrived: it asks the payer page's status, which
// answers "unchanged" most of the time.
const FIRST_MS = 4000, LATER_MS = 10_000, PATIENCE_MS = 5 * 60_000;
const started = performance.now();
const page = document.querySelector("[data-live]");
let etag = null;

async function look() {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  const headers = { Accept: "application/json" };
  if (etag) headers["If-None-Match"] = etag;
  const response = await fetch(page.dataset.live, { headers, cache: "no-store" });
  if (response.status !== 200) return;
  etag = response.headers.get("ETag");
  const now = await response.json();
  const { status, settlement, received } = page.dataset;
  if (now.status !== status || now.settlement !== settlement || now.amount_received !== received) location.reload();
}

async function keepLooking() {
  try {
    await look();
  } catch {
    // The network is away; the next look may find it back.
  }
  const pause = performance.now() - started < PATIENCE_MS ? FIRST_MS : LATER_MS;
  window.setTimeout(keepLooking, pause);
}

if (page) window.setTimeout(keepLooking, FIRST_MS);
