"""Requests made up from the service's own description: answers as described, never a failure."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from pipeline.service import jobs
from pipeline.service.inference import InferenceService
from tests.support.service_helpers import serving, tiny_model, tiny_translator

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
"""But for positive_data_acceptance: what parameters mean together, a schema cannot say."""
EXAMPLES = 40
WITH_PARAMETERS = ["/v1/images", "/v1/grid", "/v1/interpolation"]


@pytest.fixture(scope="module")
def translations() -> Iterator[schemathesis.BaseSchema]:
    with serving(InferenceService(tiny_translator())) as url:
        yield schemathesis.openapi.from_url(f"{url}openapi.json")


@pytest.fixture(scope="module")
def schema() -> Iterator[schemathesis.BaseSchema]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "MAX_PIXELS", 2**18)  # so that no example takes long
        with serving(InferenceService(tiny_model())) as url:
            yield schemathesis.openapi.from_url(f"{url}openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, GenerationMode.POSITIVE) for path in [*WITH_PARAMETERS, "/v1/model", "/healthz"]),
        *((path, GenerationMode.NEGATIVE) for path in WITH_PARAMETERS),
    ],
)
def test_answers_are_as_described(
    schema: schemathesis.BaseSchema, path: str, mode: GenerationMode
) -> None:
    check(schema[path]["GET"], mode)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_of_a_translator_are_as_described(
    translations: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    check(translations["/v1/translations"]["POST"], mode)


def check(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    """Ask, and check each answer."""

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
