// One page of a study: autosave with sequence numbers, retry, conflicts, conditions, submit, events, zoom.
// Our own and without dependencies: what is said stays in the page and in its queue until the server has it.
import { prepare, read, saidOf, show } from "./fields.js";

const words = JSON.parse(document.body.dataset.words || "{}");
const csrf = document.body.dataset.csrf || "";
const status = document.getElementById("status");
const form = document.getElementById("work");
const here = `${csrf.slice(0, 16)} ${form?.dataset.slot}`;  // this rater's place, whatever else this tab has shown

function say(word, tone) {
  if (!status) return;
  status.textContent = words[word] || "";
  status.className = tone || "";
}

export async function post(url, body) {
  const reply = await fetch(url, {
    method: "POST", keepalive: true, redirect: "error",
    headers: { "content-type": "application/json", "x-csrf": csrf }, body: JSON.stringify(body),
  });
  return { status: reply.status, data: await reply.json().catch(() => ({})) };
}

export const event = (kind, data = {}) =>
  post("/event", { slot: form?.dataset.slot || null, kind, data, ms: Math.round(performance.now()) }).catch(() => {});

class Queue {
  constructor(slot, seq) {
    this.key = `queue ${here}`;
    this.slot = slot;
    this.items = JSON.parse(sessionStorage.getItem(this.key) || "[]");
    this.seq = Math.max(seq, ...this.items.map((item) => item.seq));
    this.wait = 500;
    this.timer = null;
    this.running = null;
  }

  keep() {
    if (this.items.length) sessionStorage.setItem(this.key, JSON.stringify(this.items));
    else sessionStorage.removeItem(this.key);
  }

  // A change that was not sent yet is replaced; one that was stays as it is, since the server may have it.
  add(field) {
    const name = field.dataset.field;
    const item = { field: name, ...saidOf(field), seq: ++this.seq, ms: Math.round(performance.now()), sent: false };
    this.items = this.items.filter((each) => each.field !== name || each.sent);
    this.items.push(item);
    this.keep();
  }

  soon(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), delay);
  }

  async flush() {
    clearTimeout(this.timer);
    this.running ??= this.drain().finally(() => { this.running = null; });
    return this.running;
  }

  async drain() {
    while (this.items.length) {
      const first = new Map();
      for (const item of this.items) if (!first.has(item.field)) first.set(item.field, item);
      const batch = [...first.values()];
      for (const item of batch) {
        item.version ??= Number(fieldOf(item.field)?.dataset.version || 0);
        item.sent = true;
      }
      this.keep();
      say("saving");
      let reply;
      try {
        reply = await post("/save", { slot: this.slot, changes: batch.map(({ sent, ...rest }) => rest) });
      } catch { reply = { status: 0, data: {} }; }
      if (![200, 409, 422].includes(reply.status)) return this.later(reply.status);
      this.wait = 500;
      const done = new Set(batch);
      this.items = this.items.filter((item) => !done.has(item));
      this.keep();
      for (const result of reply.data.results || []) settle(result, this.items);
    }
    say("saved", "good");
    return true;
  }

  later(code) {
    if (code === 410) {  // submitted in another tab, or gone to somebody else after a long pause
      this.items = [];
      this.keep();
      location.assign("/now");
      return false;
    }
    if (code === 403 || code === 404) { say("closed", "bad"); return false; }
    say(code === 0 ? "offline" : "busy", "bad");
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(this.wait * 2, 8000);
    return false;
  }
}

const fields = form ? [...form.querySelectorAll("[data-field]")] : [];
const fieldOf = (name) => fields.find((field) => field.dataset.field === name);
const queue = form ? new Queue(form.dataset.slot, Number(form.dataset.seq || 0)) : null;

function complain(field, text, holds = Boolean(text)) {
  field.querySelector(".problem").textContent = text;
  field.classList.toggle("wrong", holds);
}

// Shows what the server made of a change: taken, older than another tab's, or not an answer at all.
function settle(result, waiting) {
  const field = fieldOf(result.field);
  if (!field) return;
  const later = waiting.some((item) => item.field === result.field);
  if (result.newer) {
    field.dataset.version = result.newer.version;
    queue.items = queue.items.filter((item) => item.field !== result.field);
    queue.keep();
    show(field, result.newer);
    complain(field, words.newer, false);
    conditions();
  } else if (result.wrong) {
    if (!later) complain(field, result.wrong);
  } else {
    field.dataset.version = result.version;
    complain(field, "");
  }
}

// A field with a condition is there only while the answer that it hangs on is.
function conditions() {
  for (const field of fields) {
    if (!field.dataset.showIf) continue;
    const { item, values } = JSON.parse(field.dataset.showIf);
    const other = fieldOf(item);
    const value = other && !other.hidden ? read(other) : null;
    const said = Array.isArray(value) ? value : [value];
    field.hidden = !said.some((each) => values.some((wanted) => JSON.stringify(wanted) === JSON.stringify(each)));
    field.disabled = field.hidden;
  }
}

export function changed(field, delay = 0) {
  field.classList.add("answered");
  complain(field, "");
  conditions();
  say("saving");
  queue.add(field);
  queue.soon(delay);
  form.dispatchEvent(new CustomEvent("answered", { detail: field.dataset.field }));
}

async function submit() {
  const button = form.querySelector("button[type=submit]");
  button.setAttribute("aria-busy", "true");
  try {
    if (!(await queue.flush())) return;
    if (fields.some((field) => field.classList.contains("wrong") && !field.hidden)) { lead(); return; }
    const reply = await post(form.getAttribute("action"), { slot: form.dataset.slot });
    if (reply.status === 200 || reply.status === 410) { location.assign(reply.data.to || "/now"); return; }
    if (reply.status === 422) {
      for (const name of reply.data.missing || []) if (fieldOf(name)) complain(fieldOf(name), words.missing);
      say("incomplete", "bad");
      lead();
    } else say(reply.status === 403 ? "closed" : "busy", "bad");
  } catch {
    say("offline", "bad");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

// Takes the eye and the keyboard to the first field that wants something.
function lead() {
  const field = fields.find((each) => each.classList.contains("wrong") && !each.hidden);
  if (!field) return;
  field.scrollIntoView({ block: "center" });
  field.querySelector("input:not([type=hidden]), textarea, button, [tabindex]")?.focus({ preventScroll: true });
}

// After a reload, a restart of the server or another visit: where the person was, else the first open field.
function resume() {
  const place = sessionStorage.getItem(`at ${here}`);
  const started = fields.some((field) => field.classList.contains("answered"));
  const open = fields.find((field) => !field.classList.contains("answered") && !field.hidden);
  const field = (place && fieldOf(place)) || (started && open);
  if (!field) return;
  field.querySelector("input:checked, [data-answer]:not([type=hidden]), button")?.focus({ preventScroll: true });
  field.scrollIntoView({ block: "nearest" });
}

function start() {
  for (const field of fields) {
    const stored = { value: JSON.parse(field.dataset.value || "null"), na: field.dataset.na === "1", note: field.dataset.said || "" };
    show(field, stored);
    prepare(field, changed);
    field.addEventListener("focusin", () => sessionStorage.setItem(`at ${here}`, field.dataset.field));
  }
  for (const item of queue.items) if (fieldOf(item.field)) show(fieldOf(item.field), item);
  conditions();
  form.addEventListener("submit", (done) => { done.preventDefault(); submit(); });
  document.addEventListener("keydown", (pressed) => {
    if (pressed.key === "Enter" && (pressed.ctrlKey || pressed.metaKey)) { pressed.preventDefault(); submit(); }
  });
  if (queue.items.length) queue.soon(0);
  addEventListener("online", () => queue.flush());
  addEventListener("beforeunload", (leaving) => { if (queue.items.length) leaving.preventDefault(); });
  resume();
}

function media() {
  const dialog = document.getElementById("zoom");
  for (const button of document.querySelectorAll("button.picture")) {
    button.addEventListener("click", () => {
      const picture = dialog.querySelector("img");
      picture.src = button.querySelector("img").src;
      picture.className = "";
      dialog.showModal();
      event("zoomed");
    });
  }
  dialog?.querySelector("img").addEventListener("click", (pressed) => pressed.target.classList.toggle("large"));
  dialog?.querySelector("[data-larger]").addEventListener("click", () => dialog.querySelector("img").classList.toggle("large"));
  for (const player of document.querySelectorAll("audio, video")) {
    for (const kind of ["play", "pause", "seeked", "ended"]) {
      player.addEventListener(kind, () => event(kind, { at: player.currentTime, media: player.dataset.n || "" }));
    }
  }
}

if (form) start();
media();
addEventListener("pageshow", (shown) => { if (shown.persisted) location.reload(); });
document.addEventListener("visibilitychange", () => event(document.hidden ? "hidden" : "visible"));
if (document.body.dataset.page) event("shown", { page: document.body.dataset.page });
