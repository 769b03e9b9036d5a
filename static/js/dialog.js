// Menus made of <details data-menu> close like menus; those with data-confirm ask in a modal dialog.
function ask(details) {
  const panel = details.querySelector(".panel");
  const dialog = document.createElement("dialog");
  const summary = details.querySelector("summary");
  dialog.className = "dialog";
  dialog.setAttribute("aria-label", summary.textContent.trim());
  dialog.append(...panel.childNodes);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
  dialog.addEventListener("close", () => {
    panel.append(...dialog.childNodes);
    dialog.remove();
    summary.focus();
  });
  dialog.showModal();
  dialog.querySelector("[data-close]")?.focus();
}

document.addEventListener("click", (event) => {
  const summary = event.target.closest("summary");
  const details = summary?.closest("details[data-confirm]");
  if (details) {
    event.preventDefault();
    ask(details);
    return;
  }
  for (const open of document.querySelectorAll("details[data-menu][open]")) {
    if (!open.contains(event.target) || event.target.closest("[data-close]")) open.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details[data-menu][open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary")?.focus();
});
