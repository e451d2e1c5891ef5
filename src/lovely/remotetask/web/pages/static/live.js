// Keeps the parts of a page new, and shows its times in the reader's zone.
(() => {
  const first = 3e3, slow = 1e4;
  const button = document.getElementById('live');
  const message = document.getElementById('message');
  let wait = first, timer = 0, tag = '', lost = false;

  const show = (within) => {
    const all = within.querySelector('#all');
    if (all) all.hidden = false;
    for (const one of within.querySelectorAll('time[datetime]')) {
      const at = new Date(one.dateTime);
      // A time without a zone is not ours to move.
      if (isNaN(at) || !/[Z+]|-\d\d:\d\d$/.test(one.dateTime.slice(10))) continue;
      // Swedes write 2026-12-31 12:00:00.
      const [day, clock] = at.toLocaleString('sv').split(' ');
      const text = at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
      if (one.textContent !== text) one.textContent = text;
    }
  };
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.getElementById('zone').textContent = `, shown in ${zone}`;
  show(document);

  // A part in which the reader works stays as it is.
  const isUsed = (part) => {
    if (part.contains(document.activeElement) || part.querySelector('input:checked')) return true;
    const chosen = getSelection();
    return !chosen.isCollapsed && part.contains(chosen.anchorNode);
  };
  const replace = (old, fresh) => {
    const text = fresh.innerHTML;
    if (old.dataset.text === text || isUsed(old)) return;
    const before = old.querySelectorAll('details'), now = fresh.querySelectorAll('details');
    // What the reader has opened or closed stays so.
    if (before.length === now.length) now.forEach((one, at) => { one.open = before[at].open; });
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
      const headers = {'X-Remotetask-Live': '1', 'If-None-Match': tag};
      const answer = await fetch(location.href, {headers, redirect: 'manual', cache: 'no-store'});
      const found = answer.ok && new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('[data-remotetask]');
      if (answer.status === 304 || answer.status === 429) {
        // 429: many pages are open, and this one is as good as it was.
        wait = Math.max(answer.headers.get('Retry-After') * 1e3, Math.min(wait * 1.25, slow));
      } else if (answer.ok ? !found : [0, 401, 403].includes(answer.status)) {
        // 0: it leads elsewhere, to a login.
        say('You are signed out. Reload the page.');
        return;
      } else if (answer.ok) {
        tag = answer.headers.get('ETag');
        for (const part of found.querySelectorAll('[data-part]')) {
          const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
          if (old) replace(old, part);
        }
        wait = first;
      } else {
        throw 0;
      }
      if (lost) { lost = false; say(''); }
    } catch {
      lost = true;
      say('The connection is lost; trying again.');
      wait = Math.min(wait * 2, 6e4);
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
  if (canLive) {
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
