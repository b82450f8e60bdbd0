"""What is answered for what the model cannot do: an error that says what to do instead, in place of the route.

The routes are not in the description of the API: programs and the page see there what this service can do.
"""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request

from sonopsis.model import Model
from sonopsis.serve.bodies import skimmed
from sonopsis.serve.errors import ServiceError
from sonopsis.serve.service import Serving

OTHER = "or start the service with a model that does, such as the bundled one (sonopsis serve)"


def no_captions(model: Model) -> ServiceError:
    """The answer to who asks a model without a language model for sentences."""
    return ServiceError(404, "no_captions", f"{model.name} only tags; ask /v1/tag for labels, {OTHER}")


def no_answers(model: Model) -> ServiceError:
    """The answer to who asks questions of a model that has not learned to answer."""
    does = "describes, and answers no questions" if model.engine.captions else "only tags, and answers no questions"
    route = "/v1/caption for sentences" if model.engine.captions else "/v1/tag for labels"
    return ServiceError(404, "no_answers", f"{model.name} {does}; ask {route}, {OTHER}")


def refusals(model: Model) -> APIRouter:
    """A route that refuses, for each that this model lacks."""
    router = APIRouter(prefix="/v1", include_in_schema=False)
    if not model.engine.captions:
        router.add_api_route("/caption", _refusing(no_captions), methods=["POST"])
    if not model.folder.config.answers:
        router.add_api_route("/ask", _refusing(no_answers), methods=["POST"])
    return router


def _refusing(why: Callable[[Model], ServiceError]) -> Callable[..., Awaitable[None]]:
    async def refuse(request: Request, service: Serving) -> None:
        service.authorise(request)
        await skimmed(request)
        raise why(service.model)

    return refuse
