// Rows of a form that can be added, doubled, moved and removed, without asking the server.
//
// <div data-rows="items" data-rows-max="50">
//   <fieldset data-row> inputs named items-0-..., [data-row-remove] [data-row-up] [data-row-down] [data-row-copy] </fieldset>
//   <template data-row-template> the same with items-__i__-... </template>
// </div>
// <button data-row-add="items">Add a line</button>
import { announce } from "./copy.js";

const NUMBERED = ["name", "id", "for", "aria-describedby", "aria-labelledby"];

function rowsOf(box) {
  return [...box.querySelectorAll("[data-row]")];
}

// data-rows-min="0" lets the last row go too.
function least(box) {
  return Number(box.dataset.rowsMin ?? 1);
}

function number(box) {
  const pattern = new RegExp(`\\b${box.dataset.rows}-(\\d+|__i__)-`, "g");
  rowsOf(box).forEach((row, index) => {
    for (const element of row.querySelectorAll("[name], [id], [for]")) {
      for (const attribute of NUMBERED) {
        const text = element.getAttribute(attribute);
        if (text) element.setAttribute(attribute, text.replace(pattern, `${box.dataset.rows}-${index}-`));
      }
    }
    const remove = row.querySelector("[data-row-remove]");
    if (remove) remove.disabled = rowsOf(box).length <= least(box);
  });
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

function add(box) {
  if (rowsOf(box).length >= Number(box.dataset.rowsMax || 100)) {
    announce(`No more than ${box.dataset.rowsMax || 100} lines.`);
    return;
  }
  const template = box.querySelector("template[data-row-template]");
  const row = template.content.firstElementChild.cloneNode(true);
  (rowsOf(box).at(-1) ?? template).after(row);
  number(box);
  row.querySelector("input, select, textarea")?.focus();
  announce(`Line ${rowsOf(box).length} added`);
}

function change(box, row, button) {
  const has = (name) => button.hasAttribute(`data-row-${name}`);
  const rows = rowsOf(box);
  const at = rows.indexOf(row);
  if (has("remove") && rows.length > least(box)) {
    row.remove();
    announce(`Line ${at + 1} removed`);
    rowsOf(box)[Math.max(0, at - 1)]?.querySelector("input, select, textarea")?.focus();
  } else if (has("up") && at > 0) {
    rows[at - 1].before(row);
    announce(`Moved to line ${at}`);
  } else if (has("down") && at < rows.length - 1) {
    rows[at + 1].after(row);
    announce(`Moved to line ${at + 2}`);
  } else if (has("copy")) {
    const twin = row.cloneNode(true);
    row.querySelectorAll("select").forEach((select, index) => {
      twin.querySelectorAll("select")[index].value = select.value;
    });
    row.after(twin);
    announce(`Line ${at + 1} doubled`);
  }
  number(box);
  if (document.contains(button)) button.focus();
}

document.addEventListener("click", (event) => {
  const adder = event.target.closest("[data-row-add]");
  if (adder) {
    event.preventDefault();
    add(document.querySelector(`[data-rows="${adder.dataset.rowAdd}"]`));
    return;
  }
  const button = event.target.closest("[data-row-remove], [data-row-up], [data-row-down], [data-row-copy]");
  const row = button?.closest("[data-row]");
  if (row) {
    event.preventDefault();
    change(row.closest("[data-rows]"), row, button);
  }
});
