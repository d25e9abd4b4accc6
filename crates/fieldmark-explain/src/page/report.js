
// The page itself: what is shown for what is chosen. All text from outside enters by textContent, never as markup.

// The picture.

const canvas = byId("map");
let context, photoPixels, place, shown;

function preparePicture(image) {
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  photoPixels = context.getImageData(0, 0, canvas.width, canvas.height).data.slice();
  const stage = canvas.parentElement.style;
  stage.setProperty("--aspect", canvas.width / canvas.height);
  // A small photo is shown larger than it is, or its patches could hardly be pointed at.
  stage.setProperty("--widest", `${Math.max(canvas.width, (canvas.width / Math.max(canvas.width, canvas.height)) * 640)}px`);
  const size = { width: canvas.width, height: canvas.height };
  place = placeGrid(size, data.image_size, data.grid, data.covers);
}

function draw() {
  const colors = colorMaps.find((entry) => entry.name === chosen.colors);
  const values = currentMap();
  const own = ownScale(values, colors.signed);
  const scale = chosen.scale === "own" ? own : sharedScale(colors.signed);
  const contour = chosen.contour ? data.render.contour : null;
  const options = { ...data.render, opacity: chosen.opacity, contour };
  const picture = new ImageData(photoPixels.slice(), canvas.width, canvas.height);
  const evidence = drawOverlay(picture.data, values, place, colors, options, scale);
  context.putImageData(picture, 0, 0);
  const top = ownScale(values, true) ?? 0;
  shown = { values, evidence, scale, colors, digits: digitsFor(top), peak: peakOf(evidence) };
  byId("blank").hidden = ownScale(values, false) !== null;
}

/** The pixel with the largest evidence; of several, the middle one in reading order. */
function peakOf(evidence) {
  let top = 0;
  let ties = [];
  for (let at = 0; at < evidence.length; at++) {
    if (!(evidence[at] >= top && evidence[at] > 0)) continue;
    if (evidence[at] > top) ties = [];
    top = evidence[at];
    ties.push(at);
  }
  if (ties.length === 0) return null;
  const at = ties[Math.floor(ties.length / 2)];
  return { x: at % canvas.width, y: Math.floor(at / canvas.width), value: top };
}

function drawBar() {
  const { colors, scale, digits } = shown;
  paintBar(byId("bar"), colors.table);
  const parts = colors.signed ? [-1, -0.5, 0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
  const ticks = parts.map((part) => {
    const text = scale === null ? (part === 0 ? "0" : "") : part === 0 ? "0" : signed(part * scale, digits);
    const tick = element("span", part === 1 && text ? withUnit(text) : text);
    tick.style.left = `${colors.signed ? (part + 1) * 50 : part * 100}%`;
    return tick;
  });
  byId("ticks").replaceChildren(...ticks);
}

// Words and tables.

/** A map's value with its unit, if it has one: values without a unit compare within one map only. */
function withUnit(text) {
  const unit = { logits: " logits", probability: " of probability", activations: " (activations)" }[data.setup.unit];
  return text + (unit ?? "");
}

function title() {
  const target = data.prompts[chosen.target].prompt;
  const others = rivals().map((rival) => `“${data.prompts[rival].prompt}”`);
  byId("title").textContent = `“${target}”`;
  const contrast = others.length === 0 ? "on its own" : `against ${others.join(", ")}`;
  const strength = others.length > 0 ? `, strength ${chosen.strength.toFixed(2)}` : "";
  byId("subtitle").textContent = contrast + strength;
  document.title = `${target} · ${data.image} · fieldmark`;
}

function promptRows() {
  const rows = data.prompts.map((prompt, index) => {
    const row = element("tr");
    const radio = Object.assign(element("input"), { type: "radio", name: "target", id: `target-${index}` });
    const box = Object.assign(element("input"), { type: "checkbox", id: `rival-${index}` });
    radio.setAttribute("aria-label", `Target: ${prompt.prompt}`);
    box.setAttribute("aria-label", `Rival: ${prompt.prompt}`);
    radio.addEventListener("change", () => chooseTarget(index));
    box.addEventListener("change", () => chooseRival(index, box.checked));
    const name = element("td");
    const label = element("label", prompt.prompt);
    label.htmlFor = radio.id;
    const note = `similarity ${fixed(prompt.similarity, 4)} · ${prompt.evidence.verdict}`;
    name.append(label, element("span", note, "aside"));
    const cells = [element("td"), element("td"), name];
    cells[0].append(radio);
    cells[1].append(box);
    row.append(...cells, element("td", fixed(prompt.logit, 2), "number"));
    row.append(element("td", "", "number share"), element("td", "", "number here"));
    return row;
  });
  byId("prompts").tBodies[0].replaceChildren(...rows);
}

function updateRows() {
  const competing = [chosen.target, ...rivals()];
  const shares = softmax(competing.map((index) => logits[index]));
  [...byId("prompts").tBodies[0].rows].forEach((row, index) => {
    row.classList.toggle("target", index === chosen.target);
    const [radio, box] = row.querySelectorAll("input");
    radio.checked = index === chosen.target;
    box.checked = chosen.rivals.has(index);
    box.disabled = index === chosen.target || !data.recombines;
    radio.disabled = !data.recombines && computedFor(index).length === 0;
    const share = competing.indexOf(index);
    row.querySelector(".share").textContent = share < 0 ? "–" : percent(shares[share]);
  });
}

function entries(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

/** A point of the canvas in pixels of the photo. */
function onPhoto(point) {
  const at = (value, pixels, length) => Math.min(Math.floor(((value + 0.5) * length) / pixels), length - 1);
  return { x: at(point.x, canvas.width, data.image_size[0]), y: at(point.y, canvas.height, data.image_size[1]) };
}

function peakText() {
  if (shown.peak === null) return "none: no positive evidence";
  const { x, y } = onPhoto(shown.peak);
  return `${withUnit(signed(shown.peak.value, shown.digits))} at ${x}, ${y}`;
}

function numbers() {
  const sum = (keep) => shown.values.filter(keep).reduce((total, value) => total + value, 0);
  const weights = data.recombines
    ? objectiveWeights(data.setup.aggregate, logits, chosen.target, rivals(), chosen.strength)
    : null;
  const objective = weights ? weights.reduce((total, weight, i) => total + weight * logits[i], 0) : null;
  const prompt = data.prompts[chosen.target];
  entries(byId("numbers"), [
    ["Verdict", `${prompt.evidence.verdict} (the prompt among all of them)`],
    ["Peak", peakText()],
    ["For the target", withUnit(signed(sum((value) => value > 0), 3))],
    ["Against it", withUnit(signed(sum((value) => value < 0), 3))],
    ...(objective !== null && ["mean", "logit"].includes(data.setup.aggregate) ? [["Objective", `${fixed(objective, 3)} logits`]] : []),
  ]);
}

function settings() {
  const { setup } = data;
  const [x0, y0, x1, y1] = data.covers.map((value) => Math.round(value));
  entries(byId("settings"), [
    ["Image", `${data.image}, ${data.image_size[0]} × ${data.image_size[1]} pixels`],
    ["Model", data.model],
    ...(data.model_hash ? [["Model hash", data.model_hash]] : []),
    ["Method", `${setup.method}, layer ${setup.layer}`],
    ["Rivals", setup.aggregate === "logit" ? "not part of the map" : `${setup.aggregate} of them`],
    ["Phrased as", data.templates.map((text) => (text === "{}" ? "the prompt itself" : text)).join("  ·  ")],
    ["Fit", `${setup.fit}, covers ${x0}, ${y0} to ${x1}, ${y1}`],
    ["Grid", `${data.grid[0]} rows × ${data.grid[1]} columns`],
    ["Made by", data.program],
  ]);
}

function valueTable() {
  const [rows, columns] = data.grid;
  const { digits } = shown;
  const head = element("tr");
  head.append(element("th", "row"), ...Array.from({ length: columns }, (_, i) => element("th", i + 1)));
  const lines = Array.from({ length: rows }, (_, row) => {
    const line = element("tr");
    const number = element("th", row + 1);
    number.scope = "row";
    const cells = shown.values.slice(row * columns, (row + 1) * columns);
    line.append(number, ...[...cells].map((value) => element("td", signed(value, digits))));
    return line;
  });
  const caption = element("caption", "Evidence, a value a patch, from the top left", "aside");
  byId("values").replaceChildren(caption, head, ...lines);
}

let speaking;

/** Announces to screen readers what the picture shows, once it has settled. */
function summarize() {
  const target = data.prompts[chosen.target].prompt;
  const words = `Map of ${target}, ${byId("subtitle").textContent}. Peak: ${peakText()}.`;
  canvas.setAttribute("aria-label", words);
  clearTimeout(speaking);
  speaking = setTimeout(() => (byId("summary").textContent = words), 500);
}

// Reading evidence at a point.

function showCross() {
  const mark = byId("cross");
  mark.hidden = cross === null;
  if (cross === null) return;
  mark.style.left = `${((cross.x + 0.5) / canvas.width) * 100}%`;
  mark.style.top = `${((cross.y + 0.5) / canvas.height) * 100}%`;
  const value = shown.evidence[cross.y * canvas.width + cross.x];
  const { x, y } = onPhoto(cross);
  const strong = element("strong", Number.isNaN(value) ? "not looked at" : withUnit(signed(value, shown.digits)));
  byId("readout").replaceChildren(`at ${x}, ${y}: `, strong);
  rowsHere();
}

/** The value of a map at the cross, without resampling all of it. */
function valueAt(values, { x, y }) {
  const [row, column] = [place.rows[y], place.columns[x]];
  if (row === null || column === null) return NaN;
  const at = (r, c) => values[r * data.grid[1] + c];
  const line = (c) => at(row.first, c) + (at(row.second, c) - at(row.first, c)) * row.share;
  return line(column.first) + (line(column.second) - line(column.first)) * column.share;
}

function rowsHere() {
  if (!plainMaps) return;
  const values = plainMaps.map((map) => valueAt(map, cross));
  const digits = digitsFor(Math.max(...plainMaps.map((map) => ownScale(map, true) ?? 0)));
  [...byId("prompts").tBodies[0].rows].forEach((row, index) => {
    row.querySelector(".here").textContent = Number.isNaN(values[index]) ? "–" : signed(values[index], digits);
  });
}

function moveCross(x, y) {
  const within = (value, length) => Math.min(Math.max(Math.round(value), 0), length - 1);
  cross = { x: within(x, canvas.width), y: within(y, canvas.height) };
  showCross();
}

function pointAt(event) {
  const box = canvas.getBoundingClientRect();
  const part = (at, start, length) => (at - start) / length;
  moveCross(
    part(event.clientX, box.left, box.width) * canvas.width - 0.5,
    part(event.clientY, box.top, box.height) * canvas.height - 0.5,
  );
}

function moveByKey(event) {
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const from = cross ?? shown.peak ?? { x: canvas.width / 2, y: canvas.height / 2 };
  if (event.key === "Home" && shown.peak) {
    moveCross(shown.peak.x, shown.peak.y);
  } else if (directions[event.key]) {
    const [right, down] = directions[event.key];
    const patch = [canvas.width / data.grid[1], canvas.height / data.grid[0]];
    const [across, along] = event.shiftKey ? [1, 1] : patch;
    moveCross(from.x + right * across, from.y + down * along);
  } else return;
  event.preventDefault();
  // What is asked for now is more than a summary that is still to come.
  clearTimeout(speaking);
  byId("summary").textContent = byId("readout").textContent;
}

// Files. They are made in the page; nothing is sent anywhere.

function save(blob, ending) {
  const link = element("a");
  const words = data.prompts[chosen.target].prompt.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  link.href = URL.createObjectURL(blob);
  link.download = `${data.image.replace(/\.[^.]*$/, "")}.${words.join("-").slice(0, 80) || "prompt"}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** NumPy's .npy, version 1.0, float32, as `--save map` writes it. */
function npy() {
  const [rows, columns] = data.grid;
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const bytes = new Uint8Array(10 + length + shown.values.length * 4);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  const view = new DataView(bytes.buffer, 10 + length);
  shown.values.forEach((value, i) => view.setFloat32(i * 4, value, true));
  return new Blob([bytes], { type: "application/octet-stream" });
}

function csv() {
  const columns = data.grid[1];
  const rows = Array.from({ length: data.grid[0] }, (_, row) =>
    Array.from(shown.values.slice(row * columns, (row + 1) * columns)).join(","));
  return new Blob([`${rows.join("\n")}\n`], { type: "text/csv" });
}

// Changes.

let asked = false;

/** Draws before the next frame, once, however often it is asked for. */
function update() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    updateNow();
  });
}

function updateNow() {
  draw();
  drawBar();
  title();
  updateRows();
  numbers();
  if (byId("table").open) valueTable();
  showCross();
  controls();
  summarize();
  writeAddress();
}

function controls() {
  byId("strength").value = chosen.strength;
  byId("strength-value").textContent = chosen.strength.toFixed(2);
  byId("opacity").value = chosen.opacity;
  byId("opacity-value").textContent = `${Math.round(chosen.opacity * 100)} %`;
  byId("colors").value = chosen.colors;
  byId("scale").value = chosen.scale;
  byId("contour").checked = chosen.contour;
  const contrasts = data.setup.aggregate !== "logit";
  byId("strength").disabled = !data.recombines || !contrasts || chosen.rivals.size === 0;
  const note = byId("strength-note");
  note.hidden = data.recombines && contrasts && chosen.rivals.size > 0;
  const why = logits.length > 1 ? "Choose a rival to contrast the target with." : "There is no other prompt to contrast with.";
  const alone = "The target's logit is explained alone: rivals change nothing in the map.";
  note.textContent = !data.recombines ? data.why_fixed : contrasts ? why : alone;
  if (!data.recombines) byId("computed").value = computed.indexOf(chosen.computed);
}

function chooseTarget(index) {
  if (!data.recombines) adopt(computedFor(index)[0]);
  else {
    // The target of before becomes a rival where the new target was one.
    if (chosen.rivals.delete(index)) chosen.rivals.add(chosen.target);
    chosen.target = index;
  }
  update();
}

function chooseRival(index, isRival) {
  if (isRival) chosen.rivals.add(index);
  else chosen.rivals.delete(index);
  update();
}

function listen() {
  const on = (id, event, change) => byId(id).addEventListener(event, (happened) => (change(happened.target), update()));
  on("strength", "input", (slider) => (chosen.strength = Number(slider.value)));
  on("opacity", "input", (slider) => (chosen.opacity = Number(slider.value)));
  on("colors", "change", (list) => (chosen.colors = list.value));
  on("scale", "change", (list) => (chosen.scale = list.value));
  on("contour", "change", (box) => (chosen.contour = box.checked));
  on("computed", "change", (list) => adopt(computed[Number(list.value)]));
  byId("table").addEventListener("toggle", () => byId("table").open && valueTable());
  canvas.addEventListener("pointermove", pointAt);
  canvas.addEventListener("pointerdown", pointAt);
  canvas.addEventListener("keydown", moveByKey);
  byId("save-png").addEventListener("click", () => canvas.toBlob((blob) => save(blob, "overlay.png")));
  byId("save-npy").addEventListener("click", () => save(npy(), "map.npy"));
  byId("save-csv").addEventListener("click", () => save(csv(), "map.csv"));
  window.addEventListener("hashchange", () => (readAddress(), update()));
}

function fillLists() {
  byId("colors").replaceChildren(...colorMaps.map((entry) => {
    const option = element("option", entry.label);
    option.value = entry.name;
    return option;
  }));
  byId("strength").max = strengthTop();
  if (data.recombines) return;
  byId("strength").hidden = true;
  byId("computed").hidden = false;
  byId("computed").replaceChildren(...computed.map((entry, index) => {
    const others = entry.against.length === 0 ? "alone" : `against ${entry.against.length} others`;
    const option = element("option", `${data.prompts[entry.target].prompt}, ${others}, strength ${entry.strength}`);
    option.value = index;
    return option;
  }));
}

async function begin() {
  byId("image-name").textContent = data.image;
  const photo = byId("photo");
  photo.alt = `The photo ${data.image}`;
  photo.src = `data:image/jpeg;base64,${data.photo}`;
  await photo.decode();
  preparePicture(photo);
  fillLists();
  promptRows();
  settings();
  readAddress();
  listen();
  draw();
  cross = shown.peak && { x: shown.peak.x, y: shown.peak.y };
  updateNow();
  document.documentElement.dataset.ready = "true";
}

begin();
