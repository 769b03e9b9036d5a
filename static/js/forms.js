// Forms: one submission at a time, Ctrl+Enter sends, unsaved changes (data-guard) are not lost silently.
const changed = new Set();

for (const form of document.querySelectorAll("form[data-guard]")) {
  form.addEventListener("input", () => changed.add(form));
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "dialog" || event.defaultPrevented) return;
  if (form.dataset.sent !== undefined) {
    event.preventDefault();
    return;
  }
  changed.delete(form);
  if (form.method === "post") {
    form.dataset.sent = "";
    event.submitter?.setAttribute("aria-busy", "true");
  }
});

// A page that comes back from the history cache must be usable again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
  }
});

window.addEventListener("beforeunload", (event) => {
  if (changed.size) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const form = event.target.closest("form");
  if (form && form.method === "post") {
    event.preventDefault();
    form.requestSubmit();
  }
});

// Nobody should look for his own time zone in a list of hundreds; what the server chose stays when it is unknown.
const zones = document.querySelector("select[data-own-zone]");
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones && [...zones.options].some((option) => option.value === own)) zones.value = own;
