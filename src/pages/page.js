'use strict';
const REFRESH_MILLIS = 5000;
const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumSignificantDigits: 3 });
const number = value => whole.format(value);
const bytes = value => value >= 2 ** 30 ? (value / 2 ** 30).toFixed(2) + ' GiB' : (value / 2 ** 20).toFixed(1) + ' MiB';
const clock = secs => new Date(secs * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
const both = families => families.ipv4 + families.ipv6;

/* What the tiles show: a name, an id for the machine, and where the value is. */
const TILES = [
  ['Requests a second', 'requests_per_second', s => sum(s.requests_per_second), number],
  ['Torrents', 'torrents', s => s.swarms.torrents, number],
  ['Peers', 'peers', s => s.swarms.peers, number],
  ['Seeders', 'seeders', s => both(s.swarms.seeders), number],
  ['Leechers', 'leechers', s => both(s.swarms.leechers), number],
  ['IPv6 peers', 'peers_ipv6', s => s.swarms.seeders.ipv6 + s.swarms.leechers.ipv6, number],
  ['Interval', 'interval_secs', s => s.interval_secs.served, value => number(value) + ' s'],
  ['Load', 'load', s => s.load.average[0], value => value.toFixed(2)],
  ['Memory', 'memory_bytes', s => s.memory_bytes.resident, bytes],
  ['Connections', 'connections', s => s.connections.open, number],
  ['Up for', 'uptime_secs', s => s.process.uptime_secs, duration],
];

/* What an overloaded worker gives up, in order: names of levels, their counts, and words. */
const GIVEN_UP = [['extras', ['shed_full_scrape', 'shed_page'], 'full scrapes and pages'], ['connects', ['shed_connect'], 'connects'],
  ['scrapes', ['shed_scrape'], 'scrapes'], ['renewals', ['shed_renewal'], 'peers for known peers'],
  ['new_peers', ['shed_new_peer'], 'new peers']];
const PRESSURES = {
  low: 'every torrent is admitted', high: 'new torrents come at their second announce',
  full: 'new torrents are refused', exhausted: 'new torrents are refused, new peers not stored',
};
const CHAINS = { whole: 'whole', self_signed: 'self-signed', alone: 'without its issuer', broken: 'broken' };
const HANDSHAKES = [['full', 'full'], ['resumed', 'resumed'], ['plain', 'plain HTTP'], ['malformed', 'malformed'],
  ['incompatible', 'nothing in common'], ['uncertified', 'no certificate'], ['distrusted', 'certificate not trusted'],
  ['alert', 'other alerts'], ['unfinished', 'left or too slow']];
const VERDICTS = [['short', 'Short'], ['failure', 'Failure'], ['silence', 'Silence']];

/* What the charts show: a title, lines as [name, column, colour], how values are written, and whether 0 is shown. */
const CHARTS = [
  ['Requests per second', [['UDP, IPv4', 'udp_ipv4', 'a'], ['HTTP, IPv4', 'http_ipv4', 'b'], ['UDP, IPv6', 'udp_ipv6', 'c'],
    ['HTTP, IPv6', 'http_ipv6', 'd']], number],
  ['Torrents and peers', [['peers', h => h.seeders.map((value, at) => value === null ? null : value + h.leechers[at]), 'a'],
    ['torrents', 'torrents', 'b']], number],
  ['Seeders and leechers', [['seeders', 'seeders', 'c'], ['leechers', 'leechers', 'd']], number],
  ['Refused per second', [['refused', 'refused', 'b']], number],
  ['Announce interval', [['seconds', 'interval_secs', 'a']], number],
  ['Load average', [['1 minute', 'load', 'd']], value => value.toFixed(2)],
  ['Memory', [['in use', 'memory_bytes', 'c']], bytes, 2 ** 20, ' MiB'],
];

let stats = null;
let before = null;
let range = 'hour';
let pointed = null;

function sum(rates) {
  return rates.ipv4.http + rates.ipv4.udp + rates.ipv6.http + rates.ipv6.udp;
}

function duration(secs) {
  const [days, hours, minutes] = [Math.floor(secs / 86400), Math.floor(secs / 3600) % 24, Math.floor(secs / 60) % 60];
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min ${secs % 60} s`;
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawing(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function showUrls() {
  const urls = [];
  if (stats.listen.http) urls.push(new URL('announce', location.href).href);
  const { tls_port: tlsPort } = stats.listen;
  if (tlsPort && location.protocol !== 'https:') {
    const place = tlsPort === 443 ? '' : ':' + tlsPort;
    urls.push(`https://${location.hostname}${place}${new URL('announce', location.href).pathname}`);
  }
  if (stats.listen.udp) urls.push(`udp://${location.hostname}:${stats.listen.port}/announce`);
  const box = document.getElementById('urls');
  if (box.childElementCount === urls.length) return;
  box.replaceChildren(...urls.map(url => {
    const code = element('code', {}, url);
    const button = element('button', { type: 'button', 'aria-label': 'Copy ' + url }, 'Copy');
    button.addEventListener('click', () => copy(url, code, button));
    return element('p', {}, code, button);
  }));
}

/* Pages without TLS have no clipboard: there the text is selected and the old command is used. */
async function copy(url, code, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(url);
    done = true;
  } catch {
    getSelection().selectAllChildren(code);
    done = document.execCommand('copy');
  }
  button.textContent = done ? 'Copied' : 'Press Ctrl-C';
  setTimeout(() => { button.textContent = 'Copy'; }, 2000);
}

function showTiles() {
  document.getElementById('tiles').replaceChildren(...TILES.map(([name, id, value, write]) => {
    const raw = value(stats);
    return element('div', { class: 'card' }, element('dt', {}, name),
      element('dd', { id, 'data-value': raw }, write(raw)));
  }));
}

function showProtection() {
  const { mode, announces_per_second: rate } = stats.limits;
  const limits = mode === 'off' ? 'off' : `${mode}: ${number(rate)} announces a second from one address`;
  const list = element('dl', {}, ...overload(), ...memory(), element('dt', {}, 'Limits'),
    element('dd', { id: 'limits', 'data-value': mode }, limits));
  document.getElementById('protection').replaceChildren(element('h2', {}, 'Overload, memory, limits'), list,
    element('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': 'Limited requests' }, limited()));
}

function overload() {
  const { level, gives_up: name } = stats.overload;
  const shed = GIVEN_UP.flatMap(([, counts]) => counts).reduce((total, count) => total + stats.counts[count], 0);
  const now = level ? 'Gives up ' + GIVEN_UP.slice(0, level).map(([, , words]) => words).join(', ') : 'none';
  return [element('dt', {}, 'Overload'), element('dd', { id: 'overload', 'data-value': name, class: level ? 'bad' : 'good' },
    now + (shed ? `; ${number(shed)} requests given up since the start` : ''))];
}

function memory() {
  const { resident, max, swarms, swarms_max: swarmsMax } = stats.memory_bytes;
  const { pressure, refused_torrents: refused, evicted_torrents: evicted, unstored_peers: unstored } = stats.memory_shortage;
  const done = [[refused, 'torrents refused'], [evicted, 'evicted'], [unstored, 'peers not stored']].filter(([count]) => count);
  const words = [PRESSURES[pressure], ...done.map(([count, what]) => `${number(count)} ${what}`)].join('; ');
  return [element('dt', {}, 'Memory'), element('dd', { id: 'memory_used', 'data-value': resident }, ...used(resident, max)),
    element('dt', {}, 'Swarms'), element('dd', { id: 'memory_swarms', 'data-value': swarms },
      ...used(swarms, swarmsMax), element('span', { class: pressure === 'low' ? 'good' : 'bad' }, words))];
}

/* How much of a limit is used, if there is one; a bar of another colour from nine tenths on. */
function used(value, max) {
  if (max === null) return [`${bytes(value)}; no limit`];
  const bar = element('meter', { min: 0, max, low: max * .9, high: max, optimum: 0, value });
  return [`${bytes(value)} of ${bytes(max)}`, bar];
}

/* Requests over the limits by class and verdict, of all prefixes, with their rate since the numbers before. */
function limited() {
  const classes = [...new Set(stats.limits.limited.map(one => one.class))];
  if (!classes.length) return element('p', { id: 'limited' }, 'No source was over its limit.');
  const heads = ['Limited', ...VERDICTS.map(([, words]) => words), 'Per s'];
  const rows = classes.map(name => element('tr', {}, element('th', { scope: 'row' }, name.replace('_', ' ')),
    ...VERDICTS.map(([verdict]) => {
      const count = counted(stats, name, verdict);
      return element('td', { id: `limited_${name}_${verdict}`, 'data-value': count }, number(count));
    }), element('td', {}, rate(name))));
  return element('table', { id: 'limited' },
    element('thead', {}, element('tr', {}, ...heads.map(head => element('th', { scope: 'col' }, head)))),
    element('tbody', {}, ...rows));
}

function counted(of, name, verdict) {
  return of.limits.limited.filter(one => one.class === name && (!verdict || one.verdict === verdict))
    .reduce((total, one) => total + one.count, 0);
}

function rate(name) {
  const secs = before ? stats.time - before.time : 0;
  const more = before ? counted(stats, name) - counted(before, name) : 0;
  /* A tracker that was restarted has counted from 0 again. */
  return secs > 0 && more >= 0 ? number(Math.round(more / secs)) : '–';
}

/* Certificates, what clients dislike about them, and handshakes by what came of them. */
function showHttps() {
  const box = document.getElementById('https');
  box.hidden = !stats.listen.tls_port;
  if (box.hidden) return;
  const heads = ['Certificate', 'Days left', 'Issued by', 'Chain', 'Key'];
  const rows = stats.certificates.flatMap(({ names, days_left: days, issuer, chain, key, flaws }, at) => [
    element('tr', {}, element('th', { scope: 'row' }, names.join(', ') || 'no name'),
      element('td', { id: 'certificate_days_' + at, 'data-value': days, class: flaws.length ? 'bad' : 'good' }, number(days)),
      element('td', {}, issuer), element('td', {}, CHAINS[chain] || chain), element('td', {}, key)),
    ...flaws.map(flaw => element('tr', {}, element('td', { colspan: heads.length, class: 'bad' }, flaw)))]);
  const table = rows.length ? element('table', { id: 'certificates' },
    element('thead', {}, element('tr', {}, ...heads.map(head => element('th', { scope: 'col' }, head)))),
    element('tbody', {}, ...rows)) : element('p', { id: 'certificates', class: 'bad' }, 'No certificate yet: clients are turned away.');
  const counts = HANDSHAKES.map(([name, words]) => [name, words, stats.counts['tls_' + name]]);
  const shakes = counts.filter(([name, , count]) => count || name === 'full' || name === 'resumed');
  box.replaceChildren(element('h2', {}, 'HTTPS'), element('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': 'Certificates' }, table),
    element('p', {}, 'Handshakes: ', ...shakes.flatMap(([name, words, count], at) =>
      [at ? ', ' : '', words + ' ', element('b', { id: 'tls_' + name, 'data-value': count }, number(count))])));
}

function showCharts() {
  const history = stats.history[range];
  document.getElementById('charts').replaceChildren(...CHARTS.map(chart => figure(chart, history)));
  draw();
}

function figure([title, lines, write], history) {
  const legend = lines.map(([name, column, colour]) => element('span', {},
    element('i', { class: colour }), name + ' ', element('b', {})));
  const svg = drawing('svg', { role: 'img', 'aria-label': title });
  svg.addEventListener('pointermove', event => point(event, svg));
  svg.addEventListener('pointerdown', event => point(event, svg));
  svg.addEventListener('pointerleave', () => { pointed = null; draw(); });
  return element('figure', { class: 'card' }, element('figcaption', {}, element('h2', {}, title), ...legend), svg);
}

function point(event, svg) {
  const box = svg.getBoundingClientRect();
  const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
  pointed = Math.min(Math.max(part, 0), 1);
  draw();
}

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 8, 20];

function draw() {
  const history = stats.history[range];
  const figures = document.querySelectorAll('#charts figure');
  CHARTS.forEach((chart, at) => drawChart(figures[at], chart, history));
}

function drawChart(figure, [, lines, write, unit = 1, suffix = ''], history) {
  const svg = figure.querySelector('svg');
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const slots = range === 'hour' ? 360 : 720;
  const columns = lines.map(([, column]) => typeof column === 'string' ? history[column] : column(history));
  const highest = Math.max(0, ...columns.flat().filter(value => value !== null)) / unit;
  const step = niceStep(highest / 3);
  const top = Math.max(Math.ceil(highest / step), 1) * step * unit;
  const count = columns[0].length;
  const x = at => LEFT + (width - LEFT - RIGHT) * (slots - count + at) / (slots - 1);
  const y = value => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  const parts = [];
  for (let value = 0; value <= top * 1.001; value += step * unit) {
    parts.push(drawing('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    parts.push(drawing('text', { x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, short.format(value / unit)));
  }
  const span = (slots - 1) * history.step_secs;
  for (const part of width > 420 ? [0, .25, .5, .75, 1] : [0, .5, 1]) {
    const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
    parts.push(drawing('text', { x: LEFT + (width - LEFT - RIGHT) * part, y: height - 4, 'text-anchor': anchor },
      clock(history.end_time - span * (1 - part))));
  }
  columns.forEach((column, line) => {
    const colour = `var(--${lines[line][2]})`;
    const path = column.map((value, at) => value === null ? '' :
      `${at === 0 || column[at - 1] === null ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    parts.push(drawing('path', { d: path || 'M0 0', fill: 'none', stroke: colour, 'stroke-width': 1.8,
      'stroke-linejoin': 'round', 'stroke-linecap': 'round' }));
  });
  const shown = pointed === null ? count - 1 : Math.round(pointed * (slots - 1)) - (slots - count);
  if (pointed !== null && shown >= 0 && shown < count) {
    parts.push(drawing('line', { class: 'hand', x1: x(shown), x2: x(shown), y1: TOP, y2: height - BOTTOM }));
  }
  figure.querySelectorAll('b').forEach((label, line) => {
    const value = columns[line][shown];
    label.textContent = value === undefined || value === null ? '–' : write(value);
  });
  const when = pointed !== null && shown >= 0 && shown < count
    ? ' · ' + clock(history.end_time - (count - 1 - shown) * history.step_secs) : '';
  figure.querySelector('h2').textContent = figure.querySelector('svg').getAttribute('aria-label') + suffixOf(suffix) + when;
  svg.replaceChildren(...parts);
}

function suffixOf(suffix) {
  return suffix ? ',' + suffix : '';
}

/* 1, 2 or 5 times a power of ten: steps that can be read. */
function niceStep(rough) {
  if (!(rough > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find(times => times * power >= rough);
}

/* The other nodes of the cluster, and what this one tells and hears. */
function showCluster() {
  const box = document.getElementById('cluster');
  const { cluster } = stats;
  box.hidden = !cluster;
  if (box.hidden) return;
  const heads = ['Node', 'State', 'Heard', 'Lag', 'Lost', 'Clock', 'Peers', 'Requests/s', 'Version'];
  const rows = cluster.members.map(member => element('tr', {}, element('th', { scope: 'row' }, member.name),
    element('td', { class: member.alive ? 'good' : 'bad' }, !member.alive ? 'gone' : member.whole ? 'whole' : 'joining'),
    element('td', {}, duration(member.silent_secs) + ' ago'), element('td', {}, member.lag_millis + ' ms'),
    element('td', {}, number(member.messages_lost)),
    element('td', { class: member.clock_differs ? 'bad' : 'good' }, member.clock_behind_millis + ' ms'),
    element('td', {}, number(member.peers)), element('td', {}, number(member.requests_per_second)), element('td', {}, member.version)));
  const table = rows.length ? element('table', { id: 'members' },
    element('thead', {}, element('tr', {}, ...heads.map(head => element('th', { scope: 'col' }, head)))),
    element('tbody', {}, ...rows)) : element('p', { id: 'members' }, 'No other node is heard.');
  const rejected = Object.values(cluster.messages_rejected).reduce((sum, count) => sum + count, 0);
  box.replaceChildren(element('h2', {}, `Cluster ${cluster.name}, node ${cluster.node}`),
    element('p', cluster.broker ? {} : { class: 'bad' },
      cluster.broker ? `${cluster.whole ? 'Whole' : 'Joining'}, by ${cluster.broker}` : `No broker: ${cluster.fault || 'connecting'}`),
    element('div', { class: 'wide', tabindex: 0, role: 'region', 'aria-label': 'Nodes' }, table),
    element('p', {}, `Records: ${cluster.records_sent_per_second}/s told, ${cluster.records_received_per_second}/s heard; messages lost: ${number(cluster.messages_lost)}, rejected: ${number(rejected)}`));
}

/* Whether all is well, and where more than one thing is not, each. */
function showVerdict() {
  const { grade, line, findings } = stats.verdict;
  const verdict = document.getElementById('verdict');
  if (verdict.textContent !== line) verdict.textContent = line;
  verdict.className = `card ${grade}`;
  verdict.dataset.findings = findings.map(one => one.name).join(' ');
  const several = findings.length > 1 ? findings : [];
  document.getElementById('findings').replaceChildren(...several.map(({ name, grade, about, what, remedy }) =>
    element('li', { class: `card ${grade}`, 'data-finding': name }, element('strong', {}, `${grade}, ${about}: `),
      `${what}. To do: ${remedy}.`)));
}

async function refresh() {
  const trouble = document.getElementById('trouble');
  try {
    const answer = await fetch('stats.json');
    if (!answer.ok) throw new Error('status ' + answer.status);
    const fresh = await answer.json();
    if (!stats || fresh.time !== stats.time) before = stats;
    stats = fresh;
    trouble.textContent = '';
    const { revision, workers } = stats.process;
    document.getElementById('about').textContent = `${revision} · ${workers} ${workers === 1 ? 'worker' : 'workers'}`;
    showVerdict();
    showUrls();
    showTiles();
    showHttps();
    showCluster();
    showProtection();
    if (document.getElementById('charts').childElementCount) draw(); else showCharts();
  } catch (error) {
    trouble.textContent = `No new numbers: ${error.message}`;
  }
}

document.querySelectorAll('nav button').forEach(button => button.addEventListener('click', () => {
  range = button.dataset.range;
  document.querySelectorAll('nav button').forEach(one => one.setAttribute('aria-pressed', String(one === button)));
  if (stats) draw();
}));
addEventListener('resize', () => { if (stats) draw(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MILLIS);
refresh();
