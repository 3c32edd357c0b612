// The page's data: compressed blocks that stand in elements no browser runs, read when needed.

async function inflate(id) {
  const node = document.getElementById(id);
  if (!node) return null;
  const text = node.textContent.trim();
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const binary = atob(text);
    bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Response(stream).text();
}

async function inflateJson(id) {
  const text = await inflate(id);
  return text === null ? null : JSON.parse(text);
}

// The last blocks that were read, as lines of JSON.
const KEPT_BLOCKS = 8;
const blocks = new Map();

function block(number) {
  let lines = blocks.get(number);
  if (lines) {
    blocks.delete(number);
  } else {
    lines = inflate('b' + number).then((text) => text.split('\n'));
    if (blocks.size >= KEPT_BLOCKS) blocks.delete(blocks.keys().next().value);
  }
  blocks.set(number, lines);
  return lines;
}

function blockOf(starts, row) {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function rowData(index, row) {
  const number = blockOf(index.starts, row);
  const lines = await block(number);
  return JSON.parse(lines[row - index.starts[number]]);
}

// Whether a text that is searched for stands in any value of a row (and not in a name of a field).
function inValues(value, needle) {
  if (typeof value === 'string') return value.toLowerCase().includes(needle);
  if (value === null || typeof value !== 'object') return false;
  return Object.values(value).some((part) => inValues(part, needle));
}

async function searchBlock(index, number, needle, hit) {
  // Read past the kept blocks: a search goes through all of them.
  const lines = blocks.has(number)
    ? await blocks.get(number)
    : (await inflate('b' + number)).split('\n');
  const escaped = JSON.stringify(needle).slice(1, -1).toLowerCase();
  lines.forEach((line, place) => {
    if (line.toLowerCase().includes(escaped) && inValues(JSON.parse(line), needle)) {
      hit(index.starts[number] + place);
    }
  });
}
