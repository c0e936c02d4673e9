/** Rows in the plane: drag to move, wheel, pinch or buttons to zoom, point at a row to read it. */
function rowMap(map) {
  const names = Object.keys(map.projections), total = map.kind.length, MOST = map.labels && map.labels.length === 10 ? 10 : 9;
  const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": `Map of ${total} rows; the tables below say who is near to whom` });
  const tip = el("div", { class: "tip", hidden: "" });
  const legend = el("div", { class: "legend" }), note = el("p", { class: "note" });
  const view = { scale: 1, x: 0, y: 0 };
  const labelled = map.labels && map.labels.length > 1;
  let by = labelled ? "label" : "modalities", projection = names[0], found = null, over = -1;
  const hidden = new Set();

  const groups = () => (by === "label" ? map.label.map(l => Math.min(l, MOST)) : map.kind);
  const groupNames = () => {
    if (by !== "label") return KINDS;
    const shown = map.labels.slice(0, MOST);
    return map.labels.length > MOST ? [...shown, `${map.labels.length - MOST} more`] : shown;
  };
  const dye = g => (by !== "label" || g < 8 ? g : g === 8 && MOST > 8 ? 9 : 8);
  let group = groups();
  const name = n => (map.ids ? map.ids[n] : `row ${map.numbers[n]}`);

  function place(n) {
    const side = Math.min(canvas.clientWidth, canvas.clientHeight) * 0.94, p = map.projections[projection];
    const px = (p.x[n] / 10000 - 0.5) * side * view.scale + view.x + canvas.clientWidth / 2;
    return [px, (0.5 - p.y[n] / 10000) * side * view.scale + view.y + canvas.clientHeight / 2];
  }
  function shape(context, kind, x, y, r) {
    context.beginPath();
    if (kind === 0) context.arc(x, y, r, 0, 2 * Math.PI);
    else if (kind === 1) { context.moveTo(x, y - 1.3 * r); context.lineTo(x + 1.2 * r, y + r); context.lineTo(x - 1.2 * r, y + r); context.closePath(); }
    else context.rect(x - r, y - r, 2 * r, 2 * r);
  }
  function draw() {
    if (!canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    canvas.width = w * ratio; canvas.height = h * ratio;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = Array.from({ length: 10 }, (_, n) => colour(n)), ink = themed("--ink");
    const r = Math.min(7, (total > 2500 ? 2 : total > 600 ? 2.7 : 3.6) * Math.sqrt(Math.min(view.scale, 6)));
    const paint = n => colours[dye(group[n])];
    for (let n = 0; n < total; n++) {
      if (hidden.has(group[n])) continue;
      const [x, y] = place(n);
      if (x < -9 || y < -9 || x > w + 9 || y > h + 9) continue;
      context.globalAlpha = found && !found.has(n) ? 0.08 : 0.72;
      context.fillStyle = paint(n);
      shape(context, map.kind[n], x, y, r); context.fill();
    }
    context.globalAlpha = 1; context.strokeStyle = ink; context.lineWidth = 1.6;
    for (const n of [...(found && found.size <= 50 ? found : []), over]) {
      if (n < 0 || hidden.has(group[n])) continue;
      const [x, y] = place(n);
      shape(context, map.kind[n], x, y, r + 2.5); context.stroke();
    }
  }
  function nearest(px, py, within) {
    let best = -1, least = within * within;
    for (let n = 0; n < total; n++) {
      if (hidden.has(group[n]) || (found && !found.has(n))) continue;
      const [x, y] = place(n), d = (x - px) ** 2 + (y - py) ** 2;
      if (d < least) { least = d; best = n; }
    }
    return best;
  }
  function point(px, py, within) {
    const n = nearest(px, py, within);
    if (n !== over) { over = n; draw(); }
    tip.hidden = n < 0;
    if (n < 0) return;
    const [x, y] = place(n);
    tip.replaceChildren(el("b", {}, name(n)), map.labels ? el("div", {}, `label ${map.labels[map.label[n]]}`) : "", el("div", {}, `${MARKS[map.kind[n]]} ${["both modalities", "second is missing", "first is missing"][map.kind[n]]}`));
    tip.style.left = `${Math.max(4, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, y + 16 + tip.offsetHeight > canvas.clientHeight ? y - tip.offsetHeight - 14 : y + 14)}px`;
  }
  function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const scale = Math.max(0.5, Math.min(200, view.scale * factor)), by = scale / view.scale;
    const cx = px - canvas.clientWidth / 2, cy = py - canvas.clientHeight / 2;
    view.x = cx - (cx - view.x) * by; view.y = cy - (cy - view.y) * by; view.scale = scale;
    tip.hidden = true; draw();
  }
  const reset = () => { Object.assign(view, { scale: 1, x: 0, y: 0 }); tip.hidden = true; draw(); };

  const fingers = new Map();
  const at = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", event => { fingers.set(event.pointerId, at(event)); canvas.setPointerCapture(event.pointerId); point(...at(event), 18); });
  canvas.addEventListener("pointermove", event => {
    const now = at(event), before = fingers.get(event.pointerId);
    if (!before) { point(...now, 14); return; }
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(now[0] - other[0], now[1] - other[1]);
      if (was > 0) zoom(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else { view.x += now[0] - before[0]; view.y += now[1] - before[1]; tip.hidden = true; draw(); }
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; over = -1; draw(); });
  canvas.addEventListener("wheel", event => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (moves) { view.x += moves[0]; view.y += moves[1]; draw(); event.preventDefault(); }
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") reset();
  });

  function colourBy(what) {
    by = what; group = groups(); hidden.clear();
    const counts = groupNames().map((_, g) => group.filter(own => own === g).length);
    legend.replaceChildren(...groupNames().flatMap((text, g) => {
      if (!counts[g]) return [];
      const button = el("button", { type: "button", "aria-pressed": "true", title: "show or hide" }, el("i", { style: { background: `var(--c${dye(g)})` } }), `${by === "label" ? text : `${MARKS[g]} ${text}`} (${counts[g].toLocaleString("en")})`);
      button.addEventListener("click", () => {
        if (!hidden.delete(g)) hidden.add(g);
        button.setAttribute("aria-pressed", String(!hidden.has(g))); draw();
      });
      return [button];
    }));
    draw();
  }
  function project(which) { projection = which; note.textContent = `${which}: ${map.projections[which].note}.`; reset(); }
  const chooser = (text, options, act) => el("label", {}, text, el("select", { on: { change: event => act(event.target.value) } }, options.map(o => el("option", { value: o }, o))));
  const button = (text, label, act) => el("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
  const search = el("input", { type: "search", placeholder: "find an id", "aria-label": "Find rows by a part of their id", on: { input: event => {
    const text = event.target.value.trim().toLowerCase();
    found = text ? new Set(Array.from({ length: total }, (_, n) => n).filter(n => name(n).toLowerCase().includes(text))) : null;
    draw();
  } } });
  const controls = el("div", { class: "controls" },
    names.length > 1 ? chooser("map", names, project) : null,
    labelled ? chooser("colour", ["label", "modalities"], colourBy) : null,
    search, button("+", "zoom in", () => zoom(1.5)), button("−", "zoom out", () => zoom(1 / 1.5)), button("reset", "show all", reset));
  const shapes = new Set(map.kind).size > 1 ? ` ${MARKS.map((m, k) => `${m} ${KINDS[k]}`).join(", ")}.` : "";
  redraws.push(draw);
  colourBy(by); project(projection);
  return [controls, legend, el("div", { class: "map" }, canvas, tip), note, el("p", { class: "note" }, `Drag to move; zoom with the buttons, two fingers, or, after a click, the wheel or + and −. Point at a row, or tap it, for what it is.${shapes}`)];
}
