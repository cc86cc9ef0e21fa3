// The matrix: a row for each requirement, a column for each library, a button in each cell.
// Its roles are written out, for a phone shows the rows as cards and CSS then takes roles away.
const matrix = { rows: [], active: null };

function buildMatrix() {
  const heads = record.libraries.map((library) =>
    el(
      "th",
      { scope: "col", role: "columnheader" },
      el("span", { class: "name" }, ...breakable(library.name)),
      el("span", { class: "version" }, [library.version, library.device].filter(Boolean).join(", ")),
      el("span", { class: "version" }, tally(library)),
    ),
  );
  const corner = el("th", { scope: "col", role: "columnheader" }, "Requirement");
  const head = el("tr", { role: "row" }, corner, ...heads);
  const caption = el("caption", { class: "visually-hidden" }, "Outcome by requirement and library");
  const table = el("table", { role: "table" }, caption, el("thead", { role: "rowgroup" }, head));
  for (const scope of new Set(record.requirements.map((requirement) => requirement.scope))) {
    table.append(scopeGroup(scope));
  }
  table.addEventListener("keydown", moveByKey);
  table.addEventListener("focusin", ({ target }) => target.matches(".cell") && activate(target));
  byId("matrix").append(table);
}

function tally(library) {
  const own = record.results.filter((result) => result.library === library.name);
  const judged = own.filter((result) => !silent.has(result.outcome));
  const failed = judged.filter((result) => result.outcome === "not met");
  return `${failed.length} of ${judged.length} not met`;
}

function scopeGroup(scope) {
  const span = record.libraries.length + 1;
  const name = el("span", {}, "Scope: ", scope);
  const head = el("th", { scope: "rowgroup", role: "rowheader", colspan: span }, name);
  const group = el("tbody", { role: "rowgroup" }, el("tr", { class: "scope", role: "row" }, head));
  for (const requirement of record.requirements) {
    if (requirement.scope !== scope) continue;
    const row = requirementRow(requirement);
    matrix.rows.push({ ...row, requirement, group });
    group.append(row.node);
  }
  return group;
}

function requirementRow(requirement) {
  const results = record.results.filter((result) => result.requirement === requirement.id);
  const link = el("a", { href: `#${encodeURIComponent(requirement.id)}` }, requirement.id);
  const label = el("span", { class: "about" }, link, " ", requirement.level);
  const title = el("span", { class: "title" }, ...inline(requirement.title));
  const cells = record.libraries.map((library) =>
    cellOf(requirement, library, results.filter((result) => result.library === library.name)),
  );
  const head = el("th", { scope: "row", role: "rowheader" }, label, title);
  const node = el("tr", { role: "row" }, head, ...cells.map((cell) => cell.node));
  const texts = [requirement.id, requirement.title, requirement.law, requirement.level];
  const reasons = results.flatMap((r) => [r.reason ?? "", r.counterexample?.message ?? ""]);
  return { node, link, results, cells, text: [...texts, ...reasons].join("\n").toLowerCase() };
}

function cellOf(requirement, library, results) {
  const button = el("button", { type: "button", class: "cell", tabindex: "-1" });
  const cell = { node: el("td", { role: "cell" }), button, results, requirement, library };
  button.addEventListener("click", () =>
    openDetails(requirement, library, cell.shown, button),
  );
  return cell;
}

// The rule of summary.py: where any result was judged, only those count.
function summarise(results) {
  const sorted = results.map((result) => result.outcome);
  sorted.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const judged = sorted.filter((outcome) => !silent.has(outcome));
  const counted = judged.length ? judged : sorted;
  const count = counted.filter((outcome) => outcome === counted[0]).length;
  return { outcome: counted[0], count, judged: counted.length };
}

function showCell(cell, keep) {
  cell.shown = cell.results.filter(keep.constraint);
  cell.node.replaceChildren();
  if (!cell.shown.length) {
    cell.node.append(el("span", { class: "visually-hidden" }, "no result"));
    return;
  }
  const { outcome, count, judged } = summarise(cell.shown);
  const where = el("span", { class: "where", "aria-hidden": "true" }, cell.library.name);
  const name = `${cell.requirement.id} on ${cell.library.name}: `;
  const which = el("span", { class: "visually-hidden" }, name);
  cell.button.replaceChildren(which, where, badge(outcome));
  if (count < judged) cell.button.append(el("span", { class: "count" }, `${count} of ${judged}`));
  cell.button.className = `cell ${slug(outcome)}`;
  cell.button.classList.toggle("aside", !cell.shown.some(keep.outcome));
  cell.node.append(cell.button);
}

function showRows(keep) {
  let shown = 0;
  for (const row of matrix.rows) {
    for (const cell of row.cells) showCell(cell, keep);
    const matching = row.results.filter(keep.constraint).filter(keep.outcome);
    row.node.hidden = !(matching.length && keep.requirement(row.requirement, row.text));
    if (!row.node.hidden) shown += 1;
  }
  for (const { group } of matrix.rows) {
    group.hidden = ![...group.rows].slice(1).some((row) => !row.hidden);
  }
  const buttons = grid().flat().filter(Boolean);
  activate(buttons.includes(matrix.active) ? matrix.active : buttons[0]);
  return shown;
}

// One cell is in the tab order; the arrow keys choose which.
function activate(button) {
  matrix.active?.setAttribute("tabindex", "-1");
  matrix.active = button ?? null;
  matrix.active?.setAttribute("tabindex", "0");
}

function grid() {
  const rows = matrix.rows.filter((row) => !row.node.hidden);
  return rows.map(({ cells }) => cells.map((cell) => (cell.shown.length ? cell.button : null)));
}

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

function moveByKey(event) {
  const rows = grid();
  let i = rows.findIndex((row) => row.includes(event.target));
  if (i < 0 || event.altKey || event.metaKey) return;
  let j = rows[i].indexOf(event.target);
  let next = null;
  if (event.key in STEPS) {
    const [down, right] = STEPS[event.key];
    do next = rows[(i += down)]?.[(j += right)];
    while (next === null);
  } else if (event.key === "Home" || event.key === "End") {
    const line = (event.ctrlKey ? rows.flat() : rows[i]).filter(Boolean);
    next = line.at(event.key === "Home" ? 0 : -1);
  } else return;
  event.preventDefault();
  next?.focus();
}
