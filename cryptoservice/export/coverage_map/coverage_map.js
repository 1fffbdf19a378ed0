
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [scroller, spacer, canvas, grid, tip] = ["scroller", "spacer", "canvas", "grid", "tip"].map(byId);
  const pen = canvas.getContext("2d");
  const S = data.states.length, COMPLETE = 0, PARTIAL = 1, MISSING = 2;
  const EXPECTED = S, ACTUAL = S + 1;
  const DAY_MS = 86400000, start = Date.parse(data.start);
  const dates = Array.from({ length: data.days }, (_, day) => new Date(start + day * DAY_MS).toISOString().slice(0, 10));
  const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const WIDTHS = [1, 2, 3, 4, 5, 6, 8, 11, 14, 18, 22, 28, 34, 40], HEIGHTS = [2, 3, 4, 6, 8, 11, 14, 18, 22, 28, 34];
  const number = (value) => value.toLocaleString("en-US");

  // A percentage with one decimal: 100 and 0 only when they are exact.
  function share(part, whole) {
    if (!whole) return "–";
    const tenths = Math.min(Math.max(Math.round((1000 * part) / whole), part > 0 ? 1 : 0), 1000 - (part < whole ? 1 : 0));
    return `${tenths % 1000 ? (tenths / 10).toFixed(1) : tenths / 10} %`;
  }

  // -- data: the cells by symbol and day, and totals: symbol-days by state, expected rows, actual rows ------------

  function unpack(dataset) {
    const days = data.days, cells = new Uint32Array(data.symbols.length * days);
    const bySymbol = data.symbols.map(() => new Array(S + 2).fill(0)), byDay = dates.map(() => new Array(S + 2).fill(0));
    const total = new Array(S + 2).fill(0);
    dataset.rows.forEach((row, symbol) => {
      let at = symbol * days, last = 0;
      for (const item of row) {
        if (item < 0) { cells.fill(last, at, at - item); at -= item; } else { last = item; cells[at++] = item; }
      }
      for (let day = 0; day < days; day++) {
        const kind = dataset.kinds[cells[symbol * days + day]];
        for (const tally of [bySymbol[symbol], byDay[day], total]) {
          tally[kind[0]]++;
          if (kind.length > 1) { tally[EXPECTED] += kind[1]; tally[ACTUAL] += kind[2]; }
        }
      }
    });
    return { name: dataset.name, label: dataset.label, kinds: dataset.kinds, cells, bySymbol, byDay, total };
  }

  const unpacked = new Map();
  let shown = null;
  let order = [];
  // Row -1 holds the totals per day, column data.days the totals per symbol.
  const active = { row: 0, day: 0 };
  let hovered = null;
  let box = { width: 0, height: 0 };
  let look = {};
  const SUMS = 132;
  const layout = { width: 0, height: 0, zoomed: false, label: 90, head: 76, sums: SUMS, totals: 30 };

  const kindAt = (row, day) => shown.kinds[shown.cells[order[row] * data.days + day]];
  const activeDays = (tally) => tally[COMPLETE] + tally[PARTIAL] + tally[MISSING];
  // Nobody knows how many funding rates a day should have: there, complete symbol-days are counted and not rows.
  const ratioOf = (tally) => shown.name === "funding_rates" ? [tally[COMPLETE], activeDays(tally)] : [tally[ACTUAL], tally[EXPECTED]];

  function choose(name) {
    if (!unpacked.has(name)) unpacked.set(name, unpack(data.datasets.find((dataset) => dataset.name === name)));
    shown = unpacked.get(name);
    for (const block of document.querySelectorAll(".dataset")) block.hidden = block.dataset.dataset !== name;
    arrange();
  }

  function arrange() {
    const wanted = byId("find").value.trim().toUpperCase(), lacking = byId("lacking").checked, sort = byId("sort").value;
    order = data.symbols.map((_, index) => index).filter((index) => {
      const tally = shown.bySymbol[index];
      return data.symbols[index].includes(wanted) && (!lacking || tally[PARTIAL] + tally[MISSING] > 0);
    });
    const rank = (index) => {
      const [part, whole] = ratioOf(shown.bySymbol[index]);
      return whole ? part / whole : 2;
    };
    if (sort === "name") order.sort((a, b) => (data.symbols[a] < data.symbols[b] ? -1 : 1));
    if (sort === "coverage") order.sort((a, b) => rank(a) - rank(b) || a - b);
    byId("shown").value = `${number(order.length)} of ${number(data.symbols.length)} symbols shown.`;
    active.row = Math.min(active.row, order.length - 1);
    if (order.length && active.row < 0) active.row = 0;
    grid.replaceChildren();
    measure();
    place(active.row, active.day, false);
  }

  // -- words: the same for the note under the pointer and for screen readers --------------------------------------

  function words(row, day) {
    const totals = day === data.days;
    const title = row < 0 ? (totals ? "All symbols, all days" : `All symbols · ${longDay(day)}`)
      : totals ? `${data.symbols[order[row]]} · all days` : `${data.symbols[order[row]]} · ${longDay(day)}`;
    if (row < 0 || totals) {
      const tally = row < 0 ? (totals ? shown.total : shown.byDay[day]) : shown.bySymbol[order[row]];
      const lines = data.states.map((state, index) => [state.label, tally[index]]).filter((line) => line[1]);
      const texts = lines.map(([label, count]) => `${label}: ${number(count)}`);
      if (shown.name !== "funding_rates" && tally[EXPECTED]) {
        texts.push(`${number(tally[ACTUAL])} of ${number(tally[EXPECTED])} rows (${share(tally[ACTUAL], tally[EXPECTED])})`);
      }
      return [title, ...texts];
    }
    const [state, expected, actual, reason, partialBars] = kindAt(row, day);
    const texts = [title, data.states[state].label];
    if (expected === undefined) {
      if (state > MISSING) texts.push(data.states[state].key);
    } else {
      texts[1] += `: ${number(actual)} of ${number(expected)} rows (${share(actual, expected)})`;
    }
    if (reason) texts.push(`${reason}${data.reasons[reason] ? ` – ${data.reasons[reason]}` : ""}`);
    if (partialBars) texts.push(`${number(partialBars)} bars made from incomplete source bars`);
    return texts;
  }

  function longDay(day) {
    return `${dates[day]} ${WEEKDAYS[new Date(start + day * DAY_MS).getUTCDay()]}`;
  }

  // -- measures -----------------------------------------------------------------------------------------------------

  function font(size, weight = 400) {
    return `${weight} ${size}px ${look.sans}`;
  }

  function readLook() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    look = { sans: read("sans"), colours: data.states.map((_, index) => read(`s${index}`)) };
    for (const name of ["panel", "line", "faint", "text", "muted", "accent"]) look[name] = read(name);
  }

  function measure() {
    pen.font = font(12.5);
    let widest = pen.measureText("All symbols").width;
    for (const symbol of data.symbols) widest = Math.max(widest, Math.min(pen.measureText(symbol).width, 190));
    layout.label = Math.ceil(widest) + 26;
    const room = scroller.clientWidth - layout.label - SUMS;
    if (!layout.zoomed) {
      // Narrow days may have a fraction of a pixel, so that a year fits into every window.
      const fair = room / data.days;
      layout.width = Math.max(2, Math.min(40, fair < 8 ? Math.floor(100 * fair) / 100 : Math.floor(fair)));
      layout.height = Math.max(16, Math.min(28, Math.floor(layout.width)));
    }
    // With whole pixels for each day a few are left. The last column gets them, so that the map fills its frame.
    const over = room - layout.width * data.days;
    layout.sums = SUMS + (over > 0 && over < 80 ? Math.floor(over) : 0);
    const width = Math.round(layout.label + layout.width * data.days + layout.sums);
    const height = layout.head + layout.height * order.length + 6;
    spacer.style.width = `${width}px`;
    spacer.style.height = `${height}px`;
    box = { width: Math.min(scroller.clientWidth, width), height: Math.min(scroller.clientHeight, height) };
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * scale);
    canvas.height = Math.round(box.height * scale);
    canvas.style.width = `${box.width}px`;
    canvas.style.height = `${box.height}px`;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    schedule();
  }

  // -- drawing: only what is in view, equal neighbours in one stroke when days are narrow ---------------------------

  let scheduled = false;
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; draw(); });
  }

  function view() {
    const left = scroller.scrollLeft, top = scroller.scrollTop;
    const right = box.width - layout.sums, bottom = box.height;
    return {
      left, top, right, bottom,
      day0: Math.max(0, Math.floor(left / layout.width)),
      day1: Math.min(data.days, Math.ceil((left + right - layout.label) / layout.width)),
      row0: Math.max(0, Math.floor(top / layout.height)),
      row1: Math.min(order.length, Math.ceil((top + bottom - layout.head) / layout.height)),
    };
  }

  const xOf = (day, seen) => Math.round(layout.label + day * layout.width - seen.left);
  const yOf = (row, seen) => layout.head + row * layout.height - seen.top;

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

  function cell(kind, x, y, width, height, repeats) {
    const [state, expected, actual] = kind;
    for (const [bx, by, bw, bh, opacity] of data.states[state].shape) {
      let top = Math.round(by * height), tall = Math.max(1, Math.round((by + bh) * height) - top);
      if (state === PARTIAL && height >= 8 && expected) {
        // The height of the bar shows how much is there; both parts stay visible.
        const cut = Math.round(height * (1 - Math.min(0.85, Math.max(0.2, actual / expected))));
        [top, tall] = by ? [cut, height - cut] : [0, cut];
      }
      pen.globalAlpha = opacity;
      // A narrow cell, or several in one stroke, takes the full width: height and place are enough to show the state.
      const inset = repeats > 1 || width < 6 ? 0 : Math.round(bx * width);
      fill(look.colours[state], x + inset, y + top, (repeats > 1 || width < 6 ? width : Math.max(1, Math.round(bw * width))), tall);
    }
    pen.globalAlpha = 1;
  }

  function stack(tally, x, y, width, height, upright) {
    const whole = tally.slice(0, S).reduce((sum, count) => sum + count, 0);
    let done = 0;
    for (let state = 0; state < S; state++) {
      if (!tally[state]) continue;
      const length = upright ? height : width;
      const from = Math.round((done / whole) * length);
      done += tally[state];
      const size = Math.max(1, Math.round((done / whole) * length) - from);
      const at = Math.min(from, length - 1);
      pen.globalAlpha = state > MISSING ? 0.45 : 1;
      if (upright) fill(look.colours[state], x, y + height - at - size, width, size);
      else fill(look.colours[state], x + at, y, size, height);
    }
    pen.globalAlpha = 1;
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

  function draw() {
    if (!shown) return;
    const seen = view(), { width: w, height: h, label, head, sums } = layout;
    const marked = isFocused() ? active : hovered;
    fill(look.panel, 0, 0, box.width, box.height);
    clip(label, head, seen.right - label, seen.bottom - head, () => drawCells(seen));
    clip(label, 0, seen.right - label, head, () => drawDays(seen, marked));
    clip(0, head, label, seen.bottom - head, () => drawSymbols(seen, marked));
    clip(seen.right, head, sums, seen.bottom - head, () => drawSums(seen));
    text("All symbols", 14, head - 6 - layout.totals / 2, look.muted, font(12.5), label - 20);
    text(shown.name === "funding_rates" ? "days complete" : "coverage", box.width - 14, 18, look.muted, font(12), 0, "right");
    text(share(...ratioOf(shown.total)), box.width - 14, head - 6 - layout.totals / 2, look.text, font(13, 650), sums - 16, "right");
    fill(look.line, 0, head - 1, box.width, 1);
    if (seen.left > 0) fill(look.line, label - 1, 0, 1, box.height);
    if (seen.left + seen.right < Math.floor(label + w * data.days)) fill(look.line, seen.right, 0, 1, box.height);
    if (hovered) outline(hovered, seen, look.muted, 1);
    if (marked === active) outline(active, seen, look.accent, 2);
    if (!drawn) {
      drawn = true;
      performance.mark("coverage-map-drawn");
    }
  }
  let drawn = false;

  function drawCells(seen) {
    const { width: w, height: h } = layout, gap = w < 6 ? 0 : w < 14 ? 1 : 2, rim = h < 4 ? 0 : h < 14 ? 1 : 2;
    for (let row = seen.row0; row < seen.row1; row++) {
      const y = yOf(row, seen), from = order[row] * data.days;
      for (let day = seen.day0; day < seen.day1; ) {
        const kind = shown.cells[from + day];
        let next = day + 1;
        if (!gap) while (next < seen.day1 && shown.cells[from + next] === kind) next++;
        const x = xOf(day, seen);
        cell(shown.kinds[kind], x, y, xOf(next, seen) - x - gap, h - rim, next - day);
        day = next;
      }
    }
    // When days are narrow, a fine line stands between two months.
    if (w < 14) {
      for (let day = seen.day0; day < seen.day1; day++) {
        if (day && dates[day].endsWith("-01")) fill(look.panel, xOf(day, seen) - (gap || 1), yOf(0, seen), 1, h * order.length);
      }
    }
  }

  function drawDays(seen, marked) {
    const { width: w, head, totals } = layout;
    for (let day = seen.day0; day < seen.day1; day++) {
      const x = xOf(day, seen), number = Number(dates[day].slice(8)), bold = marked && marked.day === day;
      const wide = xOf(day + 1, seen) - x - (w < 6 ? 0 : w < 14 ? 1 : 2);
      stack(shown.byDay[day], x, head - 8 - totals, Math.max(1, wide), totals, true);
      if (w >= 18) {
        text(String(number), x + (w - 2) / 2, 28, bold ? look.text : look.muted, font(11.5, bold ? 700 : 400), 0, "center");
      }
    }
    const chip = w < 18 && marked && marked.day < data.days
      ? Math.min(Math.max(xOf(marked.day, seen) + w / 2, layout.label + 42), seen.right - 42) : null;
    let day = seen.day0;
    while (day < seen.day1) {
      const month = dates[day].slice(0, 7);
      let first = day, last = day;
      while (first > 0 && dates[first - 1].startsWith(month)) first--;
      while (last < data.days && dates[last].startsWith(month)) last++;
      const x = Math.max(xOf(first, seen), layout.label), end = Math.min(xOf(last, seen), seen.right);
      const name = MONTHS[Number(month.slice(5)) - 1], full = `${name} ${month.slice(0, 4)}`;
      pen.font = font(12, 600);
      const y = w >= 18 ? 11 : 18;
      const fits = (value) => pen.measureText(value).width + 8 <= end - x;
      const value = fits(full) ? full : fits(name) ? (name === "Jan" ? month.slice(0, 4) : name) : "";
      const free = chip === null || x > chip + 42 || x + 4 + pen.measureText(value).width < chip - 42;
      if (value && free) text(value, x + (w < 18 ? 4 : 2), y, look.text, font(12, 600));
      if (first > 0 && w < 18) fill(look.line, xOf(first, seen) - 1, 8, 1, 22);
      day = last;
    }
    if (chip !== null) {
      fill(look.text, Math.round(chip) - 41, 8, 82, 20);
      text(dates[marked.day], chip, 18, look.panel, font(12, 600), 0, "center");
    }
  }

  function drawSymbols(seen, marked) {
    const { height: h, label } = layout;
    for (let row = seen.row0; row < seen.row1; row++) {
      const bold = marked && marked.row === row;
      if (h < 11) continue;
      const middle = yOf(row, seen) + (h - 2) / 2;
      text(data.symbols[order[row]], 14, middle, look.text, font(h < 14 ? 10 : 12.5, bold ? 700 : 400), label - 22);
    }
    if (h < 11 && marked && marked.row >= 0 && marked.row < order.length) {
      const middle = Math.max(yOf(marked.row, seen) + h / 2, layout.head + 9);
      fill(look.text, 8, middle - 9, label - 14, 18);
      text(data.symbols[order[marked.row]], 14, middle, look.panel, font(12, 600), label - 26);
    }
  }

  function drawSums(seen) {
    const { height: h, sums } = layout;
    for (let row = seen.row0; row < seen.row1; row++) {
      const tally = shown.bySymbol[order[row]], y = yOf(row, seen), tall = Math.max(1, Math.min(h - (h < 4 ? 0 : 2), 10));
      stack(tally, seen.right + 14, y + Math.round((h - 2 - tall) / 2), sums - 86, tall, false);
      if (h < 11) continue;
      const value = share(...ratioOf(tally));
      text(value, box.width - 14, y + (h - 2) / 2, value === "–" ? look.muted : look.text, font(h < 14 ? 10 : 12.5), 0, "right");
    }
  }

  function rectangle(spot, seen) {
    const { width: w, height: h, head, totals, sums } = layout;
    const whole = spot.day === data.days;
    return {
      x: whole ? seen.right + 3 : xOf(spot.day, seen),
      y: spot.row < 0 ? head - 8 - totals : yOf(spot.row, seen),
      width: whole ? sums - 6 : Math.max(xOf(spot.day + 1, seen) - xOf(spot.day, seen) - (w < 6 ? 0 : w < 14 ? 1 : 2), 3),
      height: spot.row < 0 ? totals : Math.max(h - (h < 4 ? 0 : h < 14 ? 1 : 2), 3),
    };
  }

  function outline(spot, seen, colour, thick) {
    const at = rectangle(spot, seen), whole = spot.day === data.days;
    const [x, right] = whole ? [seen.right, box.width] : [layout.label - 3, seen.right];
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
    const { width: w, height: h, label, head, totals } = layout;
    made.style.left = `${day === data.days ? label + w * data.days : label + day * w}px`;
    made.style.top = `${row < 0 ? head - 8 - totals : head + row * h}px`;
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
    const { width: w, height: h, label, head, sums } = layout;
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
      const row = Math.floor(at / data.days), state = kindAt(row, at % data.days)[0];
      if (state === PARTIAL || state === MISSING) return [row, at % data.days];
    }
    return null;
  }

  function onKey(event) {
    if (event.altKey || event.metaKey) return;
    const last = order.length - 1, page = Math.max(1, Math.floor((box.height - layout.head) / layout.height) - 1);
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
    const day = x >= seen.right ? data.days : x < layout.label ? null : Math.floor((x - layout.label + seen.left) / layout.width);
    const row = y < layout.head ? -1 : Math.floor((y - layout.head + seen.top) / layout.height);
    if (row >= order.length || (day !== null && day > data.days)) return null;
    return { row, day: day === null ? data.days : day };
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
  for (const input of document.querySelectorAll('input[name="dataset"]')) input.addEventListener("change", () => choose(input.value));
  byId("sort").addEventListener("change", arrange);
  byId("find").addEventListener("input", arrange);
  byId("lacking").addEventListener("change", arrange);
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
})();
