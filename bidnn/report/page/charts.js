/** Round values from low to high, some four of them. */
function ticks(low, high, count = 4) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= rough) ?? 10 * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

const short = value => (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(0) : String(Number(value.toPrecision(4))));

/** Lines over epochs, with a readout under the pointer.
 *  series: [{name, epochs, values, colour}] */
function lines(title, series, note) {
  const known = series.flatMap(s => s.values);
  const log = Math.min(...known) > 0 && Math.max(...known) / Math.min(...known) > 30;
  const up = log ? Math.log10 : v => v;
  const readout = el("div", { class: "readout", "aria-live": "off" });
  const legend = el("div", { class: "legend" });
  const holder = el("div", {});
  const last = series.map(s => `${s.name} ${number(s.values.at(-1), 4)}`).join(" · ");
  const epochs = [...new Set(series.flatMap(s => s.epochs))].sort((a, b) => a - b);
  const rest = `epoch ${epochs.at(-1)}: ${last}`;

  function draw() {
    const w = Math.max(240, holder.clientWidth || 480), h = 210, left = 46, right = 10, top = 8, bottom = 24;
    const lowX = epochs[0], highX = epochs.at(-1);
    let low = up(Math.min(...known)), high = up(Math.max(...known));
    if (high - low < 1e-12) { low -= 0.5 * (Math.abs(low) || 1); high += 0.5 * (Math.abs(high) || 1); }
    const pad = 0.05 * (high - low);
    low -= pad; high += pad;
    const x = e => left + (w - left - right) * (highX === lowX ? 0.5 : (e - lowX) / (highX - lowX));
    const y = v => top + (h - top - bottom) * (1 - (up(v) - low) / (high - low));
    const picture = svg("svg", { viewBox: `0 0 ${w} ${h}`, height: h, role: "img", "aria-label": `${title}; ${rest}` });
    let marks = log ? [] : ticks(low, high);
    if (log) for (let p = Math.ceil(low); p <= high; p++) marks.push(10 ** p);
    if (log && marks.length < 2) marks = ticks(10 ** low, 10 ** high).filter(v => v > 0);
    for (const at of marks) {
      picture.append(svg("line", { x1: left, x2: w - right, y1: y(at), y2: y(at), stroke: "var(--grid)" }));
      picture.append(svg("text", { x: left - 6, y: y(at) + 4, "text-anchor": "end" }, short(at)));
    }
    for (const at of ticks(lowX, highX, w < 420 ? 3 : 6)) {
      if (!Number.isInteger(at)) continue;
      picture.append(svg("text", { x: x(at), y: h - 6, "text-anchor": x(at) > w - 24 ? "end" : "middle" }, short(at)));
    }
    series.forEach(s => {
      const stroke = `var(--c${s.colour % 10})`;
      if (s.values.length <= 60) s.values.forEach((v, n) => picture.append(svg("circle", { cx: x(s.epochs[n]), cy: y(v), r: s.values.length > 30 ? 1.5 : 2.5, fill: stroke })));
      const path = s.values.map((v, n) => `${n ? "L" : "M"}${x(s.epochs[n]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      picture.append(svg("path", { d: path, fill: "none", stroke, "stroke-width": 1.8, "stroke-linejoin": "round", "stroke-dasharray": s.dashed ? "5 3" : "none" }));
    });
    const cursor = svg("line", { y1: top, y2: h - bottom, stroke: "var(--soft)", "stroke-dasharray": "3 3", visibility: "hidden" });
    picture.append(cursor);
    picture.addEventListener("pointermove", event => {
      const place = picture.getBoundingClientRect();
      const at = (event.clientX - place.left) * (w / place.width);
      const epoch = epochs.reduce((a, b) => (Math.abs(x(b) - at) < Math.abs(x(a) - at) ? b : a));
      cursor.setAttribute("x1", x(epoch)); cursor.setAttribute("x2", x(epoch)); cursor.setAttribute("visibility", "visible");
      const said = series.flatMap(s => { const n = s.epochs.indexOf(epoch); return n < 0 ? [] : [`${s.name} ${number(s.values[n], 4)}`]; });
      readout.textContent = `epoch ${epoch}: ${said.join(" · ")}`;
    });
    picture.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); readout.textContent = rest; });
    holder.replaceChildren(picture);
  }
  if (series.length > 1) legend.append(...series.map(s => el("span", {}, el("i", { style: { background: `var(--c${s.colour % 10})` } }), s.name)));
  readout.textContent = rest;
  redraws.push(draw);
  return el("div", { class: "chart" }, el("h3", {}, title + (log ? ", logarithmic" : "")), legend, holder, readout, note ? el("p", { class: "note" }, note) : null);
}

/** Two columns on wide pages. */
const grid = parts => el("div", { class: "columns" }, parts);
