
// What the report shows and how it is asked for: the data, what is chosen, and numbers as words.

const data = JSON.parse(document.getElementById("data").textContent);
/** Little-endian float32, as written. */
function floatsOf(base64) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(i * 4, true));
}

const plainMaps = data.recombines ? data.prompts.map((prompt) => floatsOf(prompt.map)) : null;
const computed = data.computed.map((entry) => ({ ...entry, map: floatsOf(entry.map) }));
const colorMaps = data.colors.map((entry) => ({ ...entry, table: bytesOf(entry.table) }));
const logits = data.prompts.map((prompt) => prompt.logit);

// What is chosen. It is kept in the address, so that a view can be linked to.

const chosen = {
  target: data.first.target,
  rivals: new Set(data.first.against),
  strength: data.first.strength,
  opacity: data.render.opacity,
  colors: data.colors[0].name,
  scale: "own",
  contour: true,
};
/** Where evidence is read, in pixels of the canvas. */
let cross = null;

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const index = (text) => (/^\d+$/.test(text) && Number(text) < logits.length ? Number(text) : null);
  const number = (name, low, high) => {
    const value = Number.parseFloat(asked.get(name) ?? "");
    if (Number.isFinite(value)) chosen[name] = Math.min(Math.max(value, low), high);
  };
  if (asked.has("target")) chosen.target = index(asked.get("target")) ?? chosen.target;
  if (asked.has("against")) {
    chosen.rivals = new Set(asked.get("against").split(",").map(index).filter((rival) => rival !== null));
  }
  number("strength", 0, strengthTop());
  number("opacity", 0, 1);
  if (colorMaps.some((entry) => entry.name === asked.get("colors"))) chosen.colors = asked.get("colors");
  if (["own", "shared"].includes(asked.get("scale"))) chosen.scale = asked.get("scale");
  if (asked.has("contour")) chosen.contour = asked.get("contour") !== "0";
  if (!data.recombines) adopt(computedFor(chosen.target)[0] ?? computed[0]);
  chosen.rivals.delete(chosen.target);
}

function writeAddress() {
  const { target, strength, opacity, colors, scale, contour } = chosen;
  const state = { target, against: rivals().join(","), strength, opacity, colors, scale, contour: contour ? 1 : 0 };
  try {
    history.replaceState(null, "", `#${new URLSearchParams(state)}`.replaceAll("%2C", ","));
  } catch {
    // Some browsers allow no change of a file's address: then there is just no link.
  }
}

function strengthTop() {
  return Math.max(1, data.first.strength);
}

function rivals() {
  return [...chosen.rivals].sort((one, other) => one - other);
}

// Methods that are not linear in the gradient: only what the program computed can be shown.

function computedFor(target) {
  return computed.filter((entry) => entry.target === target);
}

function adopt(entry) {
  chosen.target = entry.target;
  chosen.rivals = new Set(entry.against);
  chosen.strength = entry.strength;
  chosen.computed = entry;
}

function currentMap() {
  if (!data.recombines) return chosen.computed.map;
  const weights = objectiveWeights(data.setup.aggregate, logits, chosen.target, rivals(), chosen.strength);
  return mixMaps(plainMaps, weights);
}

/** The largest scale of all prompts' maps, each alone. */
function sharedScale(signed) {
  const maps = plainMaps ?? computed.map((entry) => entry.map);
  const scales = maps.map((map) => ownScale(map, signed)).filter((scale) => scale !== null);
  return scales.length > 0 ? Math.max(...scales) : null;
}

// Numbers for people.

function percent(part) {
  return `${(part * 100).toFixed(1)} %`;
}
