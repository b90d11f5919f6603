"use strict";

// The scripts of all pages, in the order of their names, as one file. A page works without them: its links lead to
// the audio, its <noscript> has the browser's own players.
//
// What a script adds to the page it adds again when a part of the page was replaced (`dress`), and it hears clicks at
// the document, so that replaced parts need nothing.

const dressers = [];

function dress(root) {
  for (const dresser of dressers) dresser(root);
}

// `3:05`, `1:02:03`.
function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// Put values into a text of the page: `{at} of {length}`.
function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Move the focus, also to what can't be reached by Tab, and leave the page where it is.
function focusOn(target) {
  if (target.tabIndex < 0) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}
