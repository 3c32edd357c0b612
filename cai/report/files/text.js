// Elements are made of text alone: what a model wrote is never read as markup.

const MOST = 20000; // characters of a text that are shown at once
// Control, zero-width, direction and lone surrogate characters. Joiners stay: letters need them.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|\p{Cs}/gu;

function put(node, text) {
  let last = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > last) node.append(text.slice(last, match.index));
    const mark = document.createElement('span');
    mark.className = 'hidden-character';
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    mark.textContent = 'U+' + code;
    node.append(mark);
    last = match.index + match[0].length;
  }
  if (last < text.length) node.append(text.slice(last));
  return node;
}

function h(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    if (typeof child === 'string' || typeof child === 'number') put(node, String(child));
    else node.append(child);
  }
  return node;
}

// A block of a model's or a person's text, its direction its own, and the rest of a long one later.
function textBlock(text, kind) {
  const node = h('div', { class: 'text ' + (kind || ''), dir: 'auto' });
  put(node, text.slice(0, MOST));
  if (text.length > MOST) {
    node.append(
      h('button', {
        type: 'button',
        class: 'quiet',
        onclick: () => put(Object.assign(node, { textContent: '' }), text),
      }, `Show all ${count(text.length)} characters`),
    );
  }
  return node;
}

function count(n) {
  return n.toLocaleString('en');
}

function fixed(value) {
  return value === null || value === undefined ? '–' : value.toFixed(2);
}
