// Marks on what is shown: words of a text, stretches of sound or video, points and boxes on a picture.
// Each has a way by mouse or finger and a way by keyboard; the list of marks lies in the field's hidden input.
import { changed } from "./study.js";

const one = (root, selector) => root.querySelector(selector);
const valueOf = (field) => JSON.parse(one(field, "input[data-answer]").value || "null");
const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;

function set(field, value) {
  one(field, "input[data-answer]").value = JSON.stringify(value);
  field.dispatchEvent(new CustomEvent("shown"));
  changed(field);
}

function add(field, mark, order) {
  const label = one(field, "select[data-label]");
  const whole = label ? { ...mark, label: label.value } : mark;
  const others = (valueOf(field) || []).filter((each) => JSON.stringify(each) !== JSON.stringify(whole));
  set(field, [...others, whole].sort(order));
}

// The marks so far, each with a button that takes it away.
function list(field, describe) {
  const place = one(field, ".marks");
  const labels = Object.fromEntries([...field.querySelectorAll("select[data-label] option")].map((o) => [o.value, o.textContent]));
  const marks = valueOf(field) || [];
  place.replaceChildren(...marks.map((each, n) => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    text.textContent = describe(each) + (each.label ? ` · ${labels[each.label] || each.label}` : "");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = place.dataset.remove;
    button.setAttribute("aria-label", `${place.dataset.remove}: ${text.textContent}`);
    button.addEventListener("click", () => set(field, valueOf(field).filter((_, other) => other !== n)));
    item.append(text, button);
    return item;
  }));
  return marks;
}

// Python counts code points, a browser UTF-16 units.
const points = (text, units) => [...text.slice(0, units)].length;
const units = (text, count) => [...text].slice(0, count).join("").length;

function span(field) {
  const texts = [...field.querySelectorAll(".marked")];
  const nodeOf = (mark) => texts.find((text) => Number(text.dataset.turn) === mark.turn)?.firstChild;
  const order = (a, b) => a.turn - b.turn || a.start - b.start;
  let last = null;  // a press on the button takes the selection away
  const selected = () => {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const text = texts.find((each) => each.contains(range.startContainer) && each.contains(range.endContainer));
    const node = text?.firstChild;
    if (!node) return null;
    const at = (container, offset) => (container === node ? offset : offset ? node.length : 0);
    const [start, end] = [at(range.startContainer, range.startOffset), at(range.endContainer, range.endOffset)];
    const from = Number(text.dataset.from);
    const mark = { turn: Number(text.dataset.turn), start: from + points(node.data, start), end: from + points(node.data, end) };
    return start < end ? mark : null;
  };
  const mark = () => {
    const found = selected() || last;
    if (!found) return;
    last = null;
    getSelection().removeAllRanges();
    add(field, found, order);
  };
  const ranges = (marks) => marks.flatMap((each) => {
    const text = texts.find((t) => Number(t.dataset.turn) === each.turn && Number(t.dataset.from) <= each.start
      && each.end <= Number(t.dataset.from) + [...t.textContent].length);
    const node = text?.firstChild;
    if (!node) return [];
    const range = new Range();
    range.setStart(node, units(node.data, each.start - Number(text.dataset.from)));
    range.setEnd(node, units(node.data, each.end - Number(text.dataset.from)));
    return [range];
  });
  document.addEventListener("selectionchange", () => { last = selected() || last; });
  one(field, "button[data-mark]").addEventListener("click", mark);
  for (const text of texts) {
    for (const kind of ["beforeinput", "paste", "drop", "cut"]) text.addEventListener(kind, (event) => event.preventDefault());
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); mark(); }
    });
  }
  field.addEventListener("shown", () => {
    const marks = list(field, (each) => ranges([each]).map(String)[0] || `${each.start}–${each.end}`);
    if (!CSS.highlights) return;
    field.ranges = ranges(marks);
    const drawn = [...document.querySelectorAll("[data-kind=span]")].flatMap((each) => each.ranges || []);
    CSS.highlights.set("marks", new Highlight(...drawn));
  });
}

function interval(field) {
  const [start, end] = ["start", "end"].map((each) => one(field, `input[data-part=${each}]`));
  const player = document.querySelector("audio[data-n], video[data-n]");
  for (const button of field.querySelectorAll("button[data-here]")) {
    button.addEventListener("click", () => {
      one(field, `input[data-part=${button.dataset.here}]`).value = (player ? player.currentTime : 0).toFixed(2);
    });
  }
  one(field, "button[data-mark]").addEventListener("click", () => {
    const mark = { start: Number(start.value), end: Number(end.value) };
    if (start.value === "" || end.value === "" || !(mark.start < mark.end)) { start.focus(); return; }
    start.value = end.value = "";
    add(field, mark, (a, b) => a.start - b.start);
  });
  field.addEventListener("shown", () => list(field, (each) => `${each.start} – ${each.end} s`));
}

// Places are shares of width and height from the upper left corner; a box is a corner and its sides.
function region(field) {
  const board = one(field, ".board");
  const inputs = Object.fromEntries([...field.querySelectorAll("input[data-part]")].map((i) => [i.dataset.part, i]));
  const shape = () => one(field, "[data-shape]:checked")?.value || field.dataset.shape;
  const inside = (value) => round(Math.min(1, Math.max(0, value)), 4);
  const order = (a, b) => a.x - b.x || a.y - b.y;
  let from = null;
  const at = (event) => {
    const frame = board.getBoundingClientRect();
    return [inside((event.clientX - frame.left) / frame.width), inside((event.clientY - frame.top) / frame.height)];
  };
  const corners = (a, b) => ({
    shape: "box", x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]),
    width: round(Math.abs(a[0] - b[0]), 4), height: round(Math.abs(a[1] - b[1]), 4),
  });
  const draw = (marks) => {
    for (const old of board.querySelectorAll("i")) old.remove();
    for (const mark of marks) {
      const drawn = document.createElement("i");
      drawn.className = mark.shape;
      const share = { left: mark.x, top: mark.y, width: mark.width, height: mark.height };
      for (const [side, value] of Object.entries(share)) if (value !== undefined) drawn.style[side] = `${value * 100}%`;
      board.append(drawn);
    }
  };
  board.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    if (shape() === "point") { const [x, y] = at(event); add(field, { shape: "point", x, y }, order); return; }
    from = at(event);
    board.setPointerCapture(event.pointerId);
  });
  board.addEventListener("pointermove", (event) => { if (from) draw([...(valueOf(field) || []), corners(from, at(event))]); });
  board.addEventListener("pointerup", (event) => {
    if (!from) return;
    const mark = corners(from, at(event));
    from = null;
    if (mark.width && mark.height) add(field, mark, order);
    else draw(valueOf(field) || []);
  });
  board.addEventListener("pointercancel", () => { from = null; draw(valueOf(field) || []); });
  one(field, "button[data-mark]").addEventListener("click", () => {
    const names = shape() === "point" ? ["x", "y"] : ["x", "y", "width", "height"];
    const open = names.find((name) => inputs[name].value === "");
    if (open) { inputs[open].focus(); return; }
    const share = Object.fromEntries(names.map((name) => [name, inside(Number(inputs[name].value) / 100)]));
    for (const input of Object.values(inputs)) input.value = "";
    add(field, { shape: shape(), ...share }, order);
  });
  const sides = () => { for (const name of ["width", "height"]) if (inputs[name]) inputs[name].closest("label").hidden = shape() === "point"; };
  for (const input of field.querySelectorAll("[data-shape]")) input.addEventListener("change", sides);
  const percent = (value) => `${round(value * 100, 2)} %`;
  field.addEventListener("shown", () => {
    sides();
    draw(list(field, (each) => [each.x, each.y, each.width, each.height].filter((v) => v !== undefined).map(percent).join(" · ")));
  });
}

const makers = { span, interval, region };
for (const field of document.querySelectorAll("[data-field]")) {
  const make = makers[field.dataset.kind];
  if (!make) continue;
  make(field);
  field.dispatchEvent(new CustomEvent("shown"));
  one(field, "button[data-nothing]").addEventListener("click", () => set(field, []));
}
