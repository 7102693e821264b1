'use strict';
// Charts of the last hour or the last ten minutes. The Distributor keeps the samples.

const SPANS = {
  hour: { label: '1 h', ms: 3600_000, bucketMs: 60_000, bucket: 'per minute', words: 'last hour', tickMs: 900_000 },
  minutes: { label: '10 min', ms: 600_000, bucketMs: 10_000, bucket: 'per 10 s', words: 'last 10 min', tickMs: 120_000 },
};

const CHARTS = [
  { title: 'Nodes', series: [{ key: 'nodes', label: 'nodes', tone: 'accent' }] },
  {
    title: 'Joined and left', isBars: true,
    series: [{ key: 'joined', label: 'joined', tone: 'ok', sign: '+' }, { key: 'left', label: 'left', tone: 'bad', sign: '−', isDown: true }],
  },
  {
    title: 'Late sessions', series: [{ key: 'late', label: 'late', tone: 'wait' }],
    text: 'Sessions that have not acknowledged a revision that is ten seconds old',
  },
  {
    title: 'Refused', isBars: true,
    series: [{ key: 'refused', label: 'refused', tone: 'bad' }, { key: 'limits', label: 'limits hit', tone: 'wait' }],
    text: 'Refused packets, connections and requests, and limits that were hit',
  },
];

/** The span that the view names, otherwise the one that the Distributor's age fills better. */
const spanName = () => view.span ?? (status?.uptime_seconds < 1200 ? 'minutes' : 'hour');
const span = () => SPANS[spanName()];

const MARGIN = { left: 34, right: 10, top: 6, bottom: 18 };

/** The least round number that is not below `most`, with a whole half unless it is 1. */
function roundUp(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  const step = [1, 2, 4, 6, 8, 10].find((step) => step * power >= most);
  return step * power;
}

/** The samples of the span, and the one of now. */
function samplesUntil(end, span) {
  const now = status && { ...status.history.now };
  if (!now) return [];
  // The last bar is not complete. A line ends with the length of the list.
  if (isConnected) now.unix_ms = Math.max(now.unix_ms, end);
  if (fleet.isLoaded) now.nodes = fleet.nodes.length;
  const begin = end - span.ms - span.bucketMs;
  return samples.filter((sample) => sample.unix_ms >= begin).concat(now);
}

/** Sums by buckets that begin at round times: they slide, and do not change as they do. */
function buckets(all, series, span, begin) {
  const byTime = new Map();
  for (const sample of all) {
    const at = Math.floor((sample.unix_ms - 1) / span.bucketMs) * span.bucketMs;
    if (at + span.bucketMs <= begin) continue;
    const bucket = byTime.get(at) ?? { from: at, to: at + span.bucketMs, values: series.map(() => 0) };
    series.forEach(({ key }, place) => { bucket.values[place] += sample[key]; });
    byTime.set(at, bucket);
  }
  return [...byTime.values()];
}

function makeChart(spec) {
  const { title, series, isBars } = spec;
  const svg = document.createElementNS($('charts-namespace').namespaceURI, 'svg');
  const plot = element('div', { class: 'plot', tabindex: 0, role: 'img' }, svg);
  const tip = element('div', { class: 'tip', hidden: true });
  const figure = element('div', { class: 'figure' });
  const unit = element('div', { class: 'unit soft' });
  const card = element('figure', { class: 'card chart', title: spec.text },
    element('figcaption', {}, element('h2', { text: title }), unit), figure, plot, tip);
  /** The place under the mouse, beneath which the chart slides, or the time chosen by a key. */
  let pointed = null;
  let places = [], size = null;

  const shape = (tag, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  function draw() {
    const shown = span(), end = isConnected || !lastAnswer ? serverTime() : lastAnswer.getTime() + clockSkew;
    const begin = end - shown.ms, all = samplesUntil(end, shown);
    if (!size) return;
    const { width, height } = size;
    const inner = width - MARGIN.left - MARGIN.right, bottom = height - MARGIN.bottom;
    const x = (at) => MARGIN.left + (at - begin) / shown.ms * inner;
    places = isBars ? buckets(all, series, shown, begin)
      : all.map((sample) => ({ from: sample.unix_ms, to: sample.unix_ms, values: series.map(({ key }) => sample[key]) }));
    const isMirrored = series.some(({ isDown }) => isDown);
    const sums = places.map(({ values }) => (isMirrored || !isBars ? Math.max(...values) : values.reduce((a, b) => a + b, 0)));
    const most = roundUp(Math.max(1, ...sums));
    const zero = isMirrored ? (MARGIN.top + bottom) / 2 : bottom;
    const scale = (zero - MARGIN.top) / most;
    const y = (value) => zero - value * scale;

    const shapes = [];
    const grid = isMirrored ? [most, 0, -most] : most > 1 ? [most, most / 2, 0] : [most, 0];
    for (const value of grid) {
      shapes.push(shape('line', { class: value ? 'grid' : 'axis', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
      shapes.push(shape('text', { class: 'scale', x: MARGIN.left - 6, y: y(value) + 3.5, 'text-anchor': 'end' }, compact(Math.abs(value))));
    }
    let tick = shown.tickMs;
    while (inner / (shown.ms / tick) < 48) tick *= 2;
    // Round by the clock on the wall.
    const zone = new Date(end).getTimezoneOffset() * 60_000;
    for (let at = Math.ceil((begin - zone) / tick) * tick + zone; at <= end; at += tick) {
      const place = x(at);
      shapes.push(shape('line', { class: 'tick', x1: place, x2: place, y1: bottom, y2: bottom + 3 }));
      if (place < MARGIN.left + 14 || place > width - 16) continue;
      shapes.push(shape('text', { class: 'scale', x: place, y: height - 4, 'text-anchor': 'middle' }, timeOfDay(new Date(at - clockSkew), false)));
    }

    const clip = (at) => Math.min(Math.max(x(at), MARGIN.left), width - MARGIN.right);
    if (isBars) {
      for (const { from, to, values } of places) {
        const left = clip(from), right = clip(to), bar = Math.max(right - left - 1, 1);
        let base = 0;
        values.forEach((value, place) => {
          if (!value || right <= MARGIN.left) return;
          const { tone, isDown } = series[place];
          const tall = Math.max(value * scale, 2);
          const top = isDown ? zero : y(base) - tall;
          shapes.push(shape('rect', { class: 'bar ' + tone, x: left, width: bar, y: top, height: tall }));
          if (!isMirrored) base += value;
        });
      }
    } else {
      for (const run of unbroken(places)) {
        const points = run.map(({ from, values }) => [x(from), y(values[0])]);
        const shown = cut(points, MARGIN.left);
        if (!shown.length) continue;
        if (shown.length === 1) shown.unshift([Math.max(shown[0][0] - 2, MARGIN.left), shown[0][1]]);
        const line = shown.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ');
        const { tone } = series[0];
        shapes.push(shape('polygon', { class: 'area ' + tone, points: shown[0][0] + ',' + zero + ' ' + line + ' ' + shown.at(-1)[0] + ',' + zero }));
        shapes.push(shape('polyline', { class: 'line ' + tone, points: line }));
      }
    }
    setText(unit, isBars ? shown.bucket : '');
    setFigure(all, begin, shown);
    drawPointed(shapes, x, y, zero, bottom);
    svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
    svg.replaceChildren(...shapes);
  }

  /** Shows the value of now, or the sums of the span. */
  function setFigure(all, begin, span) {
    const inSpan = all.filter((sample) => sample.unix_ms > begin);
    const last = all.at(-1);
    const values = series.map(({ key }) => (isBars ? inSpan.reduce((sum, sample) => sum + sample[key], 0) : last?.[key]));
    setChildren(figure, ...series.map(({ tone, sign, label }, place) => {
      const value = values[place];
      return element('span', {
        class: isBars && value ? 'tone ' + tone : '',
        text: value === undefined ? '–' : (value && sign || '') + number(value),
      }, isBars && !sign ? element('span', { class: 'soft', text: ' ' + label }) : null);
    }), isBars && !series[0].sign ? null : element('span', { class: 'soft', text: isBars ? 'in ' + span.label : 'now' }));
    const words = series.map(({ label }, place) => number(values[place] ?? 0) + ' ' + label).join(', ');
    setAttribute(plot, 'aria-label', title + ': ' + words + (isBars ? ' in the ' + span.words : ' now'));
  }

  function drawPointed(shapes, x, y, zero, bottom) {
    tip.hidden = pointed === null || !places.length;
    if (tip.hidden) return;
    const middle = ({ from, to }) => (from + to) / 2;
    const wanted = pointed.time ?? timeAt(pointed.place);
    const nearest = places.reduce((a, b) => (Math.abs(middle(a) - wanted) <= Math.abs(middle(b) - wanted) ? a : b));
    const at = Math.min(Math.max(x(middle(nearest)), MARGIN.left), size.width - MARGIN.right);
    shapes.push(shape('line', { class: 'pointed', x1: at, x2: at, y1: MARGIN.top, y2: bottom }));
    if (!isBars) shapes.push(shape('circle', { class: 'dot ' + series[0].tone, cx: at, cy: y(nearest.values[0]), r: 3.5 }));
    const time = (unix) => timeOfDay(new Date(unix - clockSkew), span().bucketMs < 60_000 || !isBars);
    tip.replaceChildren(
      element('div', { class: 'soft', text: isBars ? time(nearest.from) + ' – ' + time(nearest.to) : time(nearest.from) }),
      ...series.map(({ label, tone }, place) => element('div', {},
        element('span', { class: 'key ' + tone }), number(nearest.values[place]) + ' ' + label)),
    );
    const width = tip.offsetWidth;
    const left = plot.offsetLeft + at + (at > size.width / 2 ? -width - 10 : 10);
    tip.style.left = Math.min(Math.max(left, 4), card.clientWidth - width - 4) + 'px';
    tip.style.top = plot.offsetTop + 'px';
  }

  const timeAt = (place) => {
    const shown = span(), inner = size.width - MARGIN.left - MARGIN.right;
    return serverTime() - shown.ms + (place - MARGIN.left) / inner * shown.ms;
  };
  const point = (at) => {
    pointed = at;
    draw();
  };
  plot.addEventListener('pointermove', (event) => point({ place: event.clientX - plot.getBoundingClientRect().left }));
  plot.addEventListener('pointerleave', () => point(null));
  plot.addEventListener('blur', () => point(null));
  plot.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point({ time: pointed?.time ? pointed.time + step * span().bucketMs : serverTime() });
    setText($('spoken'), [...tip.children].map((line) => line.textContent).join(', '));
  });
  new ResizeObserver(([{ contentRect }]) => {
    size = { width: contentRect.width, height: contentRect.height };
    draw();
  }).observe(plot);
  return { card, draw };
}

/** Runs of samples without a gap: there are none while the Distributor is stopped. */
function unbroken(places) {
  const runs = [[]];
  places.forEach((place, index) => {
    if (index && place.from - places[index - 1].from > 45_000) runs.push([]);
    runs.at(-1).push(place);
  });
  return runs;
}

/** Cuts a line off at the left end of the chart. */
function cut(points, left) {
  const first = points.findIndex(([x]) => x >= left);
  if (first <= 0) return first < 0 ? [] : points;
  const [[x1, y1], [x2, y2]] = points.slice(first - 1, first + 1);
  return [[left, y1 + (y2 - y1) * (left - x1) / (x2 - x1)], ...points.slice(first)];
}

function setUpCharts() {
  const charts = CHARTS.map(makeChart);
  $('charts').replaceChildren(...charts.map(({ card }) => card));
  const press = segments($('spans'), Object.entries(SPANS).map(([name, { label }]) => [name, label]),
    (span) => show({ span }));
  const draw = onceAFrame(() => charts.forEach((chart) => chart.draw()));
  for (const topic of ['status', 'nodes', 'connection']) on(topic, draw);
  on('view', () => {
    draw();
  });
  on('status', () => press(spanName()));
  on('view', () => press(spanName()));
  setInterval(() => {
    if (!document.hidden) draw();
  }, 1000);
}
