"use strict";
// Draws a map over a photo as the program does, pixel by pixel. Every function names the Rust that it follows; a
// test compares the two.

/** The weight of every prompt in the map: the gradient of the objective (src/objective/). */
function objectiveWeights(aggregate, logits, target, rivals, strength) {
  const weights = new Float64Array(logits.length);
  weights[target] = 1;
  if (rivals.length === 0 || aggregate === "logit") return weights;
  if (aggregate === "mean") {
    for (const rival of rivals) weights[rival] = -strength / rivals.length;
    return weights;
  }
  // Weighted: the softmax probabilities of the rivals, with the gradient through them.
  const order = [target, ...rivals];
  const p = softmax(order.map((index) => logits[index]));
  const differences = rivals.map((rival) => logits[target] - strength * logits[rival]);
  const total = p.slice(1).reduce((sum, x) => sum + x, 0);
  const weight = total + 1e-9;
  const value = differences.reduce((sum, d, i) => sum + p[i + 1] * d, 0) / weight;
  const pulls = differences.map((d) => (d - value) / weight);
  const along = pulls.reduce((sum, pull, i) => sum + p[i + 1] * pull, 0);
  weights[target] = total / weight - p[0] * along;
  rivals.forEach((rival, i) => {
    weights[rival] = p[i + 1] * (pulls[i] - along) - (strength * p[i + 1]) / weight;
  });
  return weights;
}

/** The softmax of some logits (src/embed.rs). */
function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The sum of maps, each times its weight. */
function mixMaps(maps, weights) {
  const mixed = new Float32Array(maps[0].length);
  for (let cell = 0; cell < mixed.length; cell++) {
    let sum = 0;
    for (let prompt = 0; prompt < maps.length; prompt++) {
      if (weights[prompt] !== 0) sum += weights[prompt] * maps[prompt][cell];
    }
    mixed[cell] = sum;
  }
  return mixed;
}

/** Which two cells a pixel lies between, and the second one's share (src/attribution/resample.rs, `Axis`). */
function taps(pixels, length, low, high, cells) {
  const step = length / Math.max(pixels, 1);
  return Array.from({ length: pixels }, (_, pixel) => {
    const at = (pixel + 0.5) * step;
    if (cells === 0 || at < low || at >= high) return null;
    const position = ((at - low) / (high - low)) * cells - 0.5;
    if (position <= 0) return { first: 0, second: 0, share: 0 };
    if (position >= cells - 1) return { first: cells - 1, second: cells - 1, share: 0 };
    const first = Math.floor(position);
    return { first, second: first + 1, share: Math.fround(position - first) };
  });
}

/** The pixels that have a tap, from first to last. */
function covered(list) {
  const start = list.findIndex((tap) => tap !== null);
  return start < 0 ? { start: 0, end: 0 } : { start, end: list.findLastIndex((tap) => tap !== null) + 1 };
}

/** How a grid lies on a picture of some size. */
function placeGrid(size, photo, grid, covers) {
  const columns = taps(size.width, photo[0], covers[0], covers[2], grid[1]);
  const rows = taps(size.height, photo[1], covers[1], covers[3], grid[0]);
  return { size, grid, columns, rows, across: covered(columns), down: covered(rows) };
}

/** The map at every pixel; NaN where it does not cover the photo (`Resampled::row`). */
function resample(values, place) {
  const { width, height } = place.size;
  const columns = place.grid[1];
  const out = new Float32Array(width * height).fill(NaN);
  const line = new Float32Array(columns);
  for (let y = place.down.start; y < place.down.end; y++) {
    const row = place.rows[y];
    for (let cell = 0; cell < columns; cell++) {
      const top = values[row.first * columns + cell];
      line[cell] = top + (values[row.second * columns + cell] - top) * row.share;
    }
    for (let x = place.across.start; x < place.across.end; x++) {
      const { first, second, share } = place.columns[x];
      out[y * width + x] = line[first] + (line[second] - line[first]) * share;
    }
  }
  return out;
}

/** The evidence in logits that gets the last colour; null if there is nothing to draw (`Scale::of`). */
function ownScale(values, signed) {
  let top = signed ? 0 : -Infinity;
  for (const value of values) top = Math.max(top, signed ? Math.abs(value) : value);
  return top > 0 && Number.isFinite(top) ? top : null;
}

/** How much of the photo every step of a colour map hides, 0 to 256 (src/render/colormap.rs, `ColorTable`). */
function opacities(colors, steps, opacity, gamma) {
  const first = colors.signed ? -steps : 0;
  return Uint16Array.from({ length: steps - first + 1 }, (_, index) => {
    const step = first + index;
    if (step === 0) return 0;
    const part = opacity * Math.pow(Math.abs(step / steps), gamma);
    return Math.round(Math.min(Math.max(part, 0), 1) * 256);
  });
}

/** Colours the pixels that the map covers (src/render/overlay.rs, `blend`). */
function drawEvidence(pixels, evidence, place, colors, options, scale) {
  const { steps } = options;
  const opacity = opacities(colors, steps, options.opacity, options.gamma);
  const zero = (colors.signed ? steps : 0) + 0.5;
  const last = opacity.length - 1;
  const { width } = place.size;
  for (let y = place.down.start; y < place.down.end; y++) {
    for (let x = place.across.start; x < place.across.end; x++) {
      const at = y * width + x;
      const index = Math.min(Math.max(Math.trunc((evidence[at] * steps) / scale + zero), 0), last);
      const share = opacity[index];
      if (share === 0) continue;
      for (let channel = 0; channel < 3; channel++) {
        const i = at * 4 + channel;
        pixels[i] = (pixels[i] * (256 - share) + colors.table[index * 3 + channel] * share + 128) >> 8;
      }
    }
  }
}

/** Mixes a grey into a pixel (src/render/canvas.rs, `mix`). */
function mixGrey(pixels, at, grey, opacity) {
  for (let i = at * 4; i < at * 4 + 3; i++) {
    pixels[i] = Math.trunc(pixels[i] + (grey - pixels[i]) * opacity + 0.5);
  }
}

/** No pixel's evidence differs by more from its neighbour's. */
function steepest(values, place) {
  const across = (place.across.end - place.across.start) / place.grid[1];
  const down = (place.down.end - place.down.start) / place.grid[0];
  return (Math.SQRT2 * (Math.max(...values) - Math.min(...values))) / Math.min(across, down);
}

/** The line along which the evidence is `level` (src/render/contour.rs). */
function drawContour(pixels, values, evidence, place, level) {
  const { width, height } = place.size;
  if (Math.min(width, height) < 48) return;
  const half = Math.max(Math.max(width, height) / 1200, 0.65);
  const reach = 2 * half + 0.5;
  const near = reach * steepest(values, place);
  const known = (x, y, here) => {
    const value = x < 0 || x >= width ? NaN : evidence[y * width + x];
    return Number.isNaN(value) ? here : value;
  };
  const coverage = (line, distance) => Math.min(Math.max(line + 0.5 - distance, 0), 1);
  for (let y = place.down.start; y < place.down.end; y++) {
    for (let x = place.across.start; x < place.across.end; x++) {
      const here = evidence[y * width + x];
      const gap = Math.abs(here - level);
      if (!(here > 0 && gap <= near)) continue;
      const across = known(x + 1, y, here) - known(x - 1, y, here);
      const down = known(x, Math.min(y + 1, height - 1), here) - known(x, Math.max(y - 1, 0), here);
      const slope = Math.sqrt(across * across + down * down) / 2;
      if (gap > reach * slope) continue;
      const distance = gap / Math.max(slope, Number.MIN_VALUE);
      mixGrey(pixels, y * width + x, 0, 0.45 * coverage(2 * half, distance));
      mixGrey(pixels, y * width + x, 255, 0.9 * coverage(half, distance));
    }
  }
}

/** Makes what the map does not cover pale and hatched (src/render/canvas.rs, `mark_outside`). */
function markOutside(pixels, place, paleness) {
  const { width, height } = place.size;
  const { across, down } = place;
  if (across.end - across.start >= width && down.end - down.start >= height) return;
  const distance = Math.min(Math.max(Math.trunc(Math.max(width, height) / 60), 6), 40);
  const thickness = Math.max(Math.trunc(distance / 12), 1);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (x >= across.start && x < across.end && y >= down.start && y < down.end) continue;
      mixGrey(pixels, y * width + x, 255, paleness);
      if ((x + y) % distance < thickness) mixGrey(pixels, y * width + x, 90, 0.4);
    }
  }
}

/**
 * The whole overlay: the photo's pixels (RGBA) are changed in place (src/render/overlay.rs, `overlay`). Returns the
 * evidence at every pixel.
 */
function drawOverlay(pixels, values, place, colors, options, scale) {
  const evidence = resample(values, place);
  if (scale !== null) {
    drawEvidence(pixels, evidence, place, colors, options, scale);
    if (options.contour !== null) drawContour(pixels, values, evidence, place, options.contour * scale);
  }
  markOutside(pixels, place, options.paleness);
  return evidence;
}
