"""The web surface: presenter -> rpc, api -> app.

``presenter`` takes a service and returns plain data; ``rpc`` and ``api`` speak
XML-RPC and JSON with it; ``app`` is the thin WSGI application in front.  Hosts
bring their own thin part and use the same presenter.
"""
