"""One call of a function as a WSGI application, with a plain environ."""

import io
import json
from collections.abc import Callable
from typing import Any

from moby_plugins.adapters.server.answering import InFlight, wsgi
from moby_plugins.domain.http import Request, Response

App = Callable[[Request], Response]


class Answer:
    """What a server is given: the status line, the headers, the body, all closed at the end."""

    def __init__(self, app: App, inflight: InFlight | None = None, **environ: Any) -> None:
        body = environ.pop("body", b"")
        defaults = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/Greeter.Greet",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        application = wsgi(app, inflight)
        chunks = application(defaults | environ, self.start_response)  # type: ignore[arg-type]
        self.chunks = list(chunks)
        chunks.close()  # type: ignore[attr-defined]  # what servers do where they can

    def start_response(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.headers = dict(headers)

    @property
    def error(self) -> Any:
        return json.loads(b"".join(self.chunks))["Err"]


def raising(error: BaseException) -> App:
    """An app that fails."""

    def app(request: Request) -> Response:
        raise error

    return app
