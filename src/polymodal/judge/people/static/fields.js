// What a field holds and shows: `read` gives the value that is stored, `write` shows a stored one.
// A value is null as long as nothing was said; nothing has a default that could pass for an answer.

const all = (root, selector) => [...root.querySelectorAll(selector)];
const one = (root, selector) => root.querySelector(selector);

function chosen(field) {
  const found = one(field, "input[type=radio][data-answer]:checked");
  return found ? JSON.parse(found.value) : null;
}

function choose(field, value) {
  for (const input of all(field, "input[type=radio][data-answer]")) {
    input.checked = value !== null && JSON.stringify(JSON.parse(input.value)) === JSON.stringify(value);
  }
}

function number(input) {
  if (input.type === "range" && input.dataset.unset !== undefined) return null;
  return input.value === "" || Number.isNaN(Number(input.value)) ? null : Number(input.value);
}

function tell(input) {
  const output = input.parentElement.querySelector("output");
  if (output) output.textContent = input.dataset.unset !== undefined ? "–" : input.value;
}

const answer = (field) => one(field, "[data-answer]");
const radio = { read: chosen, write: choose };
const numeric = {
  read: (field) => number(answer(field)),
  write(field, value) {
    const input = answer(field);
    if (value === null && input.type === "range") input.dataset.unset = "";
    else delete input.dataset.unset;
    input.value = value === null ? "" : value;
    tell(input);
  },
};
const hidden = {  // kinds whose marks are drawn by marks.js, which listens to `shown`
  read: (field) => JSON.parse(answer(field).value || "null"),
  write(field, value) {
    answer(field).value = JSON.stringify(value);
    field.dispatchEvent(new CustomEvent("shown"));
  },
};

const kinds = {
  likert: radio, ordinal: radio, binary: radio, choice: radio, pair: radio,
  slider: numeric, number: numeric, probability: numeric,
  span: hidden, interval: hidden, region: hidden,
  multi: {
    read(field) {
      const picked = all(field, "input[type=checkbox][data-answer]").filter((input) => input.checked);
      return picked.length ? picked.map((input) => JSON.parse(input.value)) : null;
    },
    write(field, value) {
      const wanted = new Set((value || []).map((each) => JSON.stringify(each)));
      for (const input of all(field, "input[type=checkbox][data-answer]")) {
        input.checked = wanted.has(JSON.stringify(JSON.parse(input.value)));
      }
    },
  },
  text: {
    read: (field) => answer(field).value || null,
    write: (field, value) => { answer(field).value = value || ""; },
  },
  rank: {
    read: (field) => (one(field, "ol").dataset.set === undefined ? null
      : all(field, "li").map((item) => JSON.parse(item.dataset.value))),
    write(field, value) {
      const list = one(field, "ol");
      if (value === null) { delete list.dataset.set; return; }
      list.dataset.set = "";
      const key = (item) => value.findIndex((each) => JSON.stringify(each) === JSON.stringify(JSON.parse(item.dataset.value)));
      all(list, "li").sort((a, b) => key(a) - key(b)).forEach((item) => list.append(item));
    },
  },
  best_worst: {
    read(field) {
      const [best, worst] = ["best", "worst"].map((end) => one(field, `input[data-end=${end}]:checked`));
      return best && worst ? { best: JSON.parse(best.value), worst: JSON.parse(worst.value) } : null;
    },
    write(field, value) {
      for (const input of all(field, "input[data-end]")) {
        input.checked = value !== null && JSON.parse(input.value) === value[input.dataset.end];
      }
    },
  },
};

export const read = (field) => kinds[field.dataset.kind].read(field);
export const write = (field, value) => kinds[field.dataset.kind].write(field, value === undefined ? null : value);
export const saidOf = (field) => ({
  value: one(field, "[data-na]")?.checked ? null : read(field),
  na: Boolean(one(field, "[data-na]")?.checked),
  note: one(field, "[data-note]")?.value || "",
});

export function show(field, stored) {
  const na = one(field, "[data-na]");
  if (na) na.checked = stored.na;
  const note = one(field, "[data-note]");
  if (note && document.activeElement !== note) note.value = stored.note;
  write(field, stored.na ? null : stored.value);
  field.classList.toggle("answered", stored.na || stored.value !== null);
}

// A choice and "does not apply" exclude each other; a slider speaks once it was moved; digits choose a level.
export function prepare(field, changed) {
  const na = one(field, "[data-na]");
  for (const input of all(field, "input[type=range]")) {
    const touch = () => { delete input.dataset.unset; tell(input); };
    input.addEventListener("input", touch);
    input.addEventListener("pointerup", () => { if (input.dataset.unset !== undefined) { touch(); changed(field, 0); } });
    tell(input);
  }
  field.addEventListener("input", (event) => {
    if (event.target.matches("[data-na]")) {
      if (na.checked) write(field, null);
    } else if (na && !event.target.matches("[data-note]")) na.checked = false;
    const slow = event.target.matches("textarea, input[type=range], input[type=number]");
    changed(field, slow ? 400 : 0);
  });
  field.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!event.target.matches("input[type=radio], input[type=checkbox]") || !/^[0-9]$/.test(event.key)) return;
    const group = all(field, event.target.dataset.end ? `input[data-end=${event.target.dataset.end}]` : "input[data-answer]");
    const named = group.find((input) => input.value === event.key) || group[Number(event.key) - 1];
    if (named) { event.preventDefault(); named.focus(); named.click(); }
  });
  const list = one(field, "ol.order");
  if (list) {
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-move]");
      if (!button) return;
      const item = button.closest("li");
      const other = button.dataset.move === "up" ? item.previousElementSibling : item.nextElementSibling;
      if (other) (button.dataset.move === "up" ? other.before(item) : other.after(item));
      list.dataset.set = "";
      button.focus();
      changed(field, 0);
    });
    one(field, "button[data-keep]").addEventListener("click", () => { list.dataset.set = ""; changed(field, 0); });
  }
}
