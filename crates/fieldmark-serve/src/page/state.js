"use strict";
// What is chosen. It is kept in the address, so that a view can be bookmarked, and can be undone.

const DEFAULTS = {
  photo: "", prompt: "", against: [], strength: 0.6, method: "", layer: "", aggregate: "", fit: "whole", detail: 1,
  threshold: 0.5, view: "one", colors: "", drawn: "both", opacity: 0.6, hidden: [],
};

let chosen = { ...DEFAULTS };
const history_ = { past: [], future: [], timer: undefined };

function written(state) {
  const address = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (Array.isArray(value)) for (const part of value) address.append(name, part);
    else if (value !== DEFAULTS[name]) address.set(name, value);
  }
  return address.toString();
}

function readBack(text) {
  const address = new URLSearchParams(text);
  const state = { ...DEFAULTS, against: [], hidden: [] };
  for (const name of Object.keys(DEFAULTS)) {
    if (!address.has(name)) continue;
    if (Array.isArray(DEFAULTS[name])) state[name] = address.getAll(name);
    else if (typeof DEFAULTS[name] !== "number") state[name] = address.get(name);
    else if (Number.isFinite(Number(address.get(name)))) state[name] = Number(address.get(name));
  }
  state.hidden = state.hidden.map(Number).filter(Number.isInteger);
  return state;
}

/** Changes what is chosen. Changes that follow each other at once, as while typing, are one step of undo. */
function change(part) {
  if (history_.timer === undefined) {
    history_.past.push(written(chosen));
    if (history_.past.length > 200) history_.past.shift();
  }
  clearTimeout(history_.timer);
  history_.timer = setTimeout(() => (history_.timer = undefined), 700);
  history_.future = [];
  chosen = { ...chosen, ...part };
  afterChange();
}

function afterChange() {
  window.history.replaceState(null, "", `#${written(chosen)}`);
  update();
}

function step(from, to) {
  if (from.length === 0) return;
  clearTimeout(history_.timer);
  history_.timer = undefined;
  to.push(written(chosen));
  chosen = readBack(from.pop());
  afterChange();
}

const undo = () => step(history_.past, history_.future);
const redo = () => step(history_.future, history_.past);

/** What is asked of the server, of one prompt or another. */
function question(part = {}) {
  const state = { ...chosen, ...part };
  const asked = {
    prompt: state.prompt.trim(), against: state.against, strength: state.strength, fit: state.fit, detail: state.detail,
    threshold: `peak:${state.threshold}`,
  };
  if (state.method) asked.method = state.method;
  if (state.layer !== "") asked.layer = Number(state.layer);
  if (state.aggregate) asked.aggregate = state.aggregate;
  return asked;
}

/** An argument as a POSIX shell reads it. */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The command that gives the same result. */
function command(name, modelArguments) {
  const { prompt, against, strength, fit, detail, threshold, method, layer, aggregate } = question();
  // A value that begins with a dash would be read as an option.
  const valued = (option, value) => (value.startsWith("-") ? [`${option}=${value}`] : [option, value]);
  const words = ["fieldmark", "localize", ...valued("--prompt", prompt), name];
  for (const rival of against) words.push(...valued("--against", rival));
  words.push("--strength", String(strength));
  if (method) words.push("--method", method);
  if (layer !== undefined) words.push(`--layer=${layer}`);
  if (aggregate) words.push("--aggregate", aggregate);
  if (fit !== DEFAULTS.fit) words.push("--fit", fit);
  if (detail !== DEFAULTS.detail) words.push("--detail", String(detail));
  if (threshold !== "peak:0.5") words.push("--threshold", threshold);
  return [...words, ...modelArguments].map(quoted).join(" ");
}
