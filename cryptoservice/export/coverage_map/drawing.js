// How the map is drawn: one canvas, which holds only what is in view.

const pen = canvas.getContext("2d");
const WIDTHS = [1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 22, 28, 34, 40, 56, 80, 120], HEIGHTS = [2, 3, 4, 6, 8, 11, 14, 18, 22, 28, 34, 44];
const WIDEST = 120, LOWEST = 16, HIGHEST = 40;
// Below this size a cell is one solid colour. From it on there is room for the mark of a reason, and later for a level.
const SOLID_BELOW = 8, LEVEL_FROM = 14;
// In a narrower window the names stand above their rows, so that the days get the width.
const NARROW = 600;
const layout = {
  width: 0, height: 0, zoomed: false,
  // Narrow windows: the line of text above the cells of a row.
  lead: 0,
  label: 90, head: 76, sums: 132, totals: 30, narrow: false,
};
let box = { width: 0, height: 0 };
let look = {};
let scale = 1;

// -- measures ---------------------------------------------------------------------------------------------------------

function font(size, weight = 400) {
  return `${weight} ${size}px ${look.sans}`;
}

function readLook() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  look = { sans: read("sans"), colours: data.states.map((_, index) => read(`s${index}`)), stripes: new Map() };
  for (const name of ["panel", "line", "faint", "text", "muted", "accent"]) look[name] = read(name);
}

const gapOf = (width) => (width < 6 ? 0 : width < 14 ? 1 : 2);
const rimOf = (height) => (height < 4 ? 0 : height < 14 ? 1 : 2);
const pitch = () => layout.height + layout.lead;

function widestName() {
  // The name of the marked row is bold.
  pen.font = font(12.5, 700);
  let widest = pen.measureText("All symbols").width;
  for (const symbol of data.symbols) widest = Math.max(widest, Math.min(pen.measureText(symbol).width, 190));
  return Math.ceil(widest);
}

function measure() {
  // A canvas that is higher than the new map would bring a scroll bar, and the bar would take from the width.
  canvas.style.height = "0";
  layout.narrow = scroller.clientWidth < NARROW;
  Object.assign(layout, layout.narrow ? { label: 10, sums: 10, head: 84, totals: 24 } : {
    label: widestName() + 26, sums: Math.max(132, Math.min(220, Math.round(scroller.clientWidth / 12))), head: 76, totals: 30,
  });
  const room = scroller.clientWidth - layout.label - layout.sums;
  if (!layout.zoomed) {
    const fair = room / data.days;
    // Narrow days may have a fraction of a pixel, so that a year fits into every window.
    layout.width = Math.max(1, Math.min(WIDEST, fair < 8 || layout.narrow ? Math.floor(100 * fair) / 100 : Math.floor(fair)));
    const tall = Math.floor((limit() - layout.head - 8) / Math.max(1, order.length));
    layout.height = Math.max(LOWEST, Math.min(HIGHEST, Math.floor(layout.width), layout.narrow ? 28 : tall));
  }
  layout.lead = layout.narrow && layout.height >= SOLID_BELOW ? 16 : 0;
  // What the days leave goes to the last column, so that the map fills its frame.
  const over = room - layout.width * data.days;
  if (over > 0) layout.sums += Math.floor(over);
  const width = Math.round(layout.label + layout.width * data.days + layout.sums);
  const height = layout.head + pitch() * order.length + 6;
  spacer.style.width = `${width}px`;
  spacer.style.height = `${height}px`;
  box = { width: Math.min(scroller.clientWidth, width), height: Math.min(scroller.clientHeight, height) };
  scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  canvas.style.width = `${box.width}px`;
  canvas.style.height = `${box.height}px`;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  schedule();
}

// How high the map may get before it scrolls.
const limit = () => parseFloat(getComputedStyle(scroller).maxHeight) || scroller.clientHeight;

function view() {
  const left = scroller.scrollLeft, top = scroller.scrollTop;
  const right = box.width - layout.sums, bottom = box.height;
  return {
    left, top, right, bottom,
    day0: Math.max(0, Math.floor(left / layout.width)),
    day1: Math.min(data.days, Math.ceil((left + right - layout.label) / layout.width)),
    row0: Math.max(0, Math.floor(top / pitch())),
    row1: Math.min(order.length, Math.ceil((top + bottom - layout.head) / pitch())),
  };
}

// Whole pixels of the screen keep edges sharp.
const snap = (value) => Math.round(value * scale) / scale;
const xOf = (day, seen) => snap(layout.label + day * layout.width - seen.left);
// Where the cells of a row begin. In narrow windows its line of text is above them.
const yOf = (row, seen) => snap(layout.head + row * pitch() + layout.lead - seen.top);

// -- strokes ----------------------------------------------------------------------------------------------------------

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

function clip(x, y, width, height, paint) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  paint();
  pen.restore();
}

function fill(colour, x, y, width, height) {
  pen.fillStyle = colour;
  pen.fillRect(x, y, width, height);
}

function text(value, x, y, colour, face, limit, align = "left") {
  pen.font = face;
  pen.fillStyle = colour;
  pen.textAlign = align;
  pen.textBaseline = "alphabetic";
  let out = value;
  if (limit && pen.measureText(out).width > limit) {
    const letters = [...value];
    while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > limit) letters.pop();
    out = `${letters.join("")}…`;
  }
  // Centred by the height of capitals: "middle" counts descenders, and names without them would sit too high.
  pen.fillText(out, x, Math.round(y + pen.measureText("X").actualBoundingBoxAscent / 2));
}

// A word on a dark plate, over whatever is there.
function plate(value, x, y, align = "left") {
  pen.font = font(12, 600);
  const width = Math.ceil(pen.measureText(value).width) + 14, left = align === "center" ? Math.round(x - width / 2) : x;
  fill(look.text, left, y - 10, width, 20);
  text(value, left + 7, y, look.panel, font(12, 600));
}

// -- a cell -----------------------------------------------------------------------------------------------------------

function cell(index, x, y, width, height) {
  const [state, expected, actual] = shown.kinds[index], [bx, by, bw, bh] = data.states[state].shape;
  pen.globalAlpha = wanted && !wanted.kinds[index] ? 0.16 : 1;
  if (!lacks(state)) {
    const top = Math.round(by * height), tall = Math.max(1, Math.round((by + bh) * height) - top);
    const inset = width < 6 ? 0 : Math.round(bx * width);
    fill(look.colours[state], x + inset, y + top, width < 6 ? width : Math.max(1, Math.round(bw * width)), tall);
  } else {
    let tall = height;
    if (state === PARTIAL && Math.min(width, height) >= LEVEL_FROM - 2 && expected) {
      // The lower part, in the colour of complete days, grows with the rows that are there. Both parts stay visible.
      tall = Math.round(height * Math.min(0.8, Math.max(0.5, 1 - actual / expected)));
      fill(look.colours[COMPLETE], x, y + tall + 1, width, height - tall - 1);
    }
    fill(look.colours[state], x, y, width, tall);
    if (Math.min(layout.width, layout.height) >= SOLID_BELOW && shown.causes[index] >= 0) mark(data.reasons[shown.causes[index]], x, y, width, tall);
  }
  pen.globalAlpha = 1;
}

const marks = new Map(data.reasons.map((reason) => [reason.key, reason.mark ? new Path2D(reason.mark) : null]));

// The mark of a reason, in the colour of the ground: stripes over all of it, others in its middle.
function mark(reason, x, y, width, height) {
  const path = marks.get(reason.key);
  if (!path) return;
  pen.save();
  pen.strokeStyle = look.panel;
  if (reason.key === "confirmed_gap") {
    pen.translate(x, y);
    pen.fillStyle = stripes(Math.min(width, height) < LEVEL_FROM - 2 ? 5 : 8);
    pen.fillRect(0, 0, width, height);
  } else {
    // The path is drawn in a square of 20, of which it takes the middle 10.
    const size = Math.max(8, Math.min(width + 6, height + 6, 24));
    pen.translate(x + (width - size) / 2, y + (height - size) / 2);
    pen.scale(size / 20, size / 20);
    pen.lineWidth = (20 / size) * (size < 14 ? 1.4 : 2);
    pen.stroke(path);
  }
  pen.restore();
}

// Slanting lines that are `step` apart, as a tile made of whole pixels of the screen.
function stripes(step) {
  const side = Math.round(step * scale), key = side;
  if (!look.stripes.has(key)) {
    const tile = new OffscreenCanvas(side, side), ink = tile.getContext("2d");
    ink.strokeStyle = look.panel;
    ink.lineWidth = side * 0.25;
    ink.beginPath();
    for (const shift of [-side, 0, side]) { ink.moveTo(shift - 1, side + 1); ink.lineTo(shift + side + 1, -1); }
    ink.stroke();
    const pattern = pen.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(1 / scale));
    look.stripes.set(key, pattern);
  }
  return look.stripes.get(key);
}

// Symbol-days by state as one bar: `whole` of them fill it, and what lacks stays visible however little it is.
function stack(tally, whole, x, y, width, height, upright) {
  const length = upright ? height : width, states = [...data.states.keys()].filter((state) => tally[state]);
  const sizes = states.map((state) => Math.max(lacks(state) ? 2 : 1, Math.round((tally[state] / whole) * length)));
  const goal = Math.round((cellsOf(tally) / whole) * length), largest = sizes.indexOf(Math.max(...sizes));
  // The largest part gives or takes what rounding has brought.
  sizes[largest] = Math.max(2, sizes[largest] + goal - sizes.reduce((sum, size) => sum + size, 0));
  let from = 0;
  states.forEach((state, index) => {
    pen.globalAlpha = state > MISSING ? 0.45 : 1;
    if (upright) fill(look.colours[state], x, y + height - from - sizes[index], width, sizes[index]);
    else fill(look.colours[state], x + from, y, sizes[index], height);
    from += sizes[index];
  });
  pen.globalAlpha = 1;
}

const cellsOf = (tally) => tally.slice(0, EXPECTED).reduce((sum, count) => sum + count, 0);

// -- the whole ----------------------------------------------------------------------------------------------------------

let drawn = false;

function draw() {
  if (!shown) return;
  const seen = view(), { width: w, label, head, sums } = layout;
  const marked = isFocused() ? active : hovered;
  fill(look.panel, 0, 0, box.width, box.height);
  clip(label, head, seen.right - label, seen.bottom - head, () => drawCells(seen));
  clip(label, 0, seen.right - label, head, () => drawDays(seen, marked));
  clip(0, head, layout.narrow ? box.width : label, seen.bottom - head, () => drawSymbols(seen, marked));
  if (!layout.narrow) clip(seen.right, head, sums, seen.bottom - head, () => drawSums(seen));
  drawCorners();
  fill(look.line, 0, head - 1, box.width, 1);
  if (!layout.narrow && seen.left > 0) fill(look.line, label - 1, 0, 1, box.height);
  if (!layout.narrow && seen.left + seen.right < Math.floor(label + w * data.days)) fill(look.line, seen.right, 0, 1, box.height);
  if (hovered) outline(hovered, seen, look.muted, 1);
  if (marked === active) outline(active, seen, look.accent, 2);
  if (!drawn) {
    drawn = true;
    performance.mark("coverage-map-drawn");
  }
}

// What all symbols have together, and what the last column says.
function drawCorners() {
  const { head, totals, narrow, sums, label } = layout, edge = box.width - (narrow ? 10 : 14);
  const what = wanted ? "matching days" : shown.name === "funding_rates" ? "days complete" : "coverage";
  const value = wanted ? number(wanted.total) : share(...ratioOf(shown.total));
  if (narrow) {
    const y = head - 16 - totals;
    text("All symbols", 10, y, look.muted, font(12.5));
    text(`${what} ${value}`, edge, y, look.text, font(12.5, 650), 0, "right");
  } else {
    text("All symbols", 14, head - 6 - totals / 2, look.muted, font(12.5), label - 20);
    text(what, edge, 18, look.muted, font(12), 0, "right");
    text(value, edge, head - 6 - totals / 2, look.text, font(13, 650), sums - 16, "right");
  }
}

function drawCells(seen) {
  const { width: w, height: h } = layout, gap = gapOf(w), rim = rimOf(h);
  for (let row = seen.row0; row < seen.row1; row++) {
    const y = yOf(row, seen), from = order[row] * data.days;
    for (let day = seen.day0; day < seen.day1; ) {
      const kind = shown.cells[from + day];
      let next = day + 1;
      // When days are narrow, equal neighbours are one stroke.
      if (!gap) while (next < seen.day1 && shown.cells[from + next] === kind) next++;
      const x = xOf(day, seen);
      cell(kind, x, y, xOf(next, seen) - x - gap, h - rim);
      day = next;
    }
  }
  // When days are narrow, a fine line stands between two months.
  if (w < 14) {
    for (let day = seen.day0; day < seen.day1; day++) {
      if (day && dates[day].endsWith("-01")) fill(look.panel, xOf(day, seen) - (gap || 1), yOf(0, seen), 1, pitch() * order.length);
    }
  }
}

function drawDays(seen, marked) {
  const { width: w, head, totals, narrow } = layout, numbered = w >= 18;
  for (let day = seen.day0; day < seen.day1; day++) {
    const x = xOf(day, seen), wide = Math.max(1 / scale, xOf(day + 1, seen) - x - gapOf(w)), y = head - 8 - totals;
    if (wanted) {
      fill(look.faint, x, y, wide, totals);
      stack(wanted.byDay[day], wanted.busiest, x, y, wide, totals, true);
    } else stack(shown.byDay[day], cellsOf(shown.byDay[day]), x, y, wide, totals, true);
    if (numbered && !narrow) {
      const bold = marked && marked.day === day;
      text(dates[day].slice(8).replace(/^0/, ""), x + (w - 2) / 2, 28, bold ? look.text : look.muted, font(11.5, bold ? 700 : 400), 0, "center");
    }
  }
  const chip = (!numbered || narrow) && marked && marked.day < data.days
    ? Math.min(Math.max(xOf(marked.day, seen) + w / 2, layout.label + 46), seen.right - 46) : null;
  drawMonths(seen, numbered && !narrow, chip);
  if (chip !== null) plate(dates[marked.day], chip, 18, "center");
}

function drawMonths(seen, numbered, chip) {
  let day = seen.day0;
  while (day < seen.day1) {
    const month = dates[day].slice(0, 7);
    let first = day, last = day;
    while (first > 0 && dates[first - 1].startsWith(month)) first--;
    while (last < data.days && dates[last].startsWith(month)) last++;
    const x = Math.max(xOf(first, seen), layout.label), end = Math.min(xOf(last, seen), seen.right);
    const name = MONTHS[Number(month.slice(5)) - 1], full = `${name} ${month.slice(0, 4)}`;
    pen.font = font(12, 600);
    const pad = numbered || first === 0 ? 1 : 4;
    const fits = (value) => pen.measureText(value).width + pad + 3 <= end - x;
    const shorter = name === "Jan" ? [month.slice(0, 4), `’${month.slice(2, 4)}`] : [name, name[0]];
    const value = [full, ...shorter].find(fits) || "";
    const free = chip === null || x > chip + 46 || x + pad + pen.measureText(value).width < chip - 46;
    if (value && free) text(value, x + pad, numbered ? 11 : 18, look.text, font(12, 600));
    if (first > 0 && !numbered) fill(look.line, xOf(first, seen) - 1, 8, 1, 22);
    day = last;
  }
}

function drawSymbols(seen, marked) {
  const { height: h, label, lead, narrow } = layout;
  for (let row = seen.row0; row < seen.row1; row++) {
    const weight = marked && marked.row === row ? 700 : 400, symbol = order[row];
    if (lead) {
      const y = yOf(row, seen) - lead / 2, [value, colour] = sumOf(symbol);
      text(data.symbols[symbol], 10, y, look.text, font(12, weight), box.width - 110);
      text(value, box.width - 10, y, colour, font(12, weight), 0, "right");
    } else if (h >= 11) {
      text(data.symbols[symbol], 14, yOf(row, seen) + (h - 2) / 2, look.text, font(h < 14 ? 10 : 12.5, weight), label - 22);
    }
  }
  // Rows that are too low for names show that of the marked one.
  if (!lead && (h < 11 || narrow) && marked && marked.row >= 0 && marked.row < order.length) {
    plate(data.symbols[order[marked.row]], 8, Math.max(yOf(marked.row, seen) + h / 2, layout.head + 10));
  }
}

function sumOf(symbol) {
  if (wanted) return [plural(wanted.daysOf(wanted.bySymbol[symbol]), "day"), look.text];
  const value = share(...ratioOf(shown.bySymbol[symbol]));
  return [value, value === "–" ? look.muted : look.text];
}

function drawSums(seen) {
  const { height: h, sums } = layout;
  for (let row = seen.row0; row < seen.row1; row++) {
    const symbol = order[row], tally = wanted ? wanted.bySymbol[symbol] : shown.bySymbol[symbol];
    const tall = Math.max(1, Math.min(h - rimOf(h), 10)), [value, colour] = sumOf(symbol);
    const y = yOf(row, seen) + Math.round((h - rimOf(h) - tall) / 2);
    if (wanted) fill(look.faint, seen.right + 14, y, sums - 90, tall);
    stack(tally, data.days, seen.right + 14, y, sums - 90, tall, false);
    if (h >= 11) text(value, box.width - 14, yOf(row, seen) + (h - 2) / 2, colour, font(h < 14 ? 10 : 12.5), 0, "right");
  }
}

// -- the frame around a cell ----------------------------------------------------------------------------------------------

function rectangle(spot, seen) {
  const { width: w, height: h, head, totals, sums, lead, narrow } = layout, whole = spot.day === data.days;
  const y = spot.row < 0 ? head - 8 - totals : yOf(spot.row, seen), height = spot.row < 0 ? totals : Math.max(h - rimOf(h), 3);
  if (whole && narrow) return spot.row < 0 || lead ? { x: 5, y: y - 16, width: box.width - 10, height: 16 } : { x: 5, y, width: box.width - 10, height };
  if (whole) return { x: seen.right + 3, y, width: sums - 6, height };
  const x = xOf(spot.day, seen);
  return { x, y, width: Math.max(xOf(spot.day + 1, seen) - x - gapOf(w), 3), height };
}

function outline(spot, seen, colour, thick) {
  const at = rectangle(spot, seen), whole = spot.day === data.days;
  const [x, right] = whole ? [layout.narrow ? 0 : seen.right, box.width] : [layout.label - 3, seen.right + 3];
  const [y, bottom] = spot.row < 0 ? [0, layout.head] : [layout.head - 3, seen.bottom];
  clip(x, y, right - x, bottom - y, () => {
    pen.lineWidth = thick + 2;
    pen.strokeStyle = look.panel;
    pen.strokeRect(at.x - 1, at.y - 1, at.width + 2, at.height + 2);
    pen.lineWidth = thick;
    pen.strokeStyle = colour;
    pen.strokeRect(at.x - 1, at.y - 1, at.width + 2, at.height + 2);
  });
}
