"use strict";
// What the scripts of all pages share: elements, numbers as words, and the bar of a colour map.

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function signed(value, digits) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
}

/** A number with a minus sign as long as a plus. */
function fixed(value, digits) {
  return value.toFixed(digits).replace("-", "−");
}

/** Enough digits for the largest value that is shown with it. */
function digitsFor(top) {
  return Math.min(Math.max(2 - Math.floor(Math.log10(Math.max(top, 1e-9))), 1), 8);
}

/** Paints a colour map's table along a canvas. */
function paintBar(bar, table) {
  const strip = new ImageData(bar.width, 1);
  const entries = table.length / 3;
  for (let x = 0; x < bar.width; x++) {
    const index = Math.round((x / (bar.width - 1)) * (entries - 1));
    for (let channel = 0; channel < 3; channel++) strip.data[x * 4 + channel] = table[index * 3 + channel];
    strip.data[x * 4 + 3] = 255;
  }
  bar.getContext("2d").putImageData(strip, 0, 0);
}
