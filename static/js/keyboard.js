// Keys: "/" to the search field, "?" to the list, and two-key sequences that follow [data-shortcut] links.
const SEQUENCE_MS = 1200;
let first = "";
let timer = 0;

function isTyping(target) {
  return target.isContentEditable || target.closest("input, textarea, select, [role=textbox]");
}

function follow(keys) {
  const link = document.querySelector(`[data-shortcut="${keys}"]`);
  link?.click();
  return Boolean(link);
}

function press(event) {
  if (event.key === "/") {
    const field = document.querySelector("[data-search]");
    field?.focus();
    field?.select();
    return Boolean(field);
  }
  if (event.key === "?") {
    const list = document.getElementById("shortcuts");
    if (list && !list.open) list.showModal();
    return Boolean(list);
  }
  window.clearTimeout(timer);
  if (first) {
    const keys = `${first} ${event.key}`;
    first = "";
    return /^[a-z] [a-z]$/.test(keys) && follow(keys);
  }
  if (event.key === "g" || event.key === "c") {
    first = event.key;
    timer = window.setTimeout(() => { first = ""; }, SEQUENCE_MS);
  }
  return false;
}

document.addEventListener("keydown", (event) => {
  if (document.documentElement.dataset.shortcuts === "off") return;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target) || (document.querySelector("dialog[open]") && event.key !== "Escape")) return;
  if (press(event)) event.preventDefault();
});
