// Copies what a button's data-copy holds and says so, to the eye on the button and to the ear politely.
const SHOWN_MS = 2000;

export function announce(text) {
  const region = document.querySelector("[data-announcer]");
  if (region) region.textContent = text;
}

async function write(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on a local network has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.className = "sr-only";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copy refused");
}

async function copy(button) {
  const label = button.querySelector("[data-label]");
  const before = button.dataset.before ?? label?.textContent ?? "";
  button.dataset.before = before;
  try {
    await write(button.dataset.copy);
  } catch {
    announce("Copying was refused by the browser. Please select the text instead.");
    return;
  }
  button.dataset.copied = "";
  if (label) label.textContent = button.dataset.copiedText || "Copied";
  announce("Copied");
  window.setTimeout(() => {
    delete button.dataset.copied;
    if (label) label.textContent = before;
    announce("");
  }, SHOWN_MS);
}

// One listener for the page, so that parts swapped in later work too.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
