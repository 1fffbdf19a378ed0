// What a person does with the map: keyboard and screen reader, pointer, cards, toolbar.

// -- the grid for keyboards and screen readers: real elements for the active cell, which has the focus, and its neighbours --

const COLUMNS = () => data.days + 2, ROWS = () => order.length + 2;

function element(role, parent, index, content) {
  const made = document.createElement("div");
  made.setAttribute("role", role);
  made.setAttribute(role === "row" ? "aria-rowindex" : "aria-colindex", index);
  made.index = index;
  if (content !== undefined) made.textContent = content;
  const after = [...parent.children].find((child) => child.index > index) || null;
  parent.insertBefore(made, after);
  return made;
}

const found = (parent, index) => [...parent.children].find((child) => child.index === index);
const rowAt = (row) => found(grid, row + 3);

function ensureCell(row, day) {
  const parent = rowAt(row) || element("row", grid, row + 3);
  if (!found(parent, 1)) element("rowheader", parent, 1, row < 0 ? "All symbols" : data.symbols[order[row]]);
  const header = found(grid, 1) || element("row", grid, 1);
  if (!found(header, 1)) element("columnheader", header, 1, "Symbol");
  if (!found(header, day + 2)) element("columnheader", header, day + 2, day === data.days ? "All days" : longDay(day));
  let made = found(parent, day + 2);
  if (!made) {
    made = element("gridcell", parent, day + 2, words(row, day).join(", "));
    made.tabIndex = -1;
  }
  const { width: w, height: h, label, head, totals, lead } = layout;
  made.style.left = `${day === data.days ? label + w * data.days : label + day * w}px`;
  made.style.top = `${row < 0 ? head - 8 - totals : head + row * pitch() + lead}px`;
  made.style.width = `${Math.max(w, 4)}px`;
  made.style.height = `${Math.max(h, 4)}px`;
  return made;
}

function place(row, day, focus) {
  active.row = row;
  active.day = day;
  grid.setAttribute("aria-rowcount", ROWS());
  grid.setAttribute("aria-colcount", COLUMNS());
  for (let r = Math.max(-1, row - 1); r <= Math.min(order.length - 1, row + 1); r++) {
    for (let d = Math.max(0, day - 1); d <= Math.min(data.days, day + 1); d++) ensureCell(r, d).tabIndex = -1;
  }
  const target = ensureCell(row, day);
  target.tabIndex = 0;
  if (focus) {
    reveal(row, day);
    target.focus({ preventScroll: true });
  }
  for (const line of [...grid.children]) {
    const r = line.index - 3;
    if (line.index !== 1 && Math.abs(r - row) > 1) { line.remove(); continue; }
    for (const item of [...line.children]) if (item.index > 1 && Math.abs(item.index - 2 - day) > 1) item.remove();
  }
  if (focus) showTip(active);
  schedule();
}

const isFocused = () => grid.contains(document.activeElement);

function reveal(row, day) {
  const { width: w, label, head, sums } = layout, h = pitch();
  if (day < data.days) {
    const left = day * w, room = box.width - label - sums;
    if (left < scroller.scrollLeft) scroller.scrollLeft = left - Math.min(room / 3, 4 * w);
    else if (left + w > scroller.scrollLeft + room) scroller.scrollLeft = left + w - room + Math.min(room / 3, 4 * w);
  }
  if (row >= 0) {
    const top = row * h, room = box.height - head;
    if (top < scroller.scrollTop) scroller.scrollTop = top - h;
    else if (top + 2 * h > scroller.scrollTop + room) scroller.scrollTop = top + 2 * h - room;
  }
  // The map may reach below the window.
  const at = rectangle({ row, day }, view()), frame = canvas.getBoundingClientRect(), room = document.documentElement.clientHeight;
  if (frame.top + at.y < 8) window.scrollBy(0, frame.top + at.y - 8);
  else if (frame.top + at.y + at.height > room - 100) window.scrollBy(0, Math.min(frame.top + at.y + at.height + 100 - room, frame.top));
}

function nextTrouble(step) {
  const cells = order.length * data.days;
  let at = Math.max(active.row, 0) * data.days + Math.min(active.day, data.days - 1);
  for (let tries = 0; tries < cells; tries++) {
    at = (at + step + cells) % cells;
    if (isWanted(Math.floor(at / data.days), at % data.days)) return [Math.floor(at / data.days), at % data.days];
  }
  return null;
}

function onKey(event) {
  if (event.altKey || event.metaKey) return;
  const last = order.length - 1, page = Math.max(1, Math.floor((box.height - layout.head) / pitch()) - 1);
  let { row, day } = active;
  if (event.key === "Escape") { tip.hidden = true; return; }
  if (event.ctrlKey && event.key !== "Home" && event.key !== "End") return;
  switch (event.key) {
    case "ArrowLeft": day--; break;
    case "ArrowRight": day++; break;
    case "ArrowUp": row--; break;
    case "ArrowDown": row++; break;
    case "PageUp": row -= page; break;
    case "PageDown": row += page; break;
    case "Home": day = 0; if (event.ctrlKey) row = -1; break;
    case "End": day = data.days; if (event.ctrlKey) row = last; break;
    case "n": case "N": case "p": case "P": [row, day] = nextTrouble(event.key.toLowerCase() === "n" ? 1 : -1) || [row, day]; break;
    default: return;
  }
  event.preventDefault();
  place(Math.min(Math.max(row, -1), last), Math.min(Math.max(day, 0), data.days), true);
}

// -- pointer and note --------------------------------------------------------------------------------------------

function spotAt(event) {
  const frame = canvas.getBoundingClientRect(), seen = view();
  const x = event.clientX - frame.left, y = event.clientY - frame.top;
  if (x < 0 || y < 0 || x >= box.width || y >= box.height) return null;
  const down = y - layout.head + seen.top, row = y < layout.head ? -1 : Math.floor(down / pitch());
  if (row >= order.length) return null;
  // A name stands for all days of its row, and so does the last column.
  const named = x < layout.label || x >= seen.right || (layout.narrow && (row < 0 ? y < layout.head - 8 - layout.totals : down % pitch() < layout.lead));
  const day = Math.floor((x - layout.label + seen.left) / layout.width);
  return { row, day: named ? data.days : Math.min(day, data.days) };
}

function showTip(spot) {
  const [title, ...lines] = words(spot.row, spot.day);
  const head = document.createElement("b");
  head.textContent = title;
  tip.replaceChildren(head, ...lines.map((line) => {
    const span = document.createElement("span");
    span.textContent = line;
    return span;
  }));
  tip.hidden = false;
  const at = rectangle(spot, view()), frame = canvas.getBoundingClientRect(), room = document.documentElement;
  const left = Math.max(6, Math.min(frame.left + at.x + at.width + 6, room.clientWidth - tip.offsetWidth - 6));
  const below = frame.top + at.y + at.height + 8, above = frame.top + at.y - tip.offsetHeight - 8;
  const top = below + tip.offsetHeight < room.clientHeight - 6 ? below : Math.max(6, above);
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

// After scrolling, another cell is under the pointer. The note of the focused cell moves with its cell.
function onScroll() {
  hovered = null;
  const at = rectangle(active, view());
  const inView = at.y + at.height > (active.row < 0 ? 0 : layout.head) && at.y < box.height
    && (active.day === data.days || (at.x + at.width > layout.label && at.x < box.width - layout.sums));
  if (!tip.hidden && isFocused() && inView) showTip(active);
  else tip.hidden = true;
  schedule();
}

function hover(event) {
  const spot = spotAt(event);
  const same = spot && hovered && spot.row === hovered.row && spot.day === hovered.day;
  hovered = spot;
  if (!spot) tip.hidden = true;
  else if (!same) showTip(spot);
  schedule();
}

// -- cards that filter ------------------------------------------------------------------------------------------------

const INDEX = {
  state: new Map(data.states.map((state, index) => [state.key, index])),
  reason: new Map(data.reasons.map((reason, index) => [reason.key, index])),
};
const chosen = { state: filter.states, reason: filter.reasons };
const cards = [];

function makeCards() {
  for (const item of document.querySelectorAll("[data-filter]")) {
    const [group, key] = item.dataset.filter.split(":"), button = document.createElement("button");
    const said = (name) => item.querySelector(`.${name}`).textContent;
    button.type = "button";
    button.setAttribute("aria-label", `${said("label")}: ${said("count")} symbol-days, ${said("share")}. Show only these`);
    button.disabled = said("count") === "0";
    button.append(...item.children);
    item.append(button);
    button.addEventListener("click", () => press(group, INDEX[group].get(key)));
    cards.push({ button, group, index: INDEX[group].get(key) });
  }
}

function press(group, index) {
  if (!chosen[group].delete(index)) chosen[group].add(index);
  arrange();
}

function showPressed() {
  for (const { button, group, index } of cards) button.setAttribute("aria-pressed", chosen[group].has(index));
  byId("clear").hidden = !filter.states.size && !filter.reasons.size;
}

// -- what is shown ----------------------------------------------------------------------------------------------------

function choose(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(data.datasets.find((dataset) => dataset.name === name)));
  shown = unpacked.get(name);
  for (const block of document.querySelectorAll(".dataset")) block.hidden = block.dataset.dataset !== name;
  // What this dataset has none of would leave an empty map.
  for (const state of filter.states) if (!shown.total[state]) filter.states.delete(state);
  for (const reason of filter.reasons) if (!shown.total[REASON + reason]) filter.reasons.delete(reason);
  if (!sorted) byId("sort").value = lackingDays(shown.total) ? "coverage" : "requested";
  arrange();
}

// Whether somebody has chosen an order. Before, what lacks most comes first, when anything lacks.
let sorted = false;

function arrange() {
  applyFilter();
  arrangeOrder();
  showPressed();
  byId("shown").value = shownWords();
  active.row = Math.min(active.row, order.length - 1);
  if (order.length && active.row < 0) active.row = 0;
  hovered = null;
  tip.hidden = true;
  grid.replaceChildren();
  scroller.scrollTop = 0;
  measure();
  place(active.row, active.day, false);
}

// -- begin ---------------------------------------------------------------------------------------------------------

function zoom(event) {
  const { zoom: side, step } = event.currentTarget.dataset, steps = side === "width" ? WIDTHS : HEIGHTS;
  const now = layout[side], wider = Number(step) > 0;
  layout.zoomed = true;
  layout[side] = wider ? steps.find((size) => size > now) || now : [...steps].reverse().find((size) => size < now) || now;
  redo();
}

function redo() {
  measure();
  place(active.row, active.day, false);
}

document.documentElement.classList.add("scripted");
readLook();
makeCards();
for (const input of document.querySelectorAll('input[name="dataset"]')) input.addEventListener("change", () => choose(input.value));
byId("sort").addEventListener("change", () => { sorted = true; arrange(); });
byId("find").addEventListener("input", arrange);
byId("lacking").addEventListener("change", arrange);
byId("clear").addEventListener("click", () => { filter.states.clear(); filter.reasons.clear(); arrange(); byId("sort").focus(); });
for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", zoom);
byId("fit").addEventListener("click", () => { layout.zoomed = false; redo(); });
scroller.addEventListener("scroll", onScroll, { passive: true });
document.addEventListener("scroll", onScroll, { passive: true });
scroller.addEventListener("pointermove", hover);
scroller.addEventListener("pointerleave", () => { hovered = null; tip.hidden = true; schedule(); });
scroller.addEventListener("click", (event) => { const spot = spotAt(event); if (spot) place(spot.row, spot.day, true); });
grid.addEventListener("keydown", onKey);
grid.addEventListener("focusin", () => { showTip(active); schedule(); });
grid.addEventListener("focusout", () => { tip.hidden = true; schedule(); });
for (const query of ["(prefers-color-scheme: dark)", "(resolution: 1dppx)"]) {
  matchMedia(query).addEventListener("change", () => { readLook(); redo(); });
}
let known = 0;
new ResizeObserver(() => { if (scroller.clientWidth !== known) { known = scroller.clientWidth; redo(); } }).observe(scroller);
if (data.datasets.length) choose((document.querySelector('input[name="dataset"]:checked') || { value: data.datasets[0].name }).value);
