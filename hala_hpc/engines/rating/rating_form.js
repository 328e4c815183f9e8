"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const key = "hala-ratings-" + data.sample;
const find = id => document.getElementById(id);
let state = { rater: "", at: 0, ratings: {} };
let isStored = true;

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    if (found && found.ratings) state = found;
    localStorage.setItem(key, JSON.stringify(state));
  } catch { isStored = false; }
}

function store() {
  try { localStorage.setItem(key, JSON.stringify(state)); } catch { isStored = false; }
  find("storage").textContent = isStored ? data.texts.storage : data.texts.no_storage;
}

function ratingOf(item) {
  return state.ratings[item.id] ||
    { scores: item.outputs.map(() => null), comment: "" };
}

function isComplete(item) { return ratingOf(item).scores.every(score => score !== null); }

function change(item, edit) {
  const rating = ratingOf(item);
  edit(rating);
  state.ratings[item.id] = rating;
  store();
  showProgress();
}

function showProgress() {
  const done = data.items.filter(isComplete).length;
  const values = { at: state.at + 1, all: data.items.length, done };
  find("progress").textContent = data.texts.progress.replace(/{(\w+)}/g, (_, name) => values[name]);
  find("bar").value = done;
}

function element(tag, values, ...children) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
}

function textBox(text) {
  const box = element("div", { className: "text", dir: "auto" });
  box.textContent = text || data.texts.empty;
  return box;
}

function scoreInput(item, number) {
  const score = ratingOf(item).scores[number];
  const values = { min: 0, max: 100, step: 1, value: score === null ? "" : score };
  const field = element("input", { type: "number", inputMode: "numeric", ...values });
  const slider = element("input", { type: "range", ...values });
  field.setAttribute("aria-label", `${data.texts.output} ${number + 1}: ${data.texts.score}`);
  slider.setAttribute("aria-label", field.getAttribute("aria-label"));
  slider.classList.toggle("unset", score === null);
  const put = text => {
    const value = text === "" ? null : Math.min(100, Math.max(0, Math.round(Number(text))));
    slider.classList.toggle("unset", value === null);
    change(item, rating => { rating.scores[number] = value; });
    return value === null ? "" : value;
  };
  field.addEventListener("input", () => { slider.value = put(field.value) || 0; });
  field.addEventListener("change", () => { field.value = put(field.value); });
  slider.addEventListener("input", () => { field.value = put(slider.value); });
  return element("div", { className: "score" }, slider, field);
}

function show(at) {
  state.at = Math.min(Math.max(at, 0), data.items.length - 1);
  const item = data.items[state.at];
  const outputs = item.outputs.map((text, number) => element("section", { className: "output" },
    element("h2", { textContent: `${data.texts.output} ${number + 1}` }),
    textBox(text), scoreInput(item, number)));
  const comment = element("textarea", {
    rows: 2, maxLength: 2000, dir: "auto", value: ratingOf(item).comment });
  comment.addEventListener("input",
    () => change(item, rating => { rating.comment = comment.value; }));
  find("item").replaceChildren(
    element("h2", { textContent: data.texts.source }), textBox(item.source), ...outputs,
    element("label", {}, data.texts.comment, comment));
  find("previous").disabled = state.at === 0;
  find("next").disabled = state.at === data.items.length - 1;
  store();
  showProgress();
}

function nextUnrated() {
  const count = data.items.length;
  for (let step = 1; step <= count; step++) {
    const at = (state.at + step) % count;
    if (!isComplete(data.items[at])) return at;
  }
  return state.at;
}

function download() {
  const rater = state.rater.trim();
  find("problem").textContent = rater ? "" : data.texts.need_name;
  if (!rater) { find("rater").focus(); return; }
  const ratings = Object.entries(state.ratings).map(([item, rating]) => ({ item, ...rating }));
  const text = JSON.stringify({ sample: data.sample, rater, ratings }, null, 1);
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const name = `ratings-${data.sample}-${rater.replace(/[^\p{L}\p{N}-]+/gu, "_")}.json`;
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

load();
find("rater").value = state.rater;
find("rater").addEventListener("input", () => { state.rater = find("rater").value; store(); });
find("previous").addEventListener("click", () => show(state.at - 1));
find("next").addEventListener("click", () => show(state.at + 1));
find("unrated").addEventListener("click", () => show(nextUnrated()));
find("download").addEventListener("click", download);
show(state.at);
