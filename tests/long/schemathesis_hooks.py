"""The check that Schemathesis makes beside its own: a 5xx is a failure unless the document lists it
for the operation (what this server does not build is 501, and the WebUI's API has its 500s)."""
import schemathesis


@schemathesis.check
def only_documented_server_errors(_ctx, response, case):
    listed = case.operation.definition.raw.get("responses", {})
    assert response.status_code < 500 or str(response.status_code) in listed, \
        f"{response.status_code} is not a documented answer: {response.text[:300]}"
