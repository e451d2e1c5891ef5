// Keeps the parts of a page new, and shows its times in the reader's zone.
// All pages work without it.
(() => {
  'use strict';
  const first = 3000, slow = 10000, slowest = 60000;
  const button = document.getElementById('live');
  const message = document.getElementById('message');
  let wait = first, timer = 0, tag = null, lost = false;

  const pad = (number) => String(number).padStart(2, '0');
  const show = (within) => {
    const all = within.querySelector('#all');
    if (all) all.hidden = false;
    for (const one of within.querySelectorAll('time[datetime]')) {
      const at = new Date(one.dateTime);
      // A time without a zone is not ours to move.
      if (isNaN(at) || !/[Z+]|-\d\d:\d\d$/.test(one.dateTime.slice(10))) continue;
      const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
      const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
      const today = at.toDateString() === new Date().toDateString();
      const text = today ? clock : `${day} ${clock}`;
      if (one.textContent !== text) one.textContent = text;
    }
  };
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.getElementById('zone').textContent = `, shown in ${zone}`;
  show(document);

  // A part in which the reader works stays as it is.
  const isUsed = (part) => {
    if (part.contains(document.activeElement) && document.activeElement !== document.body) return true;
    if (part.querySelector('input:checked')) return true;
    const chosen = getSelection();
    return !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };
  const opened = (part) => [...part.querySelectorAll('details')].map((one) => one.open);
  const replace = (old, fresh) => {
    if (old.dataset.text === fresh.innerHTML || isUsed(old)) return;
    const text = fresh.innerHTML;
    const before = opened(old), now = fresh.querySelectorAll('details');
    // What the reader has opened or closed stays so.
    if (before.length === now.length) now.forEach((one, place) => { one.open = before[place]; });
    const part = document.importNode(fresh, true);
    part.dataset.text = text;
    show(part);
    old.replaceWith(part);
  };
  const say = (text) => { message.className = 'message'; message.textContent = text; };

  const look = async () => {
    timer = 0;
    if (document.hidden || !isLive()) return;
    try {
      const headers = {'X-Remotetask-Live': '1'};
      if (tag) headers['If-None-Match'] = tag;
      const answer = await fetch(location.href, {headers, credentials: 'same-origin', redirect: 'manual', cache: 'no-store'});
      if (answer.status === 304) {
        wait = Math.min(wait * 1.25, slow);
      } else if (answer.type === 'opaqueredirect' || answer.status === 401 || answer.status === 403) {
        say('You are signed out. Reload the page.');
        return;
      } else if (answer.ok) {
        const found = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('[data-remotetask]');
        if (!found) { say('You are signed out. Reload the page.'); return; }
        tag = answer.headers.get('ETag');
        for (const part of found.querySelectorAll('[data-part]')) {
          const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
          if (old) replace(old, part);
        }
        wait = first;
      } else {
        throw new Error(answer.status);
      }
      if (lost) { lost = false; say(''); }
    } catch {
      lost = true;
      say('The connection is lost; trying again.');
      wait = Math.min(wait * 2, slowest);
    }
    next();
  };
  const next = () => { clearTimeout(timer); timer = setTimeout(look, wait * (0.9 + Math.random() / 5)); };

  const isLive = () => sessionStorage.getItem('remotetask-paused') !== '1';
  const paint = () => {
    button.setAttribute('aria-pressed', String(isLive()));
    button.textContent = isLive() ? 'Live' : 'Still';
  };
  const canLive = document.querySelector('[data-part]') && !/[?&]start=/.test(location.search);
  if (canLive && button) {
    button.hidden = false;
    paint();
    button.addEventListener('click', () => {
      sessionStorage.setItem('remotetask-paused', isLive() ? '1' : '0');
      paint();
      if (isLive()) { wait = first; look(); }
    });
    document.addEventListener('visibilitychange', () => { if (!document.hidden) { wait = first; clearTimeout(timer); look(); } });
    next();
  }

  document.addEventListener('change', (event) => {
    if (event.target.id !== 'all') return;
    for (const box of document.querySelectorAll('input[name=job]')) box.checked = event.target.checked;
  });
  const more = document.querySelector('form[data-continue]');
  if (more) setTimeout(() => more.submit(), 300);
})();
