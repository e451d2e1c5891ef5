"""A page of a stranger, on a port of its own."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer


class Foreign:
    """Attributes: ``text``, what the page has; ``url``, its address."""

    text = ''
    url = ''


@contextmanager
def foreign_page(name='127.0.0.1'):
    """Serve a page.  ``name``: by which browsers reach it."""
    made = Foreign()

    class Handler(BaseHTTPRequestHandler):

        def do_GET(self):
            body = made.text.encode()
            self.send_response(200)
            self.send_header('Content-Type', 'text/html; charset=utf-8')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        made.url = f'http://{name}:{server.server_port}/'
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
