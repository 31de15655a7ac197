// Keeps an open page true, and moves along rows by keys. Without it every page works by links, forms and reloading.
"use strict";

const watched = document.body.dataset.watch;
const question = document.body.dataset.ask;
const AGAIN_MS = 5000;
let isBusy = false;
let isDue = false;
let isOver = false;

function nameOf(element) {
  return element && element !== document.body ? element.id || element.getAttribute("href") || "" : "";
}

// Ask for this page again; what has changed is put in its place, or where rows would move under the reader, offered.
async function look() {
  if (isBusy) { isDue = true; return; }
  isBusy = true;
  let pause = 500;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.status >= 429) throw new Error(answer.statusText);
    if (!answer.ok || answer.redirected) { location.reload(); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = document.getElementById("live"), then = page.getElementById("live");
    if (now && then && now.innerHTML !== then.innerHTML) (question ? offer : replace)(now, then);
    if (page.body.dataset.watch !== watched) end();
  } catch {
    isDue = true;  // no answer just now: what was to be shown is still due
    pause = AGAIN_MS;
  } finally {
    isBusy = false;
    setTimeout(() => { if (isDue) { isDue = false; look(); } }, pause);
  }
}

function replace(now, then) {
  const focused = now.contains(document.activeElement) ? nameOf(document.activeElement) : "";
  const scrolled = [...now.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  now.replaceChildren(...then.childNodes);
  [...now.querySelectorAll(".scroll")].forEach((one, place) => { one.scrollLeft = scrolled[place] || 0; });
  if (focused) [...now.querySelectorAll("a, button, input")].find((one) => nameOf(one) === focused)?.focus();
}

function offer() {
  const news = document.getElementById("news");
  if (news.firstChild) return;
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = question;
  news.append(link);
}

// A stream that the server refuses is not tried again by the browser; the page is asked for then, too, and shows what has
// changed, or that the session is over.
let stream;
function watch() {
  if (isOver) return;
  stream = new EventSource(watched);
  for (const name of ["watching", "changed", "snapshot", "state"]) stream.addEventListener(name, look);
  stream.addEventListener("end", () => { end(); look(); });
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { watch(); look(); }, AGAIN_MS);
  });
}
function end() {
  isOver = true;
  stream.close();
}
if (watched && window.EventSource) {
  watch();
  addEventListener("pagehide", end);
  addEventListener("pageshow", (event) => { if (event.persisted) { isOver = false; watch(); look(); } });
}

document.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Keys can be switched off (WCAG 2.1.4).
const keys = document.getElementById("keys"), keysSwitch = document.getElementById("keys-switch");
const areOn = () => localStorage.getItem("kordant-keys") !== "off";
keys.hidden = false;
keysSwitch.setAttribute("aria-pressed", areOn());
keysSwitch.addEventListener("click", () => {
  localStorage.setItem("kordant-keys", areOn() ? "off" : "on");
  keysSwitch.setAttribute("aria-pressed", areOn());
});
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  if (isTyping || !areOn() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const filter = document.getElementById("first-filter");
    if (filter) { event.preventDefault(); filter.focus(); }
  } else if (event.key === "j" || event.key === "k") {
    const rows = [...document.querySelectorAll("tbody th[scope=row] a")];
    const place = rows.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
    rows[Math.min(Math.max(place, 0), rows.length - 1)]?.focus();
  }
});
