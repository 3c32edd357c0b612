// What a revision changed: words, or characters where a script does not space its words.

const UNSPACED =
  '\\p{sc=Han}\\p{sc=Hira}\\p{sc=Kana}\\p{sc=Thai}\\p{sc=Laoo}\\p{sc=Khmr}\\p{sc=Mymr}\\p{sc=Yiii}';
const TOKEN = new RegExp(`[${UNSPACED}]\\p{M}*\\s*|[^\\s${UNSPACED}]+\\s*|\\s+`, 'gu');
const STEPS = 400; // of a search for the shortest edit, before a passage counts as all new

function tokensOf(text) {
  return text.match(TOKEN) || [];
}

// Parts of [kind, text]: 'same', 'out' or 'in'. White space alone is no change.
function diff(before, after) {
  const a = tokensOf(before);
  const b = tokensOf(after);
  const keys = new Map();
  const keyed = (tokens) =>
    Int32Array.from(tokens, (token) => {
      const word = token.trim();
      if (!keys.has(word)) keys.set(word, keys.size);
      return keys.get(word);
    });
  const parts = [];
  const add = (kind, text) => {
    const last = parts[parts.length - 1];
    if (last && last[0] === kind) last[1].push(text);
    else parts.push([kind, [text]]);
  };
  const x = keyed(a);
  const y = keyed(b);
  for (const [kind, i, j] of edits(x, y, 0, x.length, 0, y.length)) {
    add(kind, kind === 'out' ? a[i] : b[j]);
  }
  return parts.map(([kind, texts]) => [kind, texts.join('')]);
}

function edits(x, y, i, m, j, n) {
  const done = [];
  const work = [[i, m, j, n, true]];
  while (work.length) {
    let [from, to, start, end, anchored] = work.pop();
    if (anchored === 'same') {
      done.push(['same', from, start]);
      continue;
    }
    const tail = [];
    while (from < to && start < end && x[from] === y[start]) done.push(['same', from++, start++]);
    while (to > from && end > start && x[to - 1] === y[end - 1]) tail.push([--to, --end]);
    const anchors = from < to && start < end && anchored ? uniques(x, y, from, to, start, end) : [];
    // Work is a stack: what comes last in the text goes in first.
    for (const [p, q] of tail) work.push([p, p, q, q, 'same']);
    if (anchors.length) {
      let [right, below] = [to, end];
      for (let k = anchors.length - 1; k >= 0; k--) {
        const [p, q] = anchors[k];
        work.push([p + 1, right, q + 1, below, true]);
        work.push([p, p, q, q, 'same']);
        [right, below] = [p, q];
      }
      work.push([from, right, start, below, true]);
    } else {
      shortest(x, y, from, to, start, end, done);
    }
  }
  return done;
}

// Words that stand once in both passages, as far as they keep their order (patience).
function uniques(x, y, from, to, start, end) {
  const seen = new Map();
  for (let i = from; i < to; i++) seen.set(x[i], seen.has(x[i]) ? null : [i, -1]);
  for (let j = start; j < end; j++) {
    const pair = seen.get(y[j]);
    if (pair) {
      if (pair[1] >= 0) seen.set(y[j], null);
      else pair[1] = j;
    }
  }
  const pairs = [...seen.values()].filter((pair) => pair && pair[1] >= 0);
  const piles = [];
  for (const [p, q] of pairs) {
    let [low, high] = [0, piles.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (piles[middle].q < q) low = middle + 1;
      else high = middle;
    }
    piles[low] = { p, q, before: low ? piles[low - 1] : null };
  }
  const chain = [];
  for (let at = piles[piles.length - 1]; at; at = at.before) chain.push([at.p, at.q]);
  return chain.reverse();
}

// Myers 1986, "An O(ND) difference algorithm", up to a number of steps.
function shortest(x, y, from, to, start, end, done) {
  const m = to - from;
  const n = end - start;
  const most = Math.min(m + n, STEPS);
  const trail = [];
  let reach = new Map([[1, 0]]);
  let found = m && n ? -1 : 0;
  for (let d = 0; m && n && d <= most && found < 0; d++) {
    trail.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let i = down ? reach.get(k + 1) : reach.get(k - 1) + 1;
      while (i < m && i - k < n && x[from + i] === y[start + i - k]) i++;
      reach.set(k, i);
      if (i >= m && i - k >= n) {
        found = d;
        break;
      }
    }
  }
  if (found <= 0) {
    for (let i = from; i < to; i++) done.push(['out', i, 0]);
    for (let j = start; j < end; j++) done.push(['in', 0, j]);
    return;
  }
  const back = [];
  let [i, j] = [m, n];
  for (let d = found; d > 0; d--) {
    const before = trail[d];
    const k = i - j;
    const down = k === -d || (k !== d && (before.get(k - 1) ?? -1) < (before.get(k + 1) ?? -1));
    const origin = down ? before.get(k + 1) : before.get(k - 1);
    const other = origin - (down ? k + 1 : k - 1);
    const [p, q] = down ? [origin, other + 1] : [origin + 1, other];
    while (i > p && j > q) back.push(['same', from + --i, start + --j]);
    back.push(down ? ['in', 0, start + --j] : ['out', from + --i, 0]);
  }
  while (i > 0 && j > 0) back.push(['same', from + --i, start + --j]);
  for (let k = back.length - 1; k >= 0; k--) done.push(back[k]);
}

function diffBlock(before, after) {
  const node = h('div', { class: 'text diff', dir: 'auto' });
  const parts = diff(before, after);
  const show = (from, room) => {
    let k = from;
    for (; k < parts.length && room > 0; k++) {
      const [kind, text] = parts[k];
      const part = { same: 'span', out: 'del', in: 'ins' }[kind];
      node.append(h(part, {}, text));
      room -= text.length;
    }
    if (k === parts.length) return;
    const more = h('button', { type: 'button', class: 'quiet' }, 'Show all of it');
    more.addEventListener('click', () => {
      more.remove();
      show(k, Infinity);
    });
    node.append(more);
  };
  show(0, MOST);
  return node;
}
