"""What keys may use in a day and a month, what they have used, and how they are told."""
import csv
import io
import subprocess

import requests
from conftest import PROGRAM
from processes import TINY, Jobs, until

IMAGE = {"prompt": "a circle", "size": "64x64"}


def cli(server, *words):
    done = subprocess.run([PROGRAM, "keys", f"--data={server.folder / 'data'}", *words,
                           *([f"--database={server.database}"] if server.database else [])],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.strip(), done.stderr


def auth(key):
    return {"Authorization": f"Bearer {key}"}


def usage(server, token, **query):
    answer = requests.get(server.url + "/api/usage", params=query, headers=auth(token), timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def paint(server, key, **body):
    return requests.post(server.url + "/v1/images/generations", json={**IMAGE, **body},
                         headers=auth(key), timeout=120)


def test_pictures_a_day_in_every_dialect(serve):
    server = serve()
    admin = server.add_key("boss", "--admin")
    key = server.add_key("ann", "--pictures-per-day=3", "--pictures-per-month", "50")
    first = paint(server, key, n=2)
    assert first.status_code == 200, first.text
    assert first.headers["x-ratelimit-limit-pictures"] == "3"
    assert first.headers["x-ratelimit-remaining-pictures"] == "1"
    assert first.headers["x-ratelimit-reset-pictures"][-1] == "s"
    refused = paint(server, key, n=2)
    assert refused.status_code == 429, refused.text
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert "2 of its 3 pictures of this day" in error["message"]
    assert "begins anew at 20" in error["message"]
    assert paint(server, key).status_code == 200
    for path, body in (("/api/jobs", TINY), ("/sdapi/v1/txt2img", TINY),
                       ("/v1/images/generations", IMAGE),
                       ("/v1/responses", {"model": "gpt-5", "input": "a circle",
                                          "tools": [{"type": "image_generation"}]})):
        answer = requests.post(server.url + path, json=body, headers=auth(key), timeout=60)
        assert answer.status_code == 429, (path, answer.text)
        assert answer.headers["x-ratelimit-remaining-pictures"] == "0"
        assert int(answer.headers["Retry-After"]) > 5 or "T23:59" in answer.text
    native = requests.post(server.url + "/api/jobs", json=TINY, headers=auth(key), timeout=60)
    assert native.json()["error"]["code"] == "quota"
    assert requests.post(server.url + "/api/jobs", json={**TINY, "count": 4}, headers=auth(key),
                         timeout=60).status_code == 413
    assert "x-ratelimit-limit-pictures" not in paint(server, admin).headers
    # More of it, by the administrator: at once.
    id_ = next(k["id"] for k in requests.get(server.url + "/api/keys", headers=auth(admin),
                                             timeout=30).json()["keys"] if k["name"] == "ann")
    for body, param in (({"weight": 0}, "weight"), ({"pictures_per_day": -1}, "pictures_per_day"),
                        ({"weight": 1.5}, "weight"), ({"money_per_day": "1"}, "money_per_day"),
                        ({"name": "bob"}, "name")):
        answer = requests.put(f"{server.url}/api/keys/{id_}", json=body, headers=auth(admin),
                              timeout=30)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    assert requests.put(f"{server.url}/api/keys/{id_}", json={"weight": 9}, headers=auth(key),
                        timeout=30).status_code == 403
    more = requests.put(f"{server.url}/api/keys/{id_}", headers=auth(admin), timeout=30,
                        json={"pictures_per_day": 10, "weight": 3, "money_per_month": 1.25})
    assert more.status_code == 200 and more.json()["pictures_per_day"] == 10
    assert (more.json()["weight"], more.json()["money_per_month"]) == (3, 1.25)
    assert more.json()["pictures_per_month"] == 50, "what is left out stays"
    assert paint(server, key).status_code == 200


def test_what_waits_counts_too(serve):
    server = serve()
    server.add_key("boss", "--admin")
    key = server.add_key("ann", "--megapixel-steps-per-day=2")
    jobs = Jobs(server.url)
    work = {**TINY, "width": 256, "height": 256, "steps": 15}  # 0.98 megapixel-steps

    def submit():
        return requests.post(server.url + "/api/jobs", json=work, headers=auth(key), timeout=30)

    ids = [submit().json()["id"] for _ in range(2)]
    refused = submit()
    assert refused.status_code == 429 and "megapixel-steps" in refused.text
    assert refused.headers["x-ratelimit-limit-megapixel-steps"] == "2"
    requests.post(f"{server.url}/api/jobs/{ids[1]}/cancel", headers=auth(key), timeout=30)
    assert submit().status_code in (200, 201, 202), "what was cancelled before it began is free again"
    assert jobs


def test_usage_by_day_key_and_model(serve):
    server = serve()
    admin = server.add_key("boss", "--admin")
    ann, bob = server.add_key("ann"), server.add_key('=bob "x"')
    for key, count in ((ann, 2), (bob, 1)):
        assert paint(server, key, n=count).status_code == 200
    own = usage(server, ann)
    assert own["complete"] and own["quota"] is None
    (row,) = own["usage"]
    assert row["key_name"] == "ann" and row["model"] == "pictor-mini"
    assert (row["jobs"], row["failed"], row["pictures"], row["money"]) == (1, 0, 2, 0)
    assert row["seconds"] > 0 and row["megapixel_steps"] > 0
    everybody = usage(server, admin)["usage"]
    assert {r["key_name"]: r["pictures"] for r in everybody} == {"ann": 2, '=bob "x"': 1}
    assert usage(server, admin, key=row["key"])["usage"] == [row]
    answer = requests.get(server.url + "/api/usage", headers=auth(bob), params={"key": row["key"]},
                          timeout=30)
    assert answer.status_code == 403
    assert usage(server, ann, **{"from": "2020-01-01", "to": "2020-01-31"})["usage"] == []
    for query in ({"from": "2020-02-30"}, {"to": "x"}, {"format": "xml"},
                  {"from": "2020-01-02", "to": "2020-01-01"}):
        answer = requests.get(server.url + "/api/usage", headers=auth(ann), params=query, timeout=30)
        assert answer.status_code == 400, query
    for headers, query in (({"Accept": "text/csv"}, {}), ({}, {"format": "csv"})):
        answer = requests.get(server.url + "/api/usage", headers={**auth(admin), **headers},
                              params=query, timeout=30)
        assert answer.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [r["pictures"] for r in rows if r["key_name"] == "ann"] == ["2"]
        assert [r["key_name"] for r in rows if r["pictures"] == "1"] == ["'=bob \"x\""]
    figures = requests.get(server.url + "/metrics", headers=auth(admin), timeout=30).text
    labels = '{worker="local",model="pictor-mini",key="key",outcome="done"} '
    assert f"pictor_jobs_ended_total{labels}2\n" in figures
    assert f"pictor_job_pictures_total{labels}3\n" in figures
    assert f"pictor_job_seconds_total{labels}" in figures
    # What was counted stays when the jobs are deleted.
    for job in requests.get(server.url + "/api/jobs", headers=auth(admin), timeout=30).json()["jobs"]:
        requests.delete(f"{server.url}/api/jobs/{job['id']}", headers=auth(admin), timeout=30)
    assert usage(server, ann)["usage"] == [row]


def test_by_the_command_line(serve):
    server = serve()
    server.add_key("ann")
    assert cli(server, "set", "ann", "--weight=5", "--money-per-day=0.5")[0] == 0
    status, out, _ = cli(server, "list")
    assert status == 0 and "weight=5" in out and "money_per_day=0.5" in out
    for words in (("set", "ann"), ("set", "nobody", "--weight=1"), ("set", "ann", "--weight=0"),
                  ("set", "ann", "--weight=many"), ("list", "--weight=1")):
        assert cli(server, *words)[0] != 0, words
    until(lambda: requests.get(server.url + "/readyz", timeout=30).status_code == 200)
