document.body.append(...(facts.kind === "run" ? runPage() : comparisonPage()), el("footer", {}, `Made by bidnn ${facts.version}; this page holds all that it shows and asks nothing of a network.`));
redraw();
