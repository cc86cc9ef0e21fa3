// A law is Markdown: paragraphs, lists, `code`, **strong**, *emphasis* and $mathematics$.
const INLINE = /(`+)(.+?)\1|\$([^$]+)\$|\*\*(.+?)\*\*|\*([^*\s][^*]*)\*/gs;

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, , code, tex, strong, emphasis] = match;
    nodes.push(text.slice(end, match.index));
    if (code) nodes.push(el("code", {}, code.trim()));
    if (tex) nodes.push(mathematics(tex));
    if (strong) nodes.push(el("strong", {}, ...inline(strong)));
    if (emphasis) nodes.push(el("em", {}, ...inline(emphasis)));
    end = match.index + all.length;
  }
  return [...nodes, text.slice(end)];
}

function law(text) {
  return text.split(/\n\s*\n/).map((block) => {
    const items = block.split(/^\s*[-*] +/m).map((item) => item.trim());
    if (items.length < 2) return el("p", {}, ...inline(block.trim()));
    const list = el("ul", {}, ...items.slice(1).map((item) => el("li", {}, ...inline(item))));
    return items[0] ? el("div", {}, el("p", {}, ...inline(items[0])), list) : list;
  });
}

// A little of TeX becomes MathML; TeX beyond it is shown as it is written.
const LETTERS = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", varepsilon: "ε", eta: "η",
  theta: "θ", lambda: "λ", mu: "μ", nu: "ν", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "ϕ",
  varphi: "φ", psi: "ψ", omega: "ω", Delta: "Δ", Sigma: "Σ", Omega: "Ω", ell: "ℓ", infty: "∞",
  emptyset: "∅", max: "max", min: "min", log: "log", exp: "exp", sup: "sup", inf: "inf", dots: "…",
  ldots: "…", cdots: "⋯",
};
const OPERATORS = {
  le: "≤", leq: "≤", ge: "≥", geq: "≥", ne: "≠", neq: "≠", approx: "≈", equiv: "≡", in: "∈",
  notin: "∉", subset: "⊂", subseteq: "⊆", cap: "∩", cup: "∪", cdot: "⋅", times: "×", pm: "±",
  to: "→", mapsto: "↦", Rightarrow: "⇒", implies: "⇒", iff: "⇔", sum: "∑", prod: "∏", forall: "∀",
  exists: "∃", mid: "∣", ll: "≪", gg: "≫", circ: "∘", colon: ":", sim: "∼", lor: "∨", land: "∧",
};
const FENCES = {
  lVert: "‖", rVert: "‖", lvert: "|", rvert: "|", "|": "‖", "{": "{", "}": "}", lfloor: "⌊",
  rfloor: "⌋", lceil: "⌈", rceil: "⌉", langle: "⟨", rangle: "⟩",
};
const ACCENTS = { hat: "^", bar: "¯", tilde: "~", vec: "→" };
const SPACES = { ",": "0.17em", ":": "0.22em", ";": "0.28em", " ": "0.25em", quad: "1em", "!": "0" };
const STRUT = "0.85em"; // some fonts would draw the bar of a root onto a small letter
const UPRIGHT = /^\\(?:text|mathrm|mathsf|mathtt|operatorname)\{([^{}]*)\}$/;
const FONT = /^(?:math(?:rm|sf|tt)|text)$/;
const SIZES = /^\\(?:left|right|[bB]ig{1,2}[lrm]?)$/;
const TOKENS =
  /\\(?:text|mathrm|mathsf|mathtt|operatorname)\{[^{}]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S/gsu;

function mathematics(tex) {
  const tokens = tex.match(TOKENS) ?? [];
  try {
    const math = m("math", {}, ...row(tokens));
    if (tokens.length) throw new SyntaxError(tokens[0]);
    return math;
  } catch {
    return el("code", {}, tex);
  }
}

function m(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/1998/Math/MathML", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function row(tokens) {
  const nodes = [];
  while (tokens.length && tokens[0] !== "}") nodes.push(scripted(tokens));
  return nodes;
}

function scripted(tokens) {
  const base = atom(tokens);
  const scripts = {};
  while (tokens[0] === "_" || tokens[0] === "^") scripts[tokens.shift()] = atom(tokens);
  const { _: sub, "^": sup } = scripts;
  if (sub && sup) return m("msubsup", {}, base, sub, sup);
  if (sub) return m("msub", {}, base, sub);
  return sup ? m("msup", {}, base, sup) : base;
}

function atom(tokens) {
  const token = tokens.shift();
  if (token === undefined || token === "}") throw new SyntaxError("something is missing");
  if (token === "{") {
    const group = m("mrow", {}, ...row(tokens));
    if (tokens.shift() !== "}") throw new SyntaxError("a brace is open");
    return group;
  }
  const upright = token.match(UPRIGHT);
  if (upright) return m("mtext", {}, upright[1]);
  if (SIZES.test(token)) return marked(atom(tokens), "stretchy", "true");
  return token.startsWith("\\") ? command(token.slice(1), tokens) : character(token);
}

function command(name, tokens) {
  const own = (table) => Object.hasOwn(table, name);
  if (name === "frac") return m("mfrac", {}, atom(tokens), atom(tokens));
  if (FONT.test(name)) return marked(atom(tokens), "mathvariant", "normal");
  if (name === "sqrt") return m("msqrt", {}, m("mspace", { height: STRUT }), atom(tokens));
  if (own(ACCENTS)) return m("mover", { accent: "true" }, atom(tokens), m("mo", {}, ACCENTS[name]));
  if (own(SPACES)) return m("mspace", { width: SPACES[name] });
  if (own(LETTERS)) return m("mi", {}, LETTERS[name]);
  if (own(FENCES)) return fence(FENCES[name]);
  if (own(OPERATORS)) return m("mo", {}, OPERATORS[name]);
  throw new SyntaxError(name);
}

function character(token) {
  if (/^\d/.test(token)) return m("mn", {}, token);
  if (/^\p{L}$/u.test(token)) return m("mi", {}, token);
  if ("()[]|".includes(token)) return fence(token);
  return m("mo", {}, token === "-" ? "−" : token === "'" ? "′" : token);
}

function marked(node, attribute, value) {
  node.setAttribute(attribute, value);
  return node;
}

function fence(text) {
  return m("mo", { stretchy: "false", lspace: "0", rspace: "0" }, text);
}
