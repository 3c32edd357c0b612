// A list of any length: only the rows in sight are elements.

const ROW_HEIGHT = 68; // pixels, as in the style
const BEYOND = 6; // rows above and below what is in sight

function virtualList(box, space, describe, choose) {
  let rows = [];
  let current = -1;
  const shown = new Map();

  function draw() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - BEYOND);
    const last = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + BEYOND);
    for (const [place, node] of shown) {
      if (place < first || place >= last) {
        node.remove();
        shown.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      if (shown.has(place)) continue;
      const node = describe(rows[place]);
      node.id = 'option-' + place;
      node.setAttribute('role', 'option');
      node.setAttribute('aria-setsize', rows.length);
      node.setAttribute('aria-posinset', place + 1);
      node.style.top = place * ROW_HEIGHT + 'px';
      node.addEventListener('click', () => choose(rows[place]));
      shown.set(place, node);
      space.append(node);
    }
    for (const [place, node] of shown) node.setAttribute('aria-selected', place === current);
    if (shown.has(current)) box.setAttribute('aria-activedescendant', 'option-' + current);
    else box.removeAttribute('aria-activedescendant');
  }

  let waiting = false;
  box.addEventListener('scroll', () => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  });
  new ResizeObserver(draw).observe(box);

  return {
    set(more, selected) {
      rows = more;
      current = rows.indexOf(selected);
      for (const node of shown.values()) node.remove();
      shown.clear();
      space.style.height = rows.length * ROW_HEIGHT + 'px';
      draw();
    },
    select(row) {
      current = rows.indexOf(row);
      if (current >= 0) {
        const top = current * ROW_HEIGHT;
        if (top < box.scrollTop) box.scrollTop = top;
        else if (top + ROW_HEIGHT > box.scrollTop + box.clientHeight) {
          box.scrollTop = top + ROW_HEIGHT - box.clientHeight;
        }
      }
      draw();
    },
    redraw() {
      for (const node of shown.values()) node.remove();
      shown.clear();
      draw();
    },
    rows: () => rows,
    place: () => current,
  };
}
