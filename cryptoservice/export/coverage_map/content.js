// What the map shows: the symbol-days of a dataset, their totals, which symbols are shown in which order, and the words for them.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const [scroller, spacer, canvas, grid, tip] = ["scroller", "spacer", "canvas", "grid", "tip"].map(byId);
const COMPLETE = 0, PARTIAL = 1, MISSING = 2;
// A tally holds symbol-days by state, then expected rows, actual rows, and incomplete symbol-days by reason.
const EXPECTED = data.states.length, ACTUAL = EXPECTED + 1, REASON = ACTUAL + 1, TALLY = REASON + data.reasons.length;
const DAY_MS = 86400000, start = Date.parse(data.start);
const dates = Array.from({ length: data.days }, (_, day) => new Date(start + day * DAY_MS).toISOString().slice(0, 10));
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const number = (value) => value.toLocaleString("en-US");
const plural = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

// A percentage with one decimal: 100 and 0 only when they are exact.
function share(part, whole) {
  if (!whole) return "–";
  const tenths = Math.min(Math.max(Math.round((1000 * part) / whole), part > 0 ? 1 : 0), 1000 - (part < whole ? 1 : 0));
  return `${tenths % 1000 ? (tenths / 10).toFixed(1) : tenths / 10} %`;
}

function longDay(day) {
  return `${dates[day]} ${WEEKDAYS[new Date(start + day * DAY_MS).getUTCDay()]}`;
}

// -- a dataset ------------------------------------------------------------------------------------------------------

const lacks = (state) => state === PARTIAL || state === MISSING;
const tallies = (count) => Array.from({ length: count }, () => new Array(TALLY).fill(0));

function unpack({ name, label, kinds, rows }) {
  const days = data.days, cells = new Uint32Array(data.symbols.length * days);
  const bySymbol = tallies(data.symbols.length), byDay = tallies(days), [total] = tallies(1);
  const causes = kinds.map(([state, , , reason]) => lacks(state) ? data.reasons.findIndex((known) => known.key === reason) : -1);
  rows.forEach((row, symbol) => {
    let at = symbol * days, last = 0;
    for (const item of row) {
      if (item < 0) { cells.fill(last, at, at - item); at -= item; } else { last = item; cells[at++] = item; }
    }
    for (let day = 0; day < days; day++) {
      const index = cells[symbol * days + day], kind = kinds[index];
      for (const tally of [bySymbol[symbol], byDay[day], total]) {
        tally[kind[0]]++;
        if (kind.length > 1) { tally[EXPECTED] += kind[1]; tally[ACTUAL] += kind[2]; }
        if (causes[index] >= 0) tally[REASON + causes[index]]++;
      }
    }
  });
  return { name, label, kinds, causes, cells, bySymbol, byDay, total };
}

const unpacked = new Map();
let shown = null;
let order = [];
// Row -1 holds the totals per day, column data.days the totals per symbol.
const active = { row: 0, day: 0 };
let hovered = null;

const kindAt = (row, day) => shown.kinds[shown.cells[order[row] * data.days + day]];
const activeDays = (tally) => tally[COMPLETE] + tally[PARTIAL] + tally[MISSING];
const lackingDays = (tally) => tally[PARTIAL] + tally[MISSING];
// Nobody knows how many funding rates a day should have: there, complete symbol-days are counted and not rows.
const ratioOf = (tally) => shown.name === "funding_rates" ? [tally[COMPLETE], activeDays(tally)] : [tally[ACTUAL], tally[EXPECTED]];

// -- the filter: cards that are pressed ------------------------------------------------------------------------------

// A symbol-day is wanted when it has one of the states, if any is chosen, and one of the reasons, if any is chosen.
const filter = { states: new Set(), reasons: new Set() };
// For each kind of cell whether it is wanted, and the wanted symbol-days by symbol and by day; null without a filter.
let wanted = null;

function applyFilter() {
  if (!filter.states.size && !filter.reasons.size) { wanted = null; return; }
  const kinds = shown.kinds.map(([state], index) => (!filter.states.size || filter.states.has(state))
    && (!filter.reasons.size || filter.reasons.has(shown.causes[index])));
  const bySymbol = tallies(data.symbols.length), byDay = tallies(data.days);
  let total = 0;
  for (let symbol = 0, at = 0; symbol < data.symbols.length; symbol++) {
    for (let day = 0; day < data.days; day++, at++) {
      if (!kinds[shown.cells[at]]) continue;
      const state = shown.kinds[shown.cells[at]][0];
      bySymbol[symbol][state]++;
      byDay[day][state]++;
      total++;
    }
  }
  const daysOf = (tally) => tally.slice(0, EXPECTED).reduce((sum, count) => sum + count, 0);
  wanted = { kinds, bySymbol, byDay, total, daysOf, busiest: Math.max(1, ...byDay.map(daysOf)) };
}

const isWanted = (row, day) => {
  const kind = shown.cells[order[row] * data.days + day];
  return wanted ? wanted.kinds[kind] : lacks(shown.kinds[kind][0]);
};

// -- the order --------------------------------------------------------------------------------------------------------

function arrangeOrder() {
  const text = byId("find").value.trim().toUpperCase(), lacking = byId("lacking").checked, sort = byId("sort").value;
  order = data.symbols.map((_, index) => index).filter((index) => data.symbols[index].includes(text)
    && (!lacking || lackingDays(shown.bySymbol[index]) > 0)
    && (!wanted || wanted.daysOf(wanted.bySymbol[index]) > 0));
  const rank = (index) => {
    const [part, whole] = ratioOf(shown.bySymbol[index]);
    return whole ? part / whole : 2;
  };
  if (sort === "name") order.sort((a, b) => (data.symbols[a] < data.symbols[b] ? -1 : 1));
  if (sort === "coverage") order.sort((a, b) => rank(a) - rank(b) || a - b);
}

function shownWords() {
  const symbols = `${number(order.length)} of ${plural(data.symbols.length, "symbol")} shown.`;
  if (!wanted) return symbols;
  const names = [...filter.states].map((state) => data.states[state].label);
  const reasons = [...filter.reasons].map((reason) => data.reasons[reason].label);
  const filters = [names, reasons].filter((group) => group.length).map((group) => group.join(" or ")).join(", because ");
  return `${symbols} ${plural(wanted.total, "symbol-day")}: ${filters}.`;
}

// -- words: the same for the note under the pointer and for screen readers --------------------------------------------

function words(row, day) {
  const totals = day === data.days, title = row < 0 ? "All symbols" : data.symbols[order[row]];
  if (row < 0 || totals) {
    const tally = row < 0 ? (totals ? shown.total : shown.byDay[day]) : shown.bySymbol[order[row]];
    return [`${title}${row < 0 && totals ? ", all days" : totals ? " · all days" : ` · ${longDay(day)}`}`, ...tallyWords(tally)];
  }
  const [state, expected, actual, reason, partialBars] = kindAt(row, day);
  const texts = [`${title} · ${longDay(day)}`, data.states[state].label];
  if (expected === undefined) {
    if (!lacks(state) && state !== COMPLETE) texts.push(data.states[state].key);
  } else {
    texts[1] += expected ? `: ${number(actual)} of ${number(expected)} rows (${share(actual, expected)})` : `: ${plural(actual, "row")}, none expected`;
  }
  if (reason) {
    const known = data.reasons.find((item) => item.key === reason);
    texts.push(known ? `${reason} – ${known.meaning}` : reason);
  }
  if (partialBars) texts.push(`${plural(partialBars, "bar")} made from incomplete source bars`);
  return texts;
}

function tallyWords(tally) {
  const texts = data.states.map((state, index) => [state.label, tally[index]]).filter(([, count]) => count)
    .map(([label, count]) => `${label}: ${number(count)}`);
  const why = data.reasons.map((reason, index) => [reason.label, tally[REASON + index]]).filter(([, count]) => count)
    .map(([label, count]) => `${label} ${number(count)}`);
  if (why.length) texts.push(`why: ${why.join(" · ")}`);
  if (shown.name !== "funding_rates" && tally[EXPECTED]) {
    texts.push(`${number(tally[ACTUAL])} of ${number(tally[EXPECTED])} rows (${share(tally[ACTUAL], tally[EXPECTED])})`);
  }
  return texts;
}
