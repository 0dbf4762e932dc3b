"""A model's API on the loopback interface, speaking from a script: no model, but the real wire.

It speaks OpenAI's chat completions (``/v1/chat/completions``) and responses (``/v1/responses``), and Anthropic's
messages (``/v1/messages``), each whole or streamed, whichever the client asks for. Connections are kept, as providers
keep them::

    script = [
        Turn(calls=[Call("write_file", {"absolute_path": "a.py", "content": "print(1)"})]),
        Failure(429, retry_after=0.01),  # the client tries again and gets the next one
        lambda request: Turn(f"the tool said: {request.results[-1].text}"),
    ]
    with ModelServer(script) as server:
        model = ChatOpenAI(model="scripted", base_url=server.openai_url, api_key="unused")
        ...
    assert server.requests[1].results[0].text == "Created a.py (1 line, 8 bytes)"

Each request takes the script's next turn; with a mapping of scripts, the next of the script that has the request's
``model`` as its key, so that many agents can talk to one server at once. A turn that is a function gets the request
and answers with a turn. A script that has ended answers 400, and so does a function that fails; leaving the ``with``
block then raises what it raised.
"""

from tests.services.model_server.received import Request
from tests.services.model_server.server import ModelServer

from omniagents.testing.scripts import Call, Failure, Media, Received, Script, Step, Turn

__all__ = ["Call", "Failure", "Media", "ModelServer", "Received", "Request", "Script", "Step", "Turn"]
