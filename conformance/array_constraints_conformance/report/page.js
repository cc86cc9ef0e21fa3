// The rest of the page: facts, verdicts, filters and deep links.
const filters = { outcomes: new Set(), form: byId("filters") };

function showFacts() {
  byId("subject").append(...breakable(record.subject.name));
  if (record.subject.version) {
    byId("subject").append(" ", el("span", { class: "version" }, record.subject.version));
  }
  byId("facts").append(
    term("Suite", named(record.suite)),
    term("Made", el("time", { datetime: record.created }, moment(record.created))),
    term("Profile", `${record.profile}, seed ${record.seed}`),
    term("Constraints", record.constraints.join(", ")),
    term("Command", shell(record.command)),
  );
}

function moment(created) {
  return created.replace("T", " ").replace(/\+00:00$/, " UTC");
}

function showVerdicts() {
  for (const { scope, outcome, counts } of record.verdicts) {
    const present = order.filter((name) => counts[name]);
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    for (const name of present) {
      const piece = el("span", { class: slug(name) });
      piece.style.flexGrow = counts[name];
      bar.append(piece);
    }
    const list = present.map((name) => `${counts[name].toLocaleString("en")} ${name}`).join(", ");
    const heading = el("h3", {}, scope);
    const why = record.scopes.find((choice) => choice.scope === scope).reason;
    byId("verdicts").append(
      el("li", {}, heading, badge(outcome), bar, counted(list), counted(sentence(why))),
    );
  }
  for (const { scope, judged, reason } of record.scopes) {
    if (judged) continue;
    const word = el("span", { class: "badge not-provided" }, "not judged");
    byId("verdicts").append(el("li", {}, el("h3", {}, scope), word, counted(sentence(reason))));
  }
}

function counted(text) {
  return el("p", { class: "counts" }, text);
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function showLibraries() {
  for (const library of record.libraries) {
    const name = el("strong", {}, ...breakable(library.name));
    const rest = [library.version ?? "version unknown", library.device, ...library.dtypes];
    byId("libraries").append(el("li", {}, name, el("span", {}, rest.join(", "))));
  }
}

function showFilters() {
  for (const { name, meaning } of outcomes) {
    byId("legend").append(el("div", {}, el("dt", {}, badge(name)), el("dd", {}, `${meaning}.`)));
    const count = record.results.filter((result) => result.outcome === name).length;
    if (count) byId("outcome-filter").append(chip(name, count));
  }
  const scopes = new Set(record.requirements.map((requirement) => requirement.scope));
  const constraints = new Set(record.results.map((result) => result.constraint));
  for (const scope of scopes) byId("scope-filter").append(el("option", {}, scope));
  for (const name of constraints) byId("constraint-filter").append(el("option", {}, name));
}

function chip(name, count) {
  const total = el("span", { class: "total" }, count.toLocaleString("en"));
  const attributes = { type: "button", class: "chip", "aria-pressed": "false" };
  const button = el("button", attributes, badge(name), " ", total);
  button.addEventListener("click", () => {
    const pressed = !filters.outcomes.delete(name);
    if (pressed) filters.outcomes.add(name);
    button.setAttribute("aria-pressed", pressed);
    update();
  });
  return button;
}

function update() {
  const scope = byId("scope-filter").value;
  const constraint = byId("constraint-filter").value;
  const words = byId("text-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = showRows({
    outcome: (result) => !filters.outcomes.size || filters.outcomes.has(result.outcome),
    constraint: (result) => !constraint || result.constraint === constraint,
    requirement: (requirement, text) =>
      (!scope || requirement.scope === scope) && words.every((word) => text.includes(word)),
  });
  const all = matrix.rows.length;
  byId("shown").textContent = `${shown} of ${all} requirements shown.`;
  byId("matrix").classList.toggle("empty", !shown);
}

function clearFilters() {
  filters.form.reset();
  filters.outcomes.clear();
  for (const button of document.querySelectorAll(".chip")) {
    button.setAttribute("aria-pressed", "false");
  }
  update();
}

// #SET-2 leads to the row of that requirement, whatever the filters hide.
function followLink() {
  let wanted = location.hash.slice(1);
  try {
    wanted = decodeURIComponent(wanted);
  } catch {
    return;
  }
  document.querySelector("tr.target")?.classList.remove("target");
  const row = matrix.rows.find(({ requirement }) => requirement.id === wanted);
  if (!row) return;
  if (row.node.hidden) clearFilters();
  row.node.classList.add("target");
  row.node.scrollIntoView({ block: "center" });
  row.link.focus({ preventScroll: true });
}

filters.form.addEventListener("submit", (event) => event.preventDefault());
for (const event of ["input", "change"]) filters.form.addEventListener(event, update);
byId("clear").addEventListener("click", clearFilters);
addEventListener("hashchange", followLink);

showFacts();
showVerdicts();
showLibraries();
showFilters();
buildMatrix();
update();
followLink();
