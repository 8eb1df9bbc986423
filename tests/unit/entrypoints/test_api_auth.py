"""Who may call which operation: a matrix made from the operations themselves."""

from uuid import uuid4

import pytest

from connectors.adapters.system.operators import Permission
from connectors.entrypoints.flask.app import RESOURCES
from connectors.entrypoints.flask.operations import Auth
from tests.support.api import (
    ADMIN_TOKEN,
    ONLY_TENANT,
    READER_TOKEN,
    ROOT_TOKEN,
    TENANT_TOKEN,
    WRITER_TOKEN,
    make_api,
    problem,
)

OPERATIONS = [operation for group in RESOURCES.values() for operation in group]
GUARDED = [operation for operation in OPERATIONS if operation.auth in {Auth.OPERATOR, Auth.TENANT}]
TENANTED = [operation for operation in OPERATIONS if operation.auth is Auth.TENANT]
PUBLIC = [operation for operation in OPERATIONS if operation.auth is Auth.PUBLIC]
TOKENS = {Permission.READ: READER_TOKEN, Permission.WRITE: WRITER_TOKEN, Permission.ADMIN: ADMIN_TOKEN}
BAD_AUTHORIZATIONS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Basic {ROOT_TOKEN}",
    ROOT_TOKEN,
    "Bearer \xff\xfe",
]

names = {"ids": lambda operation: operation.id}


@pytest.fixture(scope="module")
def api():
    return make_api()


def path_of(operation, tenant=ONLY_TENANT):
    values = {"provider": "github", "tenant_id": tenant}
    return operation.path.format_map({name: str(uuid4()) for name in operation.parameters} | values)


@pytest.mark.parametrize("operation", PUBLIC, **names)
def test_public_operations_need_nothing(api, operation):
    """Without any header a public operation answers 200."""
    assert api.call(operation.method, path_of(operation), token=None).status_code == 200


@pytest.mark.parametrize("operation", GUARDED, **names)
def test_without_a_token_of_ours_it_is_401(api, operation):
    """A missing, malformed or unknown token is UNAUTHORIZED before anything else is checked."""
    for authorization in BAD_AUTHORIZATIONS:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = api.call(operation.method, path_of(operation) + "?nonsense=1", token=None, headers=headers)
        assert problem(answer) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="')


@pytest.mark.parametrize("operation", GUARDED, **names)
def test_each_permission_opens_its_own_operations(api, operation):
    """A token with one permission gets FORBIDDEN exactly where another one is needed."""
    for permission, token in TOKENS.items():
        answer = api.call(operation.method, path_of(operation), token=token, tenant=ONLY_TENANT)
        assert (answer.status_code == 403) is (permission is not operation.permission)


@pytest.mark.parametrize("operation", TENANTED, **names)
def test_the_tenant_is_checked_before_the_request(api, operation):
    """No header is 400, a foreign tenant 403, an unknown one 404 even if the rest is wrong too."""
    path = path_of(operation)
    assert problem(api.call(operation.method, path)) == (400, "TENANT_HEADER_REQUIRED")
    assert problem(api.call(operation.method, path, headers={"X-Tenant-Id": " "})) == (400, "TENANT_HEADER_REQUIRED")
    foreign = api.call(operation.method, path, token=TENANT_TOKEN, tenant=uuid4())
    assert problem(foreign) == (403, "FORBIDDEN")
    if not operation.creates_tenant:
        assert problem(api.call(operation.method, path + "?nonsense=1", tenant=uuid4())) == (404, "TENANT_NOT_FOUND")


@pytest.mark.parametrize("operation", [one for one in GUARDED if "tenant_id" in one.parameters], **names)
def test_a_bound_token_does_not_reach_other_tenants_by_path(api, operation):
    """A token bound to one tenant cannot use another one in the path either."""
    answer = api.call(operation.method, path_of(operation, tenant=str(uuid4())), token=TENANT_TOKEN)
    assert problem(answer) == (403, "FORBIDDEN")


def test_a_bound_token_cannot_finish_another_tenants_consent(api):
    """A state of another tenant is unknown to a token that is bound to one."""
    url = api.post("/connect/github", tenant=uuid4()).get_json()["authorize_url"]
    query = {"code": "c", "state": url.partition("state=")[2].partition("&")[0]}
    answer = api.get("/connect/github/callback", token=TENANT_TOKEN, query_string=query)
    assert problem(answer) == (400, "OAUTH_STATE_INVALID")


def test_one_tenant_never_sees_another(api):
    """Ids of one tenant are not found by another."""
    owner, other = api.new_tenant(), api.new_tenant()
    connection = api.connect(owner)
    path = f"/connections/{connection['id']}"
    assert problem(api.get(path, tenant=other)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.call("DELETE", path, tenant=other)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.post(f"{path}/refresh", tenant=other)) == (404, "CONNECTION_NOT_FOUND")
    assert api.get("/connections", tenant=other).get_json()["connections"] == []


def test_every_operation_says_who_may_call_it():
    """Each guarded operation names a permission, and no public one does."""
    for operation in OPERATIONS:
        assert (operation.permission is not None) is (operation in GUARDED)
