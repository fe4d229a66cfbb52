// Makes the page quicker; without it everything works as well. It asks only for pages of its own, and writes only text.
"use strict";

const PROGRESS_EVERY_MS = 1000;
const ARRIVALS_EVERY_MS = 5000;
const RENEW_AFTER_MS = 250;
const SHORTCUTS = "errands-dead-shortcuts";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

function start() {
  all("[data-script]").forEach((each) => (each.hidden = false));
  one("[data-focus], [data-first]")?.focus();
  choosing();
  copying();
  places();
  keyboard();
  if (one("[data-live]")) setTimeout(progress, every());
  if (one("[data-stream]")) follow(one("[data-stream]").dataset.stream);
  if (one("[data-arrivals]")) setTimeout(arrivals, ARRIVALS_EVERY_MS);
}

const every = () => Number(one("[data-live]").dataset.live) || PROGRESS_EVERY_MS;

async function progress() {
  if (!document.hidden) await renew();
  if (one("[data-live]")) setTimeout(progress, every());
}

// What befalls a job is told by the gateway; the page itself says it. A stream that breaks, the browser begins again.
function follow(url) {
  const stream = new EventSource(url);
  let renewing = null;
  const changed = () => {
    renewing ??= setTimeout(async () => {
      renewing = null;
      await renew();
      if (!one("[data-stream]")) stream.close();
    }, RENEW_AFTER_MS);
  };
  ["note", "job"].forEach((name) => stream.addEventListener(name, changed));
  stream.addEventListener("error", () => stream.readyState === EventSource.CLOSED && askAgain());
}

// Where the gateway cannot be heard from here, the page asks.
async function askAgain() {
  if (!document.hidden) await renew();
  if (one("[data-stream]")) setTimeout(askAgain, ARRIVALS_EVERY_MS);
}

// This page again, and of it the part that changes.
async function renew() {
  const shown = one("#live");
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.ok) {
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    const focused = document.activeElement?.id;
    if (fresh) shown.replaceWith(fresh);
    if (focused) document.getElementById(focused)?.focus();
  }
}

// How many dead letters came since the page was made.
async function arrivals() {
  const line = one("[data-arrivals]");
  if (!document.hidden) {
    const answer = await fetch(`${line.dataset.arrivals}?cursor=${line.dataset.cursor}`).catch(() => null);
    if (answer && !answer.ok) return; // signed out, most likely: the next click says so
    if (answer) told(line, await answer.json());
  }
  setTimeout(arrivals, ARRIVALS_EVERY_MS);
}

function told(line, { count, cursor }) {
  if (!count) return;
  line.dataset.cursor = cursor;
  line.dataset.count = Number(line.dataset.count ?? 0) + count;
  const link = document.createElement("a");
  link.href = location.pathname + location.search;
  link.textContent = "Show them";
  const noun = line.dataset.count === "1" ? "dead letter" : "dead letters";
  line.replaceChildren(`${line.dataset.count} new ${noun} came. `, link);
}

function choosing() {
  const boxes = all("input[name=dead_letter][type=checkbox]");
  const every = one("[data-all]");
  const label = one("[data-chosen]");
  if (!boxes.length) return;
  const count = () => {
    const chosen = boxes.filter((each) => each.checked).length;
    label.textContent = chosen ? `${chosen} chosen:` : "Chosen:";
    every.checked = chosen === boxes.length;
    every.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  every.addEventListener("change", () => {
    boxes.forEach((each) => (each.checked = every.checked));
    count();
  });
  boxes.forEach((each) => each.addEventListener("change", count));
  addEventListener("pageshow", count); // the browser brings marks back
}

function copying() {
  for (const button of all("[data-copy]")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
}

// From what is wrong to its line in the text.
function places() {
  for (const button of all("[data-line]")) {
    button.addEventListener("click", () => {
      const area = document.getElementById(button.getAttribute("aria-controls"));
      const lines = area.value.split("\n");
      const line = Math.min(Number(button.dataset.line), lines.length) - 1;
      const begin = lines.slice(0, line).join("\n").length + (line ? 1 : 0);
      area.focus();
      area.setSelectionRange(begin, begin + lines[line].length);
      area.scrollTop = (area.scrollHeight / lines.length) * (line - 3);
    });
  }
}

// --- the keyboard

let going = false; // after a g

function keyboard() {
  const keys = one("#keys");
  if (!keys) return;
  one("[data-opens=keys]").addEventListener("click", () => keys.showModal());
  const wanted = one("[data-shortcuts]");
  wanted.checked = localStorage.getItem(SHORTCUTS) !== "off";
  wanted.addEventListener("change", () => localStorage.setItem(SHORTCUTS, wanted.checked ? "on" : "off"));
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || !wanted.checked) return;
    if (press(event.key, keys)) event.preventDefault();
  });
}

function press(key, keys) {
  if (going) {
    going = false;
    return click(`[data-go="${CSS.escape(key)}"]`);
  }
  switch (key) {
    case "j":
      return move(1);
    case "k":
      return move(-1);
    case "x":
      return click("input[type=checkbox]", row());
    case "o":
      return click("[data-main]", row());
    case "u":
      return click("[data-up]");
    case "/":
      return focus(one("[data-search]") ?? one(".filters input"));
    case "?":
      keys.showModal();
      return true;
    case "g":
      going = true;
      return true;
  }
  const wanted = CSS.escape(key);
  return click(`[data-row-key="${wanted}"]`, row()) || click(`[data-key="${wanted}"]`);
}

const row = () => document.activeElement?.closest("[data-row]");

function move(step) {
  const rows = all("[data-row]").filter((each) => one("[data-main]", each));
  const at = rows.indexOf(row());
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  return focus(next && one("[data-main]", next));
}

function focus(element) {
  element?.focus();
  element?.scrollIntoView({ block: "nearest" });
  return Boolean(element);
}

function click(selector, within = document) {
  const found = within && one(selector, within);
  found?.click();
  return Boolean(found);
}

start();
