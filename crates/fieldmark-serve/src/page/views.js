"use strict";
// The stage: one to four pictures of the same photo, drawn as the program draws them, zoomed and moved together.

/** The photo that is shown: its pixels, and its size as the server knows it. */
let photo = null;
/** The pictures on the stage: { label, record, values, scale, canvas, evidence }. */
let panels = [];
let colorMaps = [];
let drawing;
let isBare = false;
const camera = { scale: 1, x: 0, y: 0 };

function rememberDrawing(info) {
  drawing = info.drawing.render;
  colorMaps = info.drawing.colors.map((entry) => ({ ...entry, table: bytesOf(entry.table) }));
}

async function showPhoto(info) {
  const picture = await createImageBitmap(await (await api.picture(info.id)).blob(), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, picture.width, picture.height);
  photo = { info, width: picture.width, height: picture.height, pixels: data.slice() };
  panels = [];
  whole();
}

function placeOf(record) {
  return placeGrid({ width: photo.width, height: photo.height }, record.image_size, record.grid, record.covers);
}

/** Puts answers on the stage: { label, record, own }. */
function stage(answers) {
  const host = byId("stage");
  while (host.children.length > Math.max(answers.length, 1)) host.lastChild.remove();
  while (host.children.length < Math.max(answers.length, 1)) host.append(figure(host.children.length));
  host.style.setProperty("--columns", answers.length > 1 ? 2 : 1);
  host.style.setProperty("--aspect", photo.width / photo.height);
  panels = [...host.children].map((frame, index) => ({ ...answers[index], frame, canvas: frame.querySelector("canvas") }));
  for (const panel of panels) {
    if (panel.canvas.width !== photo.width || panel.canvas.height !== photo.height) {
      Object.assign(panel.canvas, { width: photo.width, height: photo.height });
    }
  }
  byId("empty").hidden = true;
  host.hidden = byId("under").hidden = false;
  draw();
}

function figure(index) {
  const frame = element("figure");
  const port = element("div", undefined, "port");
  const canvas = element("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The photo");
  if (index === 0) canvas.id = "map";
  port.append(canvas);
  frame.append(port, element("figcaption"));
  listenToPort(port, canvas);
  return frame;
}

function draw() {
  if (photo === null) return;
  const colors = colorMaps.find((entry) => entry.name === chosen.colors) ?? colorMaps[0];
  const withMaps = panels.filter((panel) => panel.record);
  const scales = withMaps.map((panel) => ownScale(panel.record.map.values, colors.signed)).filter((scale) => scale !== null);
  const shared = scales.length > 0 ? Math.max(...scales) : null;
  for (const panel of panels) drawPanel(panel, colors, shared);
  drawLegend(colors, withMaps[0], shared);
  moveAll();
  showMarks();
}

function drawPanel(panel, colors, shared) {
  const picture = new ImageData(photo.pixels.slice(), photo.width, photo.height);
  panel.frame.querySelector("figcaption").textContent = panel.label ?? "";
  if (panel.record) {
    const { values } = panel.record.map;
    panel.values = values;
    panel.place = placeOf(panel.record);
    panel.scale = panel.own ? ownScale(values, colors.signed) : shared;
    const hasHeat = ["both", "heat"].includes(chosen.drawn);
    const contour = ["both", "contour"].includes(chosen.drawn) ? drawing.contour : null;
    const options = { ...drawing, opacity: hasHeat ? chosen.opacity : 0, contour };
    if (isBare || chosen.drawn === "off") panel.evidence = resample(values, panel.place);
    else panel.evidence = drawOverlay(picture.data, values, panel.place, colors, options, panel.scale);
    if (!isBare) greyHidden(picture.data, panel.place);
    panel.canvas.setAttribute("aria-label", described(panel));
  }
  panel.canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Patches that are hidden from the model are shown grey. */
function greyHidden(pixels, place) {
  if (chosen.hidden.length === 0) return;
  const isHidden = new Set(chosen.hidden);
  for (let y = 0; y < photo.height; y++) {
    for (let x = 0; x < photo.width; x++) {
      if (!isHidden.has(cellAt(place, x, y))) continue;
      const at = (y * photo.width + x) * 4;
      const stripe = (x + y) % 12 < 2 ? 150 : 118;
      pixels[at] = pixels[at + 1] = pixels[at + 2] = stripe;
    }
  }
}

/** The patch at a pixel of the canvas; null where the map does not cover the photo. */
function cellAt(place, x, y) {
  const nearest = (tap) => (tap.share > 0.5 ? tap.second : tap.first);
  const [row, column] = [place.rows[y], place.columns[x]];
  return row && column ? nearest(row) * place.grid[1] + nearest(column) : null;
}

function described(panel) {
  const { record } = panel;
  const others = record.against.map((rival) => rival.prompt).join(", ");
  const peak = record.peak ? `peak ${signed(record.peak.value, 2)} at ${record.peak.x}, ${record.peak.y}` : "no evidence for it";
  return `Map of ${record.prompt}${others ? ` against ${others}` : ""}, ${record.method}: ${peak}`;
}

function drawLegend(colors, panel, scale) {
  const host = byId("legend");
  host.hidden = !panel || chosen.drawn === "off";
  if (host.hidden) return;
  paintBar(byId("bar"), colors.table);
  const top = panel.own ? panel.scale : scale;
  const unit = { logits: " logits", probability: " of probability" }[panel.record.unit] ?? "";
  const digits = digitsFor(top ?? 1);
  const parts = colors.signed ? [-1, 0, 1] : [0, 0.5, 1];
  byId("ticks").replaceChildren(...parts.map((part) => {
    const text = part === 0 ? "0" : top === null ? "" : signed(part * top, digits) + (part === 1 ? unit : "");
    const tick = element("span", top === null && part === 1 ? "no evidence for it" : text);
    tick.style.left = `${colors.signed ? (part + 1) * 50 : part * 100}%`;
    return tick;
  }));
}

// Zoom and pan, the same for all pictures.

function moveAll() {
  for (const { canvas } of panels) {
    canvas.style.transform = `translate(${camera.x * 100}%, ${camera.y * 100}%) scale(${camera.scale})`;
    canvas.parentElement.classList.toggle("near", camera.scale * canvas.parentElement.clientWidth > 4 * photo.width);
  }
}

/** Zooms around a point of the picture, in parts of the port. */
function zoom(factor, at = { x: 0.5, y: 0.5 }) {
  const scale = Math.min(Math.max(camera.scale * factor, 1), 16);
  const within = (value) => Math.min(Math.max(value, 1 - scale), 0);
  camera.x = within(at.x - ((at.x - camera.x) * scale) / camera.scale);
  camera.y = within(at.y - ((at.y - camera.y) * scale) / camera.scale);
  camera.scale = scale;
  moveAll();
  showMarks();
}

function pan(across, down) {
  const within = (value) => Math.min(Math.max(value, 1 - camera.scale), 0);
  camera.x = within(camera.x + across);
  camera.y = within(camera.y + down);
  moveAll();
  showMarks();
}

function whole() {
  Object.assign(camera, { scale: 1, x: 0, y: 0 });
  if (photo) moveAll();
  showMarks();
}

function setBare(bare) {
  if (isBare === bare) return;
  isBare = bare;
  draw();
}
