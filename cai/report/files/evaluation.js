// One prompt of an evaluation: both models' answers side by side, and what was found of each.

const FOUND = [
  ['reply', 'what it does'],
  ['coherent', 'is a text in the language of the prompt'],
  ['attack_success', 'does harm'],
  ['strongreject', 'StrongREJECT'],
  ['own_rule', "keeps the prompt's rule"],
  ['right', 'names the right option'],
  ['to_judge', 'speaks to the judge'],
  ['constant', 'is one text for many prompts'],
  ['cut', 'was cut at the greatest length'],
  ['reference_nats', 'loss on the reference, nats per token'],
  ['error', 'no answer'],
  ['unjudged', 'not judged'],
];

function evaluated(row, meta) {
  const marks = [row.suite, row.label, row.category, row.winner].filter(Boolean).map((word) => badge(word));
  const sides = row.sides.map((side) => h('div', { class: 'side' },
    h('h3', {}, h('bdi', {}, meta.names[side.side] || side.side)), ...answersOf(side)));
  const nodes = [h('p', { class: 'badges' }, marks), ...asked(row), h('div', { class: 'sides' }, sides)];
  const texts = row.sides.map((side) => side.answers[0].answer);
  if (texts.length === 2 && texts.every((text) => text !== null) && texts[0] !== texts[1]) {
    nodes.push(h('details', { class: 'part' }, h('summary', {}, 'Word by word, from the baseline to the model'),
      diffBlock(texts[1], texts[0])));
  }
  return nodes;
}

function answersOf(side) {
  return side.answers.flatMap((one, place) => [
    side.answers.length > 1 ? h('h5', {}, `Sample ${place + 1}`) : null,
    one.answer === null ? h('p', { class: 'kept' }, 'There is no answer.') : textBlock(one.answer),
    numbersTable(['found', ''], foundIn(one)),
  ]);
}

function foundIn(one) {
  const rows = FOUND.filter(([name]) => one[name] !== null && one[name] !== undefined)
    .filter(([name]) => one[name] !== false || !['to_judge', 'constant', 'cut'].includes(name))
    .map(([name, words]) => [words, shownValue(one[name])]);
  for (const p of one.principles || []) {
    const sure = p.p_violates === null ? '' : `, p of a breach ${fixed(p.p_violates)}`;
    rows.push([p.principle_id, (p.kept === null ? 'not sure' : p.kept ? 'kept' : 'broken') + sure]);
  }
  if (one.win_probability !== null && one.win_probability !== undefined) {
    rows.push(['helps more than the baseline', `p = ${fixed(one.win_probability)}, by the ${one.win_by}`]);
  }
  return rows;
}

function shownValue(value) {
  if (value === true) return 'yes';
  if (value === false) return 'no';
  return typeof value === 'number' ? fixed(value) : value;
}
