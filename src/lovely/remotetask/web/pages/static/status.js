// In pages of the application: how a job goes.
for (const place of document.querySelectorAll('[data-remotetask-status]')) {
  const url = place.dataset.remotetaskStatus;
  const [word, bar, text] = ['b', 'progress', 'span'].map((name) => document.createElement(name));
  word.setAttribute('role', 'status');
  bar.setAttribute('aria-label', 'Progress');
  let wait = 1e3, tag = '';
  const look = async () => {
    if (!document.hidden) try {
      const answer = await fetch(url, {headers: {'If-None-Match': tag}, redirect: 'manual', cache: 'no-store'});
      if (answer.ok) {
        const job = await answer.json(), {done, total, message} = job.progress || {};
        tag = answer.headers.get('ETag');
        wait = 1e3;
        // Ids may have more digits than numbers of a script.
        if (!word.isConnected) place.replaceChildren(`Job ${url.split('/').pop()}: `, word, ' ', bar, ' ', text);
        if (word.textContent !== job.status) word.textContent = place.dataset.status = job.status;
        bar.hidden = !total;
        bar.max = total || 1;
        bar.value = done || 0;
        text.textContent = [done, total && `of ${total}`, message].join(' ');
        place.dispatchEvent(new CustomEvent('remotetask-status', {bubbles: true, detail: job}));
        if (/completed|error|cancelled/.test(job.status)) return;
      } else if (answer.status === 304) wait = Math.min(wait * 1.25, 1e4);
      else if (answer.status < 429) return;
      else throw 0;
    } catch { wait = Math.min(wait * 2, 6e4); }
    setTimeout(look, wait);
  };
  look();
}
