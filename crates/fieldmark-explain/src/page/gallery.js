"use strict";
// Lists the results of a run. All text from outside enters by textContent, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
/** Shapes say the same as the words, without colour. */
const SHAPES = { present: "●", weak: "◐", absent: "○", unknown: "?" };
/** More tiles at once would make a large run slow. */
const PAGE = 240;

const tiles = data.shots.flatMap((shot) => shot.tiles.map((tile, prompt) => ({ ...tile, shot, place: prompt })));
let limit = PAGE;

function address(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

function link(text, href) {
  return Object.assign(element("a", text), { href });
}

/** The photo's report, with the tile's prompt as its target. */
function reportOf(tile) {
  return tile.shot.report && `${address(tile.shot.report)}#target=${tile.place}`;
}

/** Words that stay on one line. */
function together(words) {
  return words.replaceAll(" ", "\u00a0");
}

/** Which tiles are to be seen, in which order. */
function chosenTiles() {
  const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const prompt = byId("prompt").value;
  const verdicts = [...byId("verdicts").querySelectorAll("input:checked")].map((box) => box.value);
  const found = tiles.filter((tile) => {
    const text = `${tile.shot.image} ${tile.prompt}`.toLowerCase();
    return (prompt === "" || tile.prompt === prompt) && verdicts.includes(tile.verdict)
      && words.every((word) => text.includes(word));
  });
  const orders = {
    run: () => 0,
    similarity: (one, other) => other.similarity - one.similarity,
    probability: (one, other) => other.probability - one.probability,
    prompt: (one, other) => one.prompt.localeCompare(other.prompt),
  };
  return found.sort(orders[byId("order").value]);
}

function tileElement(tile) {
  const item = element("li");
  const frame = link("", reportOf(tile) ?? address(tile.files.overlay ?? tile.thumbnail));
  frame.className = "frame";
  const picture = Object.assign(element("img"), { loading: "lazy", src: address(tile.thumbnail) });
  picture.alt = `Evidence for ${tile.prompt} in ${tile.shot.image}`;
  frame.append(picture);
  const image = Object.assign(element("p", tile.shot.image.split(/[\\/]/).pop()), { title: tile.shot.image });
  const numbers = element("p");
  const similarity = tile.similarity.toFixed(3).replace("-", "−");
  numbers.append(element("span", together(`${SHAPES[tile.verdict]} ${tile.verdict}`), "verdict"));
  numbers.append(" · ", together(`similarity ${similarity}`), " · ");
  numbers.append(together(`share ${(tile.probability * 100).toFixed(1)} %`));
  const links = element("p", undefined, "links");
  if (tile.shot.report) links.append(link("report", reportOf(tile)));
  links.append(...Object.entries(tile.files).map(([kind, path]) => link(kind, address(path))));
  item.append(frame, element("h2", tile.prompt), image, numbers, links);
  return item;
}

function show() {
  const found = chosenTiles();
  byId("results").replaceChildren(...found.slice(0, limit).map(tileElement));
  byId("more").hidden = found.length <= limit;
  byId("count").textContent = `${Math.min(limit, found.length)} of ${tiles.length} shown`;
}

function options() {
  const all = element("option", "all");
  all.value = "";
  const prompts = data.prompts.map((prompt) => Object.assign(element("option", prompt), { value: prompt }));
  byId("prompt").replaceChildren(all, ...prompts);
  byId("verdicts").append(...Object.entries(SHAPES).map(([verdict, shape]) => {
    const label = element("label");
    const box = Object.assign(element("input"), { type: "checkbox", value: verdict, checked: true });
    label.append(box, `${shape} ${verdict}`);
    return label;
  }));
}

function words() {
  const photos = data.shots.length === 1 ? "1 photo" : `${data.shots.length} photos`;
  const prompts = data.prompts.length === 1 ? "1 prompt" : `${data.prompts.length} prompts`;
  byId("title").textContent = `${photos}, ${prompts}`;
  document.title = `${photos}, ${prompts} · fieldmark`;
  byId("model").textContent = data.program;
  byId("subtitle").textContent = data.summary;
  byId("settings").replaceChildren(
    ...data.settings.flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
  byId("failed").hidden = data.failed.length === 0;
  byId("failures").replaceChildren(...data.failed.map((failure) => element("li", failure)));
}

function begin() {
  words();
  options();
  const again = () => {
    limit = PAGE;
    show();
  };
  byId("tools").addEventListener("input", again);
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => {
    limit += PAGE;
    show();
  });
  show();
  document.documentElement.dataset.ready = "true";
}

begin();
