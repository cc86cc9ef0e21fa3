// The panel: one requirement on one library, a part for each constraint.
const dialog = byId("details");
const FIELDS = ["constraint", "dtype", "input", "expected", "got"];
let opener = null;

function openDetails(requirement, library, results, from) {
  opener = from;
  const parts = [...results].sort(byBadness).map(resultPart);
  byId("details-place").textContent = `${requirement.id} on ${library.name}`;
  byId("details-body").replaceChildren(
    el("h2", { id: "details-title" }, ...inline(requirement.title)),
    el("div", { class: "law" }, ...law(requirement.law)),
    el(
      "dl",
      { class: "facts" },
      term("Level", requirement.level),
      term("Scope", requirement.scope),
      term("Constraints", requirement.constraints),
      term("Libraries", requirement.libraries),
      term("Tried on", `${named(library)}, ${library.device}`),
    ),
    ...parts,
  );
  byId("copied").textContent = "";
  dialog.showModal();
  dialog.firstElementChild.scrollTop = 0;
}

function resultPart(result) {
  const found = result.counterexample;
  const heading = el("h3", {}, ...breakable(result.constraint), " ", badge(result.outcome));
  const part = el("section", { class: "result" }, heading);
  if (result.reason) part.append(el("p", { class: "reason" }, ...inline(result.reason)));
  if (found) {
    const fields = FIELDS.filter((name) => found[name]);
    const values = fields.map((name) => field(name, found[name]));
    if (found.message) part.append(el("p", { class: "message" }, found.message));
    part.append(el("dl", { class: "found" }, ...values), reproduction(found.reproduce));
  }
  if (!silent.has(result.outcome)) part.append(el("p", { class: "effort" }, effort(result)));
  return part;
}

function field(name, value) {
  const box = el("dd", {}, el("pre", { tabindex: "0" }, value));
  return el("div", { class: name }, el("dt", {}, name), box);
}

function effort({ applied, seconds }) {
  if (!applied) return `Tried for ${seconds.toFixed(2)} s.`;
  const times = applied === 1 ? "once" : `${applied.toLocaleString("en")} times`;
  return `Put to the test ${times}, in ${seconds.toFixed(2)} s.`;
}

function reproduction(line) {
  const code = el("pre", { tabindex: "0" }, shell(line));
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    const done = await copied(line, code);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    byId("copied").textContent = done ? "The line is copied." : "The line is selected.";
  });
  const head = el("div", { class: "line" }, el("span", { class: "label" }, "reproduce"), button);
  return el("div", { class: "reproduce" }, head, code);
}

// Where the clipboard is closed to the page, the line is selected for the reader to copy.
async function copied(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return document.execCommand("copy");
  }
}

byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // the backdrop
});
// Not every browser focuses a button that is clicked, so none can be trusted to return there.
dialog.addEventListener("close", () => opener?.focus());
