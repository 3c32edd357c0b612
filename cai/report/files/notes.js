// Flags and notes of rows. They stay in the page; a browser that lets us, keeps them.

function stored(key) {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(key)) || {};
  } catch {
    // A file that is opened without storage keeps them until it is closed.
  }
  const values = new Map(Object.entries(kept));
  const save = () => {
    try {
      localStorage.setItem(key, JSON.stringify(Object.fromEntries(values)));
    } catch {
      // As above.
    }
  };
  return { values, save };
}

// Which answer of a pair a person finds better, with its texts: a row for cai check judge.
let labels = null;

function labelsOf(page) {
  const { values, save } = stored('cai labels ' + page);
  return {
    get: (id) => values.get(id),
    set(id, value) {
      values.set(id, value);
      save();
    },
    size: () => values.size,
    lines: () => [...values].map(([id, value]) => JSON.stringify({ id, ...value }) + '\n').join(''),
  };
}

function notesOf(page) {
  const { values: notes, save } = stored('cai report ' + page);
  return {
    get: (id) => notes.get(id) || { flag: false, note: '' },
    set(id, value) {
      if (value.flag || value.note) notes.set(id, value);
      else notes.delete(id);
      save();
    },
    size: () => notes.size,
    lines: () =>
      [...notes].map(([id, { flag, note }]) => JSON.stringify({ id, flag, note }) + '\n').join(''),
  };
}

function download(text, name) {
  const link = h('a', { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/jsonl' }));
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
