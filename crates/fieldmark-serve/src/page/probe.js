"use strict";
// Tools on the picture: read evidence at a point, compare a box with the rest, hide patches from the model.

let tool = "point";
/** A point of the canvas, and a box of two corners; null if there is none. */
let cross = null;
let box = null;
/** The plain map of every prompt, for the point: { prompts, maps, place, logits }. */
let plain = null;

function chooseTool(name) {
  tool = name;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  }
}

/** A point of the screen on the canvas, in its pixels. */
function onCanvas(event, canvas) {
  const frame = canvas.getBoundingClientRect();
  const at = (value, start, length, pixels) =>
    Math.min(Math.max(Math.floor(((value - start) / length) * pixels), 0), pixels - 1);
  return { x: at(event.clientX, frame.left, frame.width, canvas.width), y: at(event.clientY, frame.top, frame.height, canvas.height) };
}

function listenToPort(port, canvas) {
  let start = null;
  let hides = true;
  port.addEventListener("pointerdown", (event) => {
    if (!panels[0]?.record || event.button > 1) return;
    port.setPointerCapture(event.pointerId);
    const at = onCanvas(event, canvas);
    start = { ...at, clientX: event.clientX, clientY: event.clientY, moves: event.button === 1 || event.shiftKey };
    if (start.moves) return;
    if (tool === "point") readAt(at);
    if (tool === "box") box = null;
    if (tool === "hide") {
      hides = !chosen.hidden.includes(cellAt(panels[0].place, at.x, at.y));
      brush(at, hides);
    }
  });
  port.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const at = onCanvas(event, canvas);
    if (start.moves) {
      pan((event.clientX - start.clientX) / port.clientWidth, (event.clientY - start.clientY) / port.clientHeight);
      Object.assign(start, { clientX: event.clientX, clientY: event.clientY });
    } else if (tool === "point") readAt(at);
    else if (tool === "hide") brush(at, hides);
    else {
      const ends = (one, other) => [Math.min(one, other), Math.max(one, other) + 1];
      const [[left, right], [top, bottom]] = [ends(start.x, at.x), ends(start.y, at.y)];
      box = { left, right, top, bottom };
      showMarks();
    }
  });
  port.addEventListener("pointerup", () => {
    if (start !== null && tool === "box" && box !== null) askAboutBox();
    start = null;
  });
  port.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.altKey && camera.scale === 1 && event.deltaY > 0) return;
    event.preventDefault();
    const frame = port.getBoundingClientRect();
    const at = { x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.height };
    zoom(Math.exp(-event.deltaY / 300), at);
  }, { passive: false });
  canvas.addEventListener("keydown", onCanvasKey);
}

/** Arrows move the point by a patch (with Shift by a pixel), Home goes to the peak, Space hides the patch. */
function onCanvasKey(event) {
  if (!panels[0]?.record) return;
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const { record, place } = panels[0];
  const onPicture = (value, pixels, length) => Math.min(Math.floor((value * pixels) / length), pixels - 1);
  const peak = record.peak && {
    x: onPicture(record.peak.x, photo.width, record.image_size[0]),
    y: onPicture(record.peak.y, photo.height, record.image_size[1]),
  };
  const from = cross ?? peak ?? { x: photo.width >> 1, y: photo.height >> 1 };
  if (event.key === "Home" && peak) readAt(peak);
  else if (event.key === " ") {
    const cell = cellAt(place, from.x, from.y);
    readAt(from);
    brush(from, !chosen.hidden.includes(cell));
  } else if (directions[event.key]) {
    const [across, down] = directions[event.key];
    const [wide, high] = event.shiftKey ? [1, 1] : [photo.width / place.grid[1], photo.height / place.grid[0]];
    const within = (value, most) => Math.min(Math.max(Math.round(value), 0), most - 1);
    readAt({ x: within(from.x + across * wide, photo.width), y: within(from.y + down * high, photo.height) });
  } else return;
  event.preventDefault();
  byId("summary").textContent = byId("readout").textContent;
}

function valueAt(values, place, { x, y }) {
  const [row, column] = [place.rows[y], place.columns[x]];
  if (!row || !column) return NaN;
  const at = (r, c) => values[r * place.grid[1] + c];
  const line = (c) => at(row.first, c) + (at(row.second, c) - at(row.first, c)) * row.share;
  return line(column.first) + (line(column.second) - line(column.first)) * column.share;
}

function readAt(at) {
  cross = at;
  showMarks();
  const panel = panels[0];
  if (!panel?.record) return;
  const digits = digitsFor(ownScale(panel.values, true) ?? 1);
  const value = valueAt(panel.values, panel.place, at);
  const [width, height] = panel.record.image_size;
  const [x, y] = [Math.floor(((at.x + 0.5) * width) / photo.width), Math.floor(((at.y + 0.5) * height) / photo.height)];
  const said = Number.isNaN(value) ? "not covered by the map" : signed(value, digits);
  byId("readout").replaceChildren(`At ${x}, ${y}: `, element("strong", said), ...winner(at, digits));
}

/** Which prompt's plain map is largest at a point, and by how much. */
function winner(at, digits) {
  const rows = [...byId("scores").tBodies[0].rows];
  rows.forEach((row) => row.classList.remove("wins"));
  if (plain === null) return [];
  const values = plain.maps.map((map) => valueAt(map.values, plain.place, at));
  rows.forEach((row, index) => {
    const value = values[index];
    row.querySelector(".here").textContent = value === undefined || Number.isNaN(value) ? "–" : signed(value, digits);
  });
  if (values.length < 2 || values.some(Number.isNaN)) return [];
  const order = values.map((_, index) => index).sort((one, other) => values[other] - values[one]);
  rows[order[0]]?.classList.add("wins");
  return [`. “${plain.prompts[order[0]]}” wins here by ${(values[order[0]] - values[order[1]]).toFixed(digits)}.`];
}

/** Puts the point and the box where the camera shows them. */
function showMarks() {
  for (const { canvas } of panels) {
    const port = canvas.parentElement;
    port.querySelectorAll(".cross, .frame").forEach((mark) => mark.remove());
    const part = (value, length, shift) => `${((value / length) * camera.scale + shift) * 100}%`;
    if (cross !== null) {
      const mark = element("div", undefined, "cross");
      mark.style.left = part(cross.x + 0.5, photo.width, camera.x);
      mark.style.top = part(cross.y + 0.5, photo.height, camera.y);
      port.append(mark);
    }
    if (box !== null) {
      const mark = element("div", undefined, "frame");
      mark.style.left = part(box.left, photo.width, camera.x);
      mark.style.top = part(box.top, photo.height, camera.y);
      mark.style.width = part(box.right - box.left, photo.width, 0);
      mark.style.height = part(box.bottom - box.top, photo.height, 0);
      port.append(mark);
    }
  }
}

function brush(at, hides) {
  const cell = cellAt(panels[0].place, at.x, at.y);
  if (cell === null || chosen.hidden.includes(cell) === hides) return;
  change({ hidden: hides ? [...chosen.hidden, cell] : chosen.hidden.filter((other) => other !== cell) });
}

/** Cells of the grid as rectangles of the photo. */
function rectangles(cells, record) {
  const [rows, columns] = record.grid;
  const [left, top, right, bottom] = record.covers;
  const [width, height] = [(right - left) / columns, (bottom - top) / rows];
  return cells.filter((cell) => cell >= 0 && cell < rows * columns).map((cell) => {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    return [left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height];
  });
}

/** What the model says of the box alone, and of the photo without it. */
async function askAboutBox() {
  const { record, evidence } = panels[0];
  const [width, height] = record.image_size;
  const asPhoto = { x: width / photo.width, y: height / photo.height };
  const inside = [box.left * asPhoto.x, box.top * asPhoto.y, box.right * asPhoto.x, box.bottom * asPhoto.y];
  const outside = [[0, 0, width, inside[1]], [0, inside[3], width, height], [0, inside[1], inside[0], inside[3]], [inside[2], inside[1], width, inside[3]]];
  let [all, within] = [0, 0];
  for (let at = 0; at < evidence.length; at++) {
    if (!(evidence[at] > 0)) continue;
    const [x, y] = [at % photo.width, Math.floor(at / photo.width)];
    all += evidence[at];
    if (x >= box.left && x < box.right && y >= box.top && y < box.bottom) within += evidence[at];
  }
  const share = all > 0 ? `${Math.round((within / all) * 100)} % of the evidence` : "no evidence";
  const ask = async (hidden) => (await api.ask(photo.info.id, "compare", { ...plainQuestion(), hidden })).json();
  try {
    const [alone, without] = [await ask(outside), await ask([inside])];
    const logit = (answer) => fixed(answer.prompts[0].logit, 2);
    byId("readout").textContent =
      `In the box: ${share}. Logit of “${alone.prompts[0].prompt}” with the box alone ${logit(alone)}, without it ${logit(without)}, whole photo ${fixed(record.logit, 2)}.`;
  } catch (problem) {
    report(problem);
  }
}
