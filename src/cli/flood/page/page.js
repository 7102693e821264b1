// Shows the values of the charts at the pointer, and with the arrow keys at the focus.
'use strict';

function add(parent, tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}

/** Returns the point of a series that is closest to `x`. */
function closest(points, x) {
  let found = points[0];
  for (const point of points) {
    if (Math.abs(point.x - x) < Math.abs(found.x - x)) found = point;
  }
  return found;
}

function addReadout(plot) {
  const data = JSON.parse(plot.querySelector('script').textContent);
  const series = data
    .map(({ name, points }, index) => ({
      name,
      kind: index === 0 ? 'first' : 'second',
      points: points.map(([x, y, at, value]) => ({ x, y, at, value })).sort((a, b) => a.x - b.x),
    }))
    .filter(({ points }) => points.length > 0);
  const stops = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);

  const line = add(plot, 'div', 'pointer');
  const marks = series.map(({ kind }) => add(plot, 'div', `mark ${kind}`));
  const readout = add(plot, 'div', 'readout');
  const parts = [line, readout, ...marks];
  let stop = 0;

  function hide() {
    for (const part of parts) part.hidden = true;
  }

  function show(index) {
    stop = Math.max(0, Math.min(stops.length - 1, index));
    const x = stops[stop];
    const found = series.map(({ points }) => closest(points, x));
    const { at } = found.find((point) => point.x === x);
    line.style.left = `${x / 10}%`;
    readout.replaceChildren();
    add(readout, 'strong', '').textContent = at;
    const texts = found.map((point, number) => {
      const { name, kind } = series[number];
      marks[number].style.left = `${point.x / 10}%`;
      marks[number].style.bottom = `${point.y / 10}%`;
      const row = add(readout, 'div', `key ${kind}`);
      row.textContent = `${name} ${point.value}${point.at === at ? '' : ` at ${point.at}`}`;
      return row.textContent;
    });
    // It is on the side with more room.
    readout.style.left = x < 500 ? `calc(${x / 10}% + 10px)` : '';
    readout.style.right = x < 500 ? '' : `calc(${100 - x / 10}% + 10px)`;
    plot.setAttribute('aria-valuenow', stop + 1);
    plot.setAttribute('aria-valuetext', `${at}: ${texts.join(', ')}`);
    for (const part of parts) part.hidden = false;
  }

  function showAt({ clientX }) {
    const { left, width } = plot.getBoundingClientRect();
    const x = (clientX - left) / width * 1000;
    show(stops.indexOf(closest(stops.map((x) => ({ x })), x).x));
  }

  const keys = {
    ArrowLeft: () => stop - 1,
    ArrowDown: () => stop - 1,
    ArrowRight: () => stop + 1,
    ArrowUp: () => stop + 1,
    PageDown: () => stop - 10,
    PageUp: () => stop + 10,
    Home: () => 0,
    End: () => stops.length - 1,
  };

  plot.tabIndex = 0;
  plot.setAttribute('role', 'slider');
  plot.setAttribute('aria-label', `Values of ${plot.querySelector('svg').getAttribute('aria-label')}`);
  plot.setAttribute('aria-valuemin', 1);
  plot.setAttribute('aria-valuemax', stops.length);
  show(0);
  hide();
  plot.addEventListener('pointermove', showAt);
  plot.addEventListener('pointerdown', showAt);
  plot.addEventListener('pointerleave', hide);
  plot.addEventListener('focus', () => show(stop));
  plot.addEventListener('blur', hide);
  plot.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hide();
    const next = keys[event.key];
    if (!next || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(next());
  });
}

document.querySelectorAll('.plot').forEach(addReadout);
