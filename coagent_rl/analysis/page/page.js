"use strict";
// Plays an episode. All numbers are in the page, as the model computed them; arrays are little-endian, row by row.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

const T = data.n_steps, RADIUS = 0.4, MOST_LINES = 240;
const layers = data.layers.map((layer) => ({
  ...layer,
  n: layer.names.length,
  values: numbers(layer.values, Float32Array),
  means: numbers(layer.means, Float32Array),
  traces: numbers(layer.traces, Float32Array),
  weights: layer.weights === null ? null : numbers(layer.weights, Float32Array), // n_in rows, n_pre columns
  biases: layer.biases === null ? null : numbers(layer.biases, Float32Array),
}));
const returns = numbers(data.returns, Float64Array), rewards = numbers(data.rewards, Float64Array);
const estimates = numbers(data.estimates, Float64Array), actions = numbers(data.actions, Float64Array);
const chosen = data.chosen, last = layers.length - 1;
for (const layer of layers) {
  layer.largest = 1e-9;
  layer.signed = false;
  for (const value of layer.values) {
    layer.largest = Math.max(layer.largest, Math.abs(value));
    layer.signed = layer.signed || value < 0;
  }
  layer.heaviest = 1e-30;
  for (const weight of layer.weights ?? []) layer.heaviest = Math.max(layer.heaviest, Math.abs(weight));
}

let step = 0, playing = false, began = 0, from = 0;
let pinned = [1, liveliest(1)], hovered = null; // layer, unit
const shown = () => hovered ?? pinned;

function short(x) {
  if (!Number.isFinite(x)) return "–";
  const text = x.toFixed(Math.abs(x) >= 100 ? 1 : 3);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}
const unitName = (l, k) => (l === 0 || l === last ? layers[l].names[k] : `${layers[l].title}, ${layers[l].names[k]}`);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const isReference = (l, k) => l > 0 && layers[l].biases.length < layers[l].n && k === layers[l].n - 1;
const isBinary = (layer) => layer.kind === "bernoulli" && !data.averaged;
const actionName = (t) => (chosen[t] >= 0 ? layers[last].names[chosen[t]]
  : data.action_names.map((name, k) => `${name} ${short(actions[t * data.action_names.length + k])}`).join(", "));

// The unit of a layer whose values vary most: the one to begin with.
function liveliest(l) {
  const spread = layers[l].names.map((_, k) => {
    let [sum, squares] = [0, 0];
    for (let t = 0; t < T; t++) {
      const value = layers[l].values[t * layers[l].n + k];
      [sum, squares] = [sum + value, squares + value * value];
    }
    return squares / T - (sum / T) ** 2;
  });
  return spread.indexOf(Math.max(...spread));
}

// ---------------------------------------------------------------------- drawing

function make(kind, attributes, parent, text) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

const WIDE = 760, HIGH = 560, LEFT = 132, RIGHT = 152, TOP = 44, BOTTOM = 12;
const place = (l, k) => [LEFT + layers[l].x[k] * (WIDE - LEFT - RIGHT), HIGH - BOTTOM - layers[l].y[k] * (HIGH - TOP - BOTTOM)];
const units = at("units"), groups = [];
units.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
layers.forEach((layer, l) => {
  let nearest = 28;
  for (let k = 1; k < layer.n; k++) {
    const [a, b] = [place(l, k - 1), place(l, k)];
    nearest = Math.min(nearest, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const other = layer.x.findIndex((x) => x !== layer.x[0]);
    if (other > 0) nearest = Math.min(nearest, Math.abs(place(l, other)[0] - place(l, 0)[0]));
  }
  const middle = (Math.min(...layer.x) + Math.max(...layer.x)) / 2;
  make("text", { x: LEFT + middle * (WIDE - LEFT - RIGHT), y: 18, "text-anchor": "middle", class: "head" }, units, layer.title);
  groups.push(layer.names.map((name, k) => {
    const [x, y] = place(l, k);
    const group = make("g", { class: "unit", role: "button", tabindex: -1, "aria-label": unitName(l, k) }, units);
    make("title", {}, group, unitName(l, k));
    group.disc = make("circle", { cx: x, cy: y, r: Math.min(RADIUS * nearest, 11) }, group);
    if (isReference(l, k)) {
      group.classList.add("reference");
      make("text", { x: x + 17, y: y + 18, class: "note" }, group, data.reference);
    }
    if (l === 0) make("text", { x: x - 17, y: y + 4, "text-anchor": "end" }, group, name);
    if (l === last) group.word = make("text", { x: x + 17, y: y + 4 }, group, name);
    group.addEventListener("pointerenter", () => { hovered = [l, k]; drawStep(); });
    group.addEventListener("pointerleave", () => { hovered = null; drawStep(); });
    group.addEventListener("click", () => pin(l, k));
    group.addEventListener("focus", () => { hovered = null; pin(l, k); });
    return group;
  }));
});

function pin(l, k) {
  groups[pinned[0]][pinned[1]].setAttribute("tabindex", -1);
  pinned = [l, k];
  groups[l][k].setAttribute("tabindex", 0);
  groups[l][k].setAttribute("aria-label", spoken(l, k));
  drawStep();
}

function spoken(l, k) {
  const layer = layers[l], value = layer.values[step * layer.n + k], mean = layer.means[step * layer.n + k];
  const does = isBinary(layer) ? (value > 0 ? "fires" : "is silent") : `value ${short(value)}`;
  return `${unitName(l, k)}: ${does}` + (l > 0 ? `, ${rateName(l).toLowerCase()} ${short(mean)}` : "");
}

const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();

function drawWeights() {
  const canvas = at("weights"), scale = canvas.clientWidth / WIDE, ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d"), [chosenLayer, chosenUnit] = shown(), alone = hovered !== null || isFocused();
  const inks = { plus: colour("plus"), minus: colour("minus") };
  pen.setTransform(scale * ratio, 0, 0, scale * ratio, 0, 0);
  pen.clearRect(0, 0, WIDE, HIGH);
  for (let l = 1; l < layers.length; l++) {
    const layer = layers[l], below = layers[l - 1], n = layer.biases.length;
    const each = layer.kind === "categorical" ? n / layer.n : 1; // weights that end at a unit, a level each
    let lines = []; // strength, whether positive, from, to
    for (let i = 0; i < below.n; i++) {
      const x = below.values[step * below.n + i] / below.largest;
      for (let j = 0; j < n; j++) {
        const weight = layer.weights[i * n + j] / layer.heaviest;
        const unit = Math.floor(j / each);
        const own = (l === chosenLayer && unit === chosenUnit) || (l - 1 === chosenLayer && i === chosenUnit);
        const strength = alone ? (own ? Math.abs(weight) : 0) : Math.abs(weight * x);
        if (strength > 0.06) lines.push([strength, (alone ? weight : weight * x) > 0, i, unit]);
      }
    }
    lines.sort((a, b) => a[0] - b[0]);
    if (!alone) lines = lines.slice(-MOST_LINES);
    for (const [strength, positive, i, unit] of lines) {
      pen.globalAlpha = alone ? 0.25 + 0.75 * strength : 0.75 * strength;
      pen.lineWidth = 0.5 + 2.2 * strength;
      pen.strokeStyle = positive ? inks.plus : inks.minus;
      pen.beginPath();
      pen.moveTo(...place(l - 1, i));
      pen.lineTo(...place(l, unit));
      pen.stroke();
    }
  }
}

const isFocused = () => document.activeElement?.classList.contains("unit") && document.activeElement.matches(":focus-visible");

function drawUnits() {
  layers.forEach((layer, l) => groups[l].forEach((group, k) => {
    const value = layer.values[step * layer.n + k];
    const strength = Math.min(1, Math.abs(value) / layer.largest);
    let ink = layer.signed ? (value > 0 ? "plus" : "minus") : "ink", share = strength;
    if (l === last && chosen[step] >= 0) [ink, share] = ["chosen", k === chosen[step] ? 1 : 0];
    group.disc.style.fill = `color-mix(in srgb, var(--${ink}) ${Math.round(100 * share)}%, var(--empty))`;
    group.classList.toggle("shown", l === shown()[0] && k === shown()[1]);
    if (l === last) group.word.classList.toggle("taken", k === chosen[step]);
  }));
}

// A line through time: what is past in colour, what comes in grey.
function drawLine(svg, ys, low, high, spikes) {
  const [, , wide, tall] = svg.getAttribute("viewBox").split(" ").map(Number), room = 5;
  const x = (t) => (T > 1 ? (t / (T - 1)) * wide : wide / 2);
  const y = (v) => tall - room - ((v - low) / Math.max(high - low, 1e-12)) * (tall - 2 * room);
  const path = (from, until) => {
    let d = "", pen = "M";
    for (let t = from; t < until; t++) {
      if (Number.isFinite(ys(t))) { d += `${pen}${x(t).toFixed(1)} ${y(ys(t)).toFixed(1)}`; pen = "L"; } else pen = "M";
    }
    return d;
  };
  svg.replaceChildren();
  if (low <= 0 && high >= 0) make("line", { x1: 0, x2: wide, y1: y(0), y2: y(0), class: "grid" }, svg);
  make("path", { d: path(0, T), class: "rest" }, svg);
  if (spikes) {
    let d = "";
    for (let t = 0; t <= step; t++) if (spikes(t)) d += `M${x(t).toFixed(1)} ${tall}V${tall - 12}`;
    make("path", { d, class: "spike" }, svg);
  }
  make("path", { d: path(0, step + 1), class: "past" }, svg);
  make("line", { x1: x(step), x2: x(step), y1: 0, y2: tall, class: "now" }, svg);
}

function ends(ys) {
  let low = Infinity, high = -Infinity;
  for (let t = 0; t < T; t++) if (Number.isFinite(ys(t))) [low, high] = [Math.min(low, ys(t)), Math.max(high, ys(t))];
  return low <= high ? [low, high] : [0, 1];
}

// ---------------------------------------------------------------------- one neuron

function rateName(l) {
  const kind = layers[l].kind;
  return kind === "bernoulli" ? "Rate (probability to fire)" : kind.startsWith("softmax") ? "Probability" : "Mean";
}

function drawNeuron() {
  const [l, k] = shown(), layer = layers[l], cell = (array, t) => array[t * layer.n + k];
  let sum = 0;
  for (let t = 0; t < T; t++) sum += cell(layer.values, t);
  at("neuron-title").textContent = capital(unitName(l, k));
  at("kind").textContent = l === 0 ? "Input, as the network sees it"
    : isReference(l, k) ? `${layer.units}; ${data.reference}, so it has no weights`
    : data.averaged ? `${layer.units}; the policy averages over samples of the hidden units, and so do these numbers` : layer.units;
  at("value-name").textContent = isBinary(layer) ? "Now" : "Value now";
  const value = cell(layer.values, step);
  at("value").textContent = isBinary(layer) ? (value > 0 ? "fires" : "silent") : short(value);
  at("rate-name").textContent = l === 0 ? "Rate" : rateName(l);
  at("rate").textContent = l === 0 ? "–" : short(cell(layer.means, step));
  at("mean-name").textContent = isBinary(layer) ? "Fired over the episode" : "Mean value over the episode";
  at("mean").textContent = isBinary(layer) ? `${((100 * sum) / T).toFixed(1)} %` : short(sum / T);
  at("bias").textContent = l === 0 || isReference(l, k) || layer.kind === "categorical" ? "–" : short(layer.biases[k]);
  const trace = cell(layer.traces, step), hasTrace = Number.isFinite(cell(layer.traces, 0));
  at("trace").textContent = hasTrace ? short(trace) : "none";
  at("history-name").textContent = l === 0 ? "Value through time"
    : isBinary(layer) ? "Rate through time; ticks where it fired" : `${rateName(l)} through time`;
  const mean = (t) => cell(layer.means, t), [low, high] = isBinary(layer) || layer.kind.startsWith("softmax") ? [0, 1] : ends(mean);
  drawLine(at("history"), mean, low, high, isBinary(layer) ? (t) => cell(layer.values, t) > 0 : null);
  at("trace-figure").hidden = !hasTrace;
  if (hasTrace) {
    at("trace-caption").textContent = data.decay > 0
      ? `Eligibility of its bias through time, e ← ${short(data.decay)} e + ∂ log π / ∂ z`
      : "Eligibility of its bias, ∂ log π / ∂ z, through time: γλ = 0, so it lasts for a step";
    const e = (t) => cell(layer.traces, t);
    drawLine(at("trace-history"), e, ...ends(e), null);
  }
}

function drawLists() {
  const [l, k] = shown();
  const incoming = [], outgoing = [];
  if (l > 0 && !isReference(l, k) && layers[l].kind !== "categorical") {
    const n = layers[l].biases.length;
    for (let i = 0; i < layers[l - 1].n; i++) incoming.push([unitName(l - 1, i), layers[l].weights[i * n + k]]);
  }
  if (l < last && layers[l + 1].kind !== "categorical") {
    const n = layers[l + 1].biases.length;
    for (let j = 0; j < n; j++) outgoing.push([unitName(l + 1, j), layers[l + 1].weights[k * n + j]]);
  }
  for (const [id, entries] of [["incoming", incoming], ["outgoing", outgoing]]) {
    const most = Math.max(1e-30, ...entries.map(([, w]) => Math.abs(w)));
    entries.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    at(`${id}-title`).textContent = `${capital(id)} weights (${entries.length}${entries.length ? ", largest first" : ""})`;
    at(id).replaceChildren(...entries.map(([name, weight]) => {
      const item = document.createElement("li"), bar = document.createElement("b"), box = document.createElement("div");
      for (const text of [name, short(weight)]) item.append(Object.assign(document.createElement("span"), { textContent: text }));
      bar.className = weight > 0 ? "plus" : "minus";
      bar.style.width = `${(50 * Math.abs(weight)) / most}%`;
      box.append(bar);
      item.append(box);
      return item;
    }));
    at(id).tabIndex = entries.length > 8 ? 0 : -1;
    at(id).setAttribute("aria-labelledby", `${id}-title`);
  }
}

// ---------------------------------------------------------------------- through time

let listed = "";
const [lowest, highest] = ends((t) => returns[t]);
function drawStep() {
  at("step").textContent = `step ${step + 1} of ${T}`;
  at("time").value = step;
  at("time").setAttribute("aria-valuetext", `step ${step + 1} of ${T}, return ${short(returns[step])}`);
  at("return").textContent = short(returns[step]);
  at("reward").textContent = short(rewards[step]);
  at("estimate").textContent = short(estimates[step]);
  at("action").textContent = actionName(step);
  if (data.frames.length) at("picture").src = data.frames[step];
  at("picture").alt = `${data.env} at step ${step + 1}`;
  drawLine(at("curve"), (t) => returns[t], Math.min(0, lowest), Math.max(0, highest), null);
  drawUnits();
  drawWeights();
  drawNeuron();
  if (listed !== String(shown())) drawLists();
  listed = String(shown());
}

function go(to) {
  step = Math.max(0, Math.min(T - 1, Math.round(to)));
  if (!playing) at("said").textContent = `Step ${step + 1} of ${T}: return ${short(returns[step])}, action ${actionName(step)}`;
  drawStep();
}

function play(on) {
  if (on === playing) return;
  playing = on;
  at("play").textContent = on ? "Pause" : "Play";
  if (on) {
    if (step === T - 1) step = 0;
    [began, from] = [performance.now(), step];
    requestAnimationFrame(tick);
  } else go(step);
}

function tick(now) {
  if (!playing) return;
  const due = Math.min(T - 1, from + Math.floor(((now - began) / 1000) * data.fps * Number(at("speed").value)));
  if (due > step) go(due);
  if (step === T - 1) play(false); else requestAnimationFrame(tick);
}

at("play").addEventListener("click", () => play(!playing));
at("back").addEventListener("click", () => { play(false); go(step - 1); });
at("next").addEventListener("click", () => { play(false); go(step + 1); });
at("speed").addEventListener("change", () => { [began, from] = [performance.now(), step]; });
at("time").max = T - 1;
at("time").addEventListener("input", (event) => {
  const to = Number(event.target.value); // before pausing draws the step that is left
  play(false);
  go(to);
});
at("curve").addEventListener("click", (event) => {
  const box = at("curve").getBoundingClientRect();
  play(false);
  go(((event.clientX - box.left) / box.width) * (T - 1));
});
document.addEventListener("keydown", (event) => {
  const target = event.target, isUnit = target.classList?.contains("unit");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && (target === document.body || isUnit)) play(!playing);
  else if (event.key === ",") { play(false); go(step - 1); }
  else if (event.key === ".") { play(false); go(step + 1); }
  else if (isUnit && event.key.startsWith("Arrow")) move(event.key);
  else return;
  event.preventDefault();
});

function move(key) {
  let [l, k] = pinned;
  if (key === "ArrowUp" || key === "ArrowDown") k = (k + (key === "ArrowDown" ? 1 : -1) + layers[l].n) % layers[l].n;
  else {
    const y = layers[l].y[k];
    l = Math.max(0, Math.min(last, l + (key === "ArrowRight" ? 1 : -1)));
    const gaps = layers[l].y.map((other) => Math.abs(other - y));
    if (l !== pinned[0]) k = gaps.indexOf(Math.min(...gaps));
  }
  pin(l, k);
  groups[l][k].focus();
}

at("about").textContent = data.about;
at("picture").hidden = !data.frames.length;
at("no-picture").hidden = data.frames.length > 0;
window.addEventListener("resize", drawWeights);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawStep);
document.addEventListener("focusout", () => requestAnimationFrame(drawWeights));
pin(...pinned);
