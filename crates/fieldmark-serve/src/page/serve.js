"use strict";
// The page: what is typed becomes a question, the answer is drawn. One question at a time is on its way; what changes
// meanwhile is asked next, so that the map follows typing as fast as the model answers.

let info;
let isAsking = false;
let isDue = false;
/** The question of the last answer, as text: what only changes the drawing is not asked again. */
let answered = "";
let baseline = null;

function report(problem) {
  byId("problem").hidden = !problem;
  byId("problem").textContent = problem ? problem.message : "";
}

function rivalsNow() {
  const draft = byId("rival").value.trim();
  const isOther = draft.length > 2 && ![...chosen.against, chosen.prompt.trim()].some((known) => known.toLowerCase() === draft.toLowerCase());
  return isOther ? [...chosen.against, draft] : chosen.against;
}

/** All prompts on their own, at strength 0. */
function plainQuestion() {
  const { prompt, against, strength: _, ...settings } = question({ against: rivalsNow() });
  return { ...settings, prompts: [prompt, ...against], strength: 0 };
}

/** What the chosen view shows: a label, the question, and whether its map has a scale of its own. */
function wanted() {
  const asked = question({ against: rivalsNow() });
  if (chosen.view === "plain" && asked.against.length > 0) {
    return [{ label: `Contrast, strength ${asked.strength}`, asked }, { label: "Plain, without rivals", asked: { ...asked, strength: 0 } }];
  }
  if (chosen.view === "prompts" && asked.against.length > 0) {
    return [asked.prompt, ...asked.against].slice(0, 4).map((prompt) => ({ label: prompt, asked: { ...asked, prompt, against: [] } }));
  }
  if (chosen.view === "methods") {
    const others = ["grad-cam", "layer-cam", "grad-eclip", "le-grad", "gem"].filter((name) => name !== (chosen.method || info.method));
    return [chosen.method || info.method, ...others].slice(0, 4).map((method) => ({ label: method, asked: { ...asked, method }, own: true }));
  }
  return [{ label: "", asked }];
}

function update() {
  controls();
  if (photo === null || photo.info.id !== chosen.photo) return;
  if (panels.length === 0) stage([{ label: "" }]);
  draw();
  if (chosen.prompt.trim() === "") return;
  if (isAsking) isDue = true;
  else ask();
}

async function ask() {
  isAsking = true;
  try {
    do {
      isDue = false;
      await askOnce();
    } while (isDue);
  } finally {
    isAsking = false;
  }
}

async function askOnce() {
  const shown = photo;
  const views = wanted();
  const text = JSON.stringify([shown.info.id, views, chosen.hidden, info.prompts]);
  if (text === answered) return;
  try {
    const hidden = chosen.hidden.length > 0 && panels[0]?.record ? rectangles(chosen.hidden, panels[0].record) : [];
    const answers = [];
    for (const view of views) {
      const record = await (await api.ask(shown.info.id, "localize", { ...view.asked, hidden })).json();
      answers.push({ ...view, record });
    }
    if (photo !== shown) return;
    answered = text;
    stage(answers);
    report(null);
    scores(answers[0].record);
    document.documentElement.dataset.answered = String(Number(document.documentElement.dataset.answered ?? 0) + 1);
    if (!isDue) await askPlain(shown, hidden);
  } catch (problem) {
    answered = "";
    report(problem);
  }
}

/** The plain maps, for the point; where patches are hidden, the scores of the whole photo beside those without them. */
async function askPlain(shown, hidden) {
  const asked = plainQuestion();
  const answer = await (await api.ask(shown.info.id, "compare", { ...asked, hidden })).json();
  if (photo !== shown) return;
  plain = { prompts: asked.prompts, maps: answer.maps, place: placeOf(answer), logits: answer.prompts.map(({ logit }) => logit) };
  if (hidden.length === 0) baseline = { prompts: asked.prompts, logits: plain.logits };
  if (cross !== null) readAt(cross);
}

function scores(record) {
  const rows = [record, ...record.against].map((score, index) => {
    const row = element("tr", undefined, index === 0 ? "target" : "");
    const known = chosen.hidden.length > 0 && baseline ? baseline.prompts.indexOf(score.prompt) : -1;
    const logit = element("td", fixed(score.logit, 2), "number");
    if (known >= 0) logit.append(element("span", `${signed(score.logit - baseline.logits[known], 2)} hidden`, "delta"));
    row.append(element("td", score.prompt), logit, element("td", `${(score.probability * 100).toFixed(1)} %`, "number"), element("td", "–", "number here"));
    return row;
  });
  byId("scores").tBodies[0].replaceChildren(...rows);
  const unknown = record.unknown_words ? ` The model does not know: ${record.unknown_words.join(", ")}.` : "";
  byId("verdict").textContent = `Verdict: ${record.evidence.verdict}. ${[...record.warnings].join(" ")}${unknown}`;
  clearTimeout(scores.timer);
  scores.timer = setTimeout(() => (byId("summary").textContent = described({ record })), 600);
}

function controls() {
  const set = (id, value) => { if (document.activeElement !== byId(id) || byId(id).type !== "text") byId(id).value = value; };
  for (const name of ["strength", "view", "drawn", "opacity", "method", "layer", "aggregate", "fit", "detail", "threshold"]) set(name, chosen[name]);
  if (byId("target").value.trim() !== chosen.prompt.trim()) byId("target").value = chosen.prompt;
  byId("colors").value = chosen.colors || colorMaps[0].name;
  byId("strength-value").textContent = chosen.strength.toFixed(2);
  byId("threshold-value").textContent = `${Math.round(chosen.threshold * 100)} %`;
  byId("undo").disabled = history_.past.length === 0;
  byId("redo").disabled = history_.future.length === 0;
  byId("show-all").hidden = chosen.hidden.length === 0;
  byId("rivals").replaceChildren(...chosen.against.map((rival) => {
    const chip = element("li", rival);
    const remove = element("button", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${rival}`);
    remove.addEventListener("click", () => change({ against: chosen.against.filter((other) => other !== rival) }));
    chip.append(remove);
    return chip;
  }));
  const name = photo?.info.name ?? "PHOTO";
  byId("command").value = command(name, info.model_arguments);
  document.title = chosen.prompt ? `${chosen.prompt} · fieldmark` : "fieldmark";
  for (const button of byId("photos").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.id === chosen.photo));
}

function addRival(text) {
  const rival = text.trim();
  const isKnown = [chosen.prompt.trim(), ...chosen.against].some((known) => known.toLowerCase() === rival.toLowerCase());
  if (rival !== "" && !isKnown) change({ against: [...chosen.against, rival] });
}

/** "red shoulder, not rusty blackbird, not crow" becomes a target and two rivals. */
function split() {
  const [prompt, ...rivals] = chosen.prompt.split(/,?\s*\bnot\s+/i).map((part) => part.trim());
  if (rivals.length === 0 || prompt === "") return;
  const others = rivals.filter((rival) => rival !== "" && rival !== prompt);
  byId("target").value = prompt;
  change({ prompt, against: [...new Set([...chosen.against, ...others])] });
}

// Photos.

async function openPhoto(id) {
  try {
    const known = await onPhoto(id, () => api.photo(id));
    await showPhoto(known);
    [cross, box, plain, baseline, answered] = [null, null, null, null, ""];
    report(null);
    if (chosen.photo === id) update();
    else change({ photo: id, hidden: [] });
  } catch (problem) {
    report(problem);
  }
}

async function take(files) {
  for (const file of files) {
    try {
      const added = await api.upload(file, file.name || "pasted.png");
      uploads.set(added.id, { file, name: added.name });
      list(added, URL.createObjectURL(file));
      await openPhoto(added.id);
    } catch (problem) {
      report(problem);
    }
  }
}

function list({ id, name }, source) {
  if ([...byId("photos").querySelectorAll("button")].some((button) => button.dataset.id === id)) return;
  const item = element("li");
  const button = element("button");
  button.type = "button";
  button.dataset.id = id;
  const picture = Object.assign(element("img"), { src: source, alt: "", loading: "lazy" });
  button.append(picture, element("span", name.split(/[\\/]/).pop()));
  button.title = name;
  button.addEventListener("click", () => openPhoto(id));
  item.append(button);
  byId("photos").append(item);
}

/** One question about all photos of the folder; they are sorted by their logit as answers arrive. */
async function searchAll() {
  const order = new Map();
  byId("search").disabled = true;
  try {
    for await (const { event, data } of events(await post("/search", question({ against: rivalsNow() })))) {
      if (event === "progress") byId("progress").textContent = `${data.done} of ${data.total}`;
      if (event === "failed") report(new Problem({ title: data.name, detail: data.detail }));
      if (event !== "result") continue;
      order.set(data.id, data.logit);
      const items = [...byId("photos").children];
      const item = items.find((other) => other.firstChild.dataset.id === data.id);
      item.querySelector("span").textContent = `${fixed(data.logit, 2)} · ${data.evidence.verdict} · ${data.image.split(/[\\/]/).pop()}`;
      await overlayThumbnail(item, data);
      const rank = (other) => order.get(other.firstChild.dataset.id) ?? -Infinity;
      byId("photos").replaceChildren(...items.sort((one, other) => rank(other) - rank(one)));
    }
  } catch (problem) {
    report(problem);
  } finally {
    byId("search").disabled = false;
  }
}

async function overlayThumbnail(item, record) {
  const response = await fetch(`/api/v1/photos/${record.id}/thumbnail`);
  if (!response.ok) return;
  const picture = await createImageBitmap(await response.blob());
  const canvas = Object.assign(element("canvas"), { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const place = placeGrid({ width: canvas.width, height: canvas.height }, record.image_size, record.grid, record.covers);
  const colors = colorMaps[0];
  drawOverlay(pixels.data, record.map.values, place, colors, { ...drawing, contour: null }, ownScale(record.map.values, false));
  context.putImageData(pixels, 0, 0);
  item.querySelector("img, canvas").replaceWith(canvas);
}

// Suggestions.

async function suggest(rows, ask) {
  byId("suggestions").replaceChildren(element("li", "…"));
  try {
    const found = rows(await ask());
    byId("suggestions").replaceChildren(...found.map(({ prompt, why }) => {
      const item = element("li");
      const text = element("span", prompt);
      text.append(element("span", ` ${why}`, "aside"));
      const [target, rival] = ["Target", "Rival"].map((label) => Object.assign(element("button", label), { type: "button" }));
      target.setAttribute("aria-label", `Target: ${prompt}`);
      rival.setAttribute("aria-label", `Rival: ${prompt}`);
      target.addEventListener("click", () => change({ prompt, against: chosen.against.filter((other) => other !== prompt) }));
      rival.addEventListener("click", () => addRival(prompt));
      item.append(text, target, rival);
      return item;
    }));
  } catch (problem) {
    byId("suggestions").replaceChildren();
    report(problem);
  }
}

function suggestRivals(by) {
  const rows = ({ against }) => against.filter((rival) => rival.chosen).map((rival) => {
    const how = by === "text" ? "nearest by text" : "highest on this photo";
    return { prompt: rival.prompt, why: `${how}, number ${rival.chosen.rank}; similarity of the texts ${fixed(rival.chosen.similarity, 2)}` };
  });
  const asked = { ...question(), concepts: byId("list").value, by, nearest: 5 };
  suggest(rows, async () => (await api.ask(photo.info.id, "localize", asked)).json());
}

function suggestConcepts() {
  const rows = ({ ranking }) => ranking.slice(0, 8).map(({ prompt, logit }) => ({ prompt, why: `logit ${fixed(logit, 2)}` }));
  const asked = { prompts: [], concepts: byId("list").value, top: 1, strength: 0 };
  suggest(rows, async () => (await api.ask(photo.info.id, "compare", asked)).json());
}

// Files to take along.

function save(blob, ending) {
  const link = element("a");
  const words = chosen.prompt.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean).join("-").slice(0, 80);
  link.href = URL.createObjectURL(blob);
  link.download = `${photo.info.name.split(/[\\/]/).pop().replace(/\.[^.]*$/, "")}.${words || "prompt"}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function takeAlong(kind) {
  const { record } = panels[0] ?? {};
  if (!record) return;
  const ask = async (what, accept) => (await api.ask(photo.info.id, what, question(), accept)).blob();
  const text = (value, type) => new Blob([value], { type });
  const columns = record.grid[1];
  const lines = () => Array.from({ length: record.grid[0] }, (_, row) => record.map.values.slice(row * columns, (row + 1) * columns).join(","));
  const kinds = {
    overlay: async () => save(await ask("overlay"), "overlay.png"),
    npy: async () => save(await ask("localize", "application/x-npy"), "map.npy"),
    csv: () => save(text(`${lines().join("\n")}\n`, "text/csv"), "map.csv"),
    regions: async () => save(await ask("regions"), "coco.json"),
    points: () => save(text(JSON.stringify({ image: record.image, image_size: record.image_size, points: record.points }), "application/json"), "points.json"),
    report: async () => save(await ask("report"), "report.html"),
  };
  try {
    await kinds[kind]();
  } catch (problem) {
    report(problem);
  }
}

// Events.

function listen() {
  byId("target").addEventListener("input", (event) => (change({ prompt: event.target.value }), complete(event.target.value)));
  byId("target").addEventListener("keydown", (event) => event.key === "Enter" && split());
  byId("rival").addEventListener("input", (event) => (update(), complete(event.target.value)));
  const add = () => {
    const text = byId("rival").value;
    byId("rival").value = "";
    addRival(text);
  };
  byId("rival").addEventListener("keydown", (event) => event.key === "Enter" && add());
  byId("add-rival").addEventListener("click", add);
  for (const id of ["strength", "opacity", "threshold"]) byId(id).addEventListener("input", (event) => change({ [id]: Number(event.target.value) }));
  for (const id of ["view", "colors", "drawn", "method", "layer", "aggregate", "fit"]) byId(id).addEventListener("change", (event) => change({ [id]: event.target.value, ...(id === "fit" ? { hidden: [] } : {}) }));
  byId("detail").addEventListener("change", (event) => change({ detail: Number(event.target.value), hidden: [] }));
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => chooseTool(button.dataset.tool));
  for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => takeAlong(button.dataset.save));
  const on = (id, act) => byId(id).addEventListener("click", act);
  on("undo", undo);
  on("redo", redo);
  on("show-all", () => change({ hidden: [] }));
  on("nearer", () => zoom(1.5));
  on("farther", () => zoom(1 / 1.5));
  on("whole", whole);
  on("search", searchAll);
  on("by-text", () => photo && suggestRivals("text"));
  on("by-image", () => photo && suggestRivals("image"));
  on("what", () => photo && suggestConcepts());
  on("copy", () => navigator.clipboard.writeText(byId("command").value).catch(() => byId("command").select()));
  byId("bare").addEventListener("pointerdown", () => setBare(true));
  for (const event of ["pointerup", "pointerleave", "pointercancel"]) byId("bare").addEventListener(event, () => setBare(false));
  listenToKeys();
  listenToFiles();
}

function listenToKeys() {
  const isTyping = () => ["INPUT", "TEXTAREA", "SELECT"].includes(document.activeElement?.tagName) && document.activeElement.type !== "range";
  document.addEventListener("keydown", (event) => {
    if (isTyping()) return;
    if (event.key.toLowerCase() === "b" && !event.ctrlKey && !event.metaKey) setBare(true);
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
  });
  document.addEventListener("keyup", (event) => event.key.toLowerCase() === "b" && setBare(false));
  window.addEventListener("hashchange", () => {
    chosen = readBack(location.hash.slice(1));
    if (chosen.photo && chosen.photo !== photo?.info.id) openPhoto(chosen.photo);
    else update();
  });
}

function listenToFiles() {
  const dragging = (is) => document.body.classList.toggle("dragging", is);
  document.addEventListener("dragover", (event) => (event.preventDefault(), dragging(true)));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && dragging(false));
  document.addEventListener("drop", (event) => (event.preventDefault(), dragging(false), take(event.dataTransfer.files)));
  document.addEventListener("paste", (event) => event.clipboardData.files.length > 0 && take(event.clipboardData.files));
  byId("file").addEventListener("change", (event) => take(event.target.files));
}

async function complete(typed) {
  const found = await api.complete(typed).catch(() => []);
  byId("completions").replaceChildren(...found.map(({ name, list: from }) => Object.assign(element("option"), { value: name, label: from })));
}

function options(id, entries) {
  byId(id).replaceChildren(...entries.map(([value, label]) => Object.assign(element("option", label), { value })));
}

async function begin() {
  try {
    info = await api.server();
  } catch (problem) {
    report(problem);
    return;
  }
  rememberDrawing(info);
  byId("model").textContent = info.model;
  options("colors", colorMaps.map(({ name, label }) => [name, label]));
  options("method", [["", `${info.method} (default)`], ...info.methods.map(({ name }) => [name, name])]);
  options("layer", [["", "the method's own"], ...Array.from({ length: info.layers }, (_, block) => [String(block), String(block)])]);
  options("aggregate", [["", `${info.objectives[0]} (default)`], ...info.objectives.map((name) => [name, name])]);
  options("list", info.lists.map(({ name, concepts }) => [name, `${name} (${concepts})`]));
  DEFAULTS.opacity = drawing.opacity;
  chosen = readBack(location.hash.slice(1));
  listen();
  const files = await api.photos();
  files.forEach((file) => list(file, `/api/v1/photos/${file.id}/thumbnail`));
  byId("search").hidden = files.length === 0;
  controls();
  const first = chosen.photo || files[0]?.id;
  if (first) await openPhoto(first);
  document.documentElement.dataset.ready = "true";
}

begin();
