// One row in full: what was asked, answered, criticised, revised, judged, and where it went.

const NAMES = {
  revision: ['first answer', 'final text'],
  sampled: ['answer A', 'answer B'],
  guided: ['plain answer', 'guided answer'],
};

function part(title, ...children) {
  return h('section', { class: 'part' }, h('h4', {}, title), ...children);
}

function badge(text, kind) {
  return h('span', { class: 'badge ' + (kind || '') }, text);
}

function rowBody(row, meta) {
  if (meta.kind === 'compare') return compared(row);
  const nodes = [...badges(row, meta), ...failed(row), ...gateNotes(row), ...asked(row)];
  nodes.push(...(meta.chains ? chain(row) : onlyPublished(row)));
  return nodes;
}

function badges(row, meta) {
  const marks = [];
  if (row.prompt_kind) marks.push(badge(row.prompt_kind));
  if (row.split) marks.push(badge(row.split + ' split'));
  if (!row.split && (row.failures || []).length) marks.push(badge('failed', 'bad'));
  else if (row.not_in_sft) marks.push(badge('not in sft: ' + row.not_in_sft, 'bad'));
  else if (meta.sft && row.final !== undefined) marks.push(badge('in sft', 'good'));
  for (const pair of row.pairs || []) {
    if (pair.dropped) marks.push(badge(`${pair.source} pair: ${pair.dropped}`));
    else if (pair.p_a !== null) marks.push(badge(`${pair.source} pair in preferences`, 'good'));
  }
  for (const tag of row.tags || []) marks.push(badge('tag: ' + tag));
  return [h('p', { class: 'badges' }, marks)];
}

function failed(row) {
  const failures = row.failures || [];
  if (!failures.length) return [];
  const lines = failures.map((f) =>
    h('li', {},
      h('strong', {}, `${f.stage}${f.pair ? ` (${f.pair} pair)` : ''}: ${f.error}`),
      f.message ? h('div', { class: 'text', dir: 'auto' }, f.message.slice(0, MOST)) : null));
  return [part('What failed', h('ul', { class: 'plain' }, lines))];
}

function gateNotes(row) {
  const gates = row.gates || [];
  if (!gates.length) return [];
  const lines = gates.map(([name, note]) =>
    h('li', {}, h('strong', {}, name), note ? ': ' : '', h('bdi', {}, note)));
  return [part('Gates that name this row', h('ul', { class: 'plain' }, lines))];
}

function asked(row) {
  return (row.prompt || []).map((turn) =>
    part(turn.role === 'user' ? 'Prompt' : turn.role, textBlock(turn.content, turn.role)));
}

function onlyPublished(row) {
  const nodes = [];
  if (row.final !== undefined) nodes.push(part('Text to learn from', textBlock(row.final)));
  for (const pair of row.chosen || []) {
    const title = `Chosen of the ${pair.source} pair (p = ${fixed(pair.probability)})`;
    nodes.push(part(title, textBlock(pair.text)));
  }
  return nodes;
}

function chain(row) {
  const nodes = [];
  if (row.response !== undefined) {
    const changed = row.final !== row.response;
    const first = row.target === 'guided' ? 'Answer with the constitution in view' : 'First answer';
    nodes.push(part(changed ? first : `${first}, which was kept`, textBlock(row.response)));
    let text = row.response;
    for (const step of row.steps || []) {
      nodes.push(round(step, text));
      if (step.revision !== null) text = step.revision;
    }
    if ((row.steps || []).length > 1 && changed) {
      nodes.push(part('From the first answer to the final text', diffBlock(row.response, row.final)));
    }
  }
  nodes.push(...assessments(row));
  for (const pair of row.pairs || []) nodes.push(pairPart(pair, row));
  return nodes;
}

function round(step, before) {
  const findings = step.findings || [];
  const rules = findings.map((f) => f.principle_id).join(', ');
  const node = h('section', { class: 'part round' },
    h('h4', {}, `Round ${step.step} `, h('bdi', { class: 'principle' }, rules || step.principle_id)));
  for (const finding of findings) {
    node.append(h('p', { class: 'finding' }, 'A program found: ', h('bdi', {}, finding.text)));
  }
  if (step.critique !== null) node.append(h('h5', {}, 'Critique'), textBlock(step.critique, 'quiet-text'));
  if (step.p_change !== null) node.append(...verdictOf(step));
  if (step.revision === null) {
    node.append(h('p', { class: 'kept' }, 'The text was kept.'));
    return node;
  }
  const removed = (step.removed || []).length ? ` (taken off: ${step.removed.join(', ')})` : '';
  const share = step.edit_distance === null ? '' : `, ${Math.round(100 * step.edit_distance)} % changed`;
  node.append(h('h5', {}, `Revision${share}${removed}`), diffBlock(before, step.revision));
  return node;
}

// p is the mean of both orders and the gap how far they are apart.
function verdictOf(step) {
  const half = (step.order_gap || 0) / 2;
  const ends = [step.p_change - half, step.p_change + half];
  const agree = Math.abs(2 * step.p_change - 1) > (step.order_gap || 0);
  const said = !agree ? 'The two orders disagree' : step.p_change > 0.5 ? 'A change is needed' : 'No change is needed';
  return [
    h('h5', {}, 'Verdict'),
    h('p', { class: 'numbers' }, `${said}: `, meter(step.p_change),
      ` p = ${fixed(step.p_change)} (in the two orders ${fixed(Math.max(ends[0], 0))} and ` +
      `${fixed(Math.min(ends[1], 1))})`),
  ];
}

// A probability as a small bar, with its middle marked.
function meter(p) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 60 10');
  svg.setAttribute('class', 'meter');
  svg.setAttribute('aria-hidden', 'true');
  for (const [x, width, name] of [[0, 60, 'track'], [0, 60 * p, p > 0.5 ? 'orange' : 'blue'], [29.5, 1, 'tick']]) {
    const bar = document.createElementNS(space, 'rect');
    bar.setAttribute('x', x);
    bar.setAttribute('width', Math.max(width, 0));
    bar.setAttribute('height', 10);
    bar.setAttribute('class', name);
    svg.append(bar);
  }
  return svg;
}

function numbersTable(head, rows) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' },
    h('table', {},
      h('thead', {}, h('tr', {}, head.map((cell) => h('th', { scope: 'col' }, cell)))),
      h('tbody', {}, rows.map((cells) => h('tr', {}, cells.map((cell, place) =>
        place ? h('td', {}, cell) : h('th', { scope: 'row' }, h('bdi', {}, cell))))))));
}

function assessments(row) {
  const rows = (row.assessments || []).map((a) => [
    a.principle_id,
    a.method === 'check' ? a.finding || 'kept' : a.p_violates > 0.5 ? 'broken' : 'kept',
    a.method === 'check' ? 'a program' : `p = ${fixed(a.p_violates)}`,
    a.method === 'check' ? '–' : fixed(a.order_gap),
  ]);
  if (!rows.length) return [];
  return [part('Does the final text keep the principles?',
    numbersTable(['principle', 'finding', 'by', 'gap of the orders'], rows))];
}

function pairPart(pair, row) {
  const [a, b] = NAMES[pair.source] || ['answer A', 'answer B'];
  const node = h('section', { class: 'part pair' }, h('h4', {}, `${pair.source} pair`));
  if (pair.source !== 'revision') {
    node.append(h('h5', {}, a), textBlock(pair.response_a), h('h5', {}, b), textBlock(pair.response_b));
  }
  if (pair.response_a !== pair.response_b) node.append(ownLabel(pair, row, a, b));
  if (pair.p_a === null) {
    node.append(h('p', {}, `No label: ${pair.dropped || 'it failed'}.`));
    return node;
  }
  const better = pair.p_a > 0.5 ? a : b;
  const p = Math.max(pair.p_a, 1 - pair.p_a);
  const gone = pair.dropped ? `, no row of preferences: ${pair.dropped}` : ', a row of preferences';
  node.append(h('p', { class: 'numbers' }, `Better: ${better}, p = ${fixed(p)}, gap of the orders ${fixed(pair.order_gap)}${gone}.`));
  const rows = (pair.judgements || []).map((j) => [
    j.principle_id, fixed(j.q_ab), fixed(1 - j.q_ba), fixed((1 + j.q_ab - j.q_ba) / 2),
  ]);
  const head = ['principle', `p of the ${a}, it stands first`, 'it stands second', 'mean'];
  if (rows.length) node.append(numbersTable(head, rows));
  for (const j of pair.judgements || []) {
    for (const [place, text] of (j.reasoning || []).entries()) {
      node.append(h('details', {}, h('summary', {}, `Reasoning, ${j.principle_id}, order ${place + 1}`), textBlock(text, 'quiet-text')));
    }
  }
  return node;
}

// Two buttons by which a person says which answer is better.
function ownLabel(pair, row, a, b) {
  const id = `${row.id}#${pair.source}`;
  const sides = [[a, pair.response_a, pair.response_b], [b, pair.response_b, pair.response_a]];
  const buttons = sides.map(([name, chosen, rejected]) => {
    const button = h('button', { type: 'button', class: 'quiet', onclick: () => {
      labels.set(id, { prompt: row.prompt, chosen, rejected, prompt_kind: row.prompt_kind });
      show();
    } }, `The ${name}`);
    return [button, chosen];
  });
  const show = () => {
    for (const [button, chosen] of buttons) {
      button.setAttribute('aria-pressed', labels.get(id)?.chosen === chosen);
    }
  };
  show();
  return h('p', { class: 'own-label' }, 'Which is better? ', buttons.map(([button]) => button));
}

function compared(row) {
  const meta = { kind: 'run', chains: true, sft: true };
  const old = row.other;
  if (!old) {
    const where = row.gone ? 'Only in the run before' : 'Only in the run after';
    return [h('p', { class: 'badges' }, badge(where)), ...rowBody(row, meta)];
  }
  const nodes = [];
  if (old.final !== row.final && old.final && row.final) {
    nodes.push(part('The final text, before and after', diffBlock(old.final, row.final)));
  }
  const side = (title, data) => h('div', { class: 'side' }, h('h3', {}, title), rowBody({ ...plainRow(data) }, meta));
  nodes.push(h('div', { class: 'sides' }, side('Before', old), side('After', row)));
  return nodes;
}

function plainRow(data) {
  return Object.fromEntries(Object.entries(data).filter(([key, value]) => value !== null && key !== 'other'));
}
