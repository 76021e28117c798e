// A live talk: what one says is shown at once and kept until the server has it; replies are asked for.
import { post } from "./study.js";

const room = document.getElementById("room");
const log = room.querySelector("[role=log] .talk");
const form = document.getElementById("say");
const box = form.querySelector("textarea");
const file = form.querySelector("input[type=file]");
const state = document.getElementById("room-state");
const words = JSON.parse(document.body.dataset.words || "{}");
let shown = Number(room.dataset.shown);
let wait = 400;
let attached = [];  // what goes with the next message
let waiting = null;  // what was said and not yet taken, with its own number so that a retry says it once

function list() {
  const place = document.getElementById("attached");
  if (place) place.textContent = "📎 ".repeat(attached.length);
}

function tell(word) { state.textContent = words[word] || ""; }

function draw(message) {
  if (message.n < shown) return;
  shown = message.n + 1;
  log.insertAdjacentHTML("beforeend", message.html);  // rendered and escaped by the server's templates
  show();
}

function show() {  // the last message, once more when its pictures have their size
  const last = log.lastElementChild;
  last?.scrollIntoView({ block: "nearest" });
  last?.querySelectorAll("img").forEach((one) => one.addEventListener("load", () => last.scrollIntoView({ block: "nearest" })));
}

async function look() {
  let next = 1000;
  try {
    const reply = await fetch(`/room/${room.dataset.slot}?after=${shown}`, { cache: "no-store" });
    if (reply.status === 200) {
      const data = await reply.json();
      data.messages.forEach(draw);
      wait = 400;
      next = data.open ? Math.min(next, wait) : 0;
      room.classList.toggle("thinking", data.thinking);
      room.classList.toggle("closed", !data.open);
      box.disabled = form.querySelector("button").disabled = !data.open || Boolean(waiting);
      if (file) file.disabled = box.disabled;
      tell(waiting ? "saving" : data.state);
    } else if (reply.status === 403) { tell("closed"); return; }
    else { wait = Math.min(wait * 2, 8000); next = wait; tell("busy"); }
  } catch { wait = Math.min(wait * 2, 8000); next = wait; tell("offline"); }
  if (next) setTimeout(look, next);
}

async function send() {
  if (!waiting) return;
  try {
    const reply = await post("/say", { slot: room.dataset.slot, text: waiting.text, blobs: waiting.blobs, key: waiting.key });
    if (reply.status === 200) { waiting = null; attached = []; list(); box.value = ""; box.disabled = false; box.focus(); tell(""); return; }
    if (reply.status === 422) { waiting = null; box.disabled = false; tell(reply.data.reason); return; }
  } catch { tell("offline"); }
  setTimeout(send, 1000);
}

function submit() {
  const text = box.value.trim();
  if ((!text && !attached.length) || waiting) return;
  waiting = { text, blobs: attached, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
  box.disabled = true;
  tell("saving");
  send();
}

form.addEventListener("submit", (pressed) => { pressed.preventDefault(); submit(); });
box.addEventListener("keydown", (pressed) => {
  if (pressed.key === "Enter" && !pressed.shiftKey && !pressed.isComposing) { pressed.preventDefault(); pressed.stopPropagation(); submit(); }
});
file?.addEventListener("change", async () => {
  const data = new FormData();
  data.append("slot", room.dataset.slot);
  data.append("file", file.files[0], "upload");  // the file's own name stays on the rater's machine
  try {
    const reply = await fetch("/upload", { method: "POST", headers: { "x-csrf": document.body.dataset.csrf }, body: data });
    const said = await reply.json().catch(() => ({}));
    if (reply.status === 200) { attached.push(said.blob); list(); tell(""); }
    else state.textContent = `${words.refused} ${said.detail || ""}`;
  } catch { tell("offline"); }
  file.value = "";
});
look();
