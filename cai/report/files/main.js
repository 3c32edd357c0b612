// The browser of rows: filters, sorts, search, keys, and an address for each of them.

const RUN_FILTERS = {
  kind: ['kind', 'Kind of prompt'],
  outcome: ['outcome', 'Outcome'],
  verdict: ['verdicts', 'Verdict'],
  principle: ['principles', 'Principle'],
  violation: ['violations', 'Final text breaks'],
  gate: ['gates', 'Gate'],
  split: ['split', 'Split'],
};
const ALL_SORTS = {
  run: ['order of the run', null, 1],
  surprise: ['surprise', 'surprise', -1],
  edit: ['most changed', 'edit', -1],
  long: ['longest', 'length', -1],
  short: ['shortest', 'length', 1],
  margin: ['least sure label', 'margin', 1],
};
const byId = (id) => document.getElementById(id);

function theme() {
  const button = byId('theme');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let chosen = dark.matches;
  const show = () => {
    document.documentElement.dataset.theme = chosen ? 'dark' : 'light';
    button.setAttribute('aria-pressed', chosen);
    button.textContent = chosen ? 'Light' : 'Dark';
  };
  button.addEventListener('click', () => { chosen = !chosen; show(); });
  dark.addEventListener('change', () => { chosen = dark.matches; show(); });
  show();
}

async function browse(meta, index) {
  const state = { row: null, q: '', sort: 'run', filters: {} };
  const FILTERS = meta.filters || RUN_FILTERS;
  const SORTS = Object.fromEntries(Object.entries(ALL_SORTS).filter(([name]) => !meta.sorts || meta.sorts.includes(name)));
  const changed = meta.kind === 'evaluation' ? 'different' : 'changed';
  const notes = notesOf(meta.notes);
  labels = labelsOf(meta.notes);
  const numbers = new Map(index.ids.map((id, row) => [id, row]));
  const prompts = index.prompts.map((text) => text.toLowerCase());
  let hits = null; // rows whose texts hold what is searched
  let searching = 0;

  const list = virtualList(byId('list'), byId('space'), describe, (row) => open(row, true));

  function cells(column, row) {
    const { names, rows } = index.columns[column];
    const cell = rows[row];
    return Array.isArray(cell) ? cell.map((n) => names[n]) : [names[cell]];
  }

  function describe(row) {
    const note = notes.get(index.ids[row]);
    const facts = [];
    if (state.sort === 'edit' && index.numbers.edit[row] >= 0) facts.push(`${Math.round(index.numbers.edit[row] / 10)} % ${changed}`);
    if (state.sort === 'surprise') facts.push(`surprise ${fixed(index.numbers.surprise[row] / 1000)}`);
    if (state.sort === 'margin' && index.numbers.margin[row] >= 0) facts.push(`margin ${fixed(index.numbers.margin[row] / 1000)}`);
    if (state.sort === 'long' || state.sort === 'short') facts.push(`${count(index.numbers.length[row])} words`);
    const told = (meta.told || ['kind', 'outcome']).map((column) => cells(column, row)[0]);
    const outcome = told[told.length - 1];
    facts.push(...told.filter((word) => word !== 'none'));
    if (state.sort !== 'edit' && index.numbers.edit[row] > 0) facts.push(`${Math.round(index.numbers.edit[row] / 10)} % ${changed}`);
    const good = outcome.startsWith('in sft') ? 'good' : /^(failed|not in|harm)/.test(outcome) ? 'bad' : '';
    return h('div', { class: 'item ' + good + (note.flag ? ' flagged' : '') },
      h('p', { class: 'start', dir: 'auto' }, index.prompts[row] || index.ids[row]),
      h('p', { class: 'facts' }, note.flag ? '⚑ ' : '', note.note ? '✎ ' : '', facts.join(' · ')));
  }

  function matches(row) {
    for (const [name, value] of Object.entries(state.filters)) {
      if (!cells(FILTERS[name][0], row).includes(value)) return false;
    }
    if (!state.q) return true;
    const needle = state.q.toLowerCase();
    return prompts[row].includes(needle) || index.ids[row].toLowerCase() === needle || (hits && hits.has(row));
  }

  function apply() {
    const rows = [];
    for (let row = 0; row < index.ids.length; row++) if (matches(row)) rows.push(row);
    const [, column, sign] = SORTS[state.sort];
    if (column) {
      const values = index.numbers[column];
      const key = (row) => (values[row] < 0 ? Infinity : sign * values[row]);
      rows.sort((a, b) => key(a) - key(b) || a - b);
    } else if (index.places) {
      const key = (row) => index.places[row] ?? Infinity;
      rows.sort((a, b) => key(a) - key(b) || a - b);
    }
    list.set(rows, state.row);
    tellStatus();
  }

  function tellStatus(part) {
    const all = index.ids.length;
    const rows = list.rows().length;
    let words = rows === all ? `${count(all)} rows` : `${count(rows)} of ${count(all)} rows`;
    if (part !== undefined && part < 1) words += ` – searching all texts, ${Math.round(100 * part)} %`;
    byId('status').textContent = words;
  }

  async function search() {
    const mine = ++searching;
    hits = state.q ? new Set() : null;
    apply();
    if (state.q.length < 2) return;
    tellStatus(0);
    const needle = state.q.toLowerCase();
    let drawn = performance.now();
    for (let number = 0; number < index.starts.length; number++) {
      await searchBlock(index, number, needle, (row) => hits.add(row));
      if (mine !== searching) return;
      if (performance.now() - drawn > 300) {
        apply();
        tellStatus((number + 1) / index.starts.length);
        await new Promise((resolve) => setTimeout(resolve));
        drawn = performance.now();
      }
    }
    if (mine === searching) apply();
  }

  const narrow = matchMedia('(max-width: 820px)'); // as in the style
  let opening = 0;
  async function open(row, remember) {
    const mine = ++opening;
    state.row = row;
    list.select(row);
    document.body.classList.toggle('row-open', row !== null);
    const box = byId('detail');
    if (remember) writeHash();
    if (row === null) {
      box.replaceChildren(h('p', { class: 'empty' }, 'Choose a row to read it.'));
      return;
    }
    const data = await rowData(index, row);
    if (mine !== opening) return;
    const bodies = { compare: compared, evaluation: evaluated };
    const body = bodies[meta.kind] ? bodies[meta.kind](data, meta) : rowBody(data, meta);
    box.replaceChildren(...head(row), ...body);
    box.scrollTop = 0;
    if (narrow.matches) byId('rows').scrollIntoView();
  }

  function head(row) {
    const id = index.ids[row];
    const note = notes.get(id);
    const flag = h('button', { type: 'button', class: 'quiet', id: 'flag', 'aria-pressed': String(note.flag) }, note.flag ? '⚑ Flagged' : '⚐ Flag');
    const words = h('textarea', { rows: '1', id: 'note', 'aria-label': 'Note', placeholder: 'A note on this row', dir: 'auto' });
    words.value = note.note;
    const keep = () => {
      notes.set(id, note);
      flag.textContent = note.flag ? '⚑ Flagged' : '⚐ Flag';
      flag.setAttribute('aria-pressed', note.flag);
      list.redraw();
    };
    flag.addEventListener('click', () => { note.flag = !note.flag; keep(); });
    words.addEventListener('input', () => { note.note = words.value; keep(); });
    return [
      h('div', { class: 'bar' },
        h('button', { type: 'button', class: 'quiet back', onclick: () => open(null, true) }, '← Back'),
        h('h3', { class: 'id' }, h('bdi', {}, id)),
        h('button', { type: 'button', class: 'quiet', onclick: () => move(-1), 'aria-label': 'Previous row' }, '↑'),
        h('button', { type: 'button', class: 'quiet', onclick: () => move(1), 'aria-label': 'Next row' }, '↓'),
        flag),
      words,
    ];
  }

  function move(by) {
    const rows = list.rows();
    if (!rows.length) return;
    const place = list.place() < 0 ? (by > 0 ? 0 : rows.length - 1) : list.place() + by;
    if (place >= 0 && place < rows.length) open(rows[place], true);
  }

  // The address: #row=ID&kind=…&q=…&sort=…
  function writeHash() {
    const parts = new URLSearchParams();
    if (state.row !== null) parts.set('row', index.ids[state.row]);
    if (state.q) parts.set('q', state.q);
    if (state.sort !== 'run') parts.set('sort', state.sort);
    for (const [name, value] of Object.entries(state.filters)) parts.set(name, value);
    const hash = parts.size ? '#' + parts : '#rows';
    if (location.hash !== hash) history.replaceState(null, '', hash);
  }

  function readHash() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const named = [...parts.keys()].some((key) => key in FILTERS || ['row', 'q', 'sort'].includes(key));
    if (!named) return apply();
    state.filters = {};
    for (const name of Object.keys(FILTERS)) {
      const value = parts.get(name);
      if (value !== null && index.columns[FILTERS[name][0]].names.includes(value)) state.filters[name] = value;
    }
    state.q = parts.get('q') || '';
    state.sort = parts.get('sort') in SORTS ? parts.get('sort') : 'run';
    showControls();
    const row = numbers.get(parts.get('row'));
    if (state.q) search();
    else { hits = null; searching++; apply(); }
    open(row === undefined ? null : row, false);
    byId('rows').scrollIntoView();
  }

  function showControls() {
    byId('search').value = state.q;
    byId('sort').value = state.sort;
    for (const select of byId('filters').querySelectorAll('select')) {
      select.value = state.filters[select.name] || '';
    }
    const n = Object.keys(state.filters).length;
    byId('filter-box').firstElementChild.textContent = n ? `Filters (${n})` : 'Filters';
  }

  function makeFilters() {
    for (const [name, [column, label]] of Object.entries(FILTERS)) {
      const { names, rows } = index.columns[column];
      const counts = new Array(names.length).fill(0);
      for (const cell of rows) for (const n of Array.isArray(cell) ? cell : [cell]) counts[n]++;
      const options = names
        .map((value, n) => [value, counts[n]])
        .filter(([value]) => !(name === 'gate' && value === 'none'))
        .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
      if (!options.length || (options.length === 1 && name !== 'gate')) continue;
      const select = h('select', { name, onchange: () => {
        if (select.value) state.filters[name] = select.value;
        else delete state.filters[name];
        showControls();
        apply();
        writeHash();
      } }, h('option', { value: '' }, 'all'),
      options.map(([value, n]) => h('option', { value }, `${value} (${count(n)})`)));
      byId('filters').append(h('label', {}, label, select));
    }
    byId('filters').append(h('button', { type: 'button', class: 'quiet', onclick: () => {
      state.filters = {};
      state.q = '';
      showControls();
      search();
      writeHash();
    } }, 'Clear all'));
    for (const [name, [label]] of Object.entries(SORTS)) byId('sort').append(h('option', { value: name }, label));
    byId('sort').addEventListener('change', () => {
      state.sort = byId('sort').value;
      apply();
      byId('list').scrollTop = 0;
      writeHash();
    });
  }

  let typing = 0;
  byId('search').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.q = byId('search').value.trim(); search(); writeHash(); }, 150);
  });
  byId('export').addEventListener('click', () => {
    if (notes.size()) download(notes.lines(), 'review.jsonl');
    else byId('status').textContent = 'No row has a flag or a note yet.';
  });
  byId('export-labels')?.addEventListener('click', () => {
    if (labels.size()) download(labels.lines(), 'labels.jsonl');
    else byId('status').textContent = 'No pair has a label of yours yet.';
  });
  const help = byId('help');
  byId('help-button').addEventListener('click', () => help.showModal());
  help.querySelector('button').addEventListener('click', (event) => { event.preventDefault(); help.close(); });

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest('input, textarea, select');
    if (event.key === 'Escape') {
      if (help.open) return;
      if (field) field.blur();
      else open(null, true);
      return;
    }
    if (field && event.key === 'Enter' && field.id === 'search') {
      event.preventDefault();
      field.blur();
      if (list.rows().length) open(list.rows()[0], true);
      return;
    }
    if (field || help.open) return;
    const inList = event.target === byId('list');
    const actions = {
      j: () => move(1),
      k: () => move(-1),
      f: () => byId('flag')?.click(),
      '/': () => byId('search').focus(),
      '?': () => help.showModal(),
      ...(inList ? { ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: () => byId('detail').focus() } : {}),
    };
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }
  addEventListener('keydown', onKey);
  addEventListener('hashchange', readHash);
  makeFilters();
  readHash();
}

async function start() {
  theme();
  const meta = await inflateJson('meta');
  const index = await inflateJson('index');
  if (meta && index) await browse(meta, index);
  document.documentElement.dataset.ready = 'yes';
}

start();
