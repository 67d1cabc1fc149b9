// Keeps the regions of a page that are marked with data-live as they are on the server.
//
// The page's own URL is asked for again, with the field X-Pacsbridge-Live: the answer has the regions alone, or is
// 304 while nothing has changed. Nothing is asked while nobody looks. Without this script a page is as it was loaded.

const FIELD = "X-Pacsbridge-Live";
const LONGEST = 15_000;
const PATIENCE = 20_000;

const interval = 1000 * Number(document.querySelector("[data-live-seconds]")?.dataset.liveSeconds ?? 5);
const regions = () => [...document.querySelectorAll("[data-live][id]")];

let timer = 0;
let failures = 0;
let tag = null;
let asking = false;

/** The line that says whether the page is up to date; what stands in `spoken` is read out, politely. */
const line = document.querySelector("[data-live-state]");
const spoken = document.querySelector("[data-live-spoken]");

function show(text, lost) {
  if (line) {
    line.textContent = text;
    line.classList.toggle("lost", lost);
  }
}

function say(text) {
  if (spoken) spoken.textContent = text;
}

/** What a region says that is worth being read out: id → text. */
function announced(root) {
  const found = root.querySelectorAll("[data-announce][id]");
  return new Map([...found].map((one) => [one.id, one.textContent.trim().replace(/\s+/g, " ")]));
}

function replace(region, fresh) {
  const open = [...region.querySelectorAll("details[id][open]")].map((one) => one.id);
  const focus = region.contains(document.activeElement) ? document.activeElement.id : "";
  region.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
}

/** Whether somebody is about to use what stands in a region: a choice that is open, a text half typed. */
function inUse(region) {
  const active = document.activeElement;
  return region.contains(active) && active.matches("input:not([type=hidden]), select, textarea");
}

function take(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  const before = announced(document);
  for (const region of regions()) {
    const found = fresh.getElementById(region.id);
    if (found && !inUse(region) && found.innerHTML !== region.innerHTML) replace(region, found);
  }
  const news = [...announced(document)].filter(([id, text]) => before.has(id) && before.get(id) !== text);
  if (news.length) say(news.map(([, text]) => text).join(". "));
}

class SignedOut extends Error {}

async function ask() {
  const headers = { [FIELD]: "1", ...(tag ? { "If-None-Match": tag } : {}) };
  const signal = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(location.href, { headers, signal, redirect: "error", credentials: "same-origin" });
  if (answer.status === 304) return;
  if (answer.status === 401 || answer.status === 403) throw new SignedOut();
  if (!answer.ok) throw new Error(String(answer.status));
  take(await answer.text());
  tag = answer.headers.get("ETag");
}

async function refresh() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  try {
    await ask();
    if (failures) say("The connection is back.");
    failures = 0;
    show(`Up to date at ${new Date().toISOString().slice(11, 19)} UTC`, false);
  } catch (fault) {
    if (fault instanceof SignedOut) {
      location.reload(); // to where one signs in: what stands here is for nobody any more
      return;
    }
    const text = "The connection is lost: what you see may be out of date";
    if (!failures) say(text);
    failures += 1;
    show(text, true);
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(refresh, Math.min(LONGEST, interval * 2 ** Math.min(failures, 10)));
}

if (regions().length) {
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  window.addEventListener("online", refresh);
  show("Refreshes by itself", false);
  timer = setTimeout(refresh, interval);
}
