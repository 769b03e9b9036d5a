"""The sandbox as an HTTP server: streams byte by byte, keep-alive, fault orders, restarts, bad input."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from stellar_sdk import Keypair

from portal.sandbox import server as sandbox_server
from portal.sandbox.store import ForeignSandboxFile, SandboxFileBusy, alone_with
from portal.sandbox.streaming import BYEBYE, HELLO
from tests.sandbox.cast import FIXTURES, PASSPHRASE, paying

ROOT = Path(__file__).resolve().parents[2]


def read_stream(url, **parameters):
    """Return the raw text of a stream that ends by itself."""
    with requests.get(
        url, params=parameters, headers={"Accept": "text/event-stream"}, stream=True, timeout=20
    ) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return b"".join(answer.iter_content(None)).decode()


@pytest.fixture
def own_sandbox(tmp_path):
    """A sandbox that a test may break or stop."""
    running = sandbox_server.start_in_thread(
        tmp_path / "own.sqlite", passphrase=PASSPHRASE, close_seconds=0.05
    )
    yield running
    running.stop()


def fund(url):
    keypair = Keypair.random()
    requests.get(f"{url}/friendbot", params={"addr": keypair.public_key}, timeout=20).raise_for_status()
    return keypair


class TestStreams:
    def test_events_have_horizons_exact_form(self, sandbox, get, submit, payer, shop):
        submit(payer, paying(shop.public_key))
        path = f"/accounts/{shop.public_key}/payments"
        records = get(path)["_embedded"]["records"]

        text = read_stream(sandbox.url + path, limit=2)

        events = text.split("\n\n")
        assert events[0] == 'retry: 1000\nevent: open\ndata: "hello"'
        assert events[3] == 'retry: 10\nevent: close\ndata: "byebye"'
        for event, record in zip(events[1:3], records, strict=True):
            identity, _, data = event.partition("\n")
            assert identity == f"id: {record['paging_token']}"
            assert json.loads(data.removeprefix("data: ")) == record

    def test_hello_and_byebye_are_the_recorded_bytes(self, recorded):
        assert (FIXTURES / "sse" / "hello_byebye_exact_bytes.txt").read_text() == HELLO + BYEBYE

    def test_a_stream_goes_on_behind_the_last_event(self, sandbox, submit, payer, shop):
        first = submit(payer, paying(shop.public_key, "1"))
        submit(payer, paying(shop.public_key, "2"))
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(int(first["paging_token"]) + 1)}

        url = f"{sandbox.url}/accounts/{shop.public_key}/payments"
        answer = requests.get(url, params={"limit": 1, "cursor": "now"}, headers=headers, timeout=20)

        assert '"amount":"2.0000000"' in answer.text

    def test_every_list_streams(self, sandbox, payer):
        for path in (
            "/ledgers",
            "/effects",
            "/transactions",
            "/operations",
            f"/accounts/{payer.public_key}/effects",
        ):
            assert read_stream(sandbox.url + path, limit=1).count("\nid: ") == 1


class TestConnections:
    def test_one_connection_serves_many_requests_quickly(self, sandbox):
        started = time.monotonic()
        with requests.Session() as session:
            for _number in range(100):
                assert session.get(f"{sandbox.url}/fee_stats", timeout=20).status_code == 200

        # A server that waits for delayed acknowledgements needs 40 ms for each: 4 s.
        assert time.monotonic() - started < 3.5

    def test_links_follow_the_host_asked(self, sandbox, http):
        body = http.get(sandbox.url, headers={"Host": "horizon.example:81"}, timeout=20).json()

        assert body["_links"]["self"]["href"] == "http://horizon.example:81/"

    @pytest.mark.parametrize(
        "request_line",
        [b"POST /transactions HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"nonsense\r\n\r\n"],
    )
    def test_broken_requests_get_a_refusal(self, sandbox, request_line):
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request_line)

            assert b" 400 " in connection.recv(1000)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("get", "/accounts/nobody", 400),
            ("get", "/transactions/ABC", 400),
            ("get", "/operations/99999999999999999999", 400),
            ("get", "/operations/1", 404),
            ("get", "/ledgers/-1", 400),
            ("get", "/ledgers/4294967295", 404),
            ("get", "/payments?order=sideways", 400),
            ("get", "/payments?join=everything", 400),
            ("get", "/payments?limit=0", 400),
            ("get", "/effects?cursor=1-x", 400),
            ("get", "/friendbot?addr=G", 400),
            ("post", "/transactions", 400),
            ("put", "/transactions", 405),
            ("get", "/wallet/payments/none", 404),
            ("get", "/static/css/tokens.css", 404),
        ],
    )
    def test_bad_input_is_a_problem_document(self, sandbox, http, method, path, status):
        answer = http.request(method, sandbox.url + path, timeout=20)

        assert answer.status_code == status
        assert answer.json()["status"] == status


class TestRestart:
    def test_history_survives(self, tmp_path):
        path = tmp_path / "kept.sqlite"
        first = sandbox_server.start_in_thread(path, passphrase=PASSPHRASE, close_seconds=0.05)
        keypair = fund(first.url)
        before = requests.get(f"{first.url}/accounts/{keypair.public_key}/payments", timeout=20).json()
        first.stop()

        second = sandbox_server.start_in_thread(path, passphrase=PASSPHRASE, close_seconds=0.05)
        after = requests.get(f"{second.url}/accounts/{keypair.public_key}/payments", timeout=20).json()
        fund(second.url)
        second.stop()

        assert [one["id"] for one in after["_embedded"]["records"]] == [
            one["id"] for one in before["_embedded"]["records"]
        ]

    def test_ledgers_stay_chained(self, own_sandbox):
        fund(own_sandbox.url)
        records = requests.get(f"{own_sandbox.url}/ledgers?limit=200", timeout=20).json()["_embedded"][
            "records"
        ]

        for earlier, later in pairwise(records):
            assert later["prev_hash"] == earlier["hash"]

    def test_a_file_of_another_network_is_refused(self, tmp_path):
        path = tmp_path / "one.sqlite"
        sandbox_server.start_in_thread(path, passphrase=PASSPHRASE, close_seconds=0.05).stop()

        with pytest.raises(ForeignSandboxFile):
            sandbox_server.create_sandbox(path, passphrase="another network")

    def test_a_file_in_use_is_refused_in_a_sentence(self, tmp_path):
        path = tmp_path / "one.sqlite"

        with alone_with(path), pytest.raises(SandboxFileBusy, match="in use"):
            sandbox_server.serve(path, host="127.0.0.1", port=0, passphrase=PASSPHRASE)

    def test_a_process_stops_cleanly_on_sigterm_and_survives_sigkill(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from portal.sandbox.server import serve\n"
            "serve(Path(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]), passphrase='p', close_seconds=0.1)"
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        keypairs, codes = [], []

        for number in (signal.SIGKILL, signal.SIGTERM):
            command = [sys.executable, "-c", code, str(tmp_path / "own.sqlite"), str(port)]
            with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
                wait_for(url)
                keypairs.append(fund(url))
                for keypair in keypairs:
                    assert requests.get(f"{url}/accounts/{keypair.public_key}", timeout=20).status_code == 200
                process.send_signal(number)
                codes.append(process.wait(15))

        assert codes == [-signal.SIGKILL, 0]


def wait_for(url):
    for _attempt in range(200):
        try:
            return requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


class TestFaults:
    @pytest.fixture
    def order(self, own_sandbox):
        def place(**fields):
            answer = requests.post(f"{own_sandbox.url}/sandbox/faults", json=fields, timeout=20)
            assert answer.status_code == 201, answer.text

        return place

    @pytest.fixture
    def ask(self, own_sandbox):
        return lambda path="/ledgers": requests.get(own_sandbox.url + path, timeout=20)

    @pytest.mark.parametrize(("kind", "status"), [("429", 429), ("503", 503)])
    def test_a_refusal_lasts_as_often_as_ordered(self, order, ask, kind, status):
        order(kind=kind, times=2, retry_after_seconds=7)

        answers = [ask() for _ in range(3)]

        assert [answer.status_code for answer in answers] == [status, status, 200]
        assert answers[0].headers["Retry-After"] == "7"

    def test_a_lagging_history_hides_a_transaction_for_a_while(self, own_sandbox, order, ask):
        fund(own_sandbox.url)
        found = ask("/transactions?order=desc&limit=1").json()["_embedded"]["records"][0]
        order(kind="not_found_lag", seconds=0.3)

        hidden = ask(f"/transactions/{found['hash']}")
        time.sleep(0.4)

        assert hidden.status_code == 404
        assert ask(f"/transactions/{found['hash']}").status_code == 200

    def test_garbage_is_no_json(self, order, ask):
        order(kind="garbage", match="/ledgers", times=1)

        assert ask("/fee_stats").status_code == 200
        with pytest.raises(requests.JSONDecodeError):
            ask().json()

    def test_slow_answers_come_all_the_same(self, order, ask):
        order(kind="slow", delay_seconds=0.3, times=1)
        started = time.monotonic()

        assert ask().status_code == 200
        assert time.monotonic() - started >= 0.3

    def test_a_timed_out_submission_is_in_the_ledger(self, own_sandbox, order, ask):
        keypair = Keypair.random()
        order(kind="timeout", delay_seconds=0.1, match="/friendbot", times=1)

        answer = ask(f"/friendbot?addr={keypair.public_key}")

        assert answer.status_code == 504
        assert ask(f"/transactions/{answer.json()['extras']['hash']}").status_code == 200
        assert ask(f"/accounts/{keypair.public_key}").status_code == 200

    def test_a_rate_of_none_harms_nobody_and_orders_can_be_cleared(self, own_sandbox, order, ask):
        order(kind="503", rate=0)
        assert ask().status_code == 200
        order(kind="503", match="/fee_stats")
        assert ask("/fee_stats").status_code == 503

        assert requests.delete(f"{own_sandbox.url}/sandbox/faults", timeout=20).status_code == 204

        assert ask("/sandbox/faults").json() == {"faults": []}
        assert ask("/fee_stats").status_code == 200

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"kind": "sulk"},
            {"kind": "503", "times": 0},
            {"kind": "503", "rate": "often"},
            {"kind": "503", "x": 1},
        ],
    )
    def test_a_bad_order_is_refused(self, own_sandbox, fields):
        assert requests.post(f"{own_sandbox.url}/sandbox/faults", json=fields, timeout=20).status_code == 422
