'use strict';
// Numbers and times as text.

const UNITS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

/** A duration with its largest unit, and with the next one where that matters. */
function inWords(seconds, isShort = false) {
  if (seconds === null || seconds === undefined) return '–';
  const place = UNITS.findIndex(([size]) => seconds >= size);
  if (place < 0) return '0 s';
  const [size, unit] = UNITS[place];
  const whole = Math.floor(seconds / size);
  const next = UNITS[place + 1];
  const rest = next && !isShort && whole < 10 ? Math.floor((seconds % size) / next[0]) : 0;
  return whole + '\u00a0' + unit + (rest ? ' ' + rest + '\u00a0' + next[1] : '');
}

function bytesInWords(bytes) {
  if (bytes < 1000) return bytes + '\u00a0B';
  const place = bytes < 999_500 ? 1 : 2;
  const value = bytes / 1000 ** place;
  return value.toFixed(value < 9.95 ? 1 : 0) + '\u00a0' + ['B', 'kB', 'MB'][place];
}

const counted = (count, one, many = one + 's') => number(count) + '\u00a0' + (count === 1 ? one : many);

const numbers = new Intl.NumberFormat('en');
const number = (value) => numbers.format(value);

/** A count in little space: 12.5k. */
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format;

const twoDigits = (value) => String(value).padStart(2, '0');

function timeOfDay(date, withSeconds = true) {
  const parts = [date.getHours(), date.getMinutes()];
  if (withSeconds) parts.push(date.getSeconds());
  return parts.map(twoDigits).join(':');
}

/** The time of day, with the date where it is not today's. */
function moment(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(twoDigits).join('-');
  return (isToday ? '' : day + ' ') + timeOfDay(date);
}

function hostAndPort(host, port) {
  const shown = host.includes(':') ? '[' + host + ']' : host;
  return port ? shown + ':' + port : shown;
}
