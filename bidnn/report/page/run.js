const WAYS = { network: "this model", ridge: "ridge regression", nearest10: "mean of the ten nearest rows", nearest: "nearest row", mean: "mean" };
const ROLES = { "train/": "training rows", "val/": "held-out rows" };

function tiles() {
  const found = [], t = facts.translation;
  for (const [name, errors] of Object.entries(t ? t.errors : {}))
    found.push([percent(1 - errors.network), `of the variance explained, ${arrow(name)}${t.held_out ? "" : ", on rows that trained"}`]);
  if (facts.metrics.agreement !== undefined) found.push([number(facts.metrics.agreement), "agreement: nearest by one modality that are near in the other"]);
  const near = facts.near;
  if (near && near.same !== undefined) found.push([percent(near.same), `of a row's ${near.depth} nearest have its label; ${percent(near.chance)} by chance`]);
  const loss = facts.metrics["val/loss"] ?? facts.metrics["train/loss"];
  if (loss !== undefined) found.push([number(loss, 4), facts.metrics["val/loss"] === undefined ? "loss of the training rows" : "loss of held-out rows"]);
  return el("div", { class: "tiles" }, found.map(([value, text]) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text))));
}

function ran() {
  const { run, rows } = facts, m = run.model, n = v => v.toLocaleString("en");
  const kinds = Object.entries(rows.counts).filter(([, count]) => count).map(([kind, count]) => `${n(count)} ${kind}`);
  const named = [rows.labels === null ? "no labels" : `${n(rows.labels)} labels`, rows.ids ? "with ids" : "no ids"];
  return section("run", "What was run", "", grid([
    list([
      ["model", `${m.architecture}${m.tied ? ", tied" : ", untied"}, ${m.activation}; ${n(m.weights)} weights`],
      ["sizes", `${m.sizes[0]} + ${m.sizes[1]} columns → ${m.hdn} → ${m.rep}; compared by ${m.space}`],
      ["seed", String(run.seed)], ["finished", run.finished || "no"], ["on", `${run.processor} (${run.platform})`],
    ]),
    list([
      ["rows", `${rows.name}: ${n(rows.all)}`], ["of these", kinds.join(", ")],
      ["held out", rows.held ? `${n(rows.held)} complete rows${rows.held_name ? ` of ${rows.held_name}` : ""}` : "none"],
      ["known", named.join(", ")], ["folder", run.folder],
    ]),
  ]));
}

function unfinished() {
  const { run } = facts, { kept } = run;
  if (run.finished) return null;
  const all = run.epochs > 0 ? ` of ${run.epochs.toLocaleString("en")}` : "";
  const far = kept ? `${kept.epochs.toLocaleString("en")}${all} epochs, ${kept.steps.toLocaleString("en")} steps, at the last checkpoint (${kept.when})` : "the last checkpoint does not say how far it had come";
  const note = `It was interrupted, or is still running: ${far}. All below is of what there is now.`;
  return section("unfinished", "Not finished", note, run.resume ? [el("p", {}, "If no process is at work on it, this goes on with it: "), el("pre", {}, run.resume)] : null);
}

function warned() {
  if (!facts.warnings.length) return section("warnings", "Warnings", "", el("p", {}, "None: nothing was warned of in the training, and nothing found here."));
  return section("warnings", "Warnings", "From the training, and from what is measured below.", el("ul", { class: "warnings" }, facts.warnings.map(w => {
    return el("li", {}, w.text, w.fix ? el("span", { class: "fix" }, "may help: ", el("code", {}, w.fix)) : null);
  })));
}

function overTime() {
  const series = Object.entries(facts.curves);
  if (!series.length) return section("curves", "Over time", "", el("p", {}, "Nothing was logged: no epoch was trained, or the run is of an earlier version."));
  const own = (name, text, place, dashed) => ({ name: text, epochs: facts.curves[name][0], values: facts.curves[name][1], colour: place, dashed });
  const parts = [], used = new Set(["learning_rate"]);
  const panel = (title, wanted, note) => {
    const there = wanted.filter(([name]) => facts.curves[name]);
    there.forEach(([name]) => used.add(name));
    if (there.length) parts.push(lines(title, there.map(([name, text], place) => own(name, text, place)), note));
  };
  panel("Loss", Object.entries(ROLES).map(([role, text]) => [`${role}loss`, text]));
  panel("Agreement", [["agreement", "agreement"]], "On up to 500 rows: the share of the ten nearest, by one modality's embedding, that are near in the other modality.");
  const terms = [...new Set(series.map(([name]) => name.replace(/^(train|val)\//, "")).filter((term, n) => term !== "loss" && series[n][0].includes("/") && /^(train|val)\//.test(series[n][0])))].filter(term => !term.endsWith("_step"));
  for (const term of terms.slice(0, 12)) panel(`Term: ${arrow(term)}`, Object.entries(ROLES).map(([role, text]) => [role + term, text]));
  for (const [name] of series.filter(([name]) => !used.has(name) && !name.endsWith("_step")).slice(0, 12)) panel(name, [[name, name]]);
  const rate = facts.curves.learning_rate;
  if (rate && new Set(rate[1]).size > 1) parts.push(lines("Learning rate", [own("learning_rate", "learning rate", 0)]));
  return section("curves", "Over time", "", grid(parts));
}

function mapped() {
  if (!facts.map) return null;
  const { kind, of } = facts.map, all = kind.length === of ? `All ${of.toLocaleString("en")} rows` : `${kind.length.toLocaleString("en")} of ${of.toLocaleString("en")} rows, at random`;
  return section("map", "Map of the embedding", `${all}, by their vectors at unit length.`, ...rowMap(facts.map));
}

function translated() {
  const t = facts.translation;
  if (!t) return section("translation", "Translation", "", el("p", {}, "Too few complete rows to measure it on."));
  const note = `Squared error as a share of the variance, in the units that the network sees: 0 is perfect, 1 (the line) as good as the mean. ${t.asked.toLocaleString("en")} ${t.held_out ? "held-out rows" : "rows that also trained (none are held out)"}; the others know ${t.known.toLocaleString("en")} rows that trained.`;
  return section("translation", "Translation", note, grid(Object.entries(t.errors).map(([name, errors]) => {
    const most = Math.max(1.15, ...Object.values(errors).filter(e => isFinite(e)));
    const ways = Object.keys(WAYS).sort((a, b) => errors[a] - errors[b]);
    const rows = ways.map(way => el("tr", { class: way === "network" ? "own" : null }, el("td", {}, WAYS[way]), el("td", { class: "number" }, number(errors[way])), el("td", { class: "wide" }, bar(errors[way] / most, way === "network", 1 / most))));
    return el("div", {}, el("h3", {}, arrow(name)), table([{ text: "by" }, { text: "error", number: true }, { text: "" }], rows));
  })));
}

function neighbours() {
  const near = facts.near;
  if (!near) return null;
  const label = (row, other) => (row.label === null ? null : el("span", { class: `label${other !== undefined && row.label === other ? " same" : ""}`, title: `label ${row.label}` }, row.label));
  const cards = near.examples.map(e => el("div", { class: "card" },
    el("div", { style: { display: "flex", gap: "8px", alignItems: "baseline" } }, el("h3", { style: { margin: 0 } }, e.id), mark(e.kind), label(e)),
    el("ol", {}, e.near.map(row => el("li", {}, el("span", {}, row.id), mark(row.kind), label(row, e.label), el("span", { class: "value" }, row.cosine.toFixed(3)))))));
  return section("neighbours", "Nearest neighbours", `Of some rows, by cosine, among ${near.of.toLocaleString("en")}. ${MARKS.map((m, k) => `${m} ${KINDS[k]}`).join(", ")}.`, el("div", { class: "cards" }, cards));
}

function comparable() {
  const c = facts.comparable;
  if (!c) return section("comparable", "Complete and incomplete rows", "", el("p", {}, "Too few rows to say how they compare."));
  const names = Object.keys(c.shares);
  const shade = v => `rgba(var(--${v < 1 ? "under" : "over"}), ${Math.min(0.55, 0.4 * Math.abs(Math.log2(Math.max(v, 0.1)))).toFixed(2)})`;
  const rows = names.map(q => el("tr", {}, el("th", { scope: "row" }, q), names.map(k => el("td", { class: "cell", style: { background: shade(c.shares[q][k]) } }, number(c.shares[q][k], 2)))));
  const spreads = Object.entries(c.cosines).map(([pair, s]) => {
    const at = v => 50 * (v + 1);
    const track = el("div", { class: "track", "aria-hidden": "true" }, el("i", { style: { left: `${at(s.low)}%`, width: `${at(s.high) - at(s.low)}%` } }), el("u", { style: { left: `calc(${at(s.mean)}% - 1px)` } }));
    return el("tr", {}, el("td", {}, pair), el("td", { class: "number" }, (Math.round(100 * s.mean) / 100 || 0).toFixed(2)), el("td", { class: "wide" }, track));
  });
  const note = `${c.hidden ? "Too few rows miss a modality; so it was hidden from the model, of a third of the complete rows the second, of a third the first. " : ""}In one search over equally many rows of each kind: 1 is fair, below 1 a kind is buried, above 1 favoured.`;
  return section("comparable", "Complete and incomplete rows", note, grid([
    el("div", {}, el("h3", {}, "Among a query's ten nearest, times chance"), table([{ text: "query" }, ...names.map(text => ({ text }))], rows, { class: "shares" })),
    el("div", {}, el("h3", {}, "Cosines: mean (line), nine tenths (bar), from −1 to 1"), table([{ text: "between" }, { text: "mean", number: true }, { text: "" }], spreads)),
  ]));
}

function repeat() {
  const { run } = facts;
  const pairs = object => Object.entries(object).map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", {}, String(value))));
  return section("repeat", "To repeat it", run.began_in ? `In ${run.began_in}; with the same versions on the same machine the result is the same, byte for byte, on a CPU.` : "",
    run.command ? el("pre", {}, run.command) : el("p", {}, "The record of this run does not say."),
    list([["rows", run.fingerprint ? `SHA-256 ${run.fingerprint}` : ""], ["commit", run.commit], ["versions", Object.entries(run.versions).map(([k, v]) => `${k} ${v}`).join(", ")]]),
    el("details", {}, el("summary", {}, "All settings"), table(["setting", "value"], pairs(facts.settings))),
    el("details", {}, el("summary", {}, "All metrics"), table(["metric", "value"], pairs(facts.metrics))));
}

function runPage() {
  const parts = [ran(), unfinished(), warned(), overTime(), mapped(), translated(), neighbours(), comparable(), repeat()].filter(Boolean);
  const { rows } = facts, said = [`${rows.all.toLocaleString("en")} rows of ${rows.sizes[0]} + ${rows.sizes[1]} columns`, facts.run.finished ? `finished ${facts.run.finished}` : "not finished"];
  return [head("BiDNN training report", facts.title, said.join(", "), parts), el("main", {}, tiles(), parts)];
}
