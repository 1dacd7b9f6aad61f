#include "apps/inspect/page.h"

namespace vitrine::apps {

const char* const kPageScript = R"js('use strict';
const byId = id => document.getElementById(id);
const data = JSON.parse(byId('maps-data').textContent);
const {height, width, skip, queries, layers, buckets} = data;
const tokens = skip + height * width, slots = new Map(queries.map((q, i) => [q, i]));
const names = {p: 'attention weights', c: 'content term', r: 'relative position term'};
const extraNames = ['class token', 'distillation token'];

// Rows come as bytes and a scale each.
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
for (const layer of layers)
  for (const term of 'pcr') {
    if (!layer[term]) continue;
    const values = bytes(layer[term].values);
    layer[term] = {scales: new Float32Array(bytes(layer[term].scales).buffer), values: term === 'p' ? values : new Int8Array(values.buffer)};
  }
function row(l, h, term, q) {
  const {scales, values} = layers[l][term], at = h * queries.length + slots.get(q), unit = scales[at] / (term === 'p' ? 255 : 127);
  return Array.from(values.subarray(at * tokens, (at + 1) * tokens), x => x * unit);
}
/// The query held on this page that is nearest to token q.
function nearest(q) {
  if (slots.has(q)) return q;
  const far = k => k < skip ? Infinity : Math.hypot(...[0, 1].map(i => place(k)[i] - place(q)[i]));
  return queries.reduce((best, k) => far(k) < far(best) ? k : best);
}
const place = q => [Math.floor((q - skip) / width), (q - skip) % width];
const called = q => q < skip ? extraNames[q] : `patch in row ${place(q)[0]}, column ${place(q)[1]} (token ${q})`;
function bucket(table, q, k) {
  if (q < skip || k < skip) return table.count - 1;
  const [qr, qc] = place(q), [kr, kc] = place(k);
  return table.ids[(qr - kr + height - 1) * (2 * width - 1) + qc - kc + width - 1];
}

// Colours: from nothing to much, and around zero; both begin at the page's own ground.
const dark = matchMedia('(prefers-color-scheme: dark)');
const stops = () => dark.matches
  ? {p: ['#1d2127', '#1f4f80', '#4fa3d9', '#eef8ff'], signed: ['#8fd0ff', '#2f7fc4', '#23272e', '#c9503f', '#ffb199']}
  : {p: ['#f0f3f6', '#9fc6e6', '#2f74b5', '#0a2342'], signed: ['#0b4a8f', '#6fa8d8', '#f4f4f4', '#e58a73', '#a3181d']};
const channels = color => [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16));
function ramp(list, t) {
  const at = Math.min(Math.max(t, 0), 1) * (list.length - 1), i = Math.min(Math.floor(at), list.length - 2);
  const a = channels(list[i]), b = channels(list[i + 1]);
  return a.map((x, k) => x + (b[k] - x) * (at - i));
}
const stopsOf = term => term === 'p' ? stops().p : stops().signed;
const colorOf = (term, x, most) => ramp(stopsOf(term), most > 0 ? (term === 'p' ? x / most : 0.5 + 0.5 * x / most) : (term === 'p' ? 0 : 0.5));
function paint(canvas, cell) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; ++i) image.data.set([...cell(skip + i).map(Math.round), 255], 4 * i);
  canvas.getContext('2d').putImageData(image, 0, 0);
}
const most = (rows, term) => Math.max(0, ...rows.map(r => r.slice(term === 'p' ? skip : 0).reduce((m, x) => Math.max(m, Math.abs(x)), 0)));
const number = x => x === 0 ? '0' : Math.abs(x) >= 0.001 && Math.abs(x) < 1e4 ? String(Number(x.toPrecision(3))).replace('-', '−') : x.toExponential(1).replace(/-/g, '−');
const percent = x => (100 * x).toPrecision(3) + ' %';
const shown = (term, x) => term === 'p' ? percent(x) : number(x);

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) key in e ? e[key] = value : e.setAttribute(key, value);
  e.append(...children);
  return e;
}
/// A map of its own; `key` goes into its dataset.
function makeMap(key) {
  const map = element('div', {className: 'map'}, element('canvas', {width, height}), element('i', {className: 'mark'}));
  Object.assign(map.dataset, key);
  return map;
}

const state = {q: 0, l: 0, h: 0, t: 'p'};
let hovered = null;
const termsHere = () => layers[0].r ? ['c', 'r', 'p'] : ['c', 'p'];
function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const whole = (key, limit) => { const x = Number(given.get(key)); return given.has(key) && Number.isInteger(x) && x >= 0 && x < limit ? x : state[key]; };
  state.q = whole('q', tokens), state.l = whole('l', layers.length), state.h = whole('h', layers[state.l].heads);
  if (termsHere().includes(given.get('t'))) state.t = given.get('t');
}
function choose(change) {
  Object.assign(state, change);
  history.replaceState(null, '', '#' + new URLSearchParams(state));
  draw();
}

function drawDetail(q) {
  byId('chosen').textContent = `${layers[state.l].path}, head ${state.h}`;
  const rows = Object.fromEntries(termsHere().map(t => [t, row(state.l, state.h, t, q)]));
  const both = most(termsHere().filter(t => t !== 'p').map(t => rows[t]), 'c');
  const figures = termsHere().map(t => {
    const limit = t === 'p' ? most([rows.p], 'p') : both, map = makeMap({l: state.l, h: state.h, t});
    paint(map.firstChild, k => colorOf(t, rows[t][k], limit));
    const scale = t === 'p' ? `0 to ${percent(limit)}` : `−${number(limit)} to ${number(limit)}`;
    const extras = rows[t].slice(0, skip).map((x, i) => `${extraNames[i]}: ${shown(t, x)}`).join('; ');
    return element('figure', {}, map, element('div', {className: 'ramp', style: `background: linear-gradient(90deg, ${stopsOf(t).join(', ')})`}),
                   element('figcaption', {}, element('b', {textContent: names[t]}), element('br'), scale, element('br'), extras));
  });
  for (const table of buckets) {
    const map = makeMap({t: 'b'});
    paint(map.firstChild, k => bucketColor(table, bucket(table, q, k)));
    const used = new Set(Array.from({length: tokens}, (_, k) => bucket(table, q, k))).size;
    figures.push(element('figure', {}, map, element('div', {className: 'ramp'}),
      element('figcaption', {}, element('b', {textContent: table.name ? `buckets, ${table.name}` : 'buckets'}), element('br'),
              `${used} of ${table.count} for this query`, element('br'), skip ? `extra tokens: bucket ${table.count - 1}` : '')));
  }
  byId('detail').replaceChildren(...figures);
}
/// Buckets that touch get hues far apart, as in `vitrine rpe --png`.
function bucketColor(table, id) {
  const side = 2 * table.bound + 1, r = table.bound ? Math.floor(id / side) : 0, c = table.bound ? id % side : id;
  const turns = table.bound ? r * 0.7548776662 + c * 0.5698402910 : id * 0.6180339887, kind = (r + c) % 3;
  return oklch([0.83, 0.70, 0.91][kind], [0.12, 0.13, 0.08][kind], 2 * Math.PI * (turns % 1));
}
function oklch(lightness, chroma, angle) {
  const a = chroma * Math.cos(angle), b = chroma * Math.sin(angle);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3, m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3;
  return [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s]
    .map(x => Math.min(Math.max(x, 0), 1)).map(x => 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
}

const gridMaps = [];
/// A row a layer; with few heads the later half of the layers stands beside the earlier one.
function makeGrid() {
  const heads = Math.max(...layers.map(l => l.heads)), size = heads > 8 ? 72 : heads > 4 ? 92 : 104;
  const sides = heads <= 4 && layers.length > 3 ? 2 : 1, rows = Math.ceil(layers.length / sides), grid = byId('grid');
  grid.style.gridTemplateColumns = Array(sides).fill(`max-content repeat(${heads}, ${size}px)`).join(' ');
  for (let side = 0; side < sides; ++side)
    grid.append(element('span'), ...Array.from({length: heads}, (_, h) => element('span', {className: 'top', textContent: `head ${h}`})));
  for (let i = 0; i < rows * sides; ++i) {
    const side = i % sides, l = Math.floor(i / sides) + side * rows, layer = layers[l];
    grid.append(element('span', {className: side ? 'name second' : 'name', textContent: layer ? layer.path : ''}));
    for (let h = 0; h < heads; ++h) {
      const map = layer && h < layer.heads ? makeMap({l, h, t: ''}) : element('span');
      if (layer && h < layer.heads) gridMaps.push(map);
      grid.append(map);
    }
  }
}
function drawGrid(q) {
  const t = state.t, rows = gridMaps.map(m => row(m.dataset.l, m.dataset.h, t, q)), common = most(rows, t);
  gridMaps.forEach((map, i) => {
    const limit = t === 'p' ? most([rows[i]], t) : common;
    paint(map.firstChild, k => colorOf(t, rows[i][k], limit));
    map.dataset.t = t;
    map.classList.toggle('on', map.dataset.l == state.l && map.dataset.h == state.h);
  });
  byId('legend').textContent = t === 'p'
    ? 'Each map is scaled to its own largest weight on a patch; what goes to the extra tokens is not in the picture. A map chooses its layer and head.'
    : `One scale for all maps: red is positive, up to ${number(common)}, blue negative. A map chooses its layer and head.`;
}
function draw() {
  const asked = hovered ?? state.q, q = nearest(asked), root = byId('attention');
  root.classList.toggle('extra', q < skip);
  if (q >= skip) ['--qr', '--qc'].forEach((key, i) => root.style.setProperty(key, place(q)[i]));
  byId('query').textContent = `Query: ${called(q)}${q === asked ? '' : ', the nearest one held here'}.`;
  [...byId('extras').children].forEach((b, i) => b.classList.toggle('on', i === q));
  document.querySelectorAll('input[name=term]').forEach(i => { i.checked = i.value === state.t; });
  document.querySelectorAll('.heat td[data-l]').forEach(c => c.classList.toggle('on', c.dataset.l == state.l && c.dataset.h == state.h));
  drawDetail(q);
  drawGrid(q);
}

/// The token under the pointer in a box that shows the patches.
function tokenAt(box, event) {
  const area = box.getBoundingClientRect(), clamp = (x, n) => Math.min(Math.max(Math.floor(x * n), 0), n - 1);
  return skip + clamp((event.clientY - area.top) / area.height, height) * width + clamp((event.clientX - area.left) / area.width, width);
}
function readout(event) {
  const map = event.target.closest('.map');
  if (!map) return;
  const q = nearest(hovered ?? state.q), k = tokenAt(map, event), l = map.dataset.l ?? state.l, h = map.dataset.h ?? state.h;
  const at = Object.fromEntries(termsHere().map(t => [t, row(l, h, t, q)[k]])), size = Math.abs(at.c) + Math.abs(at.r);
  byId('readout').textContent = `Key: ${called(k)}. ` + termsHere().map(t => `${names[t]} ${shown(t, at[t])}`).join(', ') +
    (size > 0 ? `, relative position’s share of the logit ${percent(Math.abs(at.r) / size)}` : '') +
    buckets.map(b => `, bucket ${b.name ? `${b.name} ` : ''}${bucket(b, q, k)}`).join('') + '.';
}
function wire() {
  const picker = byId('picker');
  picker.addEventListener('pointermove', e => { const k = tokenAt(picker, e); if (k !== hovered) hovered = k, draw(); });
  picker.addEventListener('pointerleave', () => { hovered = null, draw(); });
  picker.addEventListener('click', e => choose({q: tokenAt(picker, e)}));
  picker.addEventListener('keydown', e => {
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key];
    if (!step) return;
    e.preventDefault();
    const [r, c] = state.q < skip ? [0, 0] : place(state.q), inside = (x, n) => Math.min(Math.max(x, 0), n - 1);
    hovered = null;
    choose({q: skip + inside(r + step[0], height) * width + inside(c + step[1], width)});
  });
  for (let i = 0; i < skip; ++i) byId('extras').append(element('button', {type: 'button', textContent: extraNames[i], onclick: () => choose({q: i})}));
  document.querySelectorAll('input[name=term]').forEach(i => i.addEventListener('change', () => choose({t: i.value})));
  document.querySelectorAll('.heat td[data-l]').forEach(c => c.addEventListener('click', () => choose({l: +c.dataset.l, h: +c.dataset.h})));
  gridMaps.forEach(m => m.addEventListener('click', () => choose({l: +m.dataset.l, h: +m.dataset.h})));
  byId('attention').addEventListener('pointermove', readout);
  addEventListener('hashchange', () => { readHash(); draw(); });
  dark.addEventListener('change', draw);
}
if (layers.length) {
  byId('attention').style.setProperty('--w', width), byId('attention').style.setProperty('--h', height);
  makeGrid(), wire(), readHash(), draw();
}
const fold = open => document.querySelectorAll('.tape details').forEach(d => { d.open = open; });
byId('open').onclick = () => fold(true), byId('close').onclick = () => fold(false);
)js";

}  // namespace vitrine::apps
