// Keeps the totals of an invoice form true: the server computes them a moment after the typing stops.
// Also hides the inputs that only one choice of a select needs.
const QUIET_MS = 300;
const form = document.getElementById("invoice-form");
const shown = form?.querySelector("[data-totals]");
let timer = 0;
let running = null;

async function refresh() {
  running?.abort();
  running = new AbortController();
  const mine = running;
  shown.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(shown.dataset.previewUrl, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "text/html" },
      redirect: "error",
      signal: mine.signal,
    });
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    shown.replaceChildren(...page.body.childNodes);
  } catch (failure) {
    // Offline or signed out: the totals on the page are those of the last answer, saving will say what is wrong.
    if (failure.name !== "AbortError") shown.dataset.stale = "";
  } finally {
    if (running === mine) shown.removeAttribute("aria-busy");
  }
}

function toggle(select, part, value) {
  const box = form.querySelector(part);
  const chosen = form.elements[select];
  if (!box || !chosen) return;
  const filled = [...box.querySelectorAll("input")].some((input) => input.matches("[aria-invalid]"));
  box.hidden = chosen.value !== value && !filled;
}

function arrange() {
  toggle("client", "[data-new-client]", "new");
  toggle("asset", "[data-other-asset]", "other");
}

if (form && shown) {
  form.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(refresh, QUIET_MS);
  });
  form.addEventListener("change", arrange);
  arrange();
}
