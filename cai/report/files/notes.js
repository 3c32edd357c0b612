// Flags and notes of rows. They stay in the page; a browser that lets us, keeps them.

function notesOf(page) {
  const key = 'cai report ' + page;
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(key)) || {};
  } catch {
    // A file that is opened without storage keeps them until it is closed.
  }
  const notes = new Map(Object.entries(kept));
  return {
    get: (id) => notes.get(id) || { flag: false, note: '' },
    set(id, value) {
      if (value.flag || value.note) notes.set(id, value);
      else notes.delete(id);
      try {
        localStorage.setItem(key, JSON.stringify(Object.fromEntries(notes)));
      } catch {
        // As above.
      }
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
