"""The examples on the pages, as a shell and Python read them."""

import ast
import json
import shlex

import pytest

from millrace.console.examples import REQUEST_ID, chat_curl, chat_python, curl

BASE = "http://models.example:8000"
NAMES = ["millrace-tiny", "it's", 'a "b"', "$(id)", "`id`", "a\\b", "模型", "</code>"]


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_the_curl_line(name: str) -> None:
    """Whatever a model is called, the shell hands curl one address, two headers and the body as it is meant."""
    words = shlex.split(chat_curl(BASE, name).replace("\\\n", ""))
    assert words[:2] == ["curl", f"{BASE}/v1/chat/completions"]
    assert words[2:6] == ["-H", "Authorization: Bearer $MILLRACE_KEY", "-H", "Content-Type: application/json"]
    assert words[6] == "-d"
    assert json.loads(words[7])["model"] == name


@pytest.mark.parametrize("name", NAMES)
def test_python_reads_the_program(name: str) -> None:
    """The program parses and has the model's name as the value that it is."""
    tree = ast.parse(chat_python(BASE, name))
    assert name in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def test_a_variable_is_left_to_the_shell() -> None:
    """The id of a receipt stands in double quotes, where the shell puts in its value."""
    assert curl(BASE, f"/v1/receipts/{REQUEST_ID}").startswith(f'curl {BASE}/v1/receipts/"$REQUEST_ID" \\')


def test_a_path_with_a_query_is_quoted() -> None:
    """A question mark or ampersand means nothing to the shell."""
    assert shlex.split(curl(BASE, "/v1/usage?from=a&to=b", secured=False)) == ["curl", f"{BASE}/v1/usage?from=a&to=b"]
