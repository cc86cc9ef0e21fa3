// What a record holds enters the page here, as text nodes and attributes: never as markup.
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function embedded(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

const record = embedded("record");
const outcomes = embedded("outcomes"); // worst first
const silent = new Set(embedded("silent"));
const order = outcomes.map((outcome) => outcome.name);
const symbols = new Map(outcomes.map((outcome) => [outcome.name, outcome.symbol]));

const byId = (id) => document.getElementById(id);
const slug = (outcome) => outcome.replaceAll(" ", "-");
const named = (thing) => (thing.version ? `${thing.name} ${thing.version}` : thing.name);
const byBadness = (a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome);

// The symbol is for the eye; the word beside it says the same.
function badge(outcome) {
  const symbol = el("span", { class: "symbol", "aria-hidden": "true" }, symbols.get(outcome));
  return el("span", { class: `badge ${slug(outcome)}` }, symbol, el("span", {}, outcome));
}

// A dotted or plus-joined name may break after each of its parts.
function breakable(name) {
  const parts = name.split(/(?<=[.+_])/);
  return parts.flatMap((part, i) => (i ? [el("wbr"), part] : [part]));
}

// A shell line breaks between its words only.
function shell(line) {
  const unbroken = (word) => (word.trim() ? el("span", { class: "word" }, word) : word);
  return el("code", {}, ...line.split(/(\s+)/).map(unbroken));
}

function term(name, ...values) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, ...values));
}
