// Keeps the payment page true: asks for the status, counts down by the server's clock, and swaps in the
// page anew when the state of the invoice changed. Without scripts the layout refreshes the page by <meta>.
const FAST_MS = 2000, FAST_UNTIL_MS = 2 * 60_000;
const MIDDLE_MS = 4000, MIDDLE_UNTIL_MS = 10 * 60_000;
const SLOW_MS = 10_000;
const JITTER = 0.15;
const LONGEST_MS = 5 * 60_000;
const REQUEST_MS = 8000;
const SPOKEN_AT_SECONDS = [300, 60, 0];
const SOON_SECONDS = 120;
const LOOKING = "Looking for your payment on the network";
const WALLET_MS = 1500;
const LOST = "Connection lost. Your payment is safe; we keep checking.";

const opened = performance.now();
let root = document.querySelector("[data-checkout][data-status-url]");
let etag = null;
let wait = 0;
let timer = 0;
let asking = false;
let failures = 0;
let clock = null; // {server: ms of the server's clock, local: performance.now() then}
let spoken = null;

const find = (selector) => root?.querySelector(selector);

function say(text) {
  const region = document.querySelector("[data-announcer]");
  if (region) region.textContent = text;
}

function setLine(text, tone) {
  const line = find("[data-status-line]");
  if (!line) return;
  line.dataset.before ??= line.textContent;
  const wanted = text ?? line.dataset.before;
  // Writing the same words again would make screen readers repeat them.
  if (line.textContent !== wanted) line.textContent = wanted;
  const box = line.closest(".state");
  box?.classList.toggle("lost", tone === "lost");
  if (box && tone !== "") box.dataset.tone ??= box.classList.contains("confirming") ? "confirming" : "";
  const usual = box?.dataset.tone ?? (box?.classList.contains("confirming") ? "confirming" : "");
  box?.classList.toggle("confirming", (tone || usual) === "confirming");
}

function setClock(serverNow) {
  const server = Date.parse(serverNow ?? "");
  if (!Number.isNaN(server)) clock = { server, local: performance.now() };
}

function tick() {
  const shown = find("[data-countdown]");
  const end = Date.parse(root?.dataset.expiresAt ?? "");
  if (!shown || !clock || Number.isNaN(end)) return;
  const left = Math.max(0, Math.round((end - clock.server - (performance.now() - clock.local)) / 1000));
  const hours = Math.floor(left / 3600);
  const pad = (value) => String(value).padStart(2, "0");
  const days = Math.floor(hours / 24);
  shown.textContent = days > 1 ? `${days} days left`
    : hours > 0 ? `${hours}:${pad(Math.floor(left / 60) % 60)}:${pad(left % 60)}`
    : `${Math.floor(left / 60)}:${pad(left % 60)}`;
  shown.toggleAttribute("data-soon", left <= SOON_SECONDS);
  const bar = find("[data-countdown-bar]");
  if (bar) bar.value = left;
  const passed = SPOKEN_AT_SECONDS.filter((mark) => left <= mark).at(-1);
  if (spoken !== null && passed !== undefined && passed !== spoken) {
    say(passed === 0 ? "The time to pay is over." : `${passed / 60} minute${passed > 60 ? "s" : ""} left to pay.`);
  }
  spoken = passed ?? -1;
}

function nextDelay() {
  const age = performance.now() - opened;
  const paced = age < FAST_UNTIL_MS ? FAST_MS : age < MIDDLE_UNTIL_MS ? MIDDLE_MS : SLOW_MS;
  const backed = Math.min(paced * 2 ** Math.min(failures, 5), 60_000);
  const asked = Math.max(backed, wait);
  return Math.min(asked, LONGEST_MS) * (1 + JITTER * (2 * Math.random() - 1));
}

function schedule() {
  window.clearTimeout(timer);
  if (root && !document.hidden) timer = window.setTimeout(ask, nextDelay());
}

function retryAfterMs(response) {
  const text = response.headers.get("Retry-After");
  if (!text) return 0;
  const seconds = Number(text);
  return Number.isNaN(seconds) ? Math.max(0, Date.parse(text) - Date.now()) || 0 : seconds * 1000;
}

// The answer to a submitted hash has an address of its own; a page that answers a POST has none to fetch.
function pageUrl() {
  const here = new URL(location.href);
  return here.pathname === root.dataset.pageUrl ? here.href : root.dataset.pageUrl;
}

function carryOver(from, to) {
  const typed = from.querySelector("[name=transaction_hash]");
  const field = to.querySelector("[name=transaction_hash]");
  if (!typed?.value || !field) return;
  field.value = typed.value;
  field.closest("details").open = true;
}

function settle(fresh, was) {
  const heading = fresh.querySelector("main h1");
  if (fresh.dataset.status === "PAID" && was !== "PAID") {
    heading?.focus();
  } else {
    say(fresh.querySelector("[data-status-line]")?.textContent.trim() ?? "");
  }
}

async function swap() {
  const response = await fetch(pageUrl(), { cache: "no-store", headers: { Accept: "text/html" } });
  if (!response.ok) throw new Error(`page answered ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("checkout");
  if (!fresh) return location.reload();
  const old = root;
  carryOver(old, fresh);
  old.replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  etag = null;
  root = fresh.matches("[data-status-url]") ? fresh : null;
  if (root) {
    setClock(root.dataset.serverNow);
    tick();
  }
  settle(fresh, old.dataset.status);
  return undefined;
}

async function read(response) {
  wait = retryAfterMs(response);
  if (response.status === 304) return;
  if (response.status === 429 || response.status === 503) return;
  if (response.status === 404 || response.status === 410) return void location.reload();
  if (!response.ok) throw new Error(`status answered ${response.status}`);
  const status = await response.json();
  setClock(status.server_now);
  wait = Math.max(wait, Number(status.poll_after_ms) || 0);
  if (status.expires_at) root.dataset.expiresAt = status.expires_at;
  const { status: was, settlement: had, received, submission: sent } = root.dataset;
  const state = status.submission?.state ?? "";
  const moved = status.status !== was || status.settlement !== had || status.amount_received !== received;
  if (moved || (sent && state && state !== sent)) return swap();
  etag = response.headers.get("ETag");
  const isLooking = state === "CHECKING" && sent !== "CHECKING";
  setLine(isLooking ? LOOKING : null, isLooking ? "confirming" : "");
}

async function ask() {
  if (asking || !root) return;
  asking = true;
  const stop = new AbortController();
  const alarm = window.setTimeout(() => stop.abort(), REQUEST_MS);
  try {
    const headers = { Accept: "application/json" };
    if (etag) headers["If-None-Match"] = etag;
    const response = await fetch(root.dataset.statusUrl, { headers, cache: "no-store", signal: stop.signal });
    await read(response);
    failures = 0;
  } catch {
    failures += 1;
    etag = null;
    if (failures > 1) setLine(LOST, "lost");
  } finally {
    window.clearTimeout(alarm);
    asking = false;
    schedule();
  }
}

// A wallet that opened takes the page out of sight; if it is still here, say what else can be done.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-wallet]")) return;
  window.setTimeout(() => {
    const hint = document.querySelector("[data-wallet-hint]");
    if (hint && !document.hidden) hint.hidden = false;
  }, WALLET_MS);
});

const faulty = document.querySelector("[data-claim] [aria-invalid]");
faulty?.focus();

if (root) {
  setClock(root.dataset.serverNow);
  window.setInterval(tick, 1000);
  tick();
  ask();
  document.addEventListener("visibilitychange", () => (document.hidden ? window.clearTimeout(timer) : ask()));
  window.addEventListener("online", ask);
}
