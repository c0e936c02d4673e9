const facts = JSON.parse(document.getElementById("facts").textContent);
const KINDS = ["both modalities", "first only", "second only"];
const MARKS = ["●", "▲", "■"];
const SVG = "http://www.w3.org/2000/svg";

/** An element; text is always text, whatever it holds. */
function el(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (key === "style") Object.assign(made.style, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== ""));
  return made;
}

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function section(id, title, note, ...content) {
  return el("section", { id, "data-title": title }, el("h2", {}, title), note ? el("p", { class: "note" }, note) : null, ...content);
}

function number(value, digits = 3) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(size >= 100 ? 1 : digits);
}

const percent = value => (value === null || value === undefined || !isFinite(value) ? "–" : `${(100 * value).toFixed(1)} %`);
const arrow = name => name.replace("_to_", " → ");
const colour = place => getComputedStyle(document.documentElement).getPropertyValue(`--c${place % 10}`).trim();
const themed = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mark = kind => el("span", { class: "mark", title: KINDS[kind], role: "img", "aria-label": KINDS[kind] }, MARKS[kind]);

/** A bar from the left, with a line at `at` if it is given; all as shares of the track. */
function bar(share, own, at) {
  const parts = [el("i", { class: own ? "own" : null, style: { width: `${100 * Math.max(0, Math.min(1, share))}%` } })];
  if (at !== undefined) parts.push(el("u", { style: { left: `calc(${100 * at}% - 1px)` } }));
  return el("div", { class: "track", "aria-hidden": "true" }, parts);
}

function list(pairs) {
  const shown = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return el("dl", {}, shown.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function table(head, rows, attributes) {
  const top = el("thead", {}, el("tr", {}, head.map(h => el("th", { scope: "col", class: h.number ? "number" : null }, h.text ?? h))));
  return el("div", { class: "scroll" }, el("table", attributes || {}, top, el("tbody", {}, rows)));
}

/** A page's head, from what there is on it. */
function head(over, title, subtitle, sections) {
  const links = sections.map(part => el("a", { href: `#${part.id}` }, part.dataset.title));
  return el("header", {}, el("p", { class: "over" }, over), el("h1", {}, title), el("p", { class: "soft" }, subtitle), el("nav", { "aria-label": "On this page" }, links));
}

/** Draws again when the width or the colours of the page change. */
const redraws = [];
let width = 0;
const redraw = () => redraws.forEach(draw => draw());
addEventListener("resize", () => {
  if (document.body.clientWidth === width) return; // a phone's bar that comes and goes
  width = document.body.clientWidth;
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
