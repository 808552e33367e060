"""What /openapi.json says of each route."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.reading import JSON
from vaekit_runtime.service.schemas import About, Bodies, Failure, Health
from vaekit_runtime.service.served import Model

TEXT: dict[str, Any] = {
    "title": "vaekit serve",
    "summary": "A variational autoencoder over HTTP.",
    "description": "Bodies are JSON, or one array in the format of numpy.save; answers are JSON unless Accept says otherwise. "
    'Whatever goes wrong is `{"error": "..."}`, in one sentence.',
    "version": version("vaekit-runtime"),
}
_FAILURES = {
    400: "The body is damaged, or not what its Content-Type says.",
    406: "The answer is not given in a form that Accept takes.",
    408: "The request was sent too slowly.",
    413: "The body is too large, or has too many examples.",
    415: "The body is of a kind that is not read.",
    422: "The body does not fit the model: a shape, a label, a value.",
    429: "There is no room: ask again after Retry-After seconds.",
    500: "The service failed.",
    503: "The service is stopping, or the answer took too long.",
}


class Description:
    """The arguments of each route.

    Args:
        model: that is served.
        limits: on what is asked.
        bodies: the schemas.
        takes: kinds of bodies with examples.
        gives: kinds of answers with examples.
    """

    def __init__(self, model: Model, limits: Limits, bodies: Bodies, takes: tuple[str, ...], gives: tuple[str, ...]) -> None:
        self._told = model.served.conditional
        arrays = tuple(kind for kind in takes if not kind.startswith("image/"))
        codes = tuple(kind for kind in gives if not kind.startswith("image/"))
        most = f"At most {limits.max_examples} examples."
        self.about = _get("What there is: the model, its shapes and classes, limits and routes.", About)
        self.health = _get("Whether the service is ready.", Health)
        self.health["responses"][503] = {"model": Health, "description": "The service is stopping."}
        self.metrics = _get("Counts for Prometheus.", None)
        self.encode = self._post(f"The deterministic code of each example. {most}", bodies.encode, takes, bodies.codes, codes)
        self.decode = self._post(f"The mean of p(x|z) at each code. {most}", bodies.decode, arrays, bodies.examples, gives)
        self.reconstruct = self._post(
            f"The mean of p(x|z) at the code of each example. {most}", bodies.reconstruct, takes, bodies.examples, gives
        )
        self.sample = self._post(
            f"New data: the mean of p(x|z) at draws from the prior. {most}", bodies.sample, (JSON,), bodies.examples, gives
        )

    def _post(
        self, said: str, asked: type[BaseModel], takes: tuple[str, ...], given: type[BaseModel], gives: tuple[str, ...]
    ) -> dict[str, Any]:
        body = {kind: {"schema": asked.model_json_schema() if kind == JSON else _BINARY} for kind in takes}
        extra: dict[str, Any] = {"requestBody": {"required": True, "content": body}}
        if self._told and len(takes) > 1:
            extra["parameters"] = [_Y]
        answer = {"model": given, "description": "Done.", "content": {kind: {"schema": _BINARY} for kind in gives[1:]}}
        failures = {status: {"model": Failure, "description": why} for status, why in _FAILURES.items()}
        return {
            "summary": said.partition(". ")[0],
            "description": said,
            "openapi_extra": extra,
            "responses": {200: answer, **failures},
        }


def _get(said: str, given: type[BaseModel] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if given is None:
        return {"summary": said, "responses": {200: answer}, "response_class": PlainTextResponse}
    return {"summary": said, "responses": {200: {**answer, "model": given}}}


_BINARY = {"type": "string", "format": "binary"}
_Y = {
    "name": "y",
    "in": "query",
    "required": False,
    "description": "A class number or name, for bodies that are not JSON; one for all, or repeated, one each.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
