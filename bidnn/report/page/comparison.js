const better = () => (facts.lower ? "lower is better" : "higher is better");

function bestOf() {
  const first = facts.runs[0], done = facts.runs.filter(r => r.objective !== null);
  const values = done.map(r => r.objective).sort((a, b) => a - b);
  const tile = (value, text) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text));
  return el("div", { class: "tiles" },
    tile(number(first.objective, 4), `best ${facts.objective}, run ${first.name}; ${better()}`),
    tile(number(values[Math.floor(values.length / 2)], 4), "median of the runs"),
    tile(String(facts.count), `runs${facts.count > done.length && facts.runs.length === facts.count ? `, ${facts.count - done.length} without ${facts.objective}` : ""}`));
}

function mattered() {
  const said = facts.matters.filter(m => m.share !== null);
  const note = `Share of the variance of ${facts.objective} between runs that goes with a setting alone, adjusted for its number of values (ε²); for numbers that hardly recur, of their ranks (Spearman's). Settings that were not varied independently overlap; a share near 0 is what chance gives.`;
  if (!said.length) return section("matters", "Which setting mattered", "", el("p", {}, facts.keys.length ? "Too few runs to say: at least four, and two more than a setting has values." : "The runs differ in no setting."));
  const rows = said.map(m => el("tr", {}, el("td", {}, el("code", {}, m.key), facts.also[m.key].length ? el("span", { class: "soft small", title: facts.also[m.key].join(", ") }, ` with ${facts.also[m.key].length} more`) : null), el("td", { class: "number" }, percent(m.share)), el("td", { class: "wide" }, bar(m.share, true))));
  const values = said.filter(m => m.how === "value").slice(0, 6).map(m => el("div", {}, el("h3", {}, m.key),
    table([{ text: "value" }, { text: "runs", number: true }, { text: "mean", number: true }, { text: "best", number: true }],
      m.values.map((v, n) => el("tr", { class: n ? null : "own" }, el("td", {}, v.value), el("td", { class: "number" }, String(v.runs)), el("td", { class: "number" }, number(v.mean, 4)), el("td", { class: "number" }, number(v.best, 4)))))));
  return section("matters", "Which setting mattered", note, table([{ text: "setting" }, { text: "share", number: true }, { text: "" }], rows), el("div", { style: { height: "16px" } }), grid(values));
}

function ranking() {
  const top = [{ text: "run" }, ...facts.keys.map(text => ({ text })), { text: facts.objective, number: true }, ...facts.metrics.map(m => ({ text: arrow(m), number: true }))];
  const rows = facts.runs.map((run, n) => el("tr", { class: n ? null : "own" }, el("td", {}, run.name), run.settings.map(s => el("td", {}, s)),
    el("td", { class: "number" }, run.failure || number(run.objective, 4)), facts.metrics.map(m => el("td", { class: "number" }, number(run.metrics[m])))));
  const cut = facts.count > facts.runs.length ? ` The ${facts.runs.length} best of ${facts.count}.` : "";
  return section("runs", "Runs", `By ${facts.objective}, ${better()}.${cut}${facts.other_rows ? " They are not all of the same rows, so that their metrics are hardly comparable." : ""}`, table(top, rows),
    facts.failed.length ? el("details", {}, el("summary", {}, `${facts.failed.length} more failed, or were pruned, and left nothing`), table(["run", "why"], facts.failed.map(([run, why]) => el("tr", {}, el("td", {}, run), el("td", {}, why))))) : null);
}

function curvesOf() {
  const series = facts.curves.map(([name, epochs, values], place) => ({ name: `run ${name}`, epochs, values, colour: place }));
  if (!series.length) return null;
  return section("curves", "Over time", series.length < facts.count ? `Of the ${series.length} best.` : "", lines(facts.drawn, series));
}

function comparisonPage() {
  const parts = [ranking(), mattered(), curvesOf(), section("repeat", "To repeat the best", "", facts.best.command ? el("pre", {}, facts.best.command) : el("p", {}, "Its record does not say."), list([["folder", facts.best.folder]]))].filter(Boolean);
  return [head("BiDNN comparison of runs", facts.title, `${facts.count} runs by ${facts.objective}`, parts), el("main", {}, bestOf(), parts)];
}
