// The table of 0.5.2 has no room for links to jobs, nor for names of boxes.
(() => {
  'use strict';
  const base = document.querySelector('.brand').getAttribute('href');
  const name = () => {
    for (const cell of document.querySelectorAll('.list .tableId')) {
      // This one has been dealt with.
      if (cell.firstElementChild) continue;
      const id = cell.textContent.trim(), link = document.createElement('a');
      link.href = `${base}jobs/${id}`;
      link.textContent = id;
      cell.replaceChildren(link);
      cell.parentElement.querySelector('input').setAttribute('aria-label', `Select job ${id}`);
    }
  };
  name();
  // What live.js brings later, too.
  new MutationObserver(name).observe(document.getElementById('main'), {childList: true, subtree: true});
})();
